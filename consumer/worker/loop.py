"""The worker's loop: receive, judge, spool; when due, seal. A newcomer reads `Worker.step` first.

One thread runs it. It never waits but in `Broker.poll`; whatever may wait runs as a job beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial

from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.domain.offsets import TopicPartition
from consumer.source.port import Assigned, Broker, EndReached, Event, Lease, OutOfRange, Records, Revoked
from consumer.spool.disk import Disk
from consumer.worker.desk import Desk
from consumer.worker.jobs import Jobs
from consumer.worker.life import live
from consumer.worker.partition import Partition
from consumer.worker.pressure import Limits, Relief, Room, Tenant, relieve
from consumer.worker.publishing import Publication
from consumer.worker.steps import Pause, Runner, Steps, patiently

OUTAGE_SECONDS = 30.0
"""Polls without an error for that long end a brokers' outage; a broker that is still out of reach says so sooner."""
LOOKS = 16
"""How often room is looked after while a spool fills from empty to its limit, however fast that goes."""
UNOWNED_SECONDS = 60.0
"""How often the group's assignment is compared with the topics' partitions."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what happens that no event asks for."""

    checkpoint_seconds: float = 5.0
    pressure_seconds: float = 0.5


class Worker:
    """One member of the group, for all its streams. `desks` and `publications` are by stream name."""

    def __init__(
        self,
        desks: Mapping[str, Desk],
        publications: Mapping[str, Publication],
        *,
        broker: Broker,
        disk: Disk,
        jobs: Jobs,
        clock: Clock,
        limits: Limits,
        pace: Pace = Pace(),
    ) -> None:
        self.desks = desks
        self.publications = publications
        self.lives: dict[Lease, Partition] = {}
        for name, publication in publications.items():
            publication.busy = partial(self._sealing, name)
        self._by_topic = {desk.job.rules.topic: name for name, desk in desks.items()}
        self._broker, self._disk, self._jobs, self._clock = broker, disk, jobs, clock
        self.limits, self._pace = limits, pace
        self._runners: dict[Lease, Runner] = {}
        self._side_runners: list[Runner] = []
        self._hearing = next(iter(desks.values())).hearing
        self._held = False
        self._checkpoint_at = self._relieve_at = 0.0
        self._appended = 0
        self.broker_outage: TransientError | None = None
        self._outage_at = 0.0
        self.progress_at = clock.monotonic()

    def start(self) -> None:
        """Join the group."""
        self._broker.subscribe(sorted(self._by_topic))
        steps = [publication.steps() for publication in self.publications.values()]
        # asked for at once: a topic that is missing shows before any partition could
        self.request_publications()
        self._side_runners = [Runner(step, self._jobs, self._clock) for step in (*steps, self._watch_unowned())]

    def step(self, timeout: float) -> None:
        """One turn: take what came, let every partition go on as far as it can, look after the disk."""
        for event in self._poll(0.0 if any(life.intake.judging for life in self.lives.values()) else timeout):
            self._on(event)
        for life in self.lives.values():
            if life.intake.drain():
                self.progress_at = self._clock.monotonic()
        for runner in (*self._runners.values(), *self._side_runners):
            if runner.advance():
                self.progress_at = self._progressed()
        self._make_room()
        self._checkpoint()

    def stop(self) -> None:
        """Keep what was read for the next start, and leave the group."""
        for lease in list(self.lives):
            self._end(lease)
        for runner in self._side_runners:
            runner.close()
        self._broker.close()
        for desk in self.desks.values():
            desk.ahead.close()

    def lives_of(self, stream: str) -> list[Partition]:
        """Our partitions of this stream."""
        return [life for life in self.lives.values() if life.desk.job.name == stream]

    def _sealing(self, stream: str) -> bool:
        return any(life.sealing for life in self.lives_of(stream))

    def request_publications(self) -> None:
        """Look at every stream's days again."""
        for publication in self.publications.values():
            publication.request()

    def _progressed(self) -> float:
        outage = any(life.outage or life.intake.stalled for life in self.lives.values()) or any(
            publication.outage for publication in self.publications.values()
        )
        return self.progress_at if outage or self.broker_outage else self._clock.monotonic()

    def _poll(self, timeout: float) -> Sequence[Event]:
        try:
            events = self._broker.poll(timeout)
        except TransientError as error:
            self.broker_outage, self._outage_at = error, self._clock.monotonic()
            return ()
        if events or self._clock.monotonic() - self._outage_at > OUTAGE_SECONDS:
            self.broker_outage = None
        if events:
            self.progress_at = self._clock.monotonic()
        return events

    def _on(self, event: Event) -> None:
        match event:
            case Assigned(leases):
                for lease in leases:
                    self._begin(lease)
                self._tell_assigned()
            case Revoked(leases):
                for lease in leases:
                    self._end(lease)
                self._tell_assigned()
            case Records(lease) | EndReached(lease) | OutOfRange(lease):
                if lease in self.lives:
                    self.lives[lease].intake.receive(event)

    def _tell_assigned(self) -> None:
        ours = Counter(lease.partition.topic for lease in self.lives)
        self._hearing.rebalanced({topic: ours[topic] for topic in self._by_topic})

    def _begin(self, lease: Lease) -> None:
        stream = self._by_topic[lease.partition.topic]
        life = Partition(self.desks[stream], lease, self.publications[stream].request)
        self.lives[lease] = life
        self._runners[lease] = Runner(live(life), self._jobs, self._clock)

    def _end(self, lease: Lease) -> None:
        life = self.lives.pop(lease, None)
        if life is None:
            return
        self._runners.pop(lease).close()
        life.checkpoint()
        self._hearing.cleared(lease.partition, life.halted.reason if life.halted else None)

    # -- the disk ----------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        now = self._clock.monotonic()
        if now < self._checkpoint_at:
            return
        self._checkpoint_at = now + self._pace.checkpoint_seconds
        for life in self.lives.values():
            life.checkpoint()

    def _make_room(self) -> None:
        now, lives = self._clock.monotonic(), list(self.lives.values())
        appended = sum(life.spool.appended for life in lives)
        if now < self._relieve_at and abs(appended - self._appended) < self.limits.max_bytes // LOOKS:
            return
        self._relieve_at, self._appended = now + self._pace.pressure_seconds, appended
        room = Room(
            sum(life.spool.size for life in lives), self._disk.free_bytes(), any(life.intake.full for life in lives)
        )
        plan = relieve(self.limits, room, [_tenant(index, life) for index, life in enumerate(lives)], held=self._held)
        self._held = any(relief is not Relief.READ for relief in plan.values())
        if self._held:
            self._remove_strays(lives)
        for index, relief in plan.items():
            _relieve(lives[index], relief)
        self._hearing.pressed(room.used, room.free, held=self._held)

    def _remove_strays(self, lives: Sequence[Partition]) -> None:
        """Spools of partitions that are not ours any more go when room is short: Kafka holds their rows."""
        ours = {f"{life.name.topic}-{life.name.partition}" for life in lives}
        for folder in sorted(set(self._disk.folders()) - ours):
            with suppress(OSError):  # a full disk may refuse it, and void is the checkpoint without its files as well
                self._disk.save(folder, None)
            with suppress(OSError):
                self._disk.remove(self._disk.names(folder))

    # -- the group ---------------------------------------------------------------------------------------------------

    def _watch_unowned(self) -> Steps[None]:
        """Force a rejoin where partitions of our topics stay nobody's: seen with static members on 4.1.1."""
        desk = next(iter(self.desks.values()))
        topics = sorted(self._by_topic)
        before: set[TopicPartition] = set()
        while True:
            yield Pause(UNOWNED_SECONDS)
            unowned = yield from patiently(lambda: desk.view.unowned(desk.job.group, topics), lambda _: None)
            if before & unowned:
                self._broker.rejoin()
                unowned = set()
            before = unowned


def _tenant(index: int, life: Partition) -> Tenant:
    cutoff = life.spill_cutoff()
    due = sum(file.length for file in life.spool.files if file.day <= cutoff)
    return Tenant(
        index=index,
        due=due,
        open=life.spool.size - due if life.ready else 0,
        closing=life.ready and life.cutoff_due() is not None,
        sealing=life.sealing or life.spill_wanted,
        needed=life.rebuilding or life.intake.position < life.chain.reach.through,
    )


def _relieve(life: Partition, relief: Relief) -> None:
    cutoff: date | None = life.cutoff_due() or life.chain.reach.cutoff
    if relief is Relief.SPILL and life.ready:
        life.spill_wanted = True
    if relief is Relief.DROP and cutoff is not None:
        life.intake.make_room(cutoff)
    life.intake.hold(held=relief in {Relief.HOLD, Relief.SPILL})
