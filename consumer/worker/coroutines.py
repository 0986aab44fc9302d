"""Steps: a partition's life is a generator that says what it waits for; the loop goes on with it when that is there."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from consumer.domain.backoff import Jitter, pauses
from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.worker.executor import Job, Jobs

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunInThread:
    """Run this as a job; the step's value is what it returns, or its error is raised."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Go on once this holds."""

    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Go on after this many seconds."""

    seconds: float


Step = RunInThread | WaitUntil | Sleep
Steps = Generator[Step, Any, _T]


def with_backoff(call: Callable[[], _T], told: Callable[[TransientError | None], None], jitter: Jitter) -> Steps[_T]:
    """Run `call` as a job until it meets no outage, with backoff. `told` hears of each outage, and None at its end."""
    waits = pauses(FIRST_PAUSE, LONGEST_PAUSE, jitter)
    while True:
        try:
            value: _T = yield RunInThread(call)
        except TransientError as error:
            told(error)
            yield Sleep(next(waits))
        else:
            told(None)
            return value


class Runner:
    """Drives one generator of steps. `advance` never waits."""

    def __init__(self, steps: Steps[None], jobs: Jobs, clock: Clock) -> None:
        self._steps = steps
        self._jobs = jobs
        self._clock = clock
        self._job: Job | None = None
        self._holds: Callable[[], bool] | None = None
        self.ended = False
        self._started = False

    def advance(self) -> bool:
        """Go on as far as possible; True where it went on at all. Raises what the generator raises."""
        moved = False
        while not self.ended and self._ready():
            moved = True
            job, self._job, self._holds = self._job, None, None
            self._go_on(job)
        return moved

    def _ready(self) -> bool:
        if self._job is not None:
            return self._job.done
        return self._holds is None or self._holds()

    def _go_on(self, job: Job | None) -> None:
        try:
            if job is not None and job.error is not None:
                step = self._steps.throw(job.error)
            else:
                step = self._steps.send(job.value if job is not None else None)
        except StopIteration:
            self.ended = True
            return
        self._wait_for(step)

    def _wait_for(self, step: Step) -> None:
        match step:
            case RunInThread(call):
                self._job = Job(call)
                self._jobs.submit(self._job)
            case WaitUntil(holds):
                self._holds = holds
            case Sleep(seconds):
                end = self._clock.monotonic() + seconds
                self._holds = lambda: self._clock.monotonic() >= end

    def close(self) -> None:
        """End the generator where it stands; a job under way ends on its own and its result is dropped."""
        self.ended = True
        self._steps.close()
