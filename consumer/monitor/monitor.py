"""Observes worker, cluster and bucket in turn, and shows the result: gauges, the snapshot, a log line.

It decides nothing. The loop calls `advance`, which never blocks: blocking calls run on separate threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from consumer.domain.clock import Clock
from consumer.domain.errors import HaltError, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.monitor.catch_up import CatchUp
from consumer.monitor.gauges import Gauges
from consumer.monitor.probes import DaysState, Liveness, check_days_listing, probe_cluster
from consumer.monitor.snapshot_builder import Observations, snapshot_of
from consumer.observe.snapshot import SnapshotHolder
from consumer.source.port import ClusterAdmin
from consumer.source.retention import find_headroom, retention
from consumer.worker.coroutines import RunInThread, Runner, Sleep, Steps
from consumer.worker.executor import Executor
from consumer.worker.loop import Worker
from consumer.worker.stream_context import StreamContext

log = structlog.get_logger("monitor")

LITTLE_HEADROOM = timedelta(hours=24)
"""With less left until retention deletes what is not sealed yet, somebody should know."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds between observations, by kind."""

    cluster: float = 5.0
    store: float = 10.0
    publish: float = 1.0


@dataclass(slots=True)
class Monitor:
    """The worker's observer. Its executor must not be the worker's: neither should wait for the other."""

    worker: Worker
    snapshots: SnapshotHolder
    gauges: Gauges
    executor: Executor
    clock: Clock
    joined: Callable[[], bool]
    rounds: Rounds = field(default_factory=Rounds)
    observations: Observations = field(init=False)
    _runners: list[Runner] = field(init=False)
    _catch_up: CatchUp = field(init=False)
    _publish_at: float = 0.0
    _warned: set[TopicPartition] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = sorted(self.worker.contexts)
        self.observations = Observations(
            broker=Liveness(self.clock), stores={name: Liveness(self.clock) for name in names}
        )
        rounds = [self._watch_cluster(), self._watch_headroom(), *(self._watch_days(name) for name in names)]
        self._runners = [Runner(steps, self.executor, self.clock) for steps in rounds]
        self._catch_up = CatchUp(self.clock.monotonic())

    def advance(self) -> None:
        """Go on as far as possible. Call it after each turn of the loop."""
        now = self.clock.monotonic()
        self.snapshots.beat_at = now
        for runner in self._runners:
            runner.advance()
        if now >= self._publish_at:
            self._publish_at = now + self.rounds.publish
            self._publish(now)

    def close(self) -> None:
        """Look no more."""
        for runner in self._runners:
            runner.close()

    # -- the rounds --------------------------------------------------------------------------------------------------

    def _watch_cluster(self) -> Steps[None]:
        context = self._any_context()
        topics = sorted(context.config.rules.topic for context in self.worker.contexts.values())
        while True:
            ours = [partition.name for partition in self.worker.partitions.values()]
            found = yield from self._ask(
                self.observations.broker, partial(probe_cluster, context.admin, context.config.group, topics, ours)
            )
            if found is not None:
                self.observations.cluster = found
            yield Sleep(self.rounds.cluster)

    def _watch_days(self, stream: str) -> Steps[None]:
        context = self.worker.contexts[stream]
        while True:
            before = self.observations.days.get(stream, DaysState())
            found = yield from self._ask(
                self.observations.stores[stream], partial(check_days_listing, context.store, stream, before)
            )
            if found is not None:
                self.observations.days[stream] = found
            yield Sleep(self.rounds.store)

    def _watch_headroom(self) -> Steps[None]:
        admin, health = self._any_context().admin, Liveness(self.clock)
        while True:
            for partition in [partition.name for partition in self.worker.partitions.values()]:
                yield from self._observe_headroom(admin, health, partition)
                self._warn(partition)
            yield Sleep(self.rounds.cluster)

    def _observe_headroom(self, admin: ClusterAdmin, health: Liveness, partition: TopicPartition) -> Steps[None]:
        """The search takes some questions, so what it found stays until the next commit."""
        state, known = self.observations.cluster, self.observations.headroom.pop(partition, None)
        facts, ends, commit = (
            state.topics.get(partition.topic),
            state.ends.get(partition),
            state.committed.get(partition),
        )
        kept = None if facts is None else retention(facts)
        if ends is None or commit is None or kept is None:
            return
        if known is not None and known.holds(commit.offset, ends, kept):
            self.observations.headroom[partition] = known
            return
        search = partial(find_headroom, admin, partition, ends, commit.offset, kept, self.clock.now())
        found = yield from self._ask(health, search)
        if found is not None:
            self.observations.headroom[partition] = found

    def _warn(self, partition: TopicPartition) -> None:
        """Warn once that rows may be lost to retention, and again if it happens again."""
        known = self.observations.headroom.get(partition)
        left = None if known is None or known.oldest is None else known.left(self.clock.now())
        if left is None or left >= LITTLE_HEADROOM:
            self._warned.discard(partition)
        elif partition not in self._warned:
            self._warned.add(partition)
            hours = round(left.total_seconds() / 3600, 1)
            log.warning("retention_near", partition=str(partition), hours_left=hours)

    def _ask(self, health: Liveness, call: Callable[[], _T]) -> Steps[_T | None]:
        """Ask on the executor. Any error only shows in `health`: what merely observes must not stop what works."""
        try:
            answer: _T = yield RunInThread(call)
        except (TransientError, HaltError) as error:
            health.answered(str(error))
        except Exception as error:
            log.exception("monitor_failed")
            health.answered(f"{type(error).__name__}: {error}")
        else:
            health.answered()
            return answer
        return None

    def _any_context(self) -> StreamContext:
        return next(iter(self.worker.contexts.values()))

    # -- showing -----------------------------------------------------------------------------------------------------

    def _publish(self, now: float) -> None:
        snapshot = snapshot_of(self.worker, self.observations, self.clock.now(), joined=self.joined())
        self.snapshots.snapshot = snapshot
        self.gauges.show(snapshot, self.observations.broker, self.observations.stores)
        positions = {
            partition.lease: partition.intake.position
            for partition in self.worker.partitions.values()
            if partition.phase.recovered
        }
        left = sum(found.lag or 0 for found in snapshot.status.partitions)
        rate = self._catch_up.look(now, positions, left)
        if rate is not None:
            log.info(
                "catching_up" if self._catch_up.catching_up else "caught_up",
                records_left=rate.left,
                per_second=round(rate.per_second),
                seconds_left=None if rate.seconds_left is None else round(rate.seconds_left),
            )
