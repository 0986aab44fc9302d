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
from consumer.observe.board import Board
from consumer.source.port import LogView
from consumer.worker.catchup import CatchUp
from consumer.worker.desk import Desk
from consumer.worker.gauges import Gauges
from consumer.worker.headroom import find_headroom, retention
from consumer.worker.jobs import Jobs
from consumer.worker.looks import DaysLook, Probe, look_at_cluster, look_at_days
from consumer.worker.loop import Worker
from consumer.worker.sight import Seen, snapshot_of
from consumer.worker.steps import Beside, Pause, Runner, Steps

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
    board: Board
    gauges: Gauges
    jobs: Jobs
    clock: Clock
    joined: Callable[[], bool]
    rounds: Rounds = field(default_factory=Rounds)
    seen: Seen = field(init=False)
    _runners: list[Runner] = field(init=False)
    _catch_up: CatchUp = field(init=False)
    _publish_at: float = 0.0
    _warned: set[TopicPartition] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = sorted(self.worker.desks)
        self.seen = Seen(broker=Probe(self.clock), stores={name: Probe(self.clock) for name in names})
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
        desk = self._any_desk()
        topics = sorted(desk.job.rules.topic for desk in self.worker.desks.values())
        while True:
            ours = [life.name for life in self.worker.lives.values()]
            look = yield from self._ask(
                self.seen.broker, partial(look_at_cluster, desk.view, desk.job.group, topics, ours)
            )
            if look is not None:
                self.seen.cluster = look
            yield Pause(self.rounds.cluster)

    def _watch_days(self, stream: str) -> Steps[None]:
        desk = self.worker.desks[stream]
        while True:
            before = self.seen.days.get(stream, DaysLook())
            look = yield from self._ask(self.seen.stores[stream], partial(look_at_days, desk.store, stream, before))
            if look is not None:
                self.seen.days[stream] = look
            yield Pause(self.rounds.store)

    def _watch_headroom(self) -> Steps[None]:
        view, probe = self._any_desk().view, Probe(self.clock)
        while True:
            for partition in [life.name for life in self.worker.lives.values()]:
                yield from self._look_at_headroom(view, probe, partition)
                self._warn(partition)
            yield Pause(self.rounds.cluster)

    def _look_at_headroom(self, view: LogView, probe: Probe, partition: TopicPartition) -> Steps[None]:
        """The search takes some questions, so what it found stays until the next commit."""
        look, known = self.seen.cluster, self.seen.headroom.pop(partition, None)
        facts, ends, commit = look.topics.get(partition.topic), look.ends.get(partition), look.committed.get(partition)
        kept = None if facts is None else retention(facts)
        if ends is None or commit is None or kept is None:
            return
        if known is not None and known.holds(commit.offset, ends, kept):
            self.seen.headroom[partition] = known
            return
        search = partial(find_headroom, view, partition, ends, commit.offset, kept, self.clock.now())
        found = yield from self._ask(probe, search)
        if found is not None:
            self.seen.headroom[partition] = found

    def _warn(self, partition: TopicPartition) -> None:
        """Say once that rows may vanish, and again if it comes to that again."""
        known = self.seen.headroom.get(partition)
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
            answer: _T = yield Beside(call)
        except (TransientError, HaltError) as error:
            probe.answered(str(error))
        except Exception as error:
            log.exception("monitor_failed")
            probe.answered(f"{type(error).__name__}: {error}")
        else:
            probe.answered()
            return answer
        return None

    def _any_desk(self) -> Desk:
        return next(iter(self.worker.desks.values()))

    # -- telling -----------------------------------------------------------------------------------------------------

    def _publish(self, now: float) -> None:
        snapshot = snapshot_of(self.worker, self.seen, self.clock.now(), joined=self.joined())
        self.board.snapshot = snapshot
        self.gauges.show(snapshot, self.seen.broker, self.seen.stores)
        positions = {life.lease: life.intake.position for life in self.worker.lives.values() if life.ready}
        left = sum(found.lag or 0 for found in snapshot.status.partitions)
        pace = self._catch_up.look(now, positions, left)
        if pace is not None:
            log.info(
                "catching_up" if self._catch_up.telling else "caught_up",
                records_left=pace.left,
                per_second=round(pace.per_second),
                seconds_left=None if pace.seconds_left is None else round(pace.seconds_left),
            )
