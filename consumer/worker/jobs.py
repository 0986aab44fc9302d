"""Work beside the loop: store and cluster questions run as jobs; the loop looks for their results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
    """Jobs on a few threads. `wake` is called after each, from its thread."""

    def __init__(self, threads: int, wake: Callable[[], None]) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="job")
        self._wake = wake

    def submit(self, job: Job) -> None:
        self._pool.submit(self._run, job)

    def _run(self, job: Job) -> None:
        job.run()
        self._wake()

    def close(self) -> None:
        """Start nothing more. Jobs under way end by their own time limits; nobody waits for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
