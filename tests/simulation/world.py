"""The world of one schedule: a cluster, buckets, worker processes on their disks, and faults between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import BinaryIO, TypeVar

from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError, UnknownOutcomeError
from consumer.domain.offsets import TopicPartition
from consumer.seal.decide import Schedule
from consumer.seal.publisher import Publisher
from consumer.source.port import Broker, ClusterAdmin
from consumer.store.port import Body, BytesBody, Condition, ObjectInfo, Refused, Store, Stored, Written
from consumer.worker.backpressure import Limits
from consumer.worker.events import SpoolMeasured, WorkerEvent
from consumer.worker.executor import run_into
from consumer.worker.loop import Intervals, Worker
from consumer.worker.object_bodies import ObjectBodies
from consumer.worker.publish_task import PublishTask
from consumer.worker.stream_context import StreamConfig, StreamContext
from tests.fakes.disk import MemoryDisk
from tests.fakes.kafka.admin import MemoryAdmin
from tests.fakes.store import MemoryStore
from tests.simulation import rows
from tests.simulation.cluster import Cluster, SimBroker, ViewHooks
from tests.simulation.hub import Hub, Process, SkewedClock

T = TypeVar("T")

START = datetime(2026, 3, 1, 20, tzinfo=UTC)
SEAL_AT = timedelta(hours=4)
TOPIC = "t"
GROUP = "g"


@dataclass(slots=True)
class Faults:
    """How likely a call fails, and how."""

    store: float = 0.03
    lost_answer: float = 0.03
    cluster: float = 0.02


@dataclass(frozen=True, slots=True)
class Write:
    """One write that took effect: when, and under which condition."""

    at: datetime
    key: str


class TrueClock:
    """The store's clock."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def now(self) -> datetime:
        return self._hub.now()

    def monotonic(self) -> float:
        return self._hub.seconds


class SimStore:
    """`Store` of one process: outages, lost answers, and writes that take effect late."""

    keeps_metadata = True
    location = "memory://"

    def __init__(self, world: World, process: Process, bucket: MemoryStore) -> None:
        self._world, self._hub, self._process, self._bucket = world, world.hub, process, bucket

    def _point(self) -> None:
        self._hub.point(self._process)
        if self._hub.random.random() < self._world.faults.store:
            raise TransientError("store out of reach")

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        with body.open() as reader:
            frozen = BytesBody(reader.read())
        self._point()
        draw = self._hub.random.random() / self._world.faults.lost_answer if self._world.faults.lost_answer else 9.0
        if draw < 1 / 3:
            raise UnknownOutcomeError("the request was lost")
        if draw < 2 / 3:
            delay = self._hub.random.choice([1.0, 600.0, 20_000.0])
            self._world.later(delay, lambda: self._effect(key, frozen, condition, metadata))
            raise UnknownOutcomeError("the answer was lost, the request takes effect later")
        outcome = self._effect(key, frozen, condition, metadata)
        self._hub.point(self._process)
        if draw < 1:
            raise UnknownOutcomeError("the answer was lost")
        return outcome

    def _effect(
        self, key: str, body: Body, condition: Condition, metadata: Mapping[str, str] | None
    ) -> Written | Refused:
        outcome = self._bucket.put(key, body, condition=condition, metadata=metadata)
        if isinstance(outcome, Written):
            self._world.written(self._bucket, key)
        return outcome

    def get(self, key: str) -> Stored | None:
        self._point()
        return self._bucket.get(key)

    def head(self, key: str) -> ObjectInfo | None:
        self._point()
        return self._bucket.head(key)

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        self._point()
        return self._bucket.open(key, version_id=version_id)

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        self._point()
        return self._bucket.copy(source, target, etag=etag)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._point()
        return iter(list(self._bucket.list(prefix, after=after)))

    def now(self) -> datetime:
        self._point()
        return self._bucket.now()


class SimExecutor:
    """An executor whose calls are tasks of the process."""

    def __init__(self, hub: Hub, process: Process) -> None:
        self._hub, self._process = hub, process

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            run_into(future, call)
            self._hub.wake(self._process)

        self._hub.spawn(self._process, run)
        return future


@dataclass(slots=True)
class Machine:
    """A place where worker processes run one after the other, and its disk."""

    name: str
    disk: MemoryDisk
    process: Process | None = None
    worker: Worker | None = None
    broker: SimBroker | None = None
    old_disks: list[MemoryDisk] = field(default_factory=list)


class World:
    """Everything of one schedule, made from its seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.hub = Hub(self.random, START)
        self.faults = Faults()
        self.cluster = Cluster(TOPIC, GROUP, self.random.choice([1, 2, 3]))
        self.clock = TrueClock(self.hub)
        self.bucket = MemoryStore(self.clock)
        self.buckets = [self.bucket]
        self.spool_bytes = 1 << 30
        self.rules = rows.rules(TOPIC)
        self.registry = {0}
        self.events: list[WorkerEvent] = []
        self.backoff = Random(f"{seed} backoff")
        self.machines = [Machine(name, MemoryDisk()) for name in ("m0", "m1", "m2")]
        self.watchers: list[Callable[[MemoryStore, str], None]] = []
        self.network = Process("network")
        self.commits_moved = False
        self._serial = itertools.count()

    def hear(self, event: WorkerEvent) -> None:
        """Keep what happened for the oracle, but for what every step says."""
        if not isinstance(event, SpoolMeasured):
            self.events.append(event)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Something on its way through the network."""

        def run() -> None:
            self.hub.sleep(self.network, seconds)
            call()

        self.hub.spawn(self.network, run)

    def written(self, bucket: MemoryStore, key: str) -> None:
        """A write took effect: the invariants are looked at there and then."""
        for watch in self.watchers:
            watch(bucket, key)

    def start(self, machine: Machine, skew: timedelta = timedelta()) -> None:
        """Start a worker process on the machine, with today's settings."""
        process = Process(f"{machine.name}-{next(self._serial)}", skew)
        machine.process = process
        worker = machine.worker = self._worker(machine, process)

        def run() -> None:
            worker.start()
            while True:
                worker.step(self.random.uniform(60, 1200))

        self.hub.spawn(process, run)

    def kill(self, machine: Machine) -> None:
        """Kill -9 and a power cut: what was not synced may be gone. The group learns of it later or never."""
        assert machine.process is not None
        self.hub.kill(machine.process)
        self.evict(machine)
        machine.disk.crash(self.random)
        machine.process = machine.worker = machine.broker = None

    def evict(self, machine: Machine) -> None:
        """The session of the machine's worker runs out."""
        assert machine.broker is not None
        machine.broker.evict()

    def _cluster_faults(self) -> float:
        return self.faults.cluster

    def operators_context(self) -> StreamContext:
        """For who looks at the bucket and the cluster from outside, and never fails."""
        process = Process("operator")
        broker = SimBroker(self.hub, process, self.cluster, GROUP, self._cluster_faults)
        return self._context(
            self.bucket, MemoryAdmin(self.cluster.memory), broker, MemoryDisk(), self.clock, process.name
        )

    def _context(
        self, store: Store, admin: ClusterAdmin, broker: Broker, disk: MemoryDisk, clock: Clock, name: str
    ) -> StreamContext:
        return StreamContext(
            config=StreamConfig("sim", self.rules, GROUP, max_ratio=1.0),
            store=store,
            admin=admin,
            broker=broker,
            disk=disk,
            clock=clock,
            schedule=Schedule(SEAL_AT),
            writer=f"sim {name}",
            make_transformer=lambda rules: rows.SimTransformer(rules, self.registry),
            listener=self.hear,
            bodies=ObjectBodies(disk, Path("/nowhere")),
            jitter=self.backoff.random,
            share=lambda call: call,  # tasks are no threads: one that waited for a lock would wait for itself
        )

    def _worker(self, machine: Machine, process: Process) -> Worker:
        clock = SkewedClock(self.hub, process)
        broker = machine.broker = SimBroker(self.hub, process, self.cluster, GROUP, self._cluster_faults)
        store = SimStore(self, process, self.bucket)
        admin = MemoryAdmin(self.cluster.memory, ViewHooks(self.hub, process, self._cluster_faults))
        context = self._context(store, admin, broker, machine.disk, clock, process.name)
        publisher = Publisher(
            store,
            "sim",
            columns_of=lambda digest: context.ask_transformer(digest, TopicPartition(TOPIC, 0)).columns,
            today=lambda: context.ask_transformer(context.today, TopicPartition(TOPIC, 0)).columns,
            now=clock.now,
        )
        return Worker(
            {"sim": context},
            {"sim": PublishTask(context, publisher)},
            broker=broker,
            disk=machine.disk,
            executor=SimExecutor(self.hub, process),
            clock=clock,
            limits=Limits(self.spool_bytes, 0),
            intervals=Intervals(checkpoint_seconds=self.random.choice([5.0, 3600.0, 20_000.0]), pressure_seconds=0.0),
        )
