"""Kafka in memory: for tests, for the simulation, and for `demo`. One thread, no real time, the same run every time.

`MemoryCluster` is what the outside does to the topics; `MemoryAdmin` and `memory_broker.MemoryBroker` are the ports
over it. Every call of theirs is one step: the hooks before and after it may switch to another actor, or raise to play a
crash, an outage (before), an outcome that is unknown (after).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from threading import RLock
from typing import Protocol

from consumer.domain.errors import TransientError
from consumer.domain.offsets import Commit, LogEnds, Span, TopicPartition
from consumer.source.port import TopicFacts, millis_from
from tests.fakes.kafka.group import MemoryGroup
from tests.fakes.kafka.log import MemoryLog, Transaction


class Hooks(Protocol):
    """Called around every call of a port, with its name."""

    def before(self, call: str) -> None:
        """What it raises happens instead of the call."""

    def after(self, call: str) -> None:
        """What it raises hides that the call was done."""


class NoHooks:
    """Nothing happens."""

    def before(self, call: str) -> None:
        """Nothing."""

    def after(self, call: str) -> None:
        """Nothing."""


@dataclass(slots=True)
class MemoryTopic:
    """A topic: its id, its settings, its partitions' logs."""

    topic_id: str
    settings: dict[str, str]
    logs: list[MemoryLog] = field(default_factory=list)


class MemoryCluster:
    """Topics and groups. `lock` makes a step of a port whole where several threads use it (the demo's pages)."""

    def __init__(self) -> None:
        self.lock = RLock()
        self._topics: dict[str, MemoryTopic] = {}
        self._partitions: dict[str, int] = {}
        self._groups: dict[str, MemoryGroup] = {}
        self._topics_made = 0
        self._members_made = 0

    def copy(self) -> MemoryCluster:
        """Another cluster with the same topics and records, without the groups."""
        other = MemoryCluster()
        other._topics, other._partitions = deepcopy(self._topics), dict(self._partitions)
        other._topics_made = self._topics_made
        return other

    def create_topic(self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> str:
        """Make a topic; returns its id. A name that was deleted gets another id."""
        if name in self._topics:
            raise ValueError(f"topic {name} exists")
        self._topics_made += 1
        topic = MemoryTopic(f"topic-{self._topics_made:04d}", {"cleanup.policy": "delete", **(settings or {})})
        self._topics[name] = topic
        self.add_partitions(name, partitions)
        return topic.topic_id

    def delete_topic(self, name: str) -> None:
        """Forget a topic with all it holds and all that was committed for it."""
        del self._topics[name], self._partitions[name]
        for group in self._groups.values():
            group.committed = {p: c for p, c in group.committed.items() if p.topic != name}
            group.notice()

    def add_partitions(self, name: str, total: int) -> None:
        """Grow a topic to `total` partitions. Groups with a living member notice."""
        logs = self._topics[name].logs
        logs.extend(MemoryLog() for _ in range(total - len(logs)))
        self._partitions[name] = len(logs)
        for group in self._groups.values():
            group.notice()

    def topic(self, name: str) -> MemoryTopic | None:
        """The topic, if it exists."""
        return self._topics.get(name)

    def log(self, partition: TopicPartition) -> MemoryLog | None:
        """The partition's log, if it exists: retention, truncation and compaction are its methods."""
        topic = self._topics.get(partition.topic)
        known = topic is not None and 0 <= partition.partition < len(topic.logs)
        return topic.logs[partition.partition] if topic is not None and known else None

    def existing(self, partition: TopicPartition) -> MemoryLog:
        """The partition's log. Raises TransientError where there is none."""
        log = self.log(partition)
        if log is None:
            raise TransientError(f"{partition} does not exist")
        return log

    def produce(
        self,
        partition: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp: int = -1,
        transaction: Transaction | None = None,
    ) -> int:
        """Append a record; returns its offset. `timestamp` is epoch ms, -1 for none."""
        with self.lock:
            return self.existing(partition).append(value, key, timestamp, transaction=transaction)

    def group(self, name: str) -> MemoryGroup:
        """The group, made where it is new."""
        return self._groups.setdefault(name, MemoryGroup(self._partitions))

    def new_member_id(self) -> str:
        """An id that no member has had."""
        self._members_made += 1
        return f"member-{self._members_made:04d}"


class MemoryAdmin:
    """The port `ClusterAdmin` over a `MemoryCluster`."""

    def __init__(self, cluster: MemoryCluster, hooks: Hooks | None = None) -> None:
        self._cluster = cluster
        self._hooks = hooks or NoHooks()

    def topic(self, name: str) -> TopicFacts | None:
        """The topic's facts, or None where it does not exist."""
        self._hooks.before("topic")
        with self._cluster.lock:
            found = self._cluster.topic(name)
            facts = TopicFacts(name, found.topic_id, len(found.logs), dict(found.settings)) if found else None
        self._hooks.after("topic")
        return facts

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        """Where each partition's log begins and ends now."""
        self._hooks.before("ends")
        with self._cluster.lock:
            found = {p: self._cluster.existing(p).ends for p in partitions}
        self._hooks.after("ends")
        return found

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        """What the group has committed; None where nothing is, or it expired."""
        self._hooks.before("committed")
        with self._cluster.lock:
            committed = self._cluster.group(group).committed
            found = {p: committed.get(p) for p in partitions}
        self._hooks.after("committed")
        return found

    def offset_at(self, partition: TopicPartition, instant: datetime) -> int | None:
        """The offset of the first record stamped at or after `instant`; None where there is none."""
        self._hooks.before("offset_at")
        with self._cluster.lock:
            found = self._cluster.existing(partition).first_since(millis_from(instant))
        self._hooks.after("offset_at")
        return found

    def unreadable(self, partition: TopicPartition, offset: int) -> Span | None:
        """The offsets from `offset` on that no client can read."""
        self._hooks.before("unreadable")
        with self._cluster.lock:
            bad, end = self._cluster.existing(partition).unreadable, offset
            while end in bad:
                end += 1
        self._hooks.after("unreadable")
        return Span(offset, end) if end > offset else None

    def unowned(self, group: str, topics: Sequence[str]) -> set[TopicPartition]:
        """The partitions of these topics that no member of a stable group is assigned; empty while it rebalances."""
        self._hooks.before("unowned")
        with self._cluster.lock:
            found = self._cluster.group(group).unowned(topics)
        self._hooks.after("unowned")
        return found
