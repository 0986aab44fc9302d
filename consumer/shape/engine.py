"""The interface of an engine for whole batches, and its result. What it leaves goes to the exact engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consumer.domain.batches import RawBatch, TransformOptions


@dataclass(frozen=True, slots=True)
class NativeDay:
    """The rows of one day (a day number): how many, the places of the first and the last.

    `text` gives their text once, with the exact engine's lines (by place, in order) where they belong.
    """

    rows: int
    first: int
    last: int
    text: Callable[[Sequence[tuple[int, bytes]]], bytes]


@dataclass(slots=True)
class EngineResult:
    """The result for a batch. `left` has the places that the exact engine must handle, with the reason."""

    left: Mapping[int, str] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    filtered: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)
    days: Mapping[int, NativeDay] = field(default_factory=dict)


class Engine(Protocol):
    """Judges what it is certain of, by one set of rules."""

    def judge(
        self, batch: RawBatch, refused: Mapping[int, str], writers: Mapping[int, object], how: TransformOptions
    ) -> EngineResult:
        """Process a batch but for the `refused` places. `writers` are the decoders by schema id, 0 if there is one."""
