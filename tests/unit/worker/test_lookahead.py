"""Judging ahead: begun when it is known, and what came of it told to whoever asks, an error as well."""

from __future__ import annotations

from functools import partial
from operator import floordiv
from threading import Barrier, Event, Thread

import pytest

from consumer.worker.lookahead import Ahead, AtOnce, ThreadsAhead

SECONDS = 30.0


@pytest.mark.parametrize("ahead", [AtOnce(), AtOnce(depth=1), ThreadsAhead(2)])
def test_what_was_begun_gives_its_result_or_its_error(ahead: Ahead) -> None:
    found = [ahead.begin(partial(floordiv, 12, number)) for number in (3, 0, 4)]
    assert found[0].result() == 4
    with pytest.raises(ZeroDivisionError):
        found[1].result()
    assert found[2].result() == 3
    assert found[0].result() == 4, "asked again"


def test_at_once_is_before_anybody_asks() -> None:
    done: list[int] = []
    AtOnce().begin(lambda: done.append(1))
    assert done == [1]


def test_threads_work_side_by_side_and_beside_who_asks() -> None:
    ahead, together, go = ThreadsAhead(2), Barrier(3), Event()

    def work() -> bool:
        together.wait(SECONDS)
        return go.wait(SECONDS)

    found = [ahead.begin(work) for _ in range(2)]
    together.wait(SECONDS)
    go.set()
    assert [each.result() for each in found] == [True, True]


def test_closing_waits_for_what_is_under_way_and_begins_nothing_more() -> None:
    ahead, begun, go = ThreadsAhead(1), Event(), Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        go.wait(SECONDS)
        done.append("under way")

    ahead.begin(work)
    ahead.begin(lambda: done.append("queued"))
    assert begun.wait(SECONDS)
    closer = Thread(target=ahead.close)
    closer.start()
    assert ahead._jobs._closed.wait(SECONDS)
    assert done == []
    go.set()
    closer.join(SECONDS)
    assert done == ["under way"]
    ahead.close()


def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.worker.lookahead.CLOSE_SECONDS", 0.01)
    ahead, go = ThreadsAhead(1), Event()
    ahead.begin(lambda: go.wait(SECONDS))
    ahead.close()
    go.set()
