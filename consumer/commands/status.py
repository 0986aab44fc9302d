"""`status`: where every partition stands, from Kafka and the seal logs alone. Joins no group, writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import typer

from consumer.commands.output import print_json, print_table
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import store_of
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import HaltError, HaltReason
from consumer.monitor.snapshot_builder import last_sealed, next_seal
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.seal.decide import Schedule
from consumer.seal.inspection import Outlook, Outside
from consumer.settings.model import Settings
from consumer.source.admin import KafkaAdmin
from consumer.source.port import TopicFacts
from consumer.source.retention import find_headroom, retention

THREADS = 16
HEADS = ("stream", "partition", "committed", "end", "held", "last day", "next seal", "retention")
FROM_OUTSIDE = " (seen from outside: the spool of a running worker may hold them; its /status knows)"


def show_status(settings: Settings, *, as_json: bool) -> None:
    """Print the status of every stream. Raises GaveUpError."""
    clock = SystemClock()
    patience = RetryBudget(settings.schedule.give_up_after, clock)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            found = _status(settings, patience, pool, clock)
        except BaseException:
            patience.stop()
            raise
    _show(found, clock.now(), as_json=as_json)


def _status(settings: Settings, patience: RetryBudget, pool: ThreadPoolExecutor, clock: Clock) -> Status:
    admin = KafkaAdmin(settings.kafka)
    looks = [
        status_of(Outside(settings, stream, admin, store_of(stream.destination), patience.ask, pool), clock)
        for stream in settings.streams
    ]
    partitions = tuple(partition for look in looks for partition in look.partitions)
    return Status(partitions, tuple(halted for look in looks for halted in look.halted))


def status_of(outside: Outside, clock: Clock) -> Status:
    """Where the partitions of one stream stand. Raises GaveUpError."""
    try:
        facts = outside.topic()
        outlooks = outside.partitions(facts)
    except HaltError as halt:
        return Status(halted=(Halted(outside.stream.name, None, str(halt.reason), halt.message),))
    now = clock.now()
    partitions = tuple(outside.pool.map(lambda outlook: _partition(outside, facts, outlook, now), outlooks))
    halted = tuple(_halted(outside, outlook, outlook.halt) for outlook in outlooks if outlook.halt is not None)
    return Status(partitions, halted)


def _halted(outside: Outside, outlook: Outlook, halt: HaltError) -> Halted:
    outer = FROM_OUTSIDE if halt.reason is HaltReason.RETENTION_HOLE else ""
    return Halted(outside.stream.name, outlook.partition, str(halt.reason), halt.message + outer)


def _partition(outside: Outside, facts: TopicFacts, outlook: Outlook, now: datetime) -> PartitionStatus:
    chain = None if outlook.found is None else outlook.found.chain
    schedule = Schedule(outside.settings.schedule.seal_at)
    return PartitionStatus(
        stream=outside.stream.name,
        partition=outlook.partition,
        committed=None if outlook.commit is None else outlook.commit.offset,
        end=outlook.ends.lso,
        last_cutoff=None if chain is None else last_sealed(chain),
        next_seal=None if chain is None else next_seal(chain, schedule, now),
        retention_hours=_retention_hours(outside, facts, outlook, now),
    )


def _retention_hours(outside: Outside, facts: TopicFacts, outlook: Outlook, now: datetime) -> float | None:
    """Hours until Kafka may delete the committed offset by age; None where it never does, or nothing is committed."""
    kept, commit = retention(facts), outlook.commit
    if kept is None or commit is None:
        return None
    place, ends = outlook.partition, outlook.ends
    found = outside.ask(lambda: find_headroom(outside.admin, place, ends, commit.offset, kept, now))
    return found.left(now) / timedelta(hours=1)


def _show(found: Status, now: datetime, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
        return
    rows = [_row(partition, now) for partition in found.partitions]
    print_table(HEADS, rows, ("committed", "end", "held", "retention"))
    for halted in found.halted:
        where = halted.stream if halted.partition is None else f"{halted.stream} {halted.partition}"
        typer.echo(f"halted {where}: {halted.reason}: {halted.message}")


def _row(found: PartitionStatus, now: datetime) -> tuple[object, ...]:
    return (
        found.stream,
        found.partition,
        found.committed,
        found.end,
        found.held,
        found.last_cutoff,
        _when(found.next_seal, now),
        None if found.retention_hours is None else f"{found.retention_hours:,.1f} h",
    )


def _when(instant: datetime | None, now: datetime) -> str | None:
    if instant is None:
        return None
    text = instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return f"{text}, overdue" if instant <= now else text
