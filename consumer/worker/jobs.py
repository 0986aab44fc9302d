"""Work beside the loop: store and cluster questions run as jobs; the loop looks for their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Protocol


@dataclass(slots=True)
class Job:
    """One piece of work. `done` is set last; then `value` or `error` stands."""

    call: Callable[[], Any]
    done: bool = field(default=False)
    value: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        """Do the work and keep what came of it, an error as well: the one who asked raises it."""
        try:
            self.value = self.call()
        except BaseException as error:  # noqa: BLE001 - raised again in the loop by whoever waits for the job
            self.error = error
        self.done = True


class Jobs(Protocol):
    """Runs jobs beside the loop. Implemented by threads and by the simulation."""

    def submit(self, job: Job) -> None:
        """Run it soon."""


class ThreadJobs:
    """Jobs on a few threads that never hold up the end of the process. `wake` is called after each, from its thread."""

    def __init__(self, threads: int, wake: Callable[[], None], name: str = "job") -> None:
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._wake = wake
        self._threads = [Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        self._queue.put(job)

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            job.run()
            self._wake()

    def close(self, seconds: float = 0.0) -> None:
        """Start nothing more once the queue is empty. Jobs under way may end; nobody waits longer than `seconds`."""
        for _ in self._threads:
            self._queue.put(None)
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
