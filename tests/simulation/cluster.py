"""The cluster in memory as the simulation drives it: with a history for the oracle, and faults around every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from consumer.domain.errors import TransientError, UnknownOutcomeError
from consumer.domain.offsets import Commit, TopicPartition
from consumer.source.port import Event
from tests.fakes.kafka.admin import MemoryCluster
from tests.fakes.kafka.broker import MemoryBroker
from tests.fakes.kafka.group import MemoryGroup
from tests.fakes.kafka.log import MemoryLog, Outcome, Transaction
from tests.simulation.hub import Hub, Process, SkewedClock

BATCHES = range(1, 7)
"""How many records a poll delivers of a partition at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it was produced. `value` None is a tombstone."""

    offset: int
    timestamp: int
    value: bytes | None
    written_at: datetime
    transaction: Transaction | None

    @property
    def hidden(self) -> bool:
        """No reader gets it: its transaction did not commit."""
        return self.transaction is not None and self.transaction.outcome is not Outcome.COMMITTED


@dataclass(slots=True)
class History:
    """One partition: its log, and all that was ever produced to it, for the oracle."""

    log: MemoryLog
    made_at: datetime | None = None
    entries: list[Entry] = field(default_factory=list)

    def append(
        self, value: bytes | None, timestamp: int, now: datetime, transaction: Transaction | None = None
    ) -> None:
        offset = self.log.append(value, None, timestamp, transaction=transaction)
        self.entries.append(Entry(offset, timestamp, value, now, transaction))


class Cluster:
    """One topic and one group over `MemoryCluster`."""

    def __init__(self, topic: str, group: str, partitions: int) -> None:
        self.memory = MemoryCluster()
        self.memory.create_topic(topic, partitions)
        self.topic = topic
        self.group: MemoryGroup = self.memory.group(group)
        self.histories = [History(self._log(n)) for n in range(partitions)]

    def _log(self, number: int) -> MemoryLog:
        return self.memory.existing(TopicPartition(self.topic, number))

    @property
    def commits(self) -> dict[TopicPartition, Commit]:
        """What the group has committed; may be changed."""
        return self.group.committed

    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number) for number in range(len(self.histories))]

    def history(self, partition: TopicPartition) -> History:
        return self.histories[partition.partition]

    def grow(self, now: datetime) -> None:
        """One partition more."""
        number = len(self.histories)
        self.memory.add_partitions(self.topic, number + 1)
        self.histories.append(History(self._log(number), now))


class ViewHooks:
    """Around the questions to the cluster: others go first, and brokers may be out of reach."""

    def __init__(self, hub: Hub, process: Process, outage: Callable[[], float]) -> None:
        self._hub, self._process, self._outage = hub, process, outage

    def before(self, call: str) -> None:
        self._hub.point(self._process)
        if self._hub.random.random() < self._outage():
            raise TransientError(f"{call}: the cluster is out of reach")

    def after(self, call: str) -> None:
        self._hub.point(self._process)


class MemberHooks:
    """Around a member's calls: others go first, polls may fail, and the answer to a commit may be lost."""

    def __init__(self, hub: Hub, process: Process, outage: Callable[[], float]) -> None:
        self._hub, self._process, self._outage = hub, process, outage

    def before(self, call: str) -> None:
        self._hub.point(self._process)
        if call == "poll" and self._bad_luck():
            raise TransientError("brokers are out of reach")
        if call == "commit" and self._bad_luck():
            raise UnknownOutcomeError("no answer, no effect")

    def after(self, call: str) -> None:
        self._hub.point(self._process)
        if call == "commit" and self._bad_luck():
            raise UnknownOutcomeError("no answer, but it took effect")

    def _bad_luck(self) -> bool:
        return self._hub.random.random() < self._outage()


class SimBroker(MemoryBroker):
    """`MemoryBroker` of one process: its waiting is the hub's, its batches are of any size."""

    def __init__(self, hub: Hub, process: Process, cluster: Cluster, group: str, outage: Callable[[], float]) -> None:
        hooks = MemberHooks(hub, process, outage)
        super().__init__(cluster.memory, group, hooks=hooks, clock=SkewedClock(hub, process))
        self._hub, self._process = hub, process

    def poll(self, timeout: float, *, records: bool = True) -> list[Event]:
        self.batch = self._hub.random.choice(BATCHES)
        if self._hub.random.random() < 0.01:
            self.refuse_commits()
        try:
            events = super().poll(0, records=records)
        except TransientError:
            self._hub.sleep(self._process, timeout)
            raise
        if not events:
            self._hub.sleep(self._process, timeout)
        return events

    def wake(self) -> None:
        self._hub.wake(self._process)
