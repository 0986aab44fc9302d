"""The worker's loop: receive, transform, spool; when due, seal. Start reading at `Worker.step`.

One thread runs it. It only waits in `Broker.poll`; blocking calls run on the executor beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypeVar

from consumer.domain.clock import Clock
from consumer.domain.errors import GraceError, TransientError
from consumer.domain.offsets import Lease, TopicPartition
from consumer.source.port import Assigned, Broker, EndReached, Event, OutOfRange, Records, Revoked, Unreadable
from consumer.spool.checkpoint import is_name
from consumer.spool.departure import SWEPT
from consumer.spool.disk import Disk
from consumer.worker.backpressure import Action, DiskUsage, Limits, PartitionUsage, plan_backpressure, reads_on
from consumer.worker.coroutines import Runner, Sleep, Steps, with_backoff
from consumer.worker.events import PartitionLeft, Rebalanced, SpoolMeasured
from consumer.worker.executor import Executor
from consumer.worker.intake import PENDING_SECONDS
from consumer.worker.lifecycle import run_partition
from consumer.worker.partition import SYNC_FILES, Partition
from consumer.worker.phase import Activity
from consumer.worker.publish_task import PublishTask
from consumer.worker.stream_context import StreamContext

OUTAGE_SECONDS = 30.0
"""Polls without an error for that long end a brokers' outage; a broker that is still unreachable reports it sooner."""
ROOM_CHECKS = 16
"""How often room is looked after while a spool fills from empty to its limit, however fast that goes."""
TURN_SECONDS = 0.2
"""How long one turn takes records in, and saves what was taken: what was begun then is finished, and bounded itself."""
STOP_SECONDS = 5.0
"""How long a worker that stops saves what it has read; what is not saved by then is read again."""
UNOWNED_SECONDS = 60.0
"""How often the group's assignment is compared with the topics' partitions."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often the worker does what no event asks for."""

    checkpoint_seconds: float = 5.0
    pressure_seconds: float = 0.5


class Worker:
    """One member of the group, for all its streams. `contexts` and `publish_tasks` are by stream name."""

    def __init__(
        self,
        contexts: Mapping[str, StreamContext],
        publish_tasks: Mapping[str, PublishTask],
        *,
        broker: Broker,
        disk: Disk,
        executor: Executor,
        clock: Clock,
        limits: Limits,
        intervals: Intervals = Intervals(),
    ) -> None:
        self.contexts = contexts
        self.publish_tasks = publish_tasks
        self.partitions: dict[Lease, Partition] = {}
        for name, publish_task in publish_tasks.items():
            publish_task.busy = partial(self._sealing, name)
        self._by_topic = {context.config.rules.topic: name for name, context in contexts.items()}
        self._broker, self._disk, self._executor, self._clock = broker, disk, executor, clock
        self.limits, self._intervals = limits, intervals
        self._runners: dict[Lease, Runner] = {}
        self._side_runners: list[Runner] = []
        self._listener = next(iter(contexts.values())).listener
        self._held = False
        self._checkpoint_at = self._relieve_at = 0.0
        self._unsaved: list[Lease] = []
        self._strays: list[str] = []
        self._appended = 0
        self.broker_outage: TransientError | None = None
        self._outage_at = 0.0
        self.progress_at = clock.monotonic()

    def start(self) -> None:
        """Join the group."""
        self._broker.subscribe(sorted(self._by_topic))
        steps = [publish_task.steps() for publish_task in self.publish_tasks.values()]
        # asked for at once: a topic that is missing shows before any partition could
        self.request_publishing_everywhere()
        self._side_runners = [Runner(step, self._executor, self._clock) for step in (*steps, self._watch_unowned())]

    def step(self, timeout: float) -> None:
        """One turn: take what came, let every partition continue as far as it can, check the disk.

        The order matters. Revocations come with the poll and end their partitions before these could do another step
        under a void lease. Records go into the spool before the steps run, so that a partition that catches up sees its
        new position at once. The disk comes last, as the action depends on what all partitions now have.
        """
        for event in self._poll(self._patience(timeout)):
            self._on(event)
        until = self._clock.monotonic() + TURN_SECONDS
        self._take_in(until)
        for runner in (*self._runners.values(), *self._side_runners):
            if runner.advance():
                self.progress_at = self._progressed()
        self._make_room()
        self._checkpoint(until)
        self._sweep(until)

    def _take_in(self, until: float) -> None:
        """Let partitions take in waiting records, within the time of a turn; the next turn starts behind it."""
        for partition in list(self.partitions.values()):
            if self._confined(partition, partial(partition.drain, until)) or isinstance(
                partition.intake.stalled, GraceError
            ):
                self.progress_at = self._clock.monotonic()  # a grace ends by itself: never give up on it
            if self._clock.monotonic() >= until:
                # who has had the time of this turn comes last in the next
                self.partitions[partition.lease] = self.partitions.pop(partition.lease)
                break

    def _patience(self, timeout: float) -> float:
        """How long the poll may wait for events."""
        if self._unsaved or self._laden():
            return 0.0
        pending = any(partition.intake.pending or partition.spool.busy for partition in self.partitions.values())
        return min(timeout, PENDING_SECONDS) if pending else timeout

    def _laden(self) -> bool:
        """Whether records wait here that can be taken in now."""
        return any(partition.intake.waiting for partition in self.partitions.values())

    def stop(self) -> None:
        """Keep what was read for the next start, and leave the group."""
        until = self._clock.monotonic() + STOP_SECONDS
        for lease in list(self.partitions):
            self._end(lease, until)
        for runner in self._side_runners:
            runner.close()
        self._broker.close()

    def partitions_of(self, stream: str) -> list[Partition]:
        """Our partitions of this stream."""
        return [partition for partition in self.partitions.values() if partition.context.config.name == stream]

    def _sealing(self, stream: str) -> bool:
        return any(partition.phase.in_a_seal for partition in self.partitions_of(stream))

    def request_publishing_everywhere(self) -> None:
        """Look at every stream's days again."""
        for publish_task in self.publish_tasks.values():
            publish_task.request()

    def _progressed(self) -> float:
        outage = any(
            partition.phase.outage or partition.intake.stalled for partition in self.partitions.values()
        ) or any(publish_task.outage for publish_task in self.publish_tasks.values())
        return self.progress_at if outage or self.broker_outage else self._clock.monotonic()

    def _poll(self, timeout: float) -> Sequence[Event]:
        try:
            # No more records while some wait here: a turn may take in fewer than come with one poll.
            events = self._broker.poll(timeout, records=not self._laden())
        except TransientError as error:
            self.broker_outage, self._outage_at = error, self._clock.monotonic()
            return ()
        if events or self._clock.monotonic() - self._outage_at > OUTAGE_SECONDS:
            self.broker_outage = None
        if events:
            self.progress_at = self._clock.monotonic()
        return events

    def _on(self, event: Event) -> None:
        match event:
            case Assigned(leases):
                for lease in leases:
                    self._begin(lease)
                self._report_assigned()
            case Revoked(leases):
                until = self._clock.monotonic() + TURN_SECONDS
                for lease in leases:
                    self._end(lease, until)
                self._report_assigned()
            case Records(lease) | EndReached(lease) | OutOfRange(lease) | Unreadable(lease):
                partition = self.partitions.get(lease)
                if partition is not None:
                    self._confined(partition, partial(partition.receive, event))

    def _confined(self, partition: Partition, call: Callable[[], _T]) -> _T | None:
        """Do something for a partition. An unforeseen error stops only this partition: its steps get it."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - raised again where the partition's steps wait, and reported there
            self._runners[partition.lease].throw(error)
            return None

    def _report_assigned(self) -> None:
        ours = Counter(lease.partition.topic for lease in self.partitions)
        self._listener(Rebalanced({topic: ours[topic] for topic in self._by_topic}))

    def _begin(self, lease: Lease) -> None:
        stream = self._by_topic[lease.partition.topic]
        folder = f"{lease.partition.topic}-{lease.partition.partition}/"
        self._strays = [name for name in self._strays if not name.startswith(folder)]
        partition = Partition(self.contexts[stream], lease, self.publish_tasks[stream].request)
        self.partitions[lease] = partition
        self._runners[lease] = Runner(run_partition(partition), self._executor, self._clock)

    def _end(self, lease: Lease, until: float) -> None:
        partition = self.partitions.pop(lease, None)
        if partition is None:
            return
        self._runners.pop(lease).close()
        halt = partition.phase.halt
        try:
            while not partition.checkpoint(SYNC_FILES):
                if self._clock.monotonic() >= until:
                    break  # the previous checkpoint is kept: from there Kafka is read again
        except Exception as error:  # noqa: BLE001 - reported; the partition is gone, and Kafka has its rows
            partition.fail(error)
        self._listener(PartitionLeft(lease.partition, halt.reason if halt else None))

    # -- the disk ----------------------------------------------------------------------------------------------------

    def _checkpoint(self, until: float) -> None:
        """Every few seconds, and file by file: a turn does not wait for as many as there may be."""
        now = self._clock.monotonic()
        if now >= self._checkpoint_at:
            self._checkpoint_at = now + self._intervals.checkpoint_seconds
            self._unsaved = list(self.partitions)
        while self._unsaved:
            partition = self.partitions.get(self._unsaved[0])
            if partition is None or self._confined(partition, partial(partition.checkpoint, SYNC_FILES)) is not False:
                self._unsaved.pop(0)
            if self._clock.monotonic() >= until:
                break

    def _sweep(self, until: float) -> None:
        """Remove what seals took and what is nobody's any more, some files at a time: there may be thousands."""
        for partition in self.partitions.values():
            while partition.spool.sweep():
                if self._clock.monotonic() >= until:
                    return
        while self._strays:
            with suppress(OSError):
                self._disk.remove(self._strays[:SWEPT])
            del self._strays[:SWEPT]
            if self._clock.monotonic() >= until:
                return

    def _make_room(self) -> None:
        now, partitions = self._clock.monotonic(), list(self.partitions.values())
        appended = sum(partition.spool.appended for partition in partitions)
        if now < self._relieve_at and abs(appended - self._appended) < self.limits.max_bytes // ROOM_CHECKS:
            return
        self._relieve_at, self._appended = now + self._intervals.pressure_seconds, appended
        room = DiskUsage(
            sum(partition.spool.size for partition in partitions),
            self._disk.free_bytes(),
            any(partition.intake.full for partition in partitions),
        )
        plan: Mapping[int, Action] = {}  # all read: what each of many partitions uses need not be added up
        if not reads_on(self.limits, room, (partition.spool.days for partition in partitions), held=self._held):
            usages = [_usage(index, partition) for index, partition in enumerate(partitions)]
            plan = plan_backpressure(self.limits, room, usages, held=self._held)
        self._held = any(action is not Action.READ for action in plan.values())
        if self._held:
            self._remove_strays(partitions)
        for index, partition in enumerate(partitions):
            _apply(partition, plan.get(index, Action.READ))
        self._listener(SpoolMeasured(room.used, room.free, self._held))

    def _remove_strays(self, partitions: Sequence[Partition]) -> None:
        """Spools of revoked partitions are deleted when space is low: Kafka has their rows."""
        if self._strays:
            return
        ours = {f"{partition.name.topic}-{partition.name.partition}" for partition in partitions}
        for folder in sorted(set(self._disk.folders()) - ours):
            with suppress(OSError):  # a full disk may refuse it, and void is the checkpoint without its files as well
                self._disk.save(folder, None)
            with suppress(OSError):
                self._strays += [name for name in self._disk.names(folder) if is_name(folder, name)]

    # -- the group ---------------------------------------------------------------------------------------------------

    def _watch_unowned(self) -> Steps[None]:
        """Force a rejoin if partitions of our topics stay unassigned: seen with static members on 4.1.1."""
        context = next(iter(self.contexts.values()))
        topics = sorted(self._by_topic)
        before: set[TopicPartition] = set()
        while True:
            yield Sleep(UNOWNED_SECONDS)
            unowned = yield from with_backoff(
                lambda: context.admin.unowned(context.config.group, topics), lambda _: None, context.jitter
            )
            if before & unowned:
                self._broker.rejoin()
                unowned = set()
            before = unowned


def _usage(index: int, partition: Partition) -> PartitionUsage:
    due = partition.bytes_to_spill()
    return PartitionUsage(
        index=index,
        due=due,
        open=partition.spool.size - due if partition.phase.recovered else 0,
        closing=partition.phase.recovered and partition.cutoff_due() is not None,
        sealing=partition.phase.makes_room,
        needed=partition.phase.activity is Activity.REBUILDING or partition.intake.position < partition.chain.through,
        files=partition.spool.days,
    )


def _apply(partition: Partition, action: Action) -> None:
    if action is Action.SPILL:
        partition.request_spill()
    if action is Action.DROP:
        cutoff: date | None = partition.cutoff_due() or partition.chain.cutoff
        if cutoff is not None:
            partition.intake.make_room(cutoff)
    partition.intake.hold(held=action in {Action.HOLD, Action.SPILL})
