"""Judging ahead: batches that came together are judged side by side, and taken in one after the other.

What a batch becomes is a pure function of the batch and its lens, so it does not matter when and where it is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeVar

from consumer.domain.batches import RawBatch, TransformedBatch
from consumer.seal.record import Record
from consumer.worker.executor import Job, ThreadExecutor
from consumer.worker.offset_rules import OffsetRules

T = TypeVar("T")

CLOSE_SECONDS = 5.0
"""How long an end waits for a judgement under way. One that takes longer asks a registry: that does no harm."""


class Ahead(Protocol):
    """Begins what will be asked for. Implemented by threads, and by doing it at once.

    `depth` is how many batches of a partition may wait for their judgement while more comes.
    """

    @property
    def depth(self) -> int:
        """See above."""

    def begin(self, call: Callable[[], T]) -> Job:
        """Begin `call`. Once what is returned is done, it gives the result or raises the error."""

    def close(self) -> None:
        """Begin nothing more: nobody asks for results any longer."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Done when it is begun: a simulation has no other threads."""

    depth: int = 0

    def begin(self, call: Callable[[], T]) -> Job:
        job = Job(call)
        job.run()
        return job

    def close(self) -> None:
        pass


class ThreadsAhead:
    """Done on a few threads that never hold up the end of the process. `wake` is called after each."""

    depth = 1

    def __init__(self, threads: int, wake: Callable[[], None] = lambda: None) -> None:
        self._jobs = ThreadExecutor(threads, wake, "judge")

    def begin(self, call: Callable[[], T]) -> Job:
        job = Job(call)
        self._jobs.submit(job)
        return job

    def close(self) -> None:
        """Waits for what is under way: native code that returns while the interpreter ends can abort the process."""
        self._jobs.close(CLOSE_SECONDS)


Pieces = Sequence[tuple[TransformedBatch, Record | None]]
"""A judged batch, piece by piece, each with its covering record."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Days that leave the spool for want of room: those after `above`, but for days absurdly far ahead."""

    above: date | None
    last: date

    def __call__(self, day: date) -> bool:
        return self.above is not None and self.above < day <= self.last


@dataclass(frozen=True, slots=True)
class Judging:
    """A batch under judgement, by what, and what gives the result once it is `done`."""

    batch: RawBatch
    offset_rules: OffsetRules
    leaving: Leaving
    job: Job

    def done(self) -> bool:
        """Whether the result, or an error in its place, is there."""
        return self.job.done

    def pieces(self) -> Pieces:
        """The result, or its error raised."""
        found: Pieces = self.job.result()
        return found

    def is_of(self, batch: RawBatch, offset_rules: OffsetRules, above: date | None) -> bool:
        """Whether it is what one would begin now."""
        return self.batch is batch and self.offset_rules is offset_rules and self.leaving.above == above


def transforming(offset_rules: OffsetRules, batch: RawBatch, leaving: Leaving, ahead: Ahead) -> Judging:
    """Begin to judge a batch."""

    def pieces() -> Pieces:
        return list(offset_rules.transform(batch, leaving))

    return Judging(batch, offset_rules, leaving, ahead.begin(pieces))
