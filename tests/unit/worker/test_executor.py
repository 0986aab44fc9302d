"""Calls run on threads, and their results or errors are kept for whoever asks."""

from __future__ import annotations

from functools import partial
from operator import floordiv
from threading import Barrier, Event, Thread

import pytest

from consumer.worker.executor import ThreadExecutor

SECONDS = 30.0


def executor_of(threads: int) -> ThreadExecutor:
    return ThreadExecutor(threads, lambda: None)


def test_a_future_gets_the_result_or_the_error() -> None:
    executor = executor_of(2)
    found = [executor.submit(partial(floordiv, 12, number)) for number in (3, 0, 4)]
    assert found[0].result(SECONDS) == 4
    with pytest.raises(ZeroDivisionError):
        found[1].result(SECONDS)
    assert found[2].result(SECONDS) == 3
    assert found[0].result(SECONDS) == 4, "asked again"
    executor.close(SECONDS)


def test_threads_work_side_by_side_and_beside_the_caller() -> None:
    executor, together, go = executor_of(2), Barrier(3), Event()

    def work() -> bool:
        together.wait(SECONDS)
        return go.wait(SECONDS)

    found = [executor.submit(work) for _ in range(2)]
    together.wait(SECONDS)
    assert not any(future.done() for future in found)
    go.set()
    assert [future.result(SECONDS) for future in found] == [True, True]
    executor.close(SECONDS)


def test_the_caller_is_woken_after_each_call() -> None:
    woken, go = Event(), Event()
    executor = ThreadExecutor(2, woken.set)
    slow, quick = executor.submit(lambda: go.wait(SECONDS)), executor.submit(lambda: "quick")
    assert woken.wait(SECONDS)
    assert (quick.done(), slow.done()) == (True, False)
    woken.clear()
    broken = executor.submit(lambda: 1 / 0)
    assert woken.wait(SECONDS)
    assert broken.done()
    woken.clear()
    go.set()
    assert woken.wait(SECONDS)
    assert slow.result(SECONDS) is True
    executor.close(SECONDS)
    assert not any(thread.is_alive() for thread in executor._threads)


def test_closing_waits_for_what_is_under_way_and_starts_nothing_more() -> None:
    executor, begun, go = executor_of(1), Event(), Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        go.wait(SECONDS)
        done.append("under way")

    executor.submit(work)
    executor.submit(lambda: done.append("queued"))
    assert begun.wait(SECONDS)
    closer = Thread(target=executor.close, args=(SECONDS,))
    closer.start()
    assert executor._closed.wait(SECONDS)
    assert done == []
    go.set()
    closer.join(SECONDS)
    assert done == ["under way"]
    executor.close(SECONDS)


def test_closing_does_not_wait_longer_than_asked() -> None:
    executor, begun, go = executor_of(1), Event(), Event()

    def work() -> None:
        begun.set()
        go.wait(SECONDS)

    executor.submit(work)
    assert begun.wait(SECONDS)
    executor.close(0.01)
    assert executor._threads[0].is_alive()
    go.set()


def test_threads_do_not_hold_up_the_end_of_the_process() -> None:
    executor = executor_of(1)
    assert all(thread.daemon for thread in executor._threads)
    executor.close()
