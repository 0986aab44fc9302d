"""Both paths give the same rows, byte for byte, and a record's verdict does not depend on its batch.

Each example takes ordinary records and puts awkward values, or broken bytes, in a few places: what is awkward stands
among what is not, as in a topic.
"""

from __future__ import annotations

import json
import os
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import Counts, DayRows, RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span
from consumer.shape.transform import make_transformer
from consumer.streams.kinds import KINDS
from consumer.streams.rules import DayBy, Filter, Format, RowRules
from tests.builders.transforming import (
    DAY_ONE,
    LATER,
    AvroText,
    as_json,
    batch_of,
    custom,
    plain,
    quarantined,
    record_schema,
    records_of,
    rules_of,
    wire,
)

EXAMPLES = int(os.environ.get("PATH_EXAMPLES", "25"))
"""Examples of each property; for a deeper look set it to some thousand."""
SOME = settings(max_examples=EXAMPLES, database=None, deadline=None)
MORE = settings(max_examples=2 * EXAMPLES, database=None, deadline=None)
RECORDS = 48
"""Records of an example."""
OWN_FIELDS: list[dict[str, Any]] = [
    {"name": "at", "type": "string"},
    {"name": "ratio", "type": ["null", "float"]},
    {"name": "ok", "type": ["null", "boolean"]},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    {"name": "big", "type": ["long", "null"]},
    {"name": "letter", "type": {"type": "enum", "name": "L", "symbols": ["A", "B"]}},
    {"name": "data", "type": ["null", "string"], "adapty.type": "json"},
    {"name": "environment", "type": ["null", "string"]},
    {"name": "install_date", "type": ["null", "long"]},
]
OWN_SCHEMA = record_schema(OWN_FIELDS)
FILTERS = {
    "events": Filter({"trial_started": False}, exclude_historical=True, environments=("production",)),
    "paywall_views": Filter(exclude_historical=True),
    "ua_events": Filter(exclude_historical=True, historical_before=datetime(2024, 7, 15, 6, tzinfo=UTC)),
    "ua_campaign_metrics": Filter(),
    "own": Filter(exclude_historical=True, environments=("production",)),
}


def own_records(number: int) -> list[dict[str, Any]]:
    instants = [f"2024-07-15T{turn % 24:02d}:00:00{'.5' * (turn % 2)}Z" for turn in range(number)]
    return [
        {
            "at": at,
            "ratio": None if turn % 3 else turn / 8,
            "ok": None if turn % 5 == 0 else bool(turn % 2),
            "day": None if turn % 4 == 0 else 19_000 + turn,
            "seen": None if turn % 7 == 0 else DAY_ONE // 1_000 + turn,
            "big": None if turn % 6 == 0 else turn**11,
            "letter": "AB"[turn % 2],
            "data": '{"a": 1}' if turn % 2 else None,
            "environment": "Production",
            "install_date": DAY_ONE // 1_000_000 + 3_600 * (turn % 30),
        }
        for turn, at in enumerate(instants)
    ]


def rules_for(kind: str, form: Format, **more: Any) -> RowRules:
    if kind == "own":
        return custom(OWN_FIELDS, "at", form, filter=FILTERS["own"], **more)
    return rules_of(kind, form, filter=FILTERS[kind], **more)


SCHEMAS = {**{name: kind.schema for name, kind in KINDS.items()}, "own": OWN_SCHEMA}
ORDINARY = {
    **{name: records_of(kind.schema, RECORDS, seed=7) for name, kind in KINDS.items()},
    "own": own_records(RECORDS),
}
LETTERS = st.sampled_from(
    ["", " ", "NA", 'a"b', "a,b", "a\rb", "a\nb", "a\0b", "\0", "😀", "\u2028", "x" * 70, "é" * 5_000]
)
TEXTS = LETTERS | st.text(max_size=20)
LONGS = st.sampled_from(
    [0, 1, -1, 63, 64, 1 << 40, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63), 1_721_044_800, 10**14, 10**17]
) | st.integers(-(1 << 63), (1 << 63) - 1)
INTS = st.sampled_from([0, -1, 64, (1 << 31) - 1, -(1 << 31)])
REALS = (
    st.sampled_from([0.0, -0.0, 1e-5, 9.9e-6, 1e15, 1e16, 1e21, 5e-324, float("nan"), float("inf"), 3.7, 7.0])
    | st.floats()
)
MICROS = (
    st.sampled_from(
        [
            0,
            -1,
            DAY_ONE,
            DAY_ONE + 1,
            DAY_ONE - 1,
            LATER * 1_000 + 86_400_000_000,
            253_402_300_800_000_000,
            -62_135_596_800_000_001,
            -(1 << 63),
        ]
    )
    | LONGS
)
ISO = st.sampled_from(
    [
        "2024-07-15T13:45:18.755258+0000",
        "2024-07-15T13:45:18Z",
        "2024-07-15T13:45:18.7+00:00",
        "2024-07-15T13:45:18.755Z",
        "2024-07-15T23:59:60Z",
        "2024-07-15T24:00:00Z",
        "2024-07-15 13:45:18",
        "2024-07-15T13:45:18.755258+05:30",
        "2024-07-15T13:45:18.7552589999Z",
        "2024-02-30T00:00:00Z",
        "0000-07-15T13:45:18Z",
        "0001-01-01T00:00:00Z",
        "2024-07-15",
        "2024-02-30",
        "20240715",
        "1721051118755",
        "1721051118.5",
        "2024-07-18T23:59:59.999999Z",
        "soon",
    ]
)
NUMBERS_AS_TEXT = st.sampled_from(
    [
        "1",
        "-0",
        "007",
        "1.0",
        "1.50",
        "9,99",
        "1e3",
        "9" * 18,
        "9" * 19,
        "9" * 40,
        "0." + "3" * 40,
        "+1",
        " 1",
        "٣",
        "nan",
    ]
)
EVENT_TYPES = st.sampled_from([" Trial_Started", "trial_\0started", "mine", "ÉTÉ", "\u2003x\u2003", "İ"])
PROFILES = st.sampled_from(["", "0", "0-0", "0\0", "00000000-0000-0000-0000-000000000000", "0a"])
ENVIRONMENTS = st.sampled_from(["PRODUCTION", " production ", "Sandbox", "prod\0uction", ""])
NAMED = {"event_type": EVENT_TYPES, "profile_id": PROFILES, "environment": ENVIRONMENTS, "at": ISO}


def avro_values(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Awkward values that a writer of this type can write."""
    if isinstance(kind, list):
        return st.none() | st.one_of([avro_values(one, name) for one in kind if one != "null"])
    if isinstance(kind, dict) and kind["type"] == "enum":
        return st.sampled_from(kind["symbols"])
    if isinstance(kind, dict):
        return INTS | st.integers(-(1 << 31), (1 << 31) - 1) if kind["type"] == "int" else MICROS
    plain_values = {
        "string": TEXTS | ISO | NUMBERS_AS_TEXT,
        "bytes": TEXTS.map(str.encode) | st.binary(max_size=8),
        "int": INTS,
        "long": LONGS,
        "float": st.floats(width=32),
        "double": REALS,
        "boolean": st.booleans(),
    }
    found = plain_values[kind]
    return found | NAMED[name] if name in NAMED and kind == "string" else found


JSON_VALUES = (
    st.none()
    | st.booleans()
    | LONGS
    | REALS
    | TEXTS
    | ISO
    | NUMBERS_AS_TEXT
    | EVENT_TYPES
    | PROFILES
    | ENVIRONMENTS
    | st.sampled_from(
        [1 << 64, -(1 << 63) - 1, 10**30, {"a": 1.0}, {"a": 1e22}, {"a": 10**25}, [1, "é\0"], {}, [[[]]], "\ud83d"]
    )
)


@st.composite
def avro_examples(draw: st.DrawFn, kind: str) -> list[bytes]:
    """Bodies: ordinary ones, some with awkward values, some broken."""
    fields = orjson.loads(SCHEMAS[kind])["fields"]
    records = [dict(record) for record in ORDINARY[kind]]
    for _ in range(draw(st.integers(0, 8))):
        place, field = draw(st.integers(0, RECORDS - 1)), draw(st.sampled_from(fields))
        records[place][field["name"]] = draw(avro_values(field["type"], field["name"]))
    write = AvroText(SCHEMAS[kind])
    return broken(draw, [write(record) for record in records])


@st.composite
def json_examples(draw: st.DrawFn, kind: str) -> list[bytes]:
    fields = orjson.loads(SCHEMAS[kind])["fields"]
    records = [as_json(record, SCHEMAS[kind]) for record in ORDINARY[kind]]
    names = [*(field["name"] for field in fields), "profile_country", "attributes", "more"]
    for _ in range(draw(st.integers(0, 8))):
        place, name = draw(st.integers(0, RECORDS - 1)), draw(st.sampled_from(names))
        records[place][name] = draw(JSON_VALUES)
    if draw(st.booleans()):
        column, value = draw(st.sampled_from(names)), draw(JSON_VALUES)
        for record in records[: draw(st.integers(0, RECORDS))]:
            record[column] = value
    if draw(st.booleans()):
        records = [{name: value for name, value in record.items() if value is not None} for record in records]
    return broken(
        draw,
        [json.dumps(record, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass") for record in records],
    )


def broken(draw: st.DrawFn, values: list[bytes]) -> list[bytes]:
    """The values, a few of them damaged."""
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(values) - 1))
        value = values[place]
        at = draw(st.integers(0, max(0, len(value) - 1)))
        octet = bytes([draw(st.sampled_from([0, 1, 2, 3, 4, 5, 0x22, 0x7B, 0x80, 0xFF]) | st.integers(0, 255))])
        values[place] = draw(
            st.sampled_from(
                [
                    value[:at],
                    value + octet,
                    value[:at] + octet + value[at + 1 :],
                    value[:at] + octet + value[at:],
                    value[:at] + value[at + 1 :],
                ]
            )
        )
    return values


def timestamps_of(number: int) -> list[int]:
    return [LATER - 86_400_000 * (turn % 5) if turn % 11 else -1 for turn in range(number)]


def pair(rules: RowRules, registry: MemoryRegistry | None = None) -> tuple[RowTransformer, RowTransformer]:
    return make_transformer(rules, registry), make_transformer(rules, registry, engine="exact")


def alike(transformers: tuple[RowTransformer, RowTransformer], values: Sequence[bytes | None]) -> TransformedBatch:
    fast, exact = transformers
    batch = batch_of(values, timestamps=timestamps_of(len(values)))
    how = TransformOptions(fast.columns)
    found, expected = fast.transform(batch, how), exact.transform(batch, how)
    assert plain(found) == plain(expected)
    counts = found.counts
    assert counts.read == counts.kept + counts.filtered + counts.quarantined + counts.tombstones == len(values)
    assert sum(day.rows for day in found.days if not day.quarantine) == counts.kept
    assert sum(day.rows for day in found.days if day.quarantine) == counts.quarantined
    return found


ALL = [*KINDS, "own"]


@pytest.mark.parametrize("kind", ALL)
def test_avro(kind: str) -> None:
    transformers = pair(rules_for(kind, Format.AVRO))

    @given(avro_examples(kind))
    @SOME
    def run(values: list[bytes]) -> None:
        alike(transformers, values)

    run()


@pytest.mark.parametrize("kind", ALL)
def test_json(kind: str) -> None:
    more: dict[str, Any] = {"send_user_attributes": True} if kind in {"events", "ua_events"} else {}
    transformers = pair(rules_for(kind, Format.JSON, **more))

    @given(json_examples(kind))
    @SOME
    def run(values: list[bytes]) -> None:
        alike(transformers, values)

    run()


@pytest.mark.parametrize("kind", ALL)
def test_avro_with_a_registry(kind: str) -> None:
    fewer = orjson.loads(SCHEMAS[kind])
    fewer["fields"] = [*fewer["fields"][:0:-1], {"name": "more", "type": ["null", "int"]}]
    registry = MemoryRegistry({1: SCHEMAS[kind], 2: orjson.dumps(fewer).decode(), 3: "no schema"})
    transformers = pair(rules_for(kind, Format.AVRO_REGISTRY), registry)
    write = AvroText(orjson.dumps(fewer).decode())
    others = [write({**record, "more": None}) for record in ORDINARY[kind]]

    @given(
        avro_examples(kind),
        st.lists(st.sampled_from([1, 1, 1, 2, 2, 3, 4, 1 << 24]), min_size=RECORDS, max_size=RECORDS),
    )
    @SOME
    def run(bodies: list[bytes], ids: list[int]) -> None:
        values = [
            wire(number, other if number == 2 else body)
            for number, body, other in zip(ids, bodies, others, strict=True)
        ]
        found = alike(transformers, [value[:-1] if turn % 13 == 5 else value for turn, value in enumerate(values)])
        expected = {number: 100 + turn + 1 for turn, number in enumerate(ids) if number in {4, 1 << 24}}
        assert found.unknown_schemas == expected

    run()


WRITERS = st.sampled_from(
    [
        "string",
        "bytes",
        "int",
        "long",
        "float",
        "double",
        "boolean",
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "long", "logicalType": "timestamp-nanos"},
        {"type": "long", "logicalType": "local-timestamp-micros"},
        {"type": "int", "logicalType": "date"},
        {"type": "enum", "symbols": ["A", "trial_started", "Sandbox"]},
    ]
)


@pytest.mark.parametrize("kind", ["paywall_views", "ua_campaign_metrics", "own"])
def test_writers_of_every_type(kind: str) -> None:
    """Whatever the types of a writer, and whatever the order, absence and surplus of its fields."""
    reader = [field["name"] for field in orjson.loads(SCHEMAS[kind])["fields"]]
    time_field = KINDS[kind].time_field if kind in KINDS else "at"

    @given(st.data())
    @MORE
    def run(data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from([*reader, "more"]), unique=True, min_size=1, max_size=5))
        fields = []
        for turn, name in enumerate(dict.fromkeys([*names, time_field])):
            kind_of_field: Any = data.draw(WRITERS)
            if isinstance(kind_of_field, dict):
                kind_of_field = {**kind_of_field, "name": f"E{turn}"}
            side = data.draw(st.integers(0, 2))
            fields.append(
                {"name": name, "type": [kind_of_field, ["null", kind_of_field], [kind_of_field, "null"]][side]}
            )
        schema = record_schema(fields)
        write = AvroText(schema)
        some = [
            write({field["name"]: data.draw(avro_values(field["type"], field["name"])) for field in fields})
            for _ in range(4)
        ]
        alike(pair(rules_for(kind, Format.AVRO, writer_schema=schema)), some * 3)

    run()


def joined(parts: Sequence[TransformedBatch]) -> TransformedBatch:
    """What several batches in a row come to, as one."""
    days: dict[tuple[date, bool], list[DayRows]] = {}
    for part in parts:
        for day in part.days:
            days.setdefault((day.day, day.quarantine), []).append(day)
    whole = [
        DayRows(
            day,
            quarantine,
            sum(one.rows for one in rows),
            rows[0].first_offset,
            rows[-1].last_offset,
            b"".join(one.body for one in rows),
        )
        for (day, quarantine), rows in sorted(days.items())
    ]

    def total(name: str) -> Mapping[str, int]:
        return sum((Counter(getattr(part, name)) for part in parts), Counter())

    known: dict[int, int] = {}
    unknown: dict[int, int] = {}
    for part in parts:
        known.update({schema_id: first for schema_id, first in part.known_schemas.items() if schema_id not in known})
        unknown.update(part.unknown_schemas)
    return TransformedBatch(
        parts[0].partition,
        Span(parts[0].span.start, parts[-1].span.end),
        tuple(whole),
        sum((part.counts for part in parts), Counts()),
        total("filtered"),
        total("oddities"),
        total("unknown_fields"),
        known,
        unknown,
        {},
        parts[0].first_timestamp,
    )


@pytest.mark.parametrize("form", [Format.AVRO, Format.JSON])
@pytest.mark.parametrize("kind", ["events", "own"])
def test_a_verdict_does_not_depend_on_the_batch(kind: str, form: Format) -> None:
    transformer, _ = pair(rules_for(kind, form))
    examples = avro_examples(kind) if form is Format.AVRO else json_examples(kind)

    @given(
        examples, st.lists(st.integers(1, RECORDS - 1), max_size=4), st.sets(st.integers(0, RECORDS - 1), max_size=4)
    )
    @SOME
    def run(bodies: list[bytes], cuts: list[int], nulls: set[int]) -> None:
        values: list[bytes | None] = [None if place in nulls else body for place, body in enumerate(bodies)]
        batch = batch_of(values, timestamps=timestamps_of(RECORDS))
        how = TransformOptions(transformer.columns)
        ends = sorted({0, *cuts, RECORDS})
        spans = [Span(100 + low, 100 + high) for low, high in pairwise(ends)]
        parts = [transformer.transform(batch.clip(span), how) for span in spans]
        whole = plain(transformer.transform(batch, how))
        assert joined(parts) == replace(whole, filtered=Counter(whole.filtered))

    run()


@pytest.mark.parametrize("form", [Format.AVRO, Format.JSON])
def test_the_day_of_the_record(form: Format) -> None:
    transformers = pair(rules_for("events", form, day_by=DayBy.RECORD))
    examples = avro_examples("events") if form is Format.AVRO else json_examples("events")

    @given(examples)
    @SOME
    def run(values: list[bytes]) -> None:
        alike(transformers, values)

    run()


def test_a_body_that_reaches_into_the_next_one() -> None:
    """Two neighbours that are one body together: both are refused, alone or together."""
    transformers = pair(rules_for("own", Format.AVRO))
    write = AvroText(OWN_SCHEMA)
    whole = write(ORDINARY["own"][1])
    values = [write(record) for record in ORDINARY["own"]]
    for cut in range(1, len(whole)):
        found = alike(transformers, [*values[:5], whole[:cut], whole[cut:], *values[5:]])
        assert found.counts.quarantined >= 1


def test_doubles_of_every_size() -> None:
    schema = record_schema(
        [{"name": "at", "type": "long"}, {"name": "x", "type": "double"}, {"name": "t", "type": "string"}]
    )
    transformers = pair(custom(orjson.loads(schema)["fields"], "at", Format.AVRO))

    @given(st.lists(st.floats() | REALS, min_size=1, max_size=30))
    @MORE
    def run(numbers: list[float]) -> None:
        head = AvroText(record_schema([{"name": "at", "type": "long"}]))({"at": DAY_ONE})
        alike(transformers, [head + struct.pack("<d", number) + b"\x02t" for number in numbers])

    run()


def test_a_batch_as_large_as_they_come() -> None:
    values = [AvroText(SCHEMAS["events"])(record) for record in ORDINARY["events"]] * 60
    values[1_000] = values[1_000][:-1]
    found = alike(pair(rules_for("events", Format.AVRO)), values)
    assert [line["offset"] for line in quarantined(found) if line["reason"] == "undecodable"] == [1_100]


def test_clip_gives_the_batch_itself_where_nothing_is_cut() -> None:
    batch: RawBatch = batch_of([b"", b""])
    assert batch.clip(Span(0, 500)) is batch
