"""One call serves all who ask meanwhile, and no answer is older than its question."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import pytest

from consumer.worker.shared_call import SharedCall

SECONDS = 30.0
THREADS = 8


class Answers:
    """Numbers its calls from 1 on; the first one takes until `go`."""

    def __init__(self, fails: Callable[[int], bool] = lambda _: False) -> None:
        self.calls = 0
        self.called, self.go = Event(), Event()
        self._fails = fails

    def __call__(self) -> int:
        self.calls += 1
        self.called.set()
        assert self.go.wait(SECONDS)
        if self._fails(self.calls):
            raise ConnectionError(str(self.calls))
        return self.calls


def asked_together(answers: Answers) -> list[int | str]:
    """One asks, then all others while its call is under way; what each got."""
    shared, found, waiting = SharedCall(answers), list[int | str](), []

    def ask() -> None:
        try:
            found.append(shared())
        except ConnectionError as error:
            found.append(f"failed {error}")

    first = Thread(target=ask)
    first.start()
    assert answers.called.wait(SECONDS)
    for _ in range(THREADS):
        asking = Event()

        def other(asking: Event = asking) -> None:
            asking.set()
            ask()

        waiting.append(Thread(target=other))
        waiting[-1].start()
        assert asking.wait(SECONDS)
    answers.go.set()
    for thread in (first, *waiting):
        thread.join(SECONDS)
    return found


def test_who_asks_later_gets_an_answer_of_its_own() -> None:
    answers = Answers()
    answers.go.set()
    shared = SharedCall(answers)
    assert [shared(), shared(), shared()] == [1, 2, 3]


def test_all_who_ask_meanwhile_share_a_call_that_begins_after_they_asked() -> None:
    answers = Answers()
    found = asked_together(answers)
    assert len(found) == THREADS + 1
    assert found.count(1) == 1, "the answer under way may be older than the other questions"
    assert answers.calls < THREADS, "some thread may have been too late for the second call, but not all"


def test_an_error_is_raised_for_all_who_waited_and_forgotten_after_that() -> None:
    answers = Answers(lambda number: number > 1)
    found = asked_together(answers)
    assert found.count(1) == 1
    assert all(str(each).startswith("failed") for each in found if each != 1)
    again = SharedCall(iter_of(ConnectionError("down"), 7))
    with pytest.raises(ConnectionError):
        again()
    assert again() == 7


def iter_of(*outcomes: int | Exception) -> Callable[[], int]:
    """Each call has the next of these outcomes."""
    left = list(outcomes)

    def call() -> int:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call
