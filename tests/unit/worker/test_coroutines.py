"""Steps and their runner: what waits for what, what is thrown where, and that nothing of the past comes back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from threading import Event
from typing import Any

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.worker.coroutines import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RunInThread,
    Runner,
    Sleep,
    Steps,
    WaitUntil,
    with_backoff,
)
from consumer.worker.executor import Job, ThreadExecutor
from tests.builders.bench import HandJobs
from tests.builders.rough import SetClock


class Stage:
    """A runner over steps, its jobs and clock by hand."""

    def __init__(self, steps: Callable[[Stage], Steps[None]]) -> None:
        self.said: list[Any] = []
        self.jobs, self.clock = HandJobs(), SetClock()
        self.jobs.held = True
        self.runner = Runner(steps(self), self.jobs, self.clock)


def test_a_job_gives_its_value_to_the_step_that_asked() -> None:
    def steps(stage: Stage) -> Steps[None]:
        stage.said.append((yield RunInThread(lambda: 6 * 7)))

    stage = Stage(steps)
    assert stage.runner.advance()
    assert stage.said == []
    assert not stage.runner.advance(), "it waits for the job"
    stage.jobs.run()
    assert stage.runner.advance()
    assert stage.said == [42]
    assert stage.runner.ended
    assert not stage.runner.advance()


def test_a_jobs_error_is_raised_where_it_was_asked() -> None:
    def steps(stage: Stage) -> Steps[None]:
        try:
            yield RunInThread(lambda: 1 / 0)
        except ZeroDivisionError:
            stage.said.append("caught")

    stage = Stage(steps)
    stage.runner.advance()
    stage.jobs.run()
    stage.runner.advance()
    assert stage.said == ["caught"]


def test_what_the_steps_raise_comes_out_of_advance() -> None:
    def steps(stage: Stage) -> Steps[None]:
        yield Sleep(0)
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="mistake"):
        Stage(steps).runner.advance()


def test_until_waits_for_its_condition() -> None:
    def steps(stage: Stage) -> Steps[None]:
        yield WaitUntil(lambda: "go" in stage.said)
        stage.said.append("gone")

    stage = Stage(steps)
    assert stage.runner.advance()
    assert not stage.runner.advance()
    stage.said.append("go")
    assert stage.runner.advance()
    assert stage.said == ["go", "gone"]


def test_a_pause_waits_for_the_clock() -> None:
    def steps(stage: Stage) -> Steps[None]:
        for number in range(2):
            yield Sleep(5)
            stage.said.append(number)

    stage = Stage(steps)
    stage.runner.advance()
    stage.clock.advance(4.9)
    assert not stage.runner.advance()
    stage.clock.advance(0.1)
    assert stage.runner.advance()
    assert stage.said == [0]
    assert not stage.runner.advance(), "the second pause begins anew"
    stage.clock.advance(5)
    stage.runner.advance()
    assert stage.said == [0, 1]


def test_steps_that_need_not_wait_go_on_at_once() -> None:
    def steps(stage: Stage) -> Steps[None]:
        for number in range(100):
            yield WaitUntil(lambda: True)
            stage.said.append(number)

    stage = Stage(steps)
    stage.runner.advance()
    assert stage.said == list(range(100))
    assert stage.runner.ended


def test_closing_ends_the_steps_where_they_stand_and_drops_what_is_under_way() -> None:
    def steps(stage: Stage) -> Steps[None]:
        try:
            stage.said.append((yield RunInThread(lambda: "late")))
        finally:
            stage.said.append("closed")

    stage = Stage(steps)
    stage.runner.advance()
    stage.runner.close()
    stage.jobs.run()
    assert not stage.runner.advance()
    assert stage.said == ["closed"]
    assert stage.runner.ended


def test_closing_what_never_began() -> None:
    def steps(stage: Stage) -> Steps[None]:
        stage.said.append("began")
        yield Sleep(1)

    stage = Stage(steps)
    stage.runner.close()
    assert not stage.runner.advance()
    assert stage.said == []


# Patience


def story(call: Callable[[], Any]) -> Callable[[Stage], Steps[None]]:
    def steps(stage: Stage) -> Steps[None]:
        stage.said.append((yield from with_backoff(call, lambda error: stage.said.append(str(error)), lambda: 0.0)))

    return steps


def test_an_outage_is_told_and_waited_out() -> None:
    answers: list[Exception | str] = [TransientError("down"), TransientError("still"), "there"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    stage = Stage(story(call))
    stage.jobs.held = False
    stage.runner.advance()
    assert stage.said == ["down"]
    stage.clock.advance(FIRST_PAUSE)
    stage.runner.advance()
    assert stage.said == ["down", "still"]
    stage.clock.advance(FIRST_PAUSE)
    assert not stage.runner.advance(), "it waits twice as long now"
    stage.clock.advance(FIRST_PAUSE)
    stage.runner.advance()
    assert stage.said == ["down", "still", "None", "there"]


def test_the_pause_doubles_up_to_a_limit() -> None:
    def pauses() -> Generator[float, None, None]:
        steps = with_backoff(lambda: None, lambda error: None, lambda: 0.0)
        step: Any = next(steps)
        while True:
            assert isinstance(step, RunInThread)
            pause = steps.throw(TransientError("down"))
            assert isinstance(pause, Sleep)
            yield pause.seconds
            step = steps.send(None)

    found = pauses()
    assert [next(found) for _ in range(9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (0.5, 30.0)


@pytest.mark.parametrize("error", [HaltError(HaltReason.MISSING_BUCKET, "gone"), ValueError("ours")])
def test_other_errors_are_not_waited_out(error: Exception) -> None:
    def call() -> None:
        raise error

    stage = Stage(story(call))
    stage.jobs.held = False
    with pytest.raises(type(error)):
        stage.runner.advance()
    assert stage.said == []


# Jobs


def test_a_job_keeps_what_came_of_it() -> None:
    done = Job(lambda: 42)
    assert not done.done
    done.run()
    assert (done.done, done.value, done.error) == (True, 42, None)
    failed = Job(lambda: 1 / 0)
    failed.run()
    assert (failed.done, failed.value) == (True, None)
    assert isinstance(failed.error, ZeroDivisionError)


def test_threads_run_jobs_beside_the_caller_and_wake_it_after_each() -> None:
    woken, go = Event(), Event()
    jobs = ThreadExecutor(2, woken.set)
    slow, quick, broken = Job(lambda: go.wait(10)), Job(lambda: "quick"), Job(lambda: 1 / 0)
    jobs.submit(slow)
    jobs.submit(quick)
    assert woken.wait(10)
    assert quick.done
    assert not slow.done
    woken.clear()
    jobs.submit(broken)
    assert woken.wait(10)
    assert broken.done
    woken.clear()
    go.set()
    assert woken.wait(10)
    assert slow.value is True
    jobs.close()
    for thread in jobs._threads:
        thread.join(10)
        assert not thread.is_alive()


def test_threads_of_jobs_do_not_hold_up_the_end_of_the_process() -> None:
    jobs = ThreadExecutor(1, lambda: None)
    assert all(thread.daemon for thread in jobs._threads)
    jobs.close()
