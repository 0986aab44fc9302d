"""No turn of the loop takes a second, whatever arrives: every hostile batch, on a clock that work moves.

What work costs is told by the clock of the test, dearer than measured on a slow machine. All records are judged by the
exact engine, the slower one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta

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
from tests.builders.bench import HandExecutor, Member, World
from tests.builders.rough import SetClock
from tests.builders.transforming import AvroText, custom, record_schema, wire
from tests.fakes.disk import MemoryDisk

MOST_SECONDS = 1.0
RECORD = 100e-6
"""Seconds to judge one record."""
BYTE = 4e-9
"""Seconds to make, sum and write one byte of rows."""
APPEND, SYNC, REMOVE = 200e-6, 5e-3, 2e-3
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

    def __init__(self, world: World, rules: RowRules, registry: Registry) -> None:
        self.registry = registry
        super().__init__(world, rules=replace(rules, stream="s", topic="t"), disk=CostlyDisk(world.clock))
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


def test_what_waits_in_the_worker_is_what_one_poll_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers send faster than records are judged: what nobody asked for yet takes no memory here."""
    world = filled([orjson.dumps({"at": NOON})] * 40_000)
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
    while taken < 40_000:
        member.turn()
        taken = sum(partition.intake.position for partition in member.worker.partitions.values())
        most = max(most, given - taken)
    assert 0 < most <= 5_000


def test_the_budget_of_the_tests_is_not_looser_than_the_workers() -> None:
    assert bounds.TURN.output >= TEXT_BUDGET
    assert bounds.TURN.exact == MOST_EXACT
    assert MOST_EXACT * RECORD + bounds.TURN.output * BYTE < 0.6
