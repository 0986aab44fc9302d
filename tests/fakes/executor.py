"""An executor of the standard library without threads: for what would else start one for each look at a bucket."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from consumer.worker.executor import run_into

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs each call where it is submitted."""

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        run_into(future, lambda: call(*args, **kwargs))
        return future
