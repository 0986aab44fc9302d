"""`run --once`: when a worker that should stop by itself is done, must give up, or cannot go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from consumer.domain.clock import Clock
from consumer.domain.errors import HaltError, TransientError
from consumer.worker.loop import Worker

LOOK_SECONDS = 2.0
"""How often the bucket is looked at for what other workers have sealed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a one-shot worker ends: `halts` stop streams, `outage` lasted too long, neither: all is sealed."""

    halts: tuple[HaltError, ...] = ()
    outage: TransientError | None = None


class Once:
    """Watches a worker until every partition of its streams has sealed `cutoff`, whoever did it.

    It also waits for the group's offsets: a member that died between upload and commit leaves its partitions to us only
    when its session runs out.
    """

    def __init__(self, worker: Worker, clock: Clock, cutoff: date, give_up_after: timedelta) -> None:
        self._worker = worker
        self._clock = clock
        self._cutoff = cutoff
        self._patience = give_up_after.total_seconds()
        self._look_at = clock.monotonic()
        for publication in worker.publications.values():
            publication.watches_commits = True

    def look(self) -> Ended | None:
        """Whether the worker should end now, and why."""
        self._ask_again()
        halts = {name: found for name in self._worker.desks if (found := self._halts(name))}
        waiting = [name for name in self._worker.desks if name not in halts and not self._sealed(name)]
        if not waiting and all(self._settled(name) for name in halts):
            return Ended(halts=tuple(halt for found in halts.values() for halt in found))
        if self._clock.monotonic() - self._worker.progress_at < self._patience:
            return None
        outage = self._outage(waiting)
        if outage is None:
            return None
        return Ended(halts=tuple(halt for found in halts.values() for halt in found), outage=outage)

    def _ask_again(self) -> None:
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for name, publication in self._worker.publications.items():
            if publication.idle and not self._sealed(name) and self._settled(name):
                publication.request()

    def _sealed(self, stream: str) -> bool:
        publication = self._worker.publications[stream]
        sealed = publication.sealed is not None and publication.sealed >= self._cutoff
        return publication.idle and sealed and publication.committed

    def _settled(self, stream: str) -> bool:
        """None of our partitions of this stream has anything left to do, but those that halted."""
        lives = self._worker.lives_of(stream)
        return all(life.halted is not None or (life.ready and life.cutoff_due() is None) for life in lives)

    def _halts(self, stream: str) -> list[HaltError]:
        lives = self._worker.lives_of(stream)
        found = [life.halted for life in lives if life.halted is not None]
        publication = self._worker.publications[stream].halted
        return [*found, *([publication] if publication is not None else [])]

    def _outage(self, waiting: list[str]) -> TransientError | None:
        lives = [life for life in self._worker.lives.values() if life.desk.job.name in waiting]
        found = [life.outage or life.intake.stalled for life in lives]
        found.extend(self._worker.publications[name].outage for name in waiting)
        found.append(self._worker.broker_outage)
        return next((error for error in found if error is not None), None)
