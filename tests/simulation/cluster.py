"""A Kafka cluster small enough to reason about: logs with transactions and retention, one group with its fencing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from consumer.domain.batches import RawBatch
from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError
from consumer.domain.offsets import LogEnds, Span, TopicPartition
from consumer.source.port import (
    Assigned,
    Commit,
    EndReached,
    Event,
    Lease,
    OutOfRange,
    Records,
    Revoked,
    TopicFacts,
)
from tests.simulation.hub import Hub, Process


@dataclass(frozen=True, slots=True)
class Entry:
    """One offset of a log. `value` None is a tombstone; `hidden`: a marker, or a record of an aborted transaction."""

    offset: int
    timestamp: int
    value: bytes | None
    written_at: datetime
    hidden: bool = False


@dataclass(slots=True)
class Log:
    """One partition. `entries` keeps what retention deleted, for the oracle: `low` says what a reader still gets."""

    entries: list[Entry] = field(default_factory=list)
    low: int = 0
    opened: dict[int, list[int]] = field(default_factory=dict)
    next_transaction: int = 0
    made_at: datetime | None = None

    @property
    def high(self) -> int:
        return len(self.entries)

    @property
    def lso(self) -> int:
        return min((offsets[0] for offsets in self.opened.values()), default=self.high)

    @property
    def ends(self) -> LogEnds:
        return LogEnds(self.low, self.lso, self.high)

    def append(self, value: bytes | None, timestamp: int, now: datetime, transaction: int | None = None) -> int:
        offset = self.high
        self.entries.append(Entry(offset, timestamp, value, now))
        if transaction is not None:
            self.opened.setdefault(transaction, []).append(offset)
        return offset

    def end_transaction(self, transaction: int, now: datetime, *, commit: bool) -> None:
        """Make the transaction's records readable or not; its marker takes an offset."""
        for offset in self.opened.pop(transaction) if not commit else ():
            old = self.entries[offset]
            self.entries[offset] = Entry(offset, old.timestamp, old.value, old.written_at, hidden=True)
        self.opened.pop(transaction, None)
        self.entries.append(Entry(self.high, 0, None, now, hidden=True))

    def readable(self, start: int, most: int) -> list[Entry]:
        return [entry for entry in self.entries[start : self.lso] if not entry.hidden][:most]


@dataclass(slots=True)
class Group:
    """The members, what each is meant to have, and who holds what now."""

    generation: int = 0
    members: list[str] = field(default_factory=list)
    target: dict[TopicPartition, str] = field(default_factory=dict)
    holders: dict[TopicPartition, str] = field(default_factory=dict)
    commits: dict[TopicPartition, Commit] = field(default_factory=dict)


class Cluster:
    """One topic, one group. Every method is atomic."""

    def __init__(self, topic: str, partitions: int, random: Random) -> None:
        self.topic = topic
        self.topic_id = "id-1"
        self.logs = [Log() for _ in range(partitions)]
        self.group = Group()
        self._random = random

    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number) for number in range(len(self.logs))]

    def log(self, partition: TopicPartition) -> Log:
        return self.logs[partition.partition]

    def grow(self, now: datetime) -> None:
        """One partition more."""
        self.logs.append(Log(made_at=now))
        self.rebalance()

    def join(self, member: str) -> None:
        if member not in self.group.members:
            self.group.members.append(member)
            self.rebalance()

    def leave(self, member: str) -> None:
        """The member left, or its session ran out: what it holds is free, whatever it believes."""
        if member in self.group.members:
            self.group.members.remove(member)
            for partition in [held for held, holder in self.group.holders.items() if holder == member]:
                del self.group.holders[partition]
            self.rebalance()

    def rebalance(self) -> None:
        """Deal the partitions anew: mostly as they were, evenly."""
        group = self.group
        group.generation += 1
        if not group.members:
            group.target = {}
            return
        most = -(-len(self.logs) // len(group.members))
        loads = dict.fromkeys(group.members, 0)
        target: dict[TopicPartition, str] = {}
        for partition in self.partitions():
            owner = group.target.get(partition)
            if owner in loads and loads[owner] < most and self._random.random() < 0.9:
                target[partition] = owner
                loads[owner] += 1
        for partition in self.partitions():
            if partition not in target:
                owner = min(loads, key=lambda member: (loads[member], self._random.random()))
                target[partition] = owner
                loads[owner] += 1
        group.target = target


class SimView:
    """`LogView` of one process, with outages."""

    def __init__(self, hub: Hub, process: Process, cluster: Cluster, outage: float) -> None:
        self._hub, self._process, self._cluster, self._outage = hub, process, cluster, outage

    def _point(self) -> None:
        self._hub.point(self._process)
        if self._hub.random.random() < self._outage:
            raise TransientError("cluster out of reach")

    def topic(self, name: str) -> TopicFacts | None:
        self._point()
        if name != self._cluster.topic:
            return None
        return TopicFacts(name, self._cluster.topic_id, len(self._cluster.logs), {"cleanup.policy": "delete"})

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        self._point()
        return {partition: self._cluster.log(partition).ends for partition in partitions}

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        self._point()
        return {partition: self._cluster.group.commits.get(partition) for partition in partitions}

    def offset_at(self, partition: TopicPartition, instant: datetime) -> int | None:
        self._point()
        millis = instant.timestamp() * 1000
        entries = self._cluster.log(partition).entries
        return next((entry.offset for entry in entries if entry.timestamp >= millis), None)

    def unowned(self, group: str, topics: Sequence[str]) -> set[TopicPartition]:
        self._point()
        return set()


@dataclass(slots=True)
class _Place:
    lease: Lease
    position: int = 0
    started: bool = False
    paused: bool = False
    ended_at: int = -1


class SimBroker:
    """`Broker` of one process. It believes in its leases until it polls, as a frozen process does."""

    def __init__(self, hub: Hub, process: Process, cluster: Cluster, outage: float, most: int) -> None:
        self._hub, self._process, self._cluster = hub, process, cluster
        self._outage, self._most = outage, most
        self._generation = -1
        self._places: dict[Lease, _Place] = {}
        self._serial = 0

    def subscribe(self, topics: Sequence[str]) -> None:
        self._cluster.join(self._process.name)

    def poll(self, timeout: float) -> list[Event]:
        self._hub.point(self._process)
        if self._hub.random.random() < self._outage:
            self._hub.sleep(self._process, timeout)
            raise TransientError("brokers out of reach")
        events = self._rebalanced() or self._fetched()
        if not events:
            self._hub.sleep(self._process, timeout)
        return events

    def wake(self) -> None:
        self._hub.wake(self._process)

    def _rebalanced(self) -> list[Event]:
        group, me = self._cluster.group, self._process.name
        if me not in group.members:
            lost = tuple(self._places)
            self._places.clear()
            self._cluster.join(me)
            return [Revoked(lost, lost=True)] if lost else []
        gone = [lease for lease in self._places if self._gone(lease)]
        for lease in gone:
            del self._places[lease]
            if group.holders.get(lease.partition) == me:
                del group.holders[lease.partition]
        mine = {lease.partition for lease in self._places}
        free = [p for p, owner in sorted(group.target.items()) if owner == me and p not in group.holders]
        new = tuple(self._lease(partition) for partition in free if partition not in mine)
        self._generation = group.generation
        return [*([Revoked(tuple(gone))] if gone else []), *([Assigned(new)] if new else [])]

    def _gone(self, lease: Lease) -> bool:
        group, me = self._cluster.group, self._process.name
        return group.target.get(lease.partition) != me or group.holders.get(lease.partition) != me

    def _lease(self, partition: TopicPartition) -> Lease:
        self._serial += 1
        lease = Lease(partition, self._serial)
        self._cluster.group.holders[partition] = self._process.name
        self._places[lease] = _Place(lease)
        return lease

    def _fetched(self) -> list[Event]:
        places = [place for place in self._places.values() if place.started and not place.paused]
        self._hub.random.shuffle(places)
        for place in places:
            event = self._fetch(place)
            if event is not None:
                return [event]
        return []

    def _fetch(self, place: _Place) -> Event | None:
        log = self._cluster.log(place.lease.partition)
        if not log.low <= place.position <= log.high:
            place.started = False
            return OutOfRange(place.lease, f"{place.position} is not in {log.low} to {log.high}")
        found = log.readable(place.position, self._hub.random.randint(1, self._most))
        if found:
            span = Span(place.position, found[-1].offset + 1)
            place.position = span.end
            batch = RawBatch(
                place.lease.partition,
                span,
                [entry.offset for entry in found],
                [entry.timestamp for entry in found],
                [entry.value for entry in found],
                [None for _ in found],
            )
            return Records(place.lease, batch)
        if place.ended_at != log.lso:
            place.ended_at = log.lso
            place.position = max(place.position, log.lso)
            return EndReached(place.lease, place.position)
        return None

    def start(self, lease: Lease, offset: int) -> None:
        place = self._places.get(lease)
        if place is not None:
            place.position, place.started, place.paused, place.ended_at = offset, True, False, -1

    def pause(self, lease: Lease) -> None:
        if lease in self._places:
            self._places[lease].paused = True

    def resume(self, lease: Lease) -> None:
        if lease in self._places:
            self._places[lease].paused = False

    def commit(self, lease: Lease, commit: Commit) -> None:
        self._hub.point(self._process)
        draw = self._hub.random.random()
        if draw < self._outage:
            raise UnknownOutcomeError("no answer, no effect")
        self._check(lease)
        self._cluster.group.commits[lease.partition] = commit
        self._hub.point(self._process)
        if draw < 2 * self._outage:
            raise UnknownOutcomeError("no answer, but it took effect")

    def _check(self, lease: Lease) -> None:
        """The broker knows members and generations, not who owns what."""
        group = self._cluster.group
        if lease not in self._places or self._process.name not in group.members:
            raise LeaseLostError("the member is not in the group")
        if self._generation != group.generation and self._hub.random.random() < 0.5:
            raise LeaseLostError("another generation")

    def rejoin(self) -> None:
        self._cluster.rebalance()

    def alive_at(self) -> float:
        return self._hub.seconds

    def close(self) -> None:
        self._cluster.leave(self._process.name)
