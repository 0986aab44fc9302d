"""A seeded scheduler over greenlets: every port call is a place where another task may go first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from greenlet import getcurrent, greenlet


class Dead(BaseException):
    """Raised in a task whose process was killed: nothing it does after that has any effect."""


@dataclass(eq=False, slots=True)
class Process:
    """One worker process: its tasks live and die, freeze and thaw together."""

    name: str
    skew: timedelta = timedelta()
    alive: bool = True
    frozen: bool = False


@dataclass(eq=False, slots=True)
class Task:
    """One thread of a process."""

    process: Process
    run: greenlet
    wake_at: float = 0.0
    waiting: bool = False
    failure: BaseException | None = None


@dataclass(eq=False, slots=True)
class Hub:
    """Runs tasks one at a time in an order drawn from the seed, over a clock of its own."""

    random: Random
    start: datetime
    seconds: float = 0.0
    tasks: list[Task] = field(default_factory=list)
    current: Task | None = None
    root: greenlet = field(default_factory=getcurrent)

    def now(self) -> datetime:
        """The true time."""
        return self.start + timedelta(seconds=self.seconds)

    def spawn(self, process: Process, call: Callable[[], None]) -> Task:
        """A new task of this process."""
        task = Task(process, greenlet(call, parent=self.root))
        self.tasks.append(task)
        return task

    def point(self, process: Process) -> None:
        """Other tasks may go first. Raises Dead where the process was killed meanwhile."""
        if self.current is not None and getcurrent() is self.current.run:
            self.root.switch()
        if not process.alive:
            raise Dead

    def sleep(self, process: Process, seconds: float) -> None:
        """Wait, or until woken."""
        task = self.current
        assert task is not None
        task.waiting, task.wake_at = True, self.seconds + seconds
        self.point(process)

    def wake(self, process: Process) -> None:
        """End the sleep of the process's tasks."""
        for task in self.tasks:
            if task.process is process:
                task.waiting = False

    def kill(self, process: Process) -> None:
        """The process is gone; its tasks never run again."""
        process.alive = False
        self.tasks = [task for task in self.tasks if task.process is not process]

    def turn(self) -> bool:
        """Run one task to its next point; with none ready, move time on to the next sleeper. False: nobody is left."""
        ready: list[Task] = []
        sleepers: list[Task] = []
        now = self.seconds
        for task in self.tasks:
            if not task.process.frozen:
                (sleepers if task.waiting and task.wake_at > now else ready).append(task)
        if not ready:
            if not sleepers:
                return False
            self.seconds = min(task.wake_at for task in sleepers)
            ready = [task for task in sleepers if task.wake_at <= self.seconds]
        self.seconds += 0.001
        self._run(ready[0] if len(ready) == 1 else self.random.choice(ready))
        return True

    def _run(self, task: Task) -> None:
        task.waiting, self.current = False, task
        try:
            task.run.switch()
        except Dead:
            pass
        finally:
            self.current = None
        if task.run.dead and task in self.tasks:
            self.tasks.remove(task)


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """The clock as one process sees it."""

    hub: Hub
    process: Process

    def now(self) -> datetime:
        return self.hub.now() + self.process.skew

    def monotonic(self) -> float:
        return self.hub.seconds
