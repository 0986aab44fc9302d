"""A worker on the bench: its outside is in memory, its executor runs calls when asked, its clock moves by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from consumer.domain.batches import RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.errors import HaltReason, TransientError
from consumer.domain.offsets import Commit, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.decide import Schedule
from consumer.seal.log import SealLog
from consumer.seal.publisher import Publisher
from consumer.seal.record import Record
from consumer.store.port import Store
from consumer.streams.rules import RowRules
from consumer.worker.backpressure import Limits
from consumer.worker.events import (
    CommitOutcome,
    CommitTried,
    OutageMet,
    OutageOver,
    PartitionHalted,
    PartitionRecovered,
    PartitionResumed,
    ReadingPaused,
    ReadingResumed,
    SealConsidered,
    SealFinished,
    WorkerEvent,
)
from consumer.worker.executor import run_into
from consumer.worker.loop import Intervals, Worker
from consumer.worker.object_bodies import ObjectBodies
from consumer.worker.partition import Partition
from consumer.worker.publish_task import PublishTask
from consumer.worker.stream_context import StreamConfig, StreamContext
from tests.builders.chains import ONE, SEAL_AT, at, day
from tests.builders.rough import RoughStore, SetClock
from tests.fakes.disk import MemoryDisk
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster, NoHooks
from tests.fakes.kafka.broker import MemoryBroker
from tests.fakes.kafka.log import MemoryLog, Transaction
from tests.simulation import rows

GROUP = "g"
PLENTY = Limits(1 << 40, 0)


E = TypeVar("E", bound=WorkerEvent)
T = TypeVar("T")


class HandExecutor:
    """An executor whose calls run when they are submitted; with `held` they wait for `run`."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.held = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self.waiting.append(lambda: run_into(future, call))
        if not self.held:
            self.run()
        return future

    def run_one(self) -> None:
        """Run the call that has waited longest."""
        self.waiting.popleft()()

    def run(self) -> None:
        """Run what waits."""
        while self.waiting:
            self.run_one()


class MoodyTransformer:
    """A transformer with a registry that may be out of reach: `trouble` is raised instead of a verdict."""

    def __init__(self, rules: RowRules, moods: Moods) -> None:
        self._transform = rows.SimTransformer(rules, moods.registry)
        self._moods = moods
        self.columns = self._transform.columns

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        if self._moods.trouble is not None:
            raise self._moods.trouble
        return self._transform.transform(batch, how)


@dataclass
class Moods:
    """What all transformers of a bench share."""

    registry: set[int] = field(default_factory=lambda: {0})
    trouble: Exception | None = None


class Hooks(NoHooks):
    """Hooks of a port that the test sets."""

    def __init__(self) -> None:
        self.on_before: Callable[[str], None] = lambda call: None
        self.on_after: Callable[[str], None] = lambda call: None

    def before(self, call: str) -> None:
        self.on_before(call)

    def after(self, call: str) -> None:
        self.on_after(call)


class World:
    """A cluster, a bucket and a clock that workers share. It is 20:00 of day 0."""

    def __init__(self, partitions: int = 1, *, store: RoughStore | None = None, topics: Sequence[str] = ("t",)) -> None:
        self.clock = SetClock(at(0, -4))
        self.store = store or RoughStore(self.clock)
        self.store.clock = self.store._clock = self.clock
        self.cluster = MemoryCluster()
        for topic in topics:
            self.cluster.create_topic(topic, partitions)
        self.group = self.cluster.group(GROUP)

    def write(
        self,
        number: int,
        identity: str = "x",
        kind: str = "a",
        *,
        partition: TopicPartition = ONE,
        timestamp: int | None = None,
        transaction: Transaction | None = None,
        schema: int = 0,
    ) -> int:
        """A record that becomes a row of day `number`."""
        return self.raw(rows.value(identity, kind, day(number), schema), partition, timestamp, transaction)

    def raw(
        self,
        value: bytes | None,
        partition: TopicPartition = ONE,
        timestamp: int | None = None,
        transaction: Transaction | None = None,
    ) -> int:
        """Any record."""
        stamp = int(self.clock.now().timestamp() * 1000) if timestamp is None else timestamp
        return self.cluster.produce(partition, value, timestamp=stamp, transaction=transaction)

    def log(self, partition: TopicPartition = ONE) -> MemoryLog:
        return self.cluster.existing(partition)

    def chain(self, partition: TopicPartition = ONE) -> Chain:
        return SealLog(self.store, partition).read()

    def committed(self, partition: TopicPartition = ONE) -> Commit | None:
        return self.group.committed.get(partition)

    def lines(self, key: str) -> list[str]:
        """The rows of an object, without its header."""
        return self.store.content(key).decode().splitlines()[1:]

    def objects(self) -> dict[str, list[str]]:
        """The rows of all data objects, by day and seal's through: `3/00000100`."""
        found = {}
        for key in self.store.names("s/"):
            if ".csv" in key:
                number = (date.fromisoformat(key.split("dt=")[1][:10]) - day(0)).days
                found[f"{number}/{int(key.rsplit('-', 1)[1].split('.')[0])}"] = self.lines(key)
        return found

    def manifest(self, number: int) -> dict[str, Any]:
        found = orjson.loads(self.store.content(f"s/dt={day(number)}/_manifest.json"))
        assert isinstance(found, dict)
        return found

    def published(self) -> list[int]:
        """The days with a mark."""
        marks = [key for key in self.store.names("s/") if key.endswith("_SUCCESS")]
        return [(date.fromisoformat(key.split("dt=")[1][:10]) - day(0)).days for key in marks]

    def due(self, number: int, minutes: float = 0) -> None:
        """It becomes the minute at which the day is due, unless it is later already."""
        self.clock.advance(max(0.0, (at(number, 4 + minutes / 60) - self.clock.now()).total_seconds()))


class Member:
    """One worker process."""

    def __init__(
        self,
        world: World,
        *,
        disk: MemoryDisk | None = None,
        rules: RowRules | None = None,
        schedule: Schedule | None = None,
        limits: Limits = PLENTY,
        intervals: Intervals = Intervals(0.0, 0.0),  # noqa: B008 - immutable
        store: Store | None = None,
        streams: Mapping[str, str] | None = None,
        **job: Any,
    ) -> None:
        self.world = world
        self.disk = disk or MemoryDisk()
        self.events: list[WorkerEvent] = []
        self.executor = HandExecutor()
        self.moods = Moods()
        self.hooks = Hooks()
        self.view_hooks = Hooks()
        self.broker = MemoryBroker(world.cluster, GROUP, hooks=self.hooks, clock=world.clock)
        self.contexts = {
            name: self._context(
                name, rules or rows.rules(topic), schedule or Schedule(SEAL_AT), store or world.store, job
            )
            for name, topic in (streams or {"s": "t"}).items()
        }
        self.worker = Worker(
            self.contexts,
            {name: PublishTask(context, self._publisher(context)) for name, context in self.contexts.items()},
            broker=self.broker,
            disk=self.disk,
            executor=self.executor,
            clock=world.clock,
            limits=limits,
            intervals=intervals,
        )

    def _context(
        self, name: str, rules: RowRules, schedule: Schedule, store: Store, config: Mapping[str, Any]
    ) -> StreamContext:
        return StreamContext(
            config=replace(StreamConfig(name, rules, GROUP, max_ratio=1.0), **config),
            store=store,
            admin=MemoryAdmin(self.world.cluster, self.view_hooks),
            broker=self.broker,
            disk=self.disk,
            clock=self.world.clock,
            schedule=schedule,
            writer="bench",
            make_transformer=self._transform,
            listener=self.events.append,
            bodies=ObjectBodies(self.disk, Path("/nowhere")),
            jitter=lambda: 0.0,
        )

    def _transform(self, rules: RowRules) -> RowTransformer:
        return MoodyTransformer(rules, self.moods)

    def _publisher(self, context: StreamContext) -> Publisher:
        return Publisher(
            context.store,
            context.config.name,
            columns_of=lambda digest: self._transform(context.ask_rules(digest, ONE)).columns,
            today=lambda: self._transform(context.config.rules).columns,
            now=context.clock.now,
        )

    # What the test does with it

    def start(self) -> Member:
        self.worker.start()
        return self

    def turn(self, times: int = 1, *, seconds: float = 0.0) -> None:
        """Turns of the loop, with time between them."""
        for _ in range(times):
            self.worker.step(0)
            self.world.clock.advance(seconds)

    def until(self, holds: Callable[[], object], *, seconds: float = 600.0, pause: float = 0.5) -> None:
        """Turns until this holds. Fails where it does not within these seconds of the clock."""
        end = self.world.clock.monotonic() + seconds
        while not holds():
            if self.world.clock.monotonic() > end:
                pytest.fail(f"it never came: {self.events[-12:]}")
            self.turn(seconds=pause)

    def calm(self, turns: int = 30) -> None:
        """Turns enough for anything that is to happen now."""
        self.turn(turns, seconds=0.5)

    @property
    def partition(self) -> Partition:
        """The only partition."""
        (partition,) = self.worker.partitions.values()
        return partition

    def partitions(self) -> dict[TopicPartition, Partition]:
        return {partition.name: partition for partition in self.worker.partitions.values()}

    def sealed(self) -> list[Record]:
        return [event.record for event in self.heard(SealFinished)]

    def heard(self, kind: type[E]) -> list[E]:
        """The events of this kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def notes(self) -> list[str]:
        """What each recovery found."""
        return [" · ".join(event.notes) for event in self.heard(PartitionRecovered)]

    def reasons(self) -> list[str]:
        """Why seals were decided or not."""
        return [event.reason for event in self.heard(SealConsidered)]

    def outages(self, where: str = "t:0") -> list[TransientError | None]:
        """Each outage met, None where it was over."""
        found = [event for event in self.events if isinstance(event, OutageMet | OutageOver) and event.where == where]
        return [event.error if isinstance(event, OutageMet) else None for event in found]

    def commits(self) -> list[tuple[int, CommitOutcome]]:
        """Each commit that was tried: its offset, and what came of it."""
        return [(event.offset, event.outcome) for event in self.heard(CommitTried)]

    def pauses(self) -> list[str | None]:
        """Why reading was paused, None where it went on."""
        found = [event for event in self.events if isinstance(event, ReadingPaused | ReadingResumed)]
        return [event.reason if isinstance(event, ReadingPaused) else None for event in found]

    def crash(self) -> None:
        """Killed: the group goes on without it, its disk keeps what a kill leaves."""
        self.broker.evict()
        self.worker.partitions.clear()

    def halts(self) -> list[HaltReason | None]:
        """Why partitions halted, None where they went on."""
        found = [event for event in self.events if isinstance(event, PartitionHalted | PartitionResumed)]
        return [event.halt.reason if isinstance(event, PartitionHalted) else None for event in found]


def settled(world: World, number: int = 0, **how: Any) -> Member:
    """A member that has sealed the days up to `number` and is reading on."""
    member = Member(world, **how).start()
    member.calm(10)
    world.due(number)
    member.until(lambda: member.sealed() and member.sealed()[-1].cutoff == day(number))
    member.calm(10)
    return member
