"""The world of one schedule: a cluster, buckets, worker processes on their disks, and faults between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import BinaryIO

from consumer.domain.batches import TransformedBatch
from consumer.domain.clock import Clock
from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.domain.offsets import TopicPartition
from consumer.seal.decide import Schedule
from consumer.seal.objects import ObjectChecker, count_rows
from consumer.seal.publisher import Published, Publisher
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.replacements.log import ReplacementLog
from consumer.source.port import Broker, ClusterAdmin
from consumer.store.port import Body, BytesBody, Condition, ObjectInfo, Refused, Store, Stored, Written
from consumer.worker.backpressure import Limits
from consumer.worker.executor import Job
from consumer.worker.lookahead import AtOnce
from consumer.worker.loop import Pace, Worker
from consumer.worker.object_bodies import ObjectBodies
from consumer.worker.publish_task import PublishTask
from consumer.worker.stream_context import StreamConfig, StreamContext
from tests.fakes.disk import MemoryDisk
from tests.fakes.kafka.admin import MemoryAdmin
from tests.fakes.store import MemoryStore
from tests.simulation import rows
from tests.simulation.cluster import Cluster, SimBroker, ViewHooks
from tests.simulation.hub import Hub, Process, SkewedClock

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


class SimJobs:
    """`Jobs` as tasks of the process."""

    def __init__(self, hub: Hub, process: Process) -> None:
        self._hub, self._process = hub, process

    def submit(self, job: Job) -> None:
        def run() -> None:
            job.run()
            self._hub.wake(self._process)

        self._hub.spawn(self._process, run)


@dataclass(slots=True)
class Ear:
    """`Listener` that remembers what a schedule should be able to show."""

    seals: list[Record] = field(default_factory=list)
    halts: list[HaltError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused_commits: int = 0

    def judged(self, judged: TransformedBatch, already_sealed: int) -> None: ...
    def recovered(self, partition: TopicPartition, notes: tuple[str, ...]) -> None:
        self.notes.extend(notes)

    def sealing(self, partition: TopicPartition, reason: str) -> None:
        self.notes.append(reason)

    def sealed(self, record: Record, seconds: float) -> None:
        self.seals.append(record)

    def uploaded(self, entry: ObjectEntry, size: int, *, written: bool, seconds: float) -> None: ...
    def upload_failed(self, entry: ObjectEntry) -> None: ...
    def committed(self, partition: TopicPartition, offset: int, outcome: str) -> None:
        self.refused_commits += outcome == "refused"

    def outage(self, partition: TopicPartition, error: TransientError | None) -> None: ...
    def halted(self, partition: TopicPartition, halt: HaltError | None) -> None:
        if halt is not None:
            self.halts.append(halt)

    def cleared(self, partition: TopicPartition, reason: HaltReason | None) -> None: ...
    def published(self, stream: str, published: Published) -> None: ...
    def delayed(self, stream: str, halt: HaltError) -> None:
        self.halts.append(halt)

    def publish_outage(self, stream: str, error: TransientError | None) -> None: ...
    def rebalanced(self, assigned: Mapping[str, int]) -> None: ...
    def pressed(self, used: int, free: int, *, held: bool) -> None: ...
    def paused(self, partition: TopicPartition, reason: str | None) -> None: ...


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
        self.ear = Ear()
        self.machines = [Machine(name, MemoryDisk()) for name in ("m0", "m1", "m2")]
        self.watchers: list[Callable[[MemoryStore, str], None]] = []
        self.network = Process("network")
        self.commits_moved = False
        self._serial = itertools.count()

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

    def operators_desk(self) -> StreamContext:
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
            listener=self.ear,
            bodies=ObjectBodies(disk, Path("/nowhere")),
            jitter=self.random.random,
        )

    def _worker(self, machine: Machine, process: Process) -> Worker:
        clock = SkewedClock(self.hub, process)
        broker = machine.broker = SimBroker(self.hub, process, self.cluster, GROUP, self._cluster_faults)
        store = SimStore(self, process, self.bucket)
        jobs = SimJobs(self.hub, process)
        admin = MemoryAdmin(self.cluster.memory, ViewHooks(self.hub, process, self._cluster_faults))
        context = self._context(store, admin, broker, machine.disk, clock, process.name)
        context.ahead = AtOnce(depth=self.machines.index(machine) % 2)  # half of them keep what is judged waiting
        publisher = Publisher(
            store,
            "sim",
            columns_of=lambda digest: context.ask_transformer(digest, TopicPartition(TOPIC, 0)).columns,
            today=lambda: context.ask_transformer(context.today, TopicPartition(TOPIC, 0)).columns,
            object_checker=lambda: ObjectChecker(store, count_rows),
            count_rows=count_rows,
            digest=lambda key: (0, ""),
            replaced=ReplacementLog(store, "sim").read,
            now=clock.now,
        )
        return Worker(
            {"sim": context},
            {"sim": PublishTask(context, publisher)},
            broker=broker,
            disk=machine.disk,
            jobs=jobs,
            clock=clock,
            limits=Limits(self.spool_bytes, 0),
            pace=Pace(checkpoint_seconds=self.random.choice([5.0, 3600.0, 20_000.0]), pressure_seconds=0.0),
        )
