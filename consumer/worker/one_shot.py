"""`run --once`: when the worker is done, must give up, or cannot continue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from consumer.domain.clock import Clock
from consumer.domain.errors import HaltError, TransientError
from consumer.worker.loop import Worker

LOOK_SECONDS = 2.0
"""Seconds between checks of the bucket for what other workers have sealed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a one-shot worker ends: `halts` stop streams, or an `unexpected` error does; `outage` lasted too long.

    None of these: all is sealed.
    """

    halts: tuple[HaltError, ...] = ()
    unexpected: Exception | None = None
    outage: TransientError | None = None


class OneShot:
    """Watches a worker until every partition of its streams has sealed `cutoff`, whoever did it.

    It also waits for the group's offsets: the partitions of a member that died between upload and commit are only
    assigned here when its session expires.
    """

    def __init__(self, worker: Worker, clock: Clock, cutoff: date, give_up_after: timedelta) -> None:
        self._worker = worker
        self._clock = clock
        self._cutoff = cutoff
        self._patience = give_up_after.total_seconds()
        self._look_at = clock.monotonic()
        for publish_task in worker.publish_tasks.values():
            publish_task.watches_commits = True

    def look(self) -> Ended | None:
        """Whether the worker should end now, and why."""
        self._ask_again()
        stopped = {name: found for name in self._worker.contexts if (found := self._stopped(name))}
        waiting = [name for name in self._worker.contexts if name not in stopped and not self._sealed(name)]
        errors = [error for found in stopped.values() for error in found]
        halts = tuple(error for error in errors if isinstance(error, HaltError))
        if not waiting and all(self._settled(name) for name in stopped):
            return Ended(halts, next((error for error in errors if not isinstance(error, HaltError)), None))
        if self._clock.monotonic() - self._worker.progress_at < self._patience:
            return None
        outage = self._outage(waiting)
        if outage is None:
            return None
        return Ended(halts, outage=outage)

    def _ask_again(self) -> None:
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for name, publish_task in self._worker.publish_tasks.items():
            if publish_task.idle and not self._sealed(name) and self._settled(name):
                publish_task.request()

    def _sealed(self, stream: str) -> bool:
        publish_task = self._worker.publish_tasks[stream]
        sealed = publish_task.sealed is not None and publish_task.sealed >= self._cutoff
        return publish_task.idle and sealed and publish_task.committed

    def _settled(self, stream: str) -> bool:
        """None of our partitions of this stream has anything left to do, but those that cannot continue."""
        partitions = self._worker.partitions_of(stream)
        return all(
            partition.phase.stopped or (partition.phase.recovered and partition.cutoff_due() is None)
            for partition in partitions
        )

    def _stopped(self, stream: str) -> list[Exception]:
        """What stops this stream: halts and unexpected errors."""
        phases = [partition.phase for partition in self._worker.partitions_of(stream)]
        task = self._worker.publish_tasks[stream]
        found = [*(phase.halt or phase.unexpected for phase in phases), task.halted, task.unexpected]
        return [error for error in found if error is not None]

    def _outage(self, waiting: list[str]) -> TransientError | None:
        partitions = [
            partition for partition in self._worker.partitions.values() if partition.context.config.name in waiting
        ]
        found = [partition.phase.outage or partition.intake.stalled for partition in partitions]
        found.extend(self._worker.publish_tasks[name].outage for name in waiting)
        found.append(self._worker.broker_outage)
        return next((error for error in found if error is not None), None)
