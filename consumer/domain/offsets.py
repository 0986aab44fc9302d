"""Partitions, leases on them, half-open spans of offsets, commits. An offset is always the NEXT to read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class TopicPartition:
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}"


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets `start <= o < end` of one partition; empty where `end <= start`."""

    start: int
    end: int

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset < self.end

    @property
    def empty(self) -> bool:
        return self.end <= self.start

    def clip(self, other: Span) -> Span:
        """The offsets in both."""
        return Span(max(self.start, other.start), min(self.end, other.end))


@dataclass(frozen=True, slots=True)
class LogEnds:
    """The bounds of a partition's log: `low` is its start, `lso` the last stable offset, `high` the high watermark."""

    low: int
    lso: int
    high: int

    @property
    def transaction_open(self) -> bool:
        """Whether an open transaction keeps the last stable offset below the end of the log."""
        return self.lso < self.high


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a partition, from one assignment to its revocation. Never valid again after that."""

    partition: TopicPartition
    generation: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed offset (the NEXT to read) and its metadata text ("" if there is none)."""

    offset: int
    metadata: str = ""
