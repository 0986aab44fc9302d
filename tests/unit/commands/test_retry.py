"""One-shot commands wait an outage out, and give up after `give_up_after`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from consumer.commands.retry import LEAST_TRIES, RetryBudget
from consumer.domain.errors import GaveUpError, HaltError, HaltReason, PendingError, TransientError


class LeapingClock:
    """Each look at it is some seconds later."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now = seconds, 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC)

    def monotonic(self) -> float:
        self._now += self._seconds
        return self._now


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "answer"

    return call


def patience(seconds: float, monkeypatch: pytest.MonkeyPatch) -> RetryBudget:
    made = RetryBudget(timedelta(seconds=30), LeapingClock(seconds))
    monkeypatch.setattr(made._stopped, "wait", lambda _: None)
    return made


def test_an_outage_that_ends_in_time_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience(1.0, monkeypatch).ask(failing(20, TransientError("down"))) == "answer"


def test_an_answer_begins_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = patience(1.0, monkeypatch)
    for _ in range(5):
        assert asked.ask(failing(20, TransientError("down"))) == "answer"


def test_an_outage_that_lasts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GaveUpError, match=r"down \(for 30 s, schedule\.give_up_after"):
        patience(10.0, monkeypatch).ask(failing(9, TransientError("down")))


def test_a_call_that_gets_answers_and_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that reads everything, and finds no room for its file, again and again."""
    asked, tries = patience(6.0, monkeypatch), list[int]()

    def export() -> str:
        tries.append(1)
        for _ in range(5):
            asked.ask(lambda: "a block")
        raise TransientError("no space left")

    with pytest.raises(GaveUpError, match="no space left"):
        asked.ask(export)
    assert len(tries) == LEAST_TRIES


def test_a_call_that_takes_long_gets_more_than_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, left = patience(6.0, monkeypatch), [1, 1]

    def export() -> str:
        for _ in range(20):
            asked.ask(lambda: "a block")
        if left:
            left.pop()
            raise TransientError("cut off")
        return "done"

    assert asked.ask(export) == "done"


def test_an_answer_under_way_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logged:
        assert patience(1.0, monkeypatch).ask(failing(2, PendingError("schema 1 is asked for"))) == "answer"
        assert patience(1.0, monkeypatch).ask(failing(2, TransientError("down"))) == "answer"
    assert [line["error"] for line in logged] == ["down"]


def test_what_an_operator_must_decide_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    halt = HaltError(HaltReason.MISSING_BUCKET, "gone")
    with pytest.raises(HaltError):
        patience(0.0, monkeypatch).ask(failing(1, halt))


def test_stop_ends_every_wait() -> None:
    asked = RetryBudget(timedelta(days=1), LeapingClock(0.0))
    ended: list[BaseException] = []
    waiting = threading.Event()

    def down() -> None:
        waiting.set()
        raise TransientError("down")

    def ask() -> None:
        try:
            asked.ask(down)
        except GaveUpError as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(10)
    asked.stop()
    thread.join(10)
    assert len(ended) == 1
    with pytest.raises(GaveUpError, match="stopped"):
        asked.keep_on()
