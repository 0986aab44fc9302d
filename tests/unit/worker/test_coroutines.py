"""Steps and their runner: what waits for what, what is thrown where, and that nothing of the past comes back."""

from __future__ import annotations

from collections.abc import Callable, Generator
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
from tests.builders.bench import HandExecutor
from tests.builders.rough import SetClock


class Stage:
    """A runner over steps, its executor and clock by hand."""

    def __init__(self, steps: Callable[[Stage], Steps[None]]) -> None:
        self.said: list[Any] = []
        self.executor, self.clock = HandExecutor(), SetClock()
        self.executor.held = True
        self.runner = Runner(steps(self), self.executor, self.clock)


def test_a_call_gives_its_value_to_the_step_that_asked() -> None:
    def steps(stage: Stage) -> Steps[None]:
        stage.said.append((yield RunInThread(lambda: 6 * 7)))

    stage = Stage(steps)
    assert stage.runner.advance()
    assert stage.said == []
    assert not stage.runner.advance(), "it waits for the call"
    stage.executor.run()
    assert stage.runner.advance()
    assert stage.said == [42]
    assert stage.runner.ended
    assert not stage.runner.advance()


def test_an_error_of_a_call_is_raised_where_it_was_asked() -> None:
    def steps(stage: Stage) -> Steps[None]:
        try:
            yield RunInThread(lambda: 1 / 0)
        except ZeroDivisionError:
            stage.said.append("caught")

    stage = Stage(steps)
    stage.runner.advance()
    stage.executor.run()
    stage.runner.advance()
    assert stage.said == ["caught"]


def test_what_the_steps_raise_comes_out_of_advance() -> None:
    def steps(stage: Stage) -> Steps[None]:
        yield Sleep(0)
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="mistake"):
        Stage(steps).runner.advance()


def test_an_error_thrown_in_takes_the_place_of_what_is_waited_for() -> None:
    def steps(stage: Stage) -> Steps[None]:
        try:
            yield RunInThread(lambda: "late")
        except KeyError as error:
            stage.said.append(error.args[0])
            yield Sleep(5)
            stage.said.append("after")

    stage = Stage(steps)
    stage.runner.advance()
    stage.runner.throw(KeyError("thrown"))
    stage.executor.run()
    assert not stage.runner.advance(), "what it waited for before is dropped"
    stage.clock.advance(5)
    stage.runner.advance()
    assert stage.said == ["thrown", "after"]
    assert stage.runner.ended


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
    stage.executor.run()
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


# Backoff


def sure() -> float:
    """No jitter."""
    return 0.0


def story(call: Callable[[], Any]) -> Callable[[Stage], Steps[None]]:
    def steps(stage: Stage) -> Steps[None]:
        stage.said.append((yield from with_backoff(call, lambda error: stage.said.append(str(error)), sure)))

    return steps


def test_an_outage_is_told_and_waited_out() -> None:
    answers: list[Exception | str] = [TransientError("down"), TransientError("still"), "there"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    stage = Stage(story(call))
    stage.executor.held = False
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
        steps = with_backoff(lambda: None, lambda error: None, sure)
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
    stage.executor.held = False
    with pytest.raises(type(error)):
        stage.runner.advance()
    assert stage.said == []
