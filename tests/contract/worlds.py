"""The same Kafka twice: in memory, and for real. Tests of the ports run over both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Protocol
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.cimpl import NewPartitions

from consumer.domain.batches import RawBatch
from consumer.domain.errors import TransientError
from consumer.domain.offsets import Lease, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.admin import KafkaAdmin
from consumer.source.broker import KafkaBroker
from consumer.source.port import (
    Assigned,
    Broker,
    ClusterAdmin,
    EndReached,
    Event,
    OutOfRange,
    RangeReader,
    Records,
    Revoked,
    Unreadable,
)
from consumer.source.range_reader import KafkaRangeReader
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.kafka.broker import MemoryBroker
from tests.fakes.kafka.log import Transaction
from tests.fakes.kafka.range_reader import MemoryRangeReader
from tests.services.kafka import RELEASE, KafkaAddress

Value = bytes | None


class Writer(Protocol):
    """Writes to partitions, and ends its transaction."""

    def send(self, partition: TopicPartition, *values: Value) -> None: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class World(Protocol):
    """A cluster and one group of it."""

    group: str

    def topic(self, partitions: int = 1, settings: dict[str, str] | None = None) -> str: ...

    def grow(self, topic: str, total: int) -> None: ...

    @property
    def brokers_assign(self) -> bool: ...

    def delete_topic(self, topic: str) -> None: ...

    def create_topic(self, topic: str, partitions: int) -> None: ...

    def send(
        self, partition: TopicPartition, *values: Value, timestamp: int | None = None, key: bytes | None = None
    ) -> None: ...

    def transaction(self) -> Writer: ...

    def delete_below(self, partition: TopicPartition, offset: int) -> None: ...

    def broker(self, instance_id: str = "") -> Broker: ...

    def admin(self) -> ClusterAdmin: ...

    def range_reader(self, silence_seconds: float = 30) -> RangeReader: ...

    def close(self) -> None: ...


class MemoryWorld:
    """Over `MemoryCluster`."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.group = "group"
        self._names = (f"topic-{n}" for n in count())
        self.brokers_assign = False

    def topic(self, partitions: int = 1, settings: dict[str, str] | None = None) -> str:
        name = next(self._names)
        self.cluster.create_topic(name, partitions, settings)
        return name

    def grow(self, topic: str, total: int) -> None:
        self.cluster.add_partitions(topic, total)

    def delete_topic(self, topic: str) -> None:
        self.cluster.delete_topic(topic)

    def create_topic(self, topic: str, partitions: int) -> None:
        self.cluster.create_topic(topic, partitions)

    def send(
        self, partition: TopicPartition, *values: Value, timestamp: int | None = None, key: bytes | None = None
    ) -> None:
        for value in values:
            self.cluster.produce(partition, value, key=key, timestamp=_now() if timestamp is None else timestamp)

    def transaction(self) -> Writer:
        return _MemoryWriter(self.cluster)

    def delete_below(self, partition: TopicPartition, offset: int) -> None:
        self.cluster.existing(partition).delete_below(offset)

    def broker(self, instance_id: str = "") -> MemoryBroker:
        return MemoryBroker(self.cluster, self.group, instance_id=instance_id or None)

    def admin(self) -> ClusterAdmin:
        return MemoryAdmin(self.cluster)

    def range_reader(self, silence_seconds: float = 30) -> RangeReader:
        return MemoryRangeReader(self.cluster)

    def close(self) -> None:
        """Nothing runs."""


class _MemoryWriter(Transaction):
    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__()
        self._cluster = cluster

    def send(self, partition: TopicPartition, *values: Value) -> None:
        for value in values:
            self._cluster.produce(partition, value, timestamp=_now(), transaction=self)


class KafkaWorld:
    """Over a broker. Its timers are short, so that a member that went away is missed within seconds."""

    def __init__(self, kafka: KafkaAddress, topic: Callable[..., str], protocol: str) -> None:
        if protocol == "consumer" and RELEASE < (4, 0):
            pytest.skip("group.protocol=consumer (KIP-848) needs Kafka 4.0")
        self.kafka = kafka
        self.group = f"group-{uuid4().hex[:12]}"
        self._make_topic = topic
        self.protocol = protocol
        self.brokers_assign = protocol == "consumer"
        self._admin = kafka.admin()  # kept: an answer dies with its client
        self._brokers: list[KafkaBroker] = []
        in_order = {"max.in.flight.requests.per.connection": 1}  # also where a request is sent again
        self._producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0, "log_level": 0, **in_order}
        )

    def topic(self, partitions: int = 1, settings: dict[str, str] | None = None) -> str:
        return self._make_topic(partitions, config=settings)

    def grow(self, topic: str, total: int) -> None:
        self._admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)

    def delete_topic(self, topic: str) -> None:
        self.kafka.delete_topic(topic)

    def create_topic(self, topic: str, partitions: int) -> None:
        until(lambda: not _exists(self.kafka, topic))
        self.kafka.create_topic(topic, partitions)

    def send(
        self, partition: TopicPartition, *values: Value, timestamp: int | None = None, key: bytes | None = None
    ) -> None:
        stamp = _now() if timestamp is None else timestamp
        for value in values:
            self._producer.produce(partition.topic, value, key=key, partition=partition.partition, timestamp=stamp)
        assert self._producer.flush(30) == 0

    def transaction(self) -> Writer:
        return _KafkaWriter(self.kafka.bootstrap_servers, self.admin())

    def delete_below(self, partition: TopicPartition, offset: int) -> None:
        place = Place(partition.topic, partition.partition, offset)
        self._admin.delete_records([place])[place].result(30)

    def settings(self, instance_id: str = "", **options: str) -> KafkaSettings:
        """Settings of a member of the group."""
        classic = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "300"} if self.protocol == "classic" else {}
        common = {
            "group.protocol": self.protocol,
            "topic.metadata.refresh.interval.ms": "500",
            "fetch.wait.max.ms": "50",
            "statistics.interval.ms": "1000",
        }
        return KafkaSettings(
            bootstrap_servers=self.kafka.bootstrap_servers,
            group_id=self.group,
            instance_id=instance_id,
            options={**common, **classic, **options},
        )

    def broker(self, instance_id: str = "") -> KafkaBroker:
        broker = KafkaBroker(self.settings(instance_id))
        self._brokers.append(broker)
        return broker

    def admin(self) -> ClusterAdmin:
        return KafkaAdmin(self.settings())

    def range_reader(self, silence_seconds: float = 30) -> RangeReader:
        return KafkaRangeReader(self.settings(), silence_seconds=silence_seconds)

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


class _KafkaWriter:
    """Ends when the markers stand in the logs, which is a moment after the producer's call."""

    def __init__(self, bootstrap_servers: str, admin: ClusterAdmin) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap_servers, "transactional.id": f"t-{uuid4().hex}", "log_level": 0}
        )
        self._producer.init_transactions(30)
        self._producer.begin_transaction()
        self._admin = admin
        self._written: set[TopicPartition] = set()

    def send(self, partition: TopicPartition, *values: Value) -> None:
        for value in values:
            self._producer.produce(partition.topic, value, partition=partition.partition)
        assert self._producer.flush(30) == 0
        self._written.add(partition)

    def commit(self) -> None:
        self._producer.commit_transaction(30)
        self._await_markers()

    def abort(self) -> None:
        self._producer.abort_transaction(30)
        self._await_markers()

    def _await_markers(self) -> None:
        until(lambda: not any(ends.transaction_open for ends in self._admin.ends(self._written).values()))


def _exists(kafka: KafkaAddress, topic: str) -> bool:
    found = kafka.admin().list_topics(timeout=10).topics.get(topic)
    return found is not None and found.error is None


def _now() -> int:
    return int(time.time() * 1000)


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that nothing announces."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


class Watcher:
    """Polls a broker and holds it to its promises: spans tile, records lie in their spans, void leases are silent."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self.broker = broker
        self.live: dict[TopicPartition, Lease] = {}
        self.void: set[Lease] = set()
        self.lost: set[Lease] = set()
        self.position: dict[Lease, int] = {}
        self.records: dict[Lease, list[tuple[int, Value]]] = {}
        self.ends: dict[Lease, list[int]] = {}
        self.out_of_range: set[Lease] = set()
        self.outages: list[TransientError] = []
        self.unreadable: list[Unreadable] = []
        self.auto_start: int | None = None
        broker.subscribe(topics)

    def poll(self, timeout: float = 0.05) -> list[Event]:
        """One poll, checked and remembered."""
        try:
            events = self.broker.poll(timeout)
        except TransientError as error:
            self.outages.append(error)
            return []
        for event in events:
            self._take(event)
        return events

    def until(self, done: Callable[[], bool], seconds: float = 30) -> None:
        """Poll until it is so."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"it did not come to pass: {self.position} {self.outages}"
            self.poll()

    def quiet(self, polls: int = 8) -> list[Event]:
        """What comes in a while."""
        return [event for _ in range(polls) for event in self.poll()]

    def until_assigned(self, number: int) -> None:
        """Poll until so many partitions are ours."""
        self.until(lambda: len(self.live) == number)

    def start(self, lease: Lease, offset: int = 0) -> Lease:
        """Start it here, and expect it there."""
        self.broker.start(lease, offset)
        self.position[lease] = offset
        self.records[lease] = []
        self.ends[lease] = []
        self.out_of_range.discard(lease)
        return lease

    def start_first(self, offset: int = 0) -> Lease:
        """Wait for one partition and start it."""
        self.until_assigned(1)
        return self.start(next(iter(self.live.values())), offset)

    def values(self, lease: Lease) -> list[Value]:
        """What was delivered since the lease's last start."""
        return [value for _offset, value in self.records[lease]]

    def until_end(self, lease: Lease, offset: int) -> None:
        """Poll until the reader stands at the end, which is here."""
        self.until(lambda: self.ends[lease][-1:] == [offset])

    def _take(self, event: Event) -> None:
        match event:
            case Assigned(leases):
                for lease in leases:
                    self._gain(lease)
            case Revoked(leases, lost):
                self._lose(leases, lost=lost)
            case Records(lease, batch):
                self._check_started(lease)
                self._check_batch(lease, batch)
                self.position[lease] = batch.span.end
                self.records[lease] += zip(batch.offsets, batch.values, strict=True)
            case EndReached(lease, offset):
                self._check_started(lease)
                assert offset >= self.position[lease]
                self.position[lease] = offset
                self.ends[lease].append(offset)
            case OutOfRange(lease):
                self._check_started(lease)
                self.out_of_range.add(lease)
            case Unreadable(lease):
                self._check_started(lease)
                self.unreadable.append(event)

    def _lose(self, leases: Sequence[Lease], *, lost: bool) -> None:
        for lease in leases:
            assert self.live.pop(lease.partition) == lease
        self.void.update(leases)
        self.lost.update(leases if lost else ())

    def _gain(self, lease: Lease) -> None:
        assert lease.partition not in self.live
        assert lease not in self.void
        self.live[lease.partition] = lease
        if self.auto_start is not None:
            self.start(lease, self.auto_start)

    def _check_batch(self, lease: Lease, batch: RawBatch) -> None:
        assert batch.partition == lease.partition
        assert batch.span.start == self.position[lease], "spans must tile"
        assert list(batch.offsets) == sorted(set(batch.offsets))
        assert all(offset in batch.span for offset in batch.offsets)
        assert len(batch) == len(batch.timestamps) == len(batch.values) == len(batch.keys) > 0

    def _check_started(self, lease: Lease) -> None:
        assert self.live.get(lease.partition) == lease, "a void lease must be silent"
        assert lease in self.position, "nothing before start"
        assert lease not in self.out_of_range, "nothing after out of range"


@contextmanager
def watching(world: World, *topics: str, instance_id: str = "") -> Iterator[Watcher]:
    """A watched member of the group that leaves at the end."""
    broker = world.broker(instance_id)
    try:
        yield Watcher(broker, *topics)
    finally:
        broker.close()


def poll_all(watchers: Sequence[Watcher], done: Callable[[], bool], seconds: float = 30) -> None:
    """Poll several members in turn until it is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"it did not come to pass: {[w.live for w in watchers]}"
        for watcher in watchers:
            watcher.poll(0.02)


def texts(low: int, high: int) -> list[bytes]:
    """Values that say their number."""
    return [str(n).encode() for n in range(low, high)]
