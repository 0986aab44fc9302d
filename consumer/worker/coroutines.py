"""Coroutines of the loop: a generator yields what it waits for, and is resumed once that has happened.

So the lifecycle of a partition reads from top to bottom, while one thread serves all of them and never blocks. The
standard library's coroutines would need an event loop, which the simulation could not schedule from a seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from consumer.domain.backoff import Jitter, pauses
from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.worker.executor import Executor

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunInThread:
    """Run this on the executor. The generator gets what it returns, or its error raised."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Continue once this is true."""

    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Go on after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Together:
    """Run these concurrently, `width` at a time, started in order; continue once all have ended.

    The first error of any is raised; the others are dropped then, and running calls complete on their own.
    """

    steps: Sequence[Generator[Any, Any, None]]
    width: int


Step = RunInThread | WaitUntil | Sleep | Together
Steps = Generator[Step, Any, _T]


def with_backoff(call: Callable[[], _T], report: Callable[[TransientError | None], None], jitter: Jitter) -> Steps[_T]:
    """Run `call` on the executor until it meets no outage. `report` gets each outage, and None once it is over."""
    waits = pauses(FIRST_PAUSE, LONGEST_PAUSE, jitter)
    while True:
        try:
            value: _T = yield RunInThread(call)
        except TransientError as error:
            report(error)
            yield Sleep(next(waits))
        else:
            report(None)
            return value


class Runner:
    """Drives one generator of steps. `advance` never waits."""

    def __init__(self, steps: Steps[None], executor: Executor, clock: Clock) -> None:
        self._steps = steps
        self._executor = executor
        self._clock = clock
        self._future: Future[Any] | None = None
        self._holds: Callable[[], bool] | None = None
        self._group: _Group | None = None
        self.ended = False

    def advance(self) -> bool:
        """Advance as far as possible; True if it advanced at all. Raises what the generator raises."""
        moved = False
        while not self.ended and self._ready():
            moved = True
            future = self._future
            error = None if future is None else future.exception()
            if self._group is not None:
                error = self._group.error
            if error is not None:
                self._go_on(partial(self._steps.throw, error))
            else:
                self._go_on(partial(self._steps.send, None if future is None else future.result()))
        return moved

    def throw(self, error: BaseException) -> None:
        """Raise `error` if the generator waits; what it waits for is dropped. Raises what the generator raises."""
        self._go_on(partial(self._steps.throw, error))

    def _ready(self) -> bool:
        if self._future is not None:
            return self._future.done()
        return self._holds is None or self._holds()

    def _go_on(self, resume: Callable[[], Step]) -> None:
        self._drop()
        try:
            step = resume()
        except StopIteration:
            self.ended = True
            return
        self._wait_for(step)

    def _wait_for(self, step: Step) -> None:
        match step:
            case RunInThread(call):
                self._future = self._executor.submit(call)
            case WaitUntil(holds):
                self._holds = holds
            case Together(steps, width):
                self._group = _Group(steps, width, self._executor, self._clock)
                self._holds = self._group.advance
            case Sleep(seconds):
                end = self._clock.monotonic() + seconds
                self._holds = lambda: self._clock.monotonic() >= end

    def close(self) -> None:
        """Close the generator wherever it is; a running call completes on its own and its result is dropped."""
        self.ended = True
        self._drop()
        self._steps.close()

    def _drop(self) -> None:
        """Wait for nothing any more."""
        if self._group is not None:
            self._group.close()
        self._future = self._holds = self._group = None


class _Group:
    """Generators of one `Together`, each with its own runner."""

    def __init__(
        self, steps: Sequence[Generator[Any, Any, None]], width: int, executor: Executor, clock: Clock
    ) -> None:
        self._waiting = deque(steps)
        self._width, self._executor, self._clock = width, executor, clock
        self._running: list[Runner] = []
        self.error: BaseException | None = None

    def advance(self) -> bool:
        """Advance each as far as possible; True once all have ended, or one has failed."""
        try:
            while True:
                for runner in self._running:
                    runner.advance()
                self._running = [runner for runner in self._running if not runner.ended]
                if not self._waiting or len(self._running) >= self._width:
                    return not self._waiting and not self._running
                self._running.append(Runner(self._waiting.popleft(), self._executor, self._clock))
        except Exception as error:  # noqa: BLE001 - raised where the group is waited for
            self.error = error
            return True

    def close(self) -> None:
        """Close all of them wherever they are."""
        for runner in self._running:
            runner.close()
        for steps in self._waiting:
            steps.close()
        self._waiting.clear()
