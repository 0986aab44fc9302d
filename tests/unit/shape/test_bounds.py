"""Batches that ask for too much: refused whole, the same in halves, and never a single record."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import TransformOptions
from consumer.domain.errors import TooVariousError
from consumer.shape.bounds import MOST_OUTPUT, TURN, Bounds, InHalves
from consumer.shape.transform import make_transformer
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format
from tests.builders.transforming import (
    ENGINES,
    AvroText,
    as_json,
    batch_of,
    custom,
    plain,
    record_schema,
    records_of,
    rules_of,
    wire,
)

AT = {"name": "at", "type": "long"}
NOON = 1_721_044_800
DOUBLES = [AT, *({"name": f"d{number}", "type": "double"} for number in range(50))]
WIDE = AvroText(record_schema(DOUBLES))({"at": NOON} | {f"d{number}": 1e308 for number in range(50)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_of_wide_cells_is_refused_and_its_halves_are_the_same(engine: str) -> None:
    rules = custom(DOUBLES, "at", Format.AVRO)
    batch = batch_of([WIDE] * 64)
    whole = make_transformer(rules, engine=engine)
    how = TransformOptions(whole.columns)
    right = whole.transform(batch, how)
    (day,) = right.days
    bounded = make_transformer(rules, engine=engine, bounds=Bounds(output=len(day.body) // 4))
    with pytest.raises(TooVariousError, match="64 records of one batch may become"):
        bounded.transform(batch, how)
    assert InHalves(bounded).transform(batch, how) == right
    tiny = InHalves(make_transformer(rules, engine=engine, bounds=Bounds(output=1, exact=0)))
    assert plain(tiny.transform(batch, how)) == plain(right), "a single record is never refused"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("union", [False, True])
def test_a_batch_of_records_with_very_many_values_is_refused(engine: str, union: bool) -> None:
    """Values without bytes: a batch of a few kilobytes would hold the loop for a minute."""
    empty = {"type": "fixed", "name": "Empty", "size": 0}
    inner = {"type": "record", "name": "I", "fields": [{"name": f"i{n}", "type": "Empty"} for n in range(9)]}
    fields: list[dict[str, Any]] = [
        AT,
        {"name": "e", "type": empty},
        {"name": "i", "type": ["null", inner] if union else inner},
    ]
    fields += [{"name": f"n{n}", "type": ["null", "I"] if union else "I"} for n in range(150)]
    rules = custom([AT], "at", Format.AVRO, writer_schema=record_schema(fields))
    body = AvroText(record_schema([AT]))({"at": NOON}) + (b"\2" * 151 if union else b"")
    batch = batch_of([body] * 20)
    whole = make_transformer(rules, engine=engine)
    how = TransformOptions(whole.columns)
    bounded = make_transformer(rules, engine=engine, bounds=Bounds(exact=200, values=4_000))
    with pytest.raises(TooVariousError):
        bounded.transform(batch, how)
    right = whole.transform(batch, how)
    assert right.counts.kept == 20
    assert plain(InHalves(bounded).transform(batch, how)) == plain(right)


@pytest.mark.parametrize("engine", ENGINES)
def test_nulls_that_nobody_wants_are_not_gone_over(engine: str) -> None:
    fields = [AT, *({"name": f"n{number}", "type": "null"} for number in range(9_000))]
    rules = custom([AT], "at", Format.AVRO, writer_schema=record_schema(fields))
    bounded = make_transformer(rules, engine=engine, bounds=Bounds(exact=100, values=1_000))
    body = AvroText(record_schema([AT]))({"at": NOON})
    found = bounded.transform(batch_of([body] * 100), TransformOptions(bounded.columns))
    assert found.counts.kept == 100
    assert len(found.unknown_fields) == 100, "the first hundred names are counted"


def test_the_exact_engine_judges_so_many_at_a_time() -> None:
    rules = rules_of("events", Format.JSON)
    records = records_of(KINDS["events"].schema, 40)
    values = [
        str(as_json(record, KINDS["events"].schema)).encode() if at % 3 else b"{" for at, record in enumerate(records)
    ]
    bounded = make_transformer(rules, engine="exact", bounds=Bounds(exact=7))
    how = TransformOptions(bounded.columns)
    with pytest.raises(TooVariousError, match="one by one"):
        bounded.transform(batch_of(values), how)
    right = make_transformer(rules, engine="exact").transform(batch_of(values), how)
    assert InHalves(bounded).transform(batch_of(values), how) == right


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [False, True])
def test_a_batch_of_very_many_days_is_refused(engine: str, bad: bool) -> None:
    """A day costs more than a record: a text, a file, an object. Bad records lie by the day of their stamps."""
    stamps = [NOON * 1_000 + number * 86_400_000 for number in range(40)]
    values = [b"{" if bad else orjson.dumps({"at": stamp // 1_000}) for stamp in stamps]
    batch = batch_of(values, timestamps=stamps)
    whole = make_transformer(custom([AT], "at"), engine=engine)
    bounded = make_transformer(custom([AT], "at"), engine=engine, bounds=Bounds(days=16))
    how = TransformOptions(whole.columns)
    with pytest.raises(TooVariousError, match="have 40 days"):
        bounded.transform(batch, how)
    right = whole.transform(batch, how)
    assert len(right.days) == 40
    assert plain(InHalves(bounded).transform(batch, how)) == plain(right)


@pytest.mark.parametrize("engine", ENGINES)
def test_halves_know_the_same_schemas(engine: str) -> None:
    registry = MemoryRegistry({1: record_schema([AT]), 3: record_schema([AT])})
    rules = custom([AT], "at", Format.AVRO_REGISTRY)
    body = AvroText(record_schema([AT]))({"at": NOON})
    chance = random.Random(3)
    batch = batch_of([wire(chance.choice((1, 2, 3)), body) for _ in range(33)])
    whole = make_transformer(rules, registry, engine=engine)
    how = TransformOptions(whole.columns)
    halves = InHalves(make_transformer(rules, registry, engine=engine, bounds=Bounds(output=100, exact=2)))
    assert plain(halves.transform(batch, how)) == plain(whole.transform(batch, how))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_ordinary_batch_is_halved_once_at_most(kind: str) -> None:
    """As many records as the reader hands out at once, by the native engine's estimate."""
    schema = KINDS[kind].schema
    values = [AvroText(schema)(record) for record in records_of(schema, 50)]
    batch = batch_of(values * 20)
    transformer = make_transformer(rules_of(kind), bounds=Bounds(2 * MOST_OUTPUT * len(batch) // 20_000, TURN.exact))
    assert transformer.transform(batch, TransformOptions(transformer.columns)).counts.read == len(batch)
