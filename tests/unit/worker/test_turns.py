"""No turn of the loop takes a second, whatever arrives: every hostile batch, on a clock that work moves.

What work costs is told by the clock of the test, dearer than measured on a slow machine. All records are judged by the
exact engine, the slower one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import orjson
import pytest

from consumer.decode.registry import UNKNOWN, MemoryRegistry, Registry, RegistryAnswer
from consumer.decode.schema_lookup import SchemaLookup
from consumer.domain.batches import RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.errors import TooVariousError
from consumer.shape import bounds
from consumer.shape.bounds import MOST_EXACT, Bounds
from consumer.shape.transform import make_transformer
from consumer.source.port import Event, Records
from consumer.streams.rules import Format, RowRules
from consumer.worker.events import PartitionLeft
from consumer.worker.loop import STOP_SECONDS, Intervals
from tests.builders.bench import HandExecutor, Member, World
from tests.builders.rough import SetClock
from tests.builders.transforming import AvroText, custom, record_schema, wire
from tests.fakes.disk import MemoryDisk

MOST_SECONDS = 1.0
RECORD = 100e-6
"""Seconds to judge one record."""
BYTE = 4e-9
"""Seconds to make, sum and write one byte of rows."""
APPEND, SYNC, REMOVE, LOOK = 200e-6, 5e-3, 2e-3, 200e-6
"""Seconds for a file."""
AT = {"name": "at", "type": "string"}
NOON = "2026-03-01T12:00:00Z"
TEXT_BUDGET = 1 << 20
"""Bytes of rows to a batch here: the bound itself is tested with fewer bytes."""


class CostlyDisk(MemoryDisk):
    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self._clock = clock

    def append(self, name: str, data: bytes | memoryview) -> None:
        self._clock.advance(APPEND)
        super().append(name, data)

    def sync(self, names: Iterable[str]) -> None:
        wanted = list(names)
        self._clock.advance(SYNC * len(wanted))
        super().sync(wanted)

    def remove(self, names: Iterable[str]) -> None:
        gone = list(names)
        self._clock.advance(REMOVE * len(gone))
        super().remove(gone)

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        moved = list(names)
        self._clock.advance(REMOVE * len(moved))
        super().set_aside(moved, shelf)

    def clear_shelves(self, files: int) -> bool:
        self._clock.advance(REMOVE * min(files, sum(map(len, self.aside[:-1]))))
        return super().clear_shelves(files)

    def length(self, name: str) -> int | None:
        self._clock.advance(LOOK)
        return super().length(name)

    def truncate(self, name: str, length: int) -> None:
        self._clock.advance(LOOK)
        super().truncate(name, length)


@dataclass(frozen=True, slots=True)
class Costly:
    """A transformer whose work moves the clock, that included which comes to nothing."""

    inner: RowTransformer
    clock: SetClock

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        try:
            made = self.inner.transform(batch, how)
        except TooVariousError:
            self.clock.advance(RECORD * len(batch) if len(batch) <= MOST_EXACT else 0.001)
            raise
        self.clock.advance(RECORD * len(batch) + BYTE * sum(len(rows.body) for rows in made.days))
        return made


class HostileMember(Member):
    """A worker as it is wired for real, but for the engine."""

    def __init__(self, world: World, rules: RowRules, registry: Registry, **how: Any) -> None:
        self.registry = registry
        how = {"disk": CostlyDisk(world.clock)} | how
        super().__init__(world, rules=replace(rules, stream="s", topic="t"), **how)
        self.broker.batch = 20_000

    def _transform(self, rules: RowRules) -> RowTransformer:
        found = make_transformer(rules, self.registry, engine="exact", bounds=Bounds(TEXT_BUDGET, MOST_EXACT))
        return Costly(found, self.world.clock)


class Source:
    """A registry: `answer` to every question, which the test lets through one after the other."""

    def __init__(self, answer: RegistryAnswer) -> None:
        self.answer = answer

    def ask(self, schema_id: int) -> RegistryAnswer:
        return self.answer


def longest_turn(
    world: World, rules: RowRules, registry: Registry | None = None, work: Callable[[], object] = int
) -> float:
    """Seconds of the longest turn while all of the log is read, sealed and published, and of the longest silence."""
    member = HostileMember(world, rules, registry or MemoryRegistry()).start()
    longest, sealed = 0.0, False
    for _ in range(4_000):
        before = world.clock.monotonic()
        member.turn()
        longest = max(longest, world.clock.monotonic() - before)
        assert member.broker.alive_at() >= before, "the consumer was polled: /livez answers"
        work()
        world.clock.advance(0.05)
        read = any(partition.intake.position == world.log().high for partition in member.worker.partitions.values())
        if read and not sealed:
            sealed = True
            world.due(0)
        if sealed and member.sealed() and world.published():
            return longest
    pytest.fail(f"it was never sealed: {member.events[-5:]}")


def filled(values: Iterable[bytes], timestamp: int | None = None) -> World:
    world = World()
    for value in values:
        world.raw(value, timestamp=timestamp)
    return world


def test_ids_that_nobody_knows() -> None:
    """B1, B5: each costs a question, and no answer is waited for."""
    rules = custom([AT], "at", Format.AVRO_REGISTRY)
    world = filled(wire(number, b"\x02") for number in range(600))
    executor = HandExecutor()
    executor.held = True
    lookup = SchemaLookup(Source(UNKNOWN), executor.submit, world.clock, grace=0.0)

    def answer() -> None:
        for _ in range(min(8, len(executor.waiting))):
            executor.run_one()

    assert longest_turn(world, rules, lookup, answer) < MOST_SECONDS


def test_days_without_number() -> None:
    """B2: each is a file, an object and a manifest."""
    first = date(2009, 1, 1)
    values = [orjson.dumps({"at": f"{first + timedelta(days=number)}T00:00:00Z"}) for number in range(700)]
    assert longest_turn(filled(values), custom([AT], "at")) < MOST_SECONDS


def test_days_far_ahead() -> None:
    """B2: stamps of the year 9999 let any day in."""
    values = [orjson.dumps({"at": f"{date(2150, 1, 1) + timedelta(days=number)}T00:00:00Z"}) for number in range(400)]
    assert longest_turn(filled(values, timestamp=253_402_300_000_000), custom([AT], "at")) < MOST_SECONDS


def test_bad_records_of_days_without_number() -> None:
    """B2: those of quarantine lie by the day of the record."""
    world = World()
    for number in range(700):
        world.raw(b"no JSON", timestamp=number * 86_400_000 + 1_300_000_000_000)
    assert longest_turn(world, custom([AT], "at")) < MOST_SECONDS


def test_values_that_take_no_bytes() -> None:
    """B3: a writer's schema of thousands of null fields, many records of a few bytes."""
    fields = [AT, *({"name": f"n{number}", "type": "null"} for number in range(2_000))]
    body = AvroText(record_schema([AT]))({"at": NOON})
    rules = custom([AT], "at", Format.AVRO, writer_schema=record_schema(fields))
    assert longest_turn(filled([body] * 4_000), rules) < MOST_SECONDS


def test_rows_that_are_many_times_their_records() -> None:
    """B4: symbols of an enum."""
    kind = {"type": "enum", "name": "E", "symbols": ["x" * 1_000]}
    columns = [AT, {"name": "e", "type": "string"}]
    writer = record_schema([AT, {"name": "e", "type": kind}])
    body = AvroText(writer)({"at": NOON, "e": "x" * 1_000})
    rules = custom(columns, "at", Format.AVRO, writer_schema=writer)
    assert longest_turn(filled([body] * 2_500), rules) < MOST_SECONDS


def test_a_schema_beyond_all_bounds() -> None:
    """B6: what the registry gives is text without end: cut off where it is read, and nothing to read rows with here."""
    rules = custom([AT], "at", Format.AVRO_REGISTRY)
    registry = MemoryRegistry({1: record_schema([{"name": f"f{n}", "type": "long"} for n in range(20_000)])})
    assert longest_turn(filled([wire(1, b"\x02")] * 2_000), rules, registry) < MOST_SECONDS


def test_records_beyond_the_bound() -> None:
    """B7."""
    values = [b'{"at":"%s","x":"%s"}' % (NOON.encode(), b"x" * size) for size in (2_000, 10, 5_000)] * 500
    assert longest_turn(filled(values), replace(custom([AT], "at"), max_record=1_000)) < MOST_SECONDS


MANY_DAYS = 520
"""Files in a spool: their removal at once would take more than a second, and so would writing them through."""


def with_many_days() -> tuple[World, Member]:
    """A world of many days, and a member that has read them."""
    first = date(2009, 1, 1)
    values = [orjson.dumps({"at": f"{first + timedelta(days=number)}T00:00:00Z"}) for number in range(MANY_DAYS)]
    world = filled(values)
    member = HostileMember(world, custom([AT], "at"), MemoryRegistry(), intervals=Intervals(1e9, 0.5)).start()
    member.until(lambda: member.worker.partitions and member.partition.intake.position == world.log().high)
    assert member.partition.spool.days == MANY_DAYS
    return world, member


def saved(member: Member) -> None:
    while not member.partition.checkpoint(16):
        pass


def longest_until_sealed(world: World, member: Member) -> float:
    longest = 0.0
    world.due(0)
    for _ in range(4_000):
        before = world.clock.monotonic()
        member.turn()
        longest = max(longest, world.clock.monotonic() - before)
        world.clock.advance(0.05)
        if member.sealed() and not member.partition.spool.busy and not member.partition.spool.sweep():
            return longest
    pytest.fail(f"it was never sealed: {member.events[-5:]}")


def _grown(disk: MemoryDisk) -> None:
    for file in disk.files.values():
        file.extend(b"more")


def _damaged_beside_an_older_shelf(disk: MemoryDisk) -> None:
    disk.save("t-0", b"damaged")
    disk.aside.append({str(number): b"" for number in range(MANY_DAYS)})


SPOILED: dict[str, Callable[[MemoryDisk], None]] = {
    "taken up": lambda disk: None,
    "longer than its checkpoint says": _grown,
    "without a checkpoint": lambda disk: disk.save("t-0", None),
    "set aside": lambda disk: disk.save("t-0", b"damaged"),
    "set aside beside an older one": _damaged_beside_an_older_shelf,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spool_of_many_files_on_assignment(spoil: Callable[[MemoryDisk], None]) -> None:
    """B2: it is looked through, taken up or emptied some files at a time."""
    world, first = with_many_days()
    saved(first)
    disk = first.disk
    first.crash()
    spoil(disk)
    again = HostileMember(world, custom([AT], "at"), MemoryRegistry(), disk=disk).start()
    assert longest_until_sealed(world, again) < MOST_SECONDS
    assert sum(record.counts.kept for record in again.sealed()) == MANY_DAYS


def test_a_partition_that_goes_with_many_files_not_saved() -> None:
    """The group takes it away: what cannot be saved in a moment is read again by the next owner."""
    world, member = with_many_days()
    member.broker.evict()
    assert longest_until_sealed(world, member) < MOST_SECONDS
    assert len(member.heard(PartitionLeft)) == 1
    assert sum(record.counts.kept for record in member.sealed()) == MANY_DAYS


def test_a_worker_that_stops_saves_for_some_seconds_only() -> None:
    world, member = with_many_days()
    before = world.clock.monotonic()
    member.worker.stop()
    assert STOP_SECONDS > world.clock.monotonic() - before > MANY_DAYS * SYNC * 0.9


def test_days_that_leave_a_spool_of_many_files() -> None:
    """Room is made: the checkpoint that lets go of them is written some files at a time, too."""
    world, member = with_many_days()
    before = world.clock.monotonic()
    member.partition.intake.make_room(date(2009, 1, 2))
    assert world.clock.monotonic() - before < MOST_SECONDS / 2
    before = world.clock.monotonic()
    member.turn()
    assert world.clock.monotonic() - before < MOST_SECONDS


def test_what_waits_in_the_worker_is_what_one_poll_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers send faster than records are judged: what nobody asked for yet takes no memory here."""
    world = filled([orjson.dumps({"at": NOON})] * 20_000)
    member = HostileMember(world, custom([AT], "at"), MemoryRegistry()).start()
    member.broker.batch = 5_000  # half a second of judging, more than a turn
    given = 0
    ask = member.broker.poll

    def poll(timeout: float, *, records: bool = True) -> list[Event]:
        nonlocal given
        events = ask(timeout, records=records)
        given += sum(len(event.batch) for event in events if isinstance(event, Records))
        return events

    monkeypatch.setattr(member.broker, "poll", poll)
    most = taken = 0
    while taken < 20_000:
        member.turn()
        taken = sum(partition.intake.position for partition in member.worker.partitions.values())
        most = max(most, given - taken)
    assert 0 < most <= 5_000


def test_the_budget_of_the_tests_is_not_looser_than_the_workers() -> None:
    assert bounds.TURN.output >= TEXT_BUDGET
    assert bounds.TURN.exact == MOST_EXACT
    assert MOST_EXACT * RECORD + bounds.TURN.output * BYTE < 0.6
