"""From observations to the snapshot that is shown. Called by the loop; never blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consumer.domain.errors import HaltError
from consumer.domain.offsets import TopicPartition
from consumer.monitor.probes import ClusterState, DaysState, Liveness
from consumer.observe.calendar import calendar, last_complete
from consumer.observe.snapshot import Snapshot, SpoolView, StreamView
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.seal.decide import last_sealed, next_seal
from consumer.source.retention import Headroom
from consumer.worker.loop import Worker
from consumer.worker.partition import Partition


@dataclass(slots=True)
class Observations:
    """What the monitor's rounds found last."""

    broker: Liveness
    stores: dict[str, Liveness]
    cluster: ClusterState = field(default_factory=ClusterState)
    days: dict[str, DaysState] = field(default_factory=dict)
    headroom: dict[TopicPartition, Headroom] = field(default_factory=dict)


def snapshot_of(worker: Worker, observations: Observations, now: datetime, *, joined: bool) -> Snapshot:
    """The worker's state. `joined`: this member is in the group, though it may have no partition."""
    partitions = sorted(
        worker.partitions.values(), key=lambda partition: (partition.context.config.name, partition.name)
    )
    streams = tuple(
        _stream(
            worker,
            observations,
            name,
            [partition for partition in partitions if partition.context.config.name == name],
            now,
        )
        for name in sorted(worker.contexts)
    )
    statuses = tuple(found for stream in streams for found in stream.partitions)
    halts = tuple(_halted(partition, halt) for partition in partitions if (halt := partition.phase.halt) is not None)
    return Snapshot(
        at=now,
        status=Status(statuses, (*halts, *_halted_streams(worker, {halt.stream for halt in halts}))),
        streams=streams,
        spool=_spool(worker, partitions),
        unready=tuple(_unready(observations, assigned=bool(partitions) or joined)),
    )


def _stream(
    worker: Worker, observations: Observations, name: str, partitions: Sequence[Partition], now: datetime
) -> StreamView:
    context, publish_task = worker.contexts[name], worker.publish_tasks[name]
    facts = observations.cluster.topics.get(context.config.rules.topic)
    published = observations.days.get(name, DaysState()).days
    halted = publish_task.halted is not None or any(partition.phase.halt is not None for partition in partitions)
    return StreamView(
        name=name,
        topic=context.config.rules.topic,
        destination=context.store.location,
        partitions=tuple(_partition(partition, observations, now) for partition in partitions),
        partitions_total=None if facts is None else facts.partitions,
        days=calendar(published, now.date(), halted=halted),
        last_complete=last_complete(published),
        troubles=tuple(dict.fromkeys(_troubles(worker, observations, name, partitions))),
    )


def _troubles(worker: Worker, observations: Observations, name: str, partitions: Sequence[Partition]) -> list[str]:
    publish_task = worker.publish_tasks[name]
    found = [
        f"halted: {partition.name}: {halt.reason}: {halt.message}"
        for partition in partitions
        if (halt := partition.phase.halt) is not None
    ]
    found.extend(
        f"unexpected error: {partition.name}: {type(error).__name__}; the log names the file with its details"
        for partition in partitions
        if (error := partition.phase.unexpected) is not None
    )
    if publish_task.unexpected is not None:
        found.append(f"days are not published: unexpected error: {type(publish_task.unexpected).__name__}")
    if publish_task.halted is not None:
        found.append(f"days are not published: {publish_task.halted}")
    outages = [partition.phase.outage or partition.intake.stalled for partition in partitions] + [publish_task.outage]
    found.extend(f"outage: {outage}" for outage in outages if outage is not None)
    if observations.stores[name].asked and observations.stores[name].trouble:
        found.append(f"store: {observations.stores[name].trouble}")
    return found


def _partition(partition: Partition, observations: Observations, now: datetime) -> PartitionStatus:
    ends, commit = observations.cluster.ends.get(partition.name), observations.cluster.committed.get(partition.name)
    headroom = observations.headroom.get(partition.name)
    known = partition.spool.basis is not None
    days = {file.day for file in partition.spool.files} | set(partition.spool.progress.dropped)
    return PartitionStatus(
        stream=partition.context.config.name,
        partition=partition.name,
        committed=None if commit is None else commit.offset,
        end=None if ends is None else ends.lso,
        position=partition.intake.position if known else None,
        open_days=tuple(sorted(days)) if known else None,
        last_cutoff=last_sealed(partition.chain),
        next_seal=next_seal(partition.chain, partition.context.schedule, now) if partition.topic_id else None,
        phase=str(partition.phase),
        retention_hours=None if headroom is None else headroom.left(now) / timedelta(hours=1),
    )


def _halted(partition: Partition, halt: HaltError) -> Halted:
    return Halted(partition.context.config.name, partition.name, str(halt.reason), halt.message)


def _halted_streams(worker: Worker, shown: set[str]) -> Iterator[Halted]:
    """Streams that none of our partitions speaks for: a topic that is missing has none."""
    for name, publish_task in sorted(worker.publish_tasks.items()):
        if publish_task.halted is not None and name not in shown:
            yield Halted(name, None, str(publish_task.halted.reason), publish_task.halted.message)


def _spool(worker: Worker, partitions: Sequence[Partition]) -> SpoolView:
    disk = next(iter(worker.contexts.values())).disk
    limits = worker.limits
    used = sum(partition.spool.size for partition in partitions)
    return SpoolView(used, limits.max_bytes, disk.free_bytes(), limits.min_free_bytes)


def _unready(observations: Observations, *, assigned: bool) -> list[str]:
    """Why the worker cannot work; a store counts where no stream's answers, as the others continue without it."""
    found = [] if assigned else ["not a member of the consumer group yet"]
    if observations.broker.trouble:
        found.append(f"broker: {observations.broker.trouble}")
    troubles = [
        f"store of {name}: {health.trouble}" for name, health in sorted(observations.stores.items()) if health.trouble
    ]
    return found + (troubles if len(troubles) == len(observations.stores) else [])
