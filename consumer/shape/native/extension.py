"""The extension `adapty-sink-native`: whether it is installed, of this release, and enabled.

Without it the exact engine does everything: the same rows, about fifty times slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, TypeAlias, cast

from consumer import __version__

MODULE = "adapty_sink_native"
VARIABLE = "ADAPTY_SINK_ENGINE"
"""The environment variable that disables the extension with the value `exact`."""
INTERFACE = 4
"""What this and the extension agree on to pass to each other. A build from other sources may have another."""
NATIVE, EXACT = "native", "exact"
TypeSpec: TypeAlias = "tuple[str, int, int, Sequence[str], Sequence[TypeSpec]]"
"""A writer's type: its name, a size (-1 for none), a scale, symbols or names of fields, the types in it."""
FieldSpec: TypeAlias = tuple[TypeSpec, str, int, int]
"""A field: its type, the kind of its column, the place of null (0 never, 1 first, 2 second), its slot or -1."""
ProgramSpec: TypeAlias = tuple[Sequence[FieldSpec], Sequence[tuple[int, str]], Sequence[tuple[int, int]]]
"""A record: its fields, columns it lacks with their defaults' text, columns with the slots of their later inputs."""


class NativeBatch(Protocol):
    """What the extension makes of a batch. Places are those in the batch."""

    left: Sequence[tuple[int, str]]
    quarantined: Sequence[tuple[int, str]]
    filtered: Sequence[int]
    unknown: Mapping[str, int]
    by_schema: Sequence[tuple[int, int, int]]
    days: Sequence[tuple[int, int, int, int, int, int, int]]

    def text(self, engine: NativeRules, day: int, lines: Sequence[tuple[int, bytes]]) -> bytes:
        """The text of a day, once, with the exact engine's lines where they belong."""


class NativeRules(Protocol):
    """One set of rules for one header, as the extension has it."""

    def learn(self, schema_id: int, union: bool, programs: Sequence[ProgramSpec | None]) -> None:  # noqa: FBT001 - by place
        """How bodies of this schema id are read; 0 where values name none. A `union` has a program for each branch."""

    def transform(
        self, values: Sequence[bytes | None], timestamps: Sequence[int], wanted: Callable[[int], bool]
    ) -> NativeBatch:
        """Judge a batch."""


class Extension(Protocol):
    """The module, as far as it is used."""

    PanicException: type[BaseException]

    def Engine(self, spec: Mapping[str, Any]) -> NativeRules:  # noqa: N802 - a class of the module
        """Rules from their description."""


class TextComparer(Protocol):
    """The same module, as used to compare texts of rows."""

    def comings_and_goings(self, before: bytes, after: bytes) -> tuple[int, int] | None:
        """How many rows came and went between two texts; None if it is not certain."""

    def other_cells(self, before: bytes, after: bytes, columns: int) -> Sequence[int] | None:
        """How many cells of each column differ between texts of the same rows; None if it is not certain."""


@dataclass(frozen=True, slots=True)
class FoundExtension:
    """The extension, or why there is none."""

    module: Extension | None
    reason: str = ""

    @property
    def engine(self) -> str:
        """The engine that runs."""
        return NATIVE if self.module else EXACT


def find() -> FoundExtension:
    """The extension, for the current environment."""
    if os.environ.get(VARIABLE) == EXACT:
        return FoundExtension(None, f"{VARIABLE} says so")
    return _load()


def comparer() -> TextComparer | None:
    """What compares texts, where the extension is here and wanted."""
    return cast("TextComparer | None", find().module)


@cache
def _load() -> FoundExtension:
    try:
        module = import_module(MODULE)
    except ImportError as error:
        return FoundExtension(None, f"adapty-sink-native is not installed ({error})")
    if (version := getattr(module, "__version__", None)) != __version__:
        return FoundExtension(None, f"adapty-sink-native has version {version}, this is {__version__}")
    if getattr(module, "INTERFACE", None) != INTERFACE:
        return FoundExtension(None, "adapty-sink-native was built from other sources: run `make setup`")
    return FoundExtension(cast("Extension", module))
