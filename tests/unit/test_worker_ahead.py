"""Judging ahead: begun when it is known, and what came of it told to whoever asks, an error as well."""

from __future__ import annotations

from threading import Barrier, Event

import pytest

from consumer.worker.ahead import Ahead, AtOnce, ThreadsAhead

SECONDS = 30.0


@pytest.mark.parametrize("ahead", [AtOnce(), AtOnce(depth=1), ThreadsAhead(2)])
def test_what_was_begun_gives_its_result_or_its_error(ahead: Ahead) -> None:
    found = [ahead.begin(lambda number=number: 12 // number) for number in (3, 0, 4)]  # type: ignore[misc]
    assert found[0]() == 4
    with pytest.raises(ZeroDivisionError):
        found[1]()
    assert found[2]() == 3
    assert found[0]() == 4, "asked again"


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
    assert [each() for each in found] == [True, True]
