"""`status`: the state of every partition, from Kafka and the seal logs alone. Joins no group, writes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
from rich.console import Console

from consumer.commands.arguments import day_of, streams_of
from consumer.commands.output import print_json, print_table, say
from consumer.commands.retry import RetryBudget
from consumer.commands.waiting import Waiting, call_once, worker_halts
from consumer.commands.wiring import store_of
from consumer.domain.backoff import Ask
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import HaltError, HaltReason, UsageError
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.seal.decide import Schedule, last_sealed, next_seal
from consumer.seal.inspection import Outlook, Outside
from consumer.settings.model import Settings, StreamSettings
from consumer.settings.values import duration
from consumer.source.admin import KafkaAdmin
from consumer.source.port import TopicFacts
from consumer.source.retention import find_headroom, retention

THREADS = 16
WATCH_SECONDS = 5.0
LEAST_WATCH_SECONDS, MOST_WATCH_SECONDS = 0.1, 86_400.0
HEADS = ("stream", "partition", "committed", "end", "held", "last day", "next seal", "retention")
FROM_OUTSIDE = " (seen from outside: the spool of a running worker may have them; its /status knows)"


def show_status(settings: Settings, streams: Sequence[str], *, as_json: bool) -> None:
    """Print the status of these streams, or of all. Raises UsageError and GaveUpError."""
    clock = SystemClock()
    wanted = streams_of(settings, streams)
    with looking(settings, clock) as (ask, pool):
        found = _status(settings, wanted, ask, pool, clock)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found, clock.now())


def watch_status(settings: Settings, seconds: str, streams: Sequence[str], *, as_json: bool) -> None:
    """Print it repeatedly, until a signal: redrawn on a terminal, else a block or a line of JSON each time."""
    clock, pause = SystemClock(), pause_of(seconds)
    wanted = streams_of(settings, streams)
    with looking(settings, clock) as (ask, pool):
        while True:
            show_again(_status(settings, wanted, ask, pool, clock), clock.now(), as_json=as_json)
            time.sleep(pause)


def wait_for_day(settings: Settings, day: str, streams: Sequence[str], timeout: str, *, as_json: bool) -> None:
    """End once the day is published for these streams. Raises HaltError for a halt, GaveUpError at the timeout."""
    wanted, clock = day_of("--wait", day), SystemClock()
    assert wanted is not None
    try:
        patience = duration(timeout)
    except ValueError as error:
        raise UsageError(f"--timeout: {timeout!r} {error}") from error
    admin = KafkaAdmin(settings.kafka)
    with ThreadPoolExecutor(THREADS) as pool:
        outsides = [
            Outside(settings, stream, admin, store_of(stream.destination), call_once, pool)
            for stream in streams_of(settings, streams)
        ]
        waiting = Waiting(wanted, outsides, partial(worker_halts, settings.http.address), clock, time.sleep)
        revisions = waiting.until_published(patience)
    if as_json:
        print_json({"day": wanted.isoformat(), "published": revisions})
    else:
        say(f"{wanted} is published: {', '.join(f'{name} revision {n}' for name, n in revisions.items())}")


def pause_of(seconds: str) -> float:
    """The seconds between two looks. Raises UsageError."""
    try:
        pause = float(seconds or WATCH_SECONDS)
    except ValueError as error:
        raise UsageError(f"--watch: {seconds!r} is not a number of seconds") from error
    if not LEAST_WATCH_SECONDS <= pause <= MOST_WATCH_SECONDS:
        raise UsageError(f"--watch: write {LEAST_WATCH_SECONDS} to {MOST_WATCH_SECONDS:.0f} seconds, not {seconds}")
    return pause


@contextmanager
def looking(settings: Settings, clock: Clock) -> Iterator[tuple[Ask, Executor]]:
    """Ways to ask: patiently, and side by side."""
    budget = RetryBudget(settings.schedule.give_up_after, clock)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield budget.ask, pool
        except BaseException:
            budget.stop()
            raise


def _status(settings: Settings, streams: Iterable[StreamSettings], ask: Ask, pool: Executor, clock: Clock) -> Status:
    admin = KafkaAdmin(settings.kafka)
    looks = [
        status_of(Outside(settings, stream, admin, store_of(stream.destination), ask, pool), clock)
        for stream in streams
    ]
    partitions = tuple(partition for look in looks for partition in look.partitions)
    return Status(partitions, tuple(halted for look in looks for halted in look.halted))


def status_of(outside: Outside, clock: Clock) -> Status:
    """The state of the partitions of one stream. Raises GaveUpError."""
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
    """Hours until Kafka may delete the committed offset by age; None if it never does, or nothing is committed."""
    kept, commit = retention(facts), outlook.commit
    if kept is None or commit is None:
        return None
    place, ends = outlook.partition, outlook.ends
    found = outside.ask(lambda: find_headroom(outside.admin, place, ends, commit.offset, kept, now))
    return found.left(now) / timedelta(hours=1)


def show_again(found: Status, now: datetime, *, as_json: bool) -> None:
    """One of several outputs: over the last one on a terminal, else below it."""
    if as_json:
        say(orjson.dumps({"at": f"{now:%Y-%m-%dT%H:%M:%SZ}", **found.to_json()}).decode())
    else:
        if sys.stdout.isatty():
            Console(file=sys.stdout).clear()
        say(f"{now:%Y-%m-%d %H:%M:%S} UTC")
        _show(found, now)
        say()
    sys.stdout.flush()


def _show(found: Status, now: datetime) -> None:
    rows = [_row(partition, now) for partition in found.partitions]
    print_table(HEADS, rows, ("committed", "end", "held", "retention"))
    for halted in found.halted:
        where = halted.stream if halted.partition is None else f"{halted.stream} {halted.partition}"
        say(f"halted {where}: {halted.reason}: {halted.message}")


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
