"""`status`: where every partition stands, from Kafka and the seal logs alone. Joins no group, writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from consumer.commands.arguments import AsJson
from consumer.commands.session import session_of
from consumer.domain.errors import HaltError, HaltReason

if TYPE_CHECKING:
    from consumer.commands.retry import RetryBudget
    from consumer.domain.clock import Clock
    from consumer.observe.status import Halted, PartitionStatus, Status
    from consumer.seal.inspection import Outlook, Outside
    from consumer.settings.model import Settings
    from consumer.source.port import TopicFacts

THREADS = 16
HEADS = ("stream", "partition", "committed", "end", "held", "last day", "next seal", "retention")
FROM_OUTSIDE = " (seen from outside: the spool of a running worker may hold them; its /status knows)"


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show each partition's committed offset, what it holds back, its last day, the next seal, and what is halted.

    "held" are offsets that wait for their day to be sealed: normal. "retention" is the time until Kafka may delete the
    first of them.
    """
    from consumer.commands.retry import RetryBudget  # noqa: PLC0415 - slow, --help does without
    from consumer.domain.clock import SystemClock  # noqa: PLC0415

    settings = session_of(context).settings
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
    from consumer.commands.wiring import store_of  # noqa: PLC0415 - with the rest of the command
    from consumer.observe.status import Status  # noqa: PLC0415
    from consumer.seal.inspection import Outside  # noqa: PLC0415
    from consumer.source.admin import KafkaAdmin  # noqa: PLC0415

    admin = KafkaAdmin(settings.kafka)
    looks = [
        status_of(Outside(settings, stream, admin, store_of(stream.destination), patience.ask, pool), clock)
        for stream in settings.streams
    ]
    partitions = tuple(partition for look in looks for partition in look.partitions)
    return Status(partitions, tuple(halted for look in looks for halted in look.halted))


def status_of(outside: Outside, clock: Clock) -> Status:
    """Where the partitions of one stream stand. Raises GaveUpError."""
    from consumer.observe.status import Halted, Status  # noqa: PLC0415 - with the rest of the command

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
    from consumer.observe.status import Halted  # noqa: PLC0415 - with the rest of the command

    outer = FROM_OUTSIDE if halt.reason is HaltReason.RETENTION_HOLE else ""
    return Halted(outside.stream.name, outlook.partition, str(halt.reason), halt.message + outer)


def _partition(outside: Outside, facts: TopicFacts, outlook: Outlook, now: datetime) -> PartitionStatus:
    from consumer.monitor.snapshot_builder import last_sealed, next_seal  # noqa: PLC0415
    from consumer.observe.status import PartitionStatus  # noqa: PLC0415 - with the rest of the command
    from consumer.seal.decide import Schedule  # noqa: PLC0415

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
    from consumer.source.retention import find_headroom, retention  # noqa: PLC0415 - with the rest of the command

    kept, commit = retention(facts), outlook.commit
    if kept is None or commit is None:
        return None
    place, ends = outlook.partition, outlook.ends
    found = outside.ask(lambda: find_headroom(outside.admin, place, ends, commit.offset, kept, now))
    return found.left(now) / timedelta(hours=1)


def _show(found: Status, now: datetime, *, as_json: bool) -> None:
    from consumer.commands.output import print_json, print_table  # noqa: PLC0415 - with the rest of the command

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
