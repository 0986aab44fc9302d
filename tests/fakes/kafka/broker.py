"""A group member over the cluster in memory: the port `Broker`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import Event as Bell

from consumer.domain.batches import RawBatch
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import LeaseLostError, UsageError
from consumer.domain.offsets import Commit, Lease, Span, TopicPartition
from consumer.source.port import Assigned, EndReached, Event, OutOfRange, Records, Revoked, Unreadable
from tests.fakes.kafka.admin import Hooks, MemoryCluster, NoHooks
from tests.fakes.kafka.group import NO_CHANGE
from tests.fakes.kafka.log import StoredRecord

BATCH = 500
"""Records of one partition that one poll hands out at most."""


class _Reading:
    """One lease: where it reads. `end_told` is the end offset that was told last, as Kafka tells each but once."""

    __slots__ = ("end_told", "lease", "paused", "position")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.position: int | None = None
        self.paused = False
        self.end_told = -1


class MemoryBroker:
    """The port `Broker` over a `MemoryCluster`.

    `poll` never waits, unless `real_time` is set (for `demo`). `batch` may be changed at any time.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        group: str,
        *,
        instance_id: str | None = None,
        hooks: Hooks | None = None,
        clock: Clock | None = None,
        real_time: bool = False,
    ) -> None:
        self._cluster = cluster
        self._group = cluster.group(group)
        self._instance_id = instance_id
        self._hooks = hooks or NoHooks()
        self._clock = clock or SystemClock()
        self._real_time = real_time
        self._bell = Bell()
        self._generations = count(1)
        self._readings: dict[TopicPartition, _Reading] = {}
        self._replaced: list[Lease] = []
        self._topics: tuple[str, ...] = ()
        self._alive_at = self._clock.monotonic()
        self._refusals = 0
        self.member_id = ""
        self.batch = BATCH

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for these topics."""
        with self._step("subscribe"):
            self._topics = tuple(topics)
            self._join()

    def poll(self, timeout: float, *, records: bool = True) -> list[Event]:
        """What the group and the logs have now. Raises UsageError where another member took over our instance id."""
        self._hooks.before("poll")
        with self._cluster.lock:
            events = self._events(records=records)
        if not events and self._real_time:
            self._bell.wait(timeout)
        if self._real_time:
            self._bell.clear()
        self._alive_at = self._clock.monotonic()
        self._hooks.after("poll")
        return events

    def wake(self) -> None:
        """Make a `poll` under way, or the next one, return at once."""
        self._bell.set()

    def hurry(self) -> None:
        """Nothing here is waited for."""

    def start(self, lease: Lease, offset: int) -> None:
        """Deliver this partition from `offset` on."""
        with self._step("start"):
            if (reading := self._reading(lease)) is not None:
                reading.position, reading.end_told = offset, -1

    def pause(self, lease: Lease) -> None:
        """Deliver nothing of this partition until `resume`."""
        with self._step("pause"):
            if (reading := self._reading(lease)) is not None:
                reading.paused = True

    def resume(self, lease: Lease) -> None:
        """Take delivery up again where it was paused."""
        with self._step("resume"):
            reading = self._reading(lease)
            if reading is not None and reading.paused:
                reading.paused, reading.end_told = False, -1

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Commit. Refused by membership alone, as Kafka does: a lease that is about to move still commits."""
        with self._step("commit"):
            if self._reading(lease) is None:
                raise LeaseLostError(f"{lease.partition} is no longer assigned to this worker")
            if self._refusals or not self._group.knows(self.member_id):
                self._refusals = max(0, self._refusals - 1)
                self._replaced.append(self._readings.pop(lease.partition).lease)
                raise LeaseLostError(f"commit of {lease.partition} refused")
            self._group.committed[lease.partition] = commit

    def rejoin(self) -> None:
        """Force a rebalance: leave the group and join it again."""
        with self._step("rejoin"):
            self._group.leave(self.member_id)
            self.member_id = ""

    def alive_at(self) -> float:
        """The monotonic moment of the last poll."""
        return self._alive_at

    def close(self) -> None:
        """Leave the group; a static member keeps its place until it is evicted."""
        with self._step("close"):
            self._group.stop(self.member_id)
            self._readings.clear()
            self._topics = ()

    # What happens to it from outside

    def evict(self) -> None:
        """The session runs out: the group goes on without this member, which finds out when it polls."""
        with self._cluster.lock:
            self._group.leave(self.member_id)

    def refuse_commits(self, times: int = 1) -> None:
        """The next commits are refused, as in the middle of a rebalance; their partitions stay ours, on new leases."""
        self._refusals += times

    # Inside a step

    @contextmanager
    def _step(self, call: str) -> Iterator[None]:
        self._hooks.before(call)
        with self._cluster.lock:
            yield
        self._hooks.after(call)

    def _join(self) -> None:
        self.member_id = self._cluster.new_member_id()
        self._group.join(self.member_id, self._topics, self._instance_id)

    def _reading(self, lease: Lease) -> _Reading | None:
        reading = self._readings.get(lease.partition)
        return reading if reading is not None and reading.lease == lease else None

    def _events(self, *, records: bool) -> list[Event]:
        events: list[Event] = []
        if self._topics:
            events += self._follow_group()
        for partition in sorted(self._readings) if records else ():
            events += self._read(self._readings[partition])
        return events

    def _follow_group(self) -> list[Event]:
        events: list[Event] = []
        replaced, self._replaced = self._replaced, []
        if not self._group.knows(self.member_id):
            lost = self.member_id != ""
            events += self._revoke(replaced, self._readings, lost=lost)
            if self._group.fenced(self._instance_id):
                raise UsageError(f"another worker came with the instance id {self._instance_id}")
            self._join()
            replaced = []
        change = self._group.follow(self.member_id)
        if change is NO_CHANGE and not replaced:
            return events
        events += self._revoke(replaced, change.gives_up, lost=False)
        stays = {lease.partition for lease in replaced} - change.gives_up
        if gets := sorted(stays | change.gets):
            leases = tuple(Lease(p, next(self._generations)) for p in gets)
            self._readings.update({lease.partition: _Reading(lease) for lease in leases})
            events.append(Assigned(leases))
        return events

    def _revoke(self, replaced: Iterable[Lease], going: Iterable[TopicPartition], *, lost: bool) -> list[Event]:
        held = [self._readings.pop(p).lease for p in sorted(going) if p in self._readings]
        gone = sorted([*replaced, *held], key=lambda lease: lease.partition)
        return [Revoked(tuple(gone), lost)] if gone else []

    def _read(self, reading: _Reading) -> list[Event]:
        log = self._cluster.log(reading.lease.partition)
        if log is None or reading.position is None or reading.paused:
            return []
        start = reading.position
        if not log.low <= start <= log.high:
            reading.position = None
            return [OutOfRange(reading.lease, f"offset {start} is not in [{log.low}, {log.high}]")]
        if start == reading.end_told == log.lso and start not in log.unreadable:
            return []  # at the end still
        found, reading.position = log.read(start, self.batch)
        events: list[Event] = [Records(reading.lease, _batch(reading.lease.partition, start, found))] if found else []
        if reading.position in log.unreadable:
            events.append(Unreadable(reading.lease, reading.position, "it is damaged"))
        elif reading.position == log.lso != reading.end_told:
            reading.end_told = reading.position
            events.append(EndReached(reading.lease, reading.position))
        return events


def _batch(partition: TopicPartition, start: int, found: Sequence[StoredRecord]) -> RawBatch:
    return RawBatch(
        partition,
        Span(start, found[-1].offset + 1),
        [r.offset for r in found],
        [r.timestamp for r in found],
        [r.value for r in found],
        [r.key for r in found],
    )
