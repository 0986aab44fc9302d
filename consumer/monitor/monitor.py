"""Looks at the worker, the cluster and the bucket in turn, and says what it saw: gauges, the board, a line on the way.

It decides nothing. The loop calls `advance`, which never waits: what may wait runs as jobs on threads of its own.
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
from consumer.monitor.probes import DaysState, Probe, check_days_listing, probe_cluster
from consumer.monitor.snapshot_builder import Observations, snapshot_of
from consumer.observe.snapshot import SnapshotHolder
from consumer.source.port import ClusterAdmin
from consumer.source.retention import find_headroom, retention
from consumer.worker.coroutines import RunInThread, Runner, Sleep, Steps
from consumer.worker.executor import Jobs
from consumer.worker.loop import Worker
from consumer.worker.stream_context import StreamContext

log = structlog.get_logger("monitor")

LITTLE_HEADROOM = timedelta(hours=24)
"""With less left until retention deletes what is not sealed yet, somebody should know."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often what is looked at, in seconds."""

    cluster: float = 5.0
    store: float = 10.0
    publish: float = 1.0


@dataclass(slots=True)
class Monitor:
    """The worker's observer. `jobs` should not be those of the worker: neither must wait for the other."""

    worker: Worker
    board: SnapshotHolder
    gauges: Gauges
    jobs: Jobs
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
        self.observations = Observations(broker=Probe(self.clock), stores={name: Probe(self.clock) for name in names})
        stories = [self._watch_cluster(), self._watch_headroom(), *(self._watch_days(name) for name in names)]
        self._runners = [Runner(story, self.jobs, self.clock) for story in stories]
        self._catch_up = CatchUp(self.clock.monotonic())

    def advance(self) -> None:
        """Go on as far as possible. Call it after each turn of the loop."""
        now = self.clock.monotonic()
        self.board.beat_at = now
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
        context = self._any_desk()
        topics = sorted(context.config.rules.topic for context in self.worker.contexts.values())
        while True:
            ours = [partition.name for partition in self.worker.partitions.values()]
            look = yield from self._ask(
                self.observations.broker, partial(probe_cluster, context.admin, context.config.group, topics, ours)
            )
            if look is not None:
                self.observations.cluster = look
            yield Sleep(self.rounds.cluster)

    def _watch_days(self, stream: str) -> Steps[None]:
        context = self.worker.contexts[stream]
        while True:
            before = self.observations.days.get(stream, DaysState())
            look = yield from self._ask(
                self.observations.stores[stream], partial(check_days_listing, context.store, stream, before)
            )
            if look is not None:
                self.observations.days[stream] = look
            yield Sleep(self.rounds.store)

    def _watch_headroom(self) -> Steps[None]:
        admin, probe = self._any_desk().admin, Probe(self.clock)
        while True:
            for partition in [partition.name for partition in self.worker.partitions.values()]:
                yield from self._look_at_headroom(admin, probe, partition)
                self._warn(partition)
            yield Sleep(self.rounds.cluster)

    def _look_at_headroom(self, admin: ClusterAdmin, probe: Probe, partition: TopicPartition) -> Steps[None]:
        """The search takes some questions, so what it found stays until the next commit."""
        look, known = self.observations.cluster, self.observations.headroom.pop(partition, None)
        facts, ends, commit = look.topics.get(partition.topic), look.ends.get(partition), look.committed.get(partition)
        kept = None if facts is None else retention(facts)
        if ends is None or commit is None or kept is None:
            return
        if known is not None and known.holds(commit.offset, ends, kept):
            self.observations.headroom[partition] = known
            return
        search = partial(find_headroom, admin, partition, ends, commit.offset, kept, self.clock.now())
        found = yield from self._ask(probe, search)
        if found is not None:
            self.observations.headroom[partition] = found

    def _warn(self, partition: TopicPartition) -> None:
        """Say once that rows may vanish, and again if it comes to that again."""
        known = self.observations.headroom.get(partition)
        left = None if known is None or known.oldest is None else known.left(self.clock.now())
        if left is None or left >= LITTLE_HEADROOM:
            self._warned.discard(partition)
        elif partition not in self._warned:
            self._warned.add(partition)
            hours = round(left.total_seconds() / 3600, 1)
            log.warning("retention_near", partition=str(partition), hours_left=hours)

    def _ask(self, probe: Probe, call: Callable[[], _T]) -> Steps[_T | None]:
        """Ask as a job. An error of any kind is told by the probe: what only looks must not end what works."""
        try:
            answer: _T = yield RunInThread(call)
        except (TransientError, HaltError) as error:
            probe.answered(str(error))
        except Exception as error:
            log.exception("monitor_failed")
            probe.answered(f"{type(error).__name__}: {error}")
        else:
            probe.answered()
            return answer
        return None

    def _any_desk(self) -> StreamContext:
        return next(iter(self.worker.contexts.values()))

    # -- telling -----------------------------------------------------------------------------------------------------

    def _publish(self, now: float) -> None:
        snapshot = snapshot_of(self.worker, self.observations, self.clock.now(), joined=self.joined())
        self.board.snapshot = snapshot
        self.gauges.show(snapshot, self.observations.broker, self.observations.stores)
        positions = {
            partition.lease: partition.intake.position
            for partition in self.worker.partitions.values()
            if partition.phase.recovered
        }
        left = sum(found.lag or 0 for found in snapshot.status.partitions)
        pace = self._catch_up.look(now, positions, left)
        if pace is not None:
            log.info(
                "catching_up" if self._catch_up.telling else "caught_up",
                records_left=pace.left,
                per_second=round(pace.per_second),
                seconds_left=None if pace.seconds_left is None else round(pace.seconds_left),
            )
