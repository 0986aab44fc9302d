"""One assigned partition: its reading position, and the batches waiting to be delivered. Knows no thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import chain, repeat
from operator import add
from typing import TypeVar

from consumer.domain.batches import RawBatch
from consumer.domain.offsets import Lease, Span
from consumer.source.port import EndReached, Event, OutOfRange, Records, Unreadable
from consumer.source.record_columns import Columns

T = TypeVar("T")

MERGE_RECORDS = 20_000
"""Batches that wait are handed out as one, up to about this many records."""
MERGE_BYTES = 8 * 1024 * 1024
"""And up to about this many bytes: judging a batch takes several times its memory."""

MOST_PER_CALL = 2_000
"""Messages of one `consume` call at most: it makes them without letting other threads run meanwhile."""


def next_call(records: int, size: int) -> int:
    """Messages to request next, if that many had `size` bytes: what fits into MERGE_BYTES, as each is copied."""
    return max(1, min(MOST_PER_CALL, MERGE_BYTES * records // size))


class PartitionQueue:
    """The state of one lease.

    `delivered` is the next offset the worker has not seen, `received` the next one expected from Kafka; the events
    between them wait. `epoch` grows whenever the place to read from is set again: what was fetched for another turn is
    not taken. `size` is the memory of what waits, in bytes.
    """

    __slots__ = ("_ended", "_paused", "_started", "_waiting", "delivered", "epoch", "lease", "received", "size")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.epoch = 0
        self.delivered = 0
        self.received = 0
        self.size = 0
        self._started = False
        self._paused = False
        self._ended = False  # the place is out of range, and the worker may not know yet
        self._waiting: deque[tuple[Event, int]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether records are to be fetched."""
        return self._started and not self._paused and not self._ended

    @property
    def has_news(self) -> bool:
        """Whether something waits to be handed out."""
        return bool(self._waiting)

    def start(self, offset: int) -> None:
        """Read from `offset` on; what waits of the old place is dropped."""
        self._started = True
        self.delivered = offset
        self._rewind()

    def pause(self) -> None:
        """Want nothing. What waits is dropped, to be fetched again: memory is for the others."""
        if not self._paused:
            self._paused = True
            self._rewind()

    def resume(self) -> None:
        """Want records again from where they were last handed out."""
        if self._paused:
            self._paused = False
            self._rewind()

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self.size = 0

    def put_records(self, found: Columns) -> None:
        """Take the next records; those below the expected offset are duplicates and are dropped."""
        fresh = found if found.offsets[0] >= self.received else found.from_offset(self.received)
        if not fresh.offsets:
            return
        for part, size in fresh.parts(MERGE_BYTES):
            span = Span(self.received, part.offsets[-1] + 1)
            batch = part.batch(self.lease.partition, span)
            self.received = span.end
            self._add(Records(self.lease, batch), size)

    def put_end(self, offset: int) -> None:
        """All below `offset` was read: holes that no record fills included."""
        self.received = max(self.received, offset)
        self._add(EndReached(self.lease, self.received), 0)

    def put_out_of_range(self, detail: str) -> None:
        """The expected offset is not in the log: nothing more until the next start."""
        self._ended = True
        self._add(OutOfRange(self.lease, detail), 0)

    def put_unreadable(self, detail: str) -> None:
        """The expected offset cannot be read, once more."""
        self._add(Unreadable(self.lease, self.received, detail), 0)

    def take(self) -> list[Event]:
        """The next batch, as large as it may be, and the marks that follow it."""
        batches: list[RawBatch] = []
        marks: list[Event] = []
        records = taken = 0
        while self._waiting:
            event, size = self._waiting[0]
            if isinstance(event, Records):
                records, taken = records + len(event.batch), taken + size
                if marks or (batches and (records > MERGE_RECORDS or taken > MERGE_BYTES)):
                    break
                batches.append(event.batch)
                self.delivered = event.batch.span.end
            elif isinstance(event, EndReached):
                marks.append(event)
                self.delivered = event.offset
            elif isinstance(event, Unreadable):
                marks.append(event)
            else:
                marks.append(event)
                self._started = False
            self._waiting.popleft()
            self.size -= size
        return [*([Records(self.lease, merged(batches))] if batches else []), *marks]

    def _add(self, event: Event, size: int) -> None:
        self._waiting.append((event, size))
        self.size += size

    def _rewind(self) -> None:
        self.clear()
        self._ended = False
        self.received = self.delivered
        self.epoch += 1


def merged(batches: Sequence[RawBatch]) -> RawBatch:
    """Batches of one partition that follow each other, as one."""
    if len(batches) == 1:
        return batches[0]
    headers: list[int] = []
    if any(batch.headers for batch in batches):
        headers += chain.from_iterable(batch.headers or repeat(0, len(batch)) for batch in batches)
    return RawBatch(
        batches[0].partition,
        Span(batches[0].span.start, batches[-1].span.end),
        _joined(batch.offsets for batch in batches),
        _joined(batch.timestamps for batch in batches),
        _joined(batch.values for batch in batches),
        _joined(batch.keys for batch in batches),
        headers,
        reduce(add, (batch.sizes for batch in batches)),
    )


def _joined(parts: Iterable[Sequence[T]]) -> list[T]:
    """Lists behind each other: copied whole, which takes a third of the time of going over them."""
    together: list[T] = []
    for part in parts:
        together += part
    return together
