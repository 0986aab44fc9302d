"""Between the two threads: leases, positions, waiting events. The only state that both access, under one lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from threading import Condition

from consumer.domain.errors import TransientError
from consumer.domain.offsets import Lease, TopicPartition
from consumer.source.partition_queue import PartitionQueue
from consumer.source.port import Assigned, Event, Revoked
from consumer.source.record_columns import Columns

MEMORY_LIMIT = 16 * 1024 * 1024
"""Undelivered records above this many bytes stop the reading (never the polling)."""


@dataclass(frozen=True, slots=True)
class FetchTarget:
    """What the reader should do with one partition: fetch it from `offset` for this `epoch`, or leave it."""

    lease: Lease
    wanted: bool
    epoch: int
    offset: int


class Inbox:
    """Filled by the reader's thread, emptied by the worker's loop. Every method is safe from any thread."""

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self._changed = Condition()
        self._limit = limit
        self._generations = count(1)
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._notices: deque[Assigned | Revoked] = deque()
        self._outages: deque[TransientError] = deque(maxlen=8)
        self._end: BaseException | None = None
        self._woken = False

    # The worker's side

    def poll(self, timeout: float, *, records: bool = True) -> list[Event]:
        """Events in order; waits for the first one. Raises an outage reported since, or the reader's last words.

        Without `records` what was read stays here, and counts: a worker that has enough to do is sent no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_news(records=records), timeout)
            self._woken = False
            events: list[Event] = list(self._notices)
            self._notices.clear()
            if records:
                for queue in self._queues.values():
                    events += queue.take()
            if events:
                self._changed.notify_all()
                return events
            if self._end is not None and records:
                raise self._end
            if self._outages:
                raise self._outages.popleft()
            return []

    def wake(self) -> None:
        """Make the poll under way, or the next one, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def start(self, lease: Lease, offset: int) -> None:
        """Want this partition from `offset` on."""
        self._move(lease, lambda queue: queue.start(offset))

    def pause(self, lease: Lease) -> None:
        """Want nothing of this partition."""
        self._move(lease, PartitionQueue.pause)

    def resume(self, lease: Lease) -> None:
        """Want this partition again from where it was paused."""
        self._move(lease, PartitionQueue.resume)

    def is_live(self, lease: Lease) -> bool:
        """Whether this lease is not void."""
        with self._changed:
            return self._queue(lease) is not None

    # The reader's side

    def assign(self, partitions: Iterable[TopicPartition]) -> tuple[Lease, ...]:
        """New leases for partitions without one; the worker is notified."""
        with self._changed:
            leases = tuple(Lease(p, next(self._generations)) for p in sorted(partitions))
            for lease in leases:
                self._queues[lease.partition] = PartitionQueue(lease)
            if leases:
                self._notices.append(Assigned(leases))
            self._changed.notify_all()
            return leases

    def void(self, partitions: Iterable[TopicPartition], *, lost: bool = False) -> None:
        """End the leases of these partitions now and drop what waits; the worker is notified."""
        with self._changed:
            gone = [queue.lease for p in sorted(partitions) if (queue := self._queues.pop(p, None)) is not None]
            if gone:
                self._notices.append(Revoked(tuple(gone), lost))
            self._changed.notify_all()

    def targets(self) -> list[FetchTarget]:
        """What to read, and from where."""
        with self._changed:
            return [FetchTarget(s.lease, s.wanted, s.epoch, s.received) for s in self._queues.values()]

    def put_records(self, lease: Lease, epoch: int, found: Columns) -> bool:
        """Take records fetched for this turn. False: not wanted (any more)."""
        return self._put(lease, epoch, lambda queue: queue.put_records(found))

    def put_end(self, lease: Lease, epoch: int, offset: int) -> bool:
        """Take an end-of-partition event fetched for this turn. False: not wanted (any more)."""
        return self._put(lease, epoch, lambda queue: queue.put_end(offset))

    def put_out_of_range(self, lease: Lease, epoch: int, detail: str) -> bool:
        """Take the news that the place to read from is not in the log. False: not wanted (any more)."""
        return self._put(lease, epoch, lambda queue: queue.put_out_of_range(detail))

    def put_unreadable(self, lease: Lease, epoch: int, detail: str) -> bool:
        """Take the news that the expected offset cannot be read. False: not wanted (any more)."""
        return self._put(lease, epoch, lambda queue: queue.put_unreadable(detail))

    def report(self, outage: TransientError) -> None:
        """An outage for the next poll that has nothing better. Of too many the oldest are forgotten."""
        with self._changed:
            self._outages.append(outage)
            self._changed.notify_all()

    def end(self, error: BaseException) -> None:
        """The reader's last words: raised by every poll once the events are out."""
        with self._changed:
            self._end = error
            self._changed.notify_all()

    def is_full(self, times: int = 1) -> bool:
        """Whether reading must wait: what waits has as many bytes as the limit, or `times` as many."""
        with self._changed:
            return self._waiting_bytes() >= times * self._limit

    def wait_for_room(self, timeout: float) -> None:
        """Wait until the worker has taken enough."""
        with self._changed:
            self._changed.wait_for(self._has_room, timeout)

    # Under the lock

    def _waiting_bytes(self) -> int:
        return sum(queue.size for queue in self._queues.values())

    def _has_room(self) -> bool:
        return self._waiting_bytes() < self._limit

    def _has_news(self, *, records: bool) -> bool:
        waiting = self._notices or (records and any(queue.has_news for queue in self._queues.values()))
        return bool(waiting or self._woken or self._outages or self._end)

    def _queue(self, lease: Lease) -> PartitionQueue | None:
        queue = self._queues.get(lease.partition)
        return queue if queue is not None and queue.lease == lease else None

    def _move(self, lease: Lease, change: Callable[[PartitionQueue], None]) -> None:
        with self._changed:
            if (queue := self._queue(lease)) is not None:
                change(queue)
                self._changed.notify_all()

    def _put(self, lease: Lease, epoch: int, change: Callable[[PartitionQueue], None]) -> bool:
        with self._changed:
            queue = self._queue(lease)
            if queue is None or not queue.wanted or queue.epoch != epoch:
                return False
            change(queue)
            self._changed.notify_all()
            return True
