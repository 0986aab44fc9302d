"""Blocking calls beside the loop: requests to store or cluster are submitted, and the loop checks for results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs calls. Implemented by threads; at once, or as tasks of a simulation, in the tests."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call`. The future gets what it returns, or the error that it raises."""


def run_into(future: Future[T], call: Callable[[], T]) -> None:
    """Run `call`; the future gets what it returns or raises."""
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again by whoever asks the future
        future.set_exception(error)


class ThreadExecutor:
    """Runs calls on a few threads that, unlike those of the standard library, never delay the end of the process.

    `wake` is called after each call, from its thread.
    """

    def __init__(self, threads: int, wake: Callable[[], None], name: str = "job") -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._wake = wake
        self._closed = Event()
        self._threads = [Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._queue.put(lambda: run_into(future, call))
        return future

    def _serve(self) -> None:
        while (run := self._queue.get()) is not None and not self._closed.is_set():
            run()
            self._wake()

    def close(self, seconds: float = 0.0) -> None:
        """Start nothing more: results are no longer needed. Waits at most `seconds` for running calls."""
        if self._closed.is_set():
            return
        self._closed.set()
        for _ in self._threads:
            self._queue.put(None)
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
