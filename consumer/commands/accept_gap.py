"""`accept-gap`: record that offsets are lost, so that a halted partition continues. Needs no group and no spool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from consumer.commands.arguments import partition_of
from consumer.commands.output import print_json, say
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import store_of, writer_name
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import HaltReason, UsageError
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.decide import CLOCK_TOLERANCE
from consumer.seal.gap import gap_objection, gap_record, lowest_needed
from consumer.seal.inspection import Outlook, Outside
from consumer.seal.keys import record_key
from consumer.seal.log import SealLog, put_rules
from consumer.seal.record import Record
from consumer.settings.model import Settings
from consumer.source.admin import KafkaAdmin

THREADS = 16


def accept_gap(settings: Settings, partition: str, first: int, end: int, *, as_json: bool) -> None:
    """Record the gap and report it. Raises UsageError, HaltError, GaveUpError."""
    place = partition_of(partition)
    clock = SystemClock()
    patience = RetryBudget(settings.schedule.give_up_after, clock)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            outside = _outside(settings, place, patience, pool)
            record = record_gap(outside, place, Span(first, end), clock)
        except BaseException:
            patience.stop()
            raise
    _show(record, as_json=as_json)


def _outside(settings: Settings, place: TopicPartition, patience: RetryBudget, pool: ThreadPoolExecutor) -> Outside:
    stream = settings.stream_of(place.topic)
    if stream is None:
        known = ", ".join(stream.topic for stream in settings.streams)
        raise UsageError(f"no stream in the settings reads topic {place.topic!r}; they read {known}")
    admin = KafkaAdmin(settings.kafka)
    return Outside(settings, stream, admin, store_of(stream.destination), patience.ask, pool)


def record_gap(outside: Outside, place: TopicPartition, lost: Span, clock: Clock) -> Record:
    """Write the gap record. Raises UsageError where these offsets are not those lost, HaltError for another halt."""
    outlook = _outlook(outside, place)
    assert outlook.found is not None
    _refuse(outside, outlook, lost)
    _refuse_clock(outside, clock)
    rules = outside.stream.rules
    record = gap_record(outlook.found, lost, settings=rules.digest, now=clock.now(), writer=writer_name())
    outside.ask(lambda: put_rules(outside.store, rules))
    if not outside.ask(lambda: SealLog(outside.store, place).append(record)):
        raise UsageError(
            f"another worker or operator decided record {record.n} of {place} at this moment, nothing was written."
            " Look at its status, then ask again with the numbers of its halt"
        )
    return record


def _outlook(outside: Outside, place: TopicPartition) -> Outlook:
    """The partition's outlook. Raises UsageError if there is none, HaltError for a halt of another kind."""
    facts = outside.topic()
    if place.partition >= facts.partitions:
        raise UsageError(f"topic {place.topic} has the partitions 0 to {facts.partitions - 1}")
    outlook = outside.partitions(facts, [place.partition])[0]
    if outlook.halt is not None and outlook.halt.reason is not HaltReason.RETENTION_HOLE:
        raise outlook.halt
    return outlook


def _refuse(outside: Outside, outlook: Outlook, lost: Span) -> None:
    assert outlook.found is not None
    needed = lowest_needed(outlook.found)
    unreadable: Span | None = None
    if needed is not None and max(needed, outlook.ends.low) <= lost.start < outlook.ends.lso:
        unreadable = outside.ask(lambda: outside.admin.unreadable(outlook.partition, lost.start))
    objection = gap_objection(lost, needed, outlook.ends, unreadable)
    if objection:
        raise UsageError(f"{outlook.partition}: {objection}; nothing was written")


def _refuse_clock(outside: Outside, clock: Clock) -> None:
    """The record's time must not be in the future: later seals would have to wait for it."""
    now = clock.now()
    ahead = now - outside.ask(outside.store.now)
    if ahead > CLOCK_TOLERANCE:
        raise UsageError(f"this machine's clock is {ahead.total_seconds():.0f} s ahead of the store's: correct it")


def _show(record: Record, *, as_json: bool) -> None:
    assert record.lost is not None
    key = record_key(record.partition, record.n)
    if as_json:
        lost = [record.lost.start, record.lost.end]
        print_json({"partition": str(record.partition), "lost": lost, "record": key, "n": record.n})
        return
    count = record.lost.end - record.lost.start
    say(f"recorded in {key}: {record.partition} continues at offset {record.resume}, without {count:,} offsets")
    say("A running worker continues within a minute. Days that may lack rows are published as incomplete: gap.")
