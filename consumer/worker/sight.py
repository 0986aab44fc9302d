"""From what was looked at to what is shown: one snapshot of the worker. Called by the loop; waits for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from consumer.domain.days import ONE_DAY, due_at
from consumer.domain.offsets import TopicPartition
from consumer.observe.board import Snapshot, SpoolView, StreamView
from consumer.observe.calendar import calendar, last_complete
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.seal.chain import Chain
from consumer.seal.decide import Schedule, cutoff_to_close
from consumer.worker.headroom import Headroom
from consumer.worker.looks import ClusterLook, DaysLook, Probe
from consumer.worker.loop import Worker
from consumer.worker.partition import Partition


@dataclass(slots=True)
class Seen:
    """What the monitor's rounds found last."""

    broker: Probe
    stores: dict[str, Probe]
    cluster: ClusterLook = field(default_factory=ClusterLook)
    days: dict[str, DaysLook] = field(default_factory=dict)
    headroom: dict[TopicPartition, Headroom] = field(default_factory=dict)


def last_sealed(chain: Chain) -> date | None:
    """The last day that a caught-up seal closed."""
    return next((record.cutoff for record in reversed(chain.records) if record.caught_up and record.cutoff), None)


def next_seal(chain: Chain, schedule: Schedule, now: datetime) -> datetime:
    """When the next seal of this chain is due; in the past where it is overdue."""
    cutoff = cutoff_to_close(chain, schedule, now)
    if cutoff is None:
        cutoff = max(schedule.cutoff(now), chain.reach.cutoff or date.min) + ONE_DAY
    return due_at(cutoff, schedule.seal_at)


def snapshot_of(worker: Worker, seen: Seen, now: datetime, *, joined: bool) -> Snapshot:
    """The worker as it stands. `joined`: the group has taken us in, though it may have no partition for us."""
    lives = sorted(worker.lives.values(), key=lambda life: (life.desk.job.name, life.name))
    streams = tuple(
        _stream(worker, seen, name, [life for life in lives if life.desk.job.name == name], now)
        for name in sorted(worker.desks)
    )
    partitions = tuple(found for stream in streams for found in stream.partitions)
    halts = tuple(_halted(life) for life in lives if life.halted is not None)
    return Snapshot(
        at=now,
        status=Status(partitions, (*halts, *_halted_streams(worker, {halt.stream for halt in halts}))),
        streams=streams,
        spool=_spool(worker, lives),
        unready=tuple(_unready(seen, assigned=bool(lives) or joined)),
    )


def _stream(worker: Worker, seen: Seen, name: str, lives: Sequence[Partition], now: datetime) -> StreamView:
    desk, publication = worker.desks[name], worker.publications[name]
    facts = seen.cluster.topics.get(desk.job.rules.topic)
    published = seen.days.get(name, DaysLook()).days
    halted = publication.halted is not None or any(life.halted is not None for life in lives)
    return StreamView(
        name=name,
        topic=desk.job.rules.topic,
        destination=desk.store.location,
        partitions=tuple(_partition(life, seen, now) for life in lives),
        partitions_total=None if facts is None else facts.partitions,
        days=calendar(published, now.date(), halted=halted),
        last_complete=last_complete(published),
        troubles=tuple(dict.fromkeys(_troubles(worker, seen, name, lives))),
    )


def _troubles(worker: Worker, seen: Seen, name: str, lives: Sequence[Partition]) -> list[str]:
    publication = worker.publications[name]
    found = [f"halted: {life.name}: {life.halted.reason}: {life.halted.message}" for life in lives if life.halted]
    if publication.halted is not None:
        found.append(f"days are not published: {publication.halted}")
    outages = [life.outage or life.intake.stalled for life in lives] + [publication.outage]
    found.extend(f"outage: {outage}" for outage in outages if outage is not None)
    if seen.stores[name].asked and seen.stores[name].trouble:
        found.append(f"store: {seen.stores[name].trouble}")
    return found


def _partition(life: Partition, seen: Seen, now: datetime) -> PartitionStatus:
    ends, commit = seen.cluster.ends.get(life.name), seen.cluster.committed.get(life.name)
    headroom = seen.headroom.get(life.name)
    known = life.spool.basis is not None
    days = {file.day for file in life.spool.files} | set(life.spool.progress.dropped)
    return PartitionStatus(
        stream=life.desk.job.name,
        partition=life.name,
        committed=None if commit is None else commit.offset,
        end=None if ends is None else ends.lso,
        position=life.intake.position if known else None,
        open_days=tuple(sorted(days)) if known else None,
        last_cutoff=last_sealed(life.chain),
        next_seal=next_seal(life.chain, life.desk.schedule, now) if life.topic_id else None,
        retention_hours=None if headroom is None else headroom.left(now) / timedelta(hours=1),
    )


def _halted(life: Partition) -> Halted:
    assert life.halted is not None
    return Halted(life.desk.job.name, life.name, str(life.halted.reason), life.halted.message)


def _halted_streams(worker: Worker, shown: set[str]) -> Iterator[Halted]:
    """Streams that none of our partitions speaks for: a topic that is missing has none."""
    for name, publication in sorted(worker.publications.items()):
        if publication.halted is not None and name not in shown:
            yield Halted(name, None, str(publication.halted.reason), publication.halted.message)


def _spool(worker: Worker, lives: Sequence[Partition]) -> SpoolView:
    disk = next(iter(worker.desks.values())).disk
    limits = worker.limits
    used = sum(life.spool.size for life in lives)
    return SpoolView(used, limits.max_bytes, disk.free_bytes(), limits.min_free_bytes)


def _unready(seen: Seen, *, assigned: bool) -> list[str]:
    """Why the worker cannot work; a store counts where no stream's answers, as the others go on without it."""
    found = [] if assigned else ["not a member of the consumer group yet"]
    if seen.broker.trouble:
        found.append(f"broker: {seen.broker.trouble}")
    troubles = [f"store of {name}: {probe.trouble}" for name, probe in sorted(seen.stores.items()) if probe.trouble]
    return found + (troubles if len(troubles) == len(seen.stores) else [])
