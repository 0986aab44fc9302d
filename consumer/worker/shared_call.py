"""One call for all who need the same answer at the same time: at a cutoff, every partition asks about one topic."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from consumer.worker.executor import run_into

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Calls `call`, or waits for a call of another thread. An answer is never older than the question.

    Raises what `call` raises, for everyone who waited for it.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._calling = Lock()
        self._begun = 0
        self._latest: Future[T] = Future()

    def __call__(self) -> T:
        begun = self._begun  # a call under way may have its answer already: only those begun from now on count
        with self._calling:
            if self._begun == begun:
                self._begun += 1
                self._latest = Future()
                run_into(self._latest, self._call)
            latest = self._latest
        return latest.result()
