"""A partition's seal log as a value: which record covers an offset, which rows are taken, where to resume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from consumer.domain.offsets import Span
from consumer.seal.record import Reach, Record, RecordKind, due_by


@dataclass(frozen=True, slots=True)
class Chain:
    """The records 0, 1, 2 ... of one partition, whole. `digests` are the sha256 of their texts."""

    records: tuple[Record, ...] = ()
    digests: tuple[str, ...] = ()
    gaps: tuple[Span, ...] = field(init=False, repr=False, compare=False)
    """The offsets that were given up, by their beginnings."""

    def __post_init__(self) -> None:
        lost = sorted((one.lost for one in self.records if one.lost is not None), key=lambda span: span.start)
        object.__setattr__(self, "gaps", tuple(lost))

    @property
    def empty(self) -> bool:
        """Nothing was sealed in this folder yet."""
        return not self.records

    @property
    def identity(self) -> str:
        """The identity of this chain, different in every folder; "" if there is no record."""
        return self.digests[0][:16] if self.digests else ""

    @property
    def head(self) -> Record:
        """The newest record."""
        return self.records[-1]

    @property
    def reach(self) -> Reach:
        """How far the chain has come."""
        return Reach(self.cutoff, self.through)

    @property
    def cutoff(self) -> date | None:
        """The last closed day of `reach`."""
        return self.records[-1].cutoff if self.records else None

    @property
    def through(self) -> int:
        """The NEXT offset to process of `reach`."""
        return self.records[-1].through if self.records else 0

    @property
    def last_seal(self) -> Record | None:
        """The newest record of kind seal: the only one that can be unfinished."""
        return next((record for record in reversed(self.records) if record.kind is RecordKind.SEAL), None)

    @property
    def lossy(self) -> bool:
        """Whether a gap follows the last seal: it may have taken rows of a seal that was pending."""
        return self.last_seal is not None and self.head.n > self.last_seal.n

    def before(self, n: int) -> Chain:
        """The chain as it was when record `n` was decided."""
        return Chain(self.records[:n], self.digests[:n])

    def then(self, record: Record, data: bytes) -> Chain:
        """The chain with one record more."""
        return Chain((*self.records, record), (*self.digests, hashlib.sha256(data).hexdigest()))

    def covering(self, offset: int) -> Record | None:
        """The record that applies to `offset` forever; None if no seal has reached it yet."""
        low, high = 0, len(self.records)
        while low < high:
            middle = (low + high) // 2
            if self.records[middle].through > offset:
                high = middle
            else:
                low = middle + 1
        return self.records[low] if low < len(self.records) else None

    def taker(self, offset: int, day: date) -> Record | None:
        """The seal whose objects have a row of `day` at `offset`; None if none took it, or a gap gave it up."""
        covering = self.covering(offset)
        if covering is None:
            return None
        for record in self.records[covering.n :]:
            if record.kind is RecordKind.GAP:
                if offset < record.start:
                    return None  # what was below its end and not taken is given up
            elif due_by(day, record.cutoff, covering.sealed_at):
                return record  # its start may lie above: filters of its time may have left no row to wait for there
        return None

    def segments(self, span: Span) -> Iterator[tuple[Span, Record | None]]:
        """`span` cut where the covering record changes."""
        at = span.start
        while at < span.end:
            record = self.covering(at)
            end = span.end if record is None else min(span.end, record.through)
            yield Span(at, end), record
            at = end

    def outside_gaps(self, span: Span) -> Iterator[Span]:
        """What is left of `span` without the offsets that were given up."""
        at = span.start
        for lost in self.gaps:
            if lost.start >= span.end:
                break
            if lost.start > at:
                yield Span(at, lost.start)
            at = max(at, lost.end)
        if at < span.end:
            yield Span(at, span.end)

    def beyond_gap(self, offset: int) -> int:
        """`offset`, or the end of the gap that contains it."""
        for lost in self.gaps:
            if offset in lost:
                offset = lost.end
        return offset

    def took(self, day: date, covering: Record | None) -> bool:
        """Whether a row of `day` at an offset covered by `covering` is already in an object."""
        return covering is not None and due_by(day, self.cutoff, covering.sealed_at)
