"""`verify` beside the simulation: nothing false after any schedule, nothing but waiting things in the middle of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime

import pytest

from consumer.verify.findings import Problem, Report
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream
from tests.builders.sealed import StoppedClock
from tests.simulation.schedule import Script
from tests.simulation.world import TOPIC

WAITING = {Problem.NOT_PUBLISHED, Problem.UNFINISHED}
"""What a worker that died, or is slow, leaves behind for the next one."""


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def verified(script: Script, pool: Executor, now: datetime, rest: Callable[[], None]) -> Report:
    ways = VerifyContext(lambda call: call(), pool, StoppedClock(now), rest)
    return verify_stream(VerifyTarget("sim", TOPIC, (), script.world.bucket), Days(), ways)


@pytest.mark.parametrize("seed", range(8))
def test_after_a_schedule_all_is_sound(seed: int, pool: Executor) -> None:
    script = Script(seed)
    script.run()
    report = verified(script, pool, script.world.hub.now(), lambda: None)
    assert (report.findings, report.pending) == ((), ())
    assert report.objects > 0


class Watched(Script):
    """A schedule that is verified at every few turns."""

    def __init__(self, seed: int, pool: Executor) -> None:
        super().__init__(seed)
        self.pool = pool
        self.busy = False
        self.pending = 0
        self.reports: list[Report] = []

    def go(self, turns: int, seconds: float) -> None:
        super().go(turns, seconds)
        if not self.busy and self.world.random.random() < 0.5:
            self.busy = True
            self.reports.append(self.look())
            self.busy = False

    def look(self) -> Report:
        return verified(self, self.pool, self.world.hub.now(), lambda: Script.go(self, 5, 1.0))


def test_in_the_middle_of_schedules_nothing_is_wrong_that_only_waits(pool: Executor) -> None:
    pending = 0
    for seed in (*range(5), 9, 11, 13):  # in the last three, later objects of a seal were there before earlier ones
        script = Watched(seed, pool)
        script.run()
        for report in script.reports:
            wrong = [finding for finding in report.findings if finding.problem not in WAITING]
            # the first publication died between the first manifest and the first list of days
            assert [finding for finding in wrong if finding.key != "sim/_days.json"] == []
            pending += bool(report.pending)
        assert script.reports
    assert pending > 0
