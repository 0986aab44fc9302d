"""Work beside the loop: store and cluster questions run as jobs; the loop looks for their results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work. Once `done`, `value` or `error` stands."""

    call: Callable[[], Any]
    _found: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        """Do the work and keep what came of it, an error as well: the one who asked raises it."""
        try:
            self._found.set_result(self.call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the job
            self._found.set_exception(error)

    @property
    def done(self) -> bool:
        """Whether anything came of it."""
        return self._found.done()

    @property
    def error(self) -> BaseException | None:
        """What it raised; None while it is not done."""
        return self._found.exception() if self.done else None

    @property
    def value(self) -> Any:
        """What it gave; None while it is not done, or where it raised."""
        return self._found.result() if self.done and self.error is None else None

    def result(self) -> Any:
        """Wait for its end; its value, or its error raised."""
        return self._found.result()


class Jobs(Protocol):
    """Runs jobs beside the loop. Implemented by threads and by the simulation."""

    def submit(self, job: Job) -> None:
        """Run it soon."""


class ThreadExecutor:
    """Jobs on a few threads that never hold up the end of the process. `wake` is called after each, from its thread."""

    def __init__(self, threads: int, wake: Callable[[], None], name: str = "job") -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._wake = wake
        self._closed = Event()
        self._threads = [Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        self._queue.put(job)

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None and not self._closed.is_set():
            job.run()
            self._wake()

    def close(self, seconds: float = 0.0) -> None:
        """Start nothing more. Jobs under way may end; nobody waits longer than `seconds` for them."""
        if self._closed.is_set():
            return
        self._closed.set()
        for _ in self._threads:
            self._queue.put(None)
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
