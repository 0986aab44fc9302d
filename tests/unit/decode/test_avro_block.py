"""Bodies read as one block: a frame is right in every row, or the rows go to the exact path."""

from __future__ import annotations

import io
import random
from typing import Any

import fastavro
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.avro_block import BLOCK_BYTES, SMALLEST, Layout, layout_of, read_frame, read_frames
from consumer.decode.avro_scalar import decode, reader
from consumer.decode.avro_validation import certain
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_schema import parse
from consumer.streams.kinds import KINDS
from tests.builders.transforming import AvroText, records_of

LONGS = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, (1 << 62), -(1 << 62) - 1, (1 << 63) - 1, -(1 << 63)]
FLAT: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("long", st.sampled_from(LONGS)),
    ("int", st.sampled_from([0, -1, 64, -65, (1 << 31) - 1])),
    ("float", st.sampled_from([0.5, -0.0, 1e30])),
    ("double", st.sampled_from([0.1, -0.0, 5e-324])),
    ("string", st.sampled_from(["", "a", "é" * 40, "x" * 63, "x" * 64, "y" * 9_000])),
    ({"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}, st.sampled_from("ABC")),
]


def layout(schema: str) -> Layout:
    found = layout_of(parse(schema).root)
    assert found is not None
    return found


def schema_of(*kinds: Any) -> str:
    fields = [
        {"name": f"f{place}", "type": {**kind, "name": f"T{place}"} if isinstance(kind, dict) else kind}
        for place, kind in enumerate(kinds)
    ]
    return orjson.dumps({"type": "record", "name": "R", "fields": fields}).decode()


def is_datum(schema: str, body: bytes) -> bool:
    found = parse(schema)
    try:
        return decode(reader(found.root, found.names), body)[1] == 0
    except BadRecordError:
        return False


EVENTS = KINDS["events"].schema
BODIES = [AvroText(EVENTS)(record) for record in records_of(EVENTS, 60)]


def optional(kind: Any, turn: int) -> Any:
    kind = {**kind, "name": f"U{turn}"} if isinstance(kind, dict) else kind
    return ["null", kind] if turn % 2 else [kind, "null"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_frame_holds_what_was_written(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(FLAT), min_size=1, max_size=8))
    may = [data.draw(st.integers(0, 2)) if kind != "null" else 0 for kind, _ in chosen]
    kinds = [
        optional(kind, 10 * turn + side) if side else kind
        for turn, ((kind, _), side) in enumerate(zip(chosen, may, strict=True))
    ]
    schema = schema_of(*kinds)
    row = st.tuples(*[(st.none() | values) if side else values for (_, values), side in zip(chosen, may, strict=True)])
    rows = data.draw(st.lists(row, min_size=1, max_size=20))
    write = AvroText(schema)
    found = layout_of(parse(schema).root)
    if found is None:
        assert all(kind == "null" for kind, _ in chosen)
        return
    frame = read_frame(found, [write({f"f{place}": value for place, value in enumerate(row)}) for row in rows])
    assert frame is not None
    for place, (kind, _) in enumerate(chosen):
        if kind == "null":
            continue
        values = frame.get_column(found.fields[f"f{place}"].name).to_list()
        expected = [row[place] for row in rows]
        if kind == "float":
            expected = [
                None if value is None else pl.Series([value], dtype=pl.Float32).cast(pl.Float64)[0]
                for value in expected
            ]
        assert repr(values) == repr(expected)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": "int"},
        {"type": "map", "values": "int"},
        ["null", "string", "long"],
        ["null"],
        ["string"],
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "bytes", "logicalType": "decimal", "precision": 4},
        {"type": "long", "logicalType": "time-micros"},
        {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]},
    ],
)
def test_types_that_are_left_to_the_exact_path(kind: Any) -> None:
    assert layout_of(parse(schema_of("string", kind)).root) is None


def test_a_record_of_nothing_has_no_layout() -> None:
    assert layout_of(parse(schema_of("null")).root) is None
    assert layout_of(parse(schema_of()).root) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (["null", "string"], b"\x04\x02a"),
        (["null", "string"], b"\x01\x02a"),
        (["string", "null"], b"\x04"),
        (["string", "null"], b"\x03"),
        ("boolean", b"\x02"),
        ("boolean", b"\x03"),
        (["null", "boolean"], b"\x02\x02"),
        ({"type": "enum", "symbols": ["A"]}, b"\x02"),
        ({"type": "enum", "symbols": ["A"]}, b"\x01"),
        (["null", "long"], b"\x82\x00\x02"),
        ("string", b"\x82\x00a"),
        ("string", b"\x02\xff"),
        ("string", b""),
        ("long", b"\x02\x02"),
    ],
)
def test_what_polars_would_let_pass_is_refused(kind: Any, body: bytes) -> None:
    """Indexes of no branch, bytes of no boolean, symbols of no enum, varints that are too long, and misalignment."""
    schema = schema_of(kind)
    write, found = AvroText(schema), layout(schema)
    value: Any = "a" if "string" in str(kind) else "A" if "enum" in str(kind) else True if "boolean" in str(kind) else 1
    good = [write({"f0": value})] * 5
    assert read_frame(found, good) is not None
    for place in range(len(good) + 1):
        assert read_frame(found, [*good[:place], body, *good[place:]]) is None


def test_bytes_that_move_over_to_the_next_body_are_seen() -> None:
    """Two bodies cut at another place than they were written: the block is the same, the rows are not."""
    found = layout(EVENTS)
    first, second = BODIES[:2]
    for cut in (-3, -1, 1, 5):
        joined = first + second
        assert read_frame(found, [joined[: len(first) + cut], joined[len(first) + cut :]]) is None
    assert read_frame(found, [first, second]) is not None


def corrupted(body: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(body))
    match chance.randrange(6):
        case 0:
            return body[:place]
        case 1:
            return body + bytes([chance.randrange(256)])
        case 2:
            return body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :]
        case 3:
            return body[:place] + bytes([chance.choice([0, 1, 2, 3, 4, 5, 128, 255])]) + body[place + 1 :]
        case 4:
            return body[:place] + body[place + 1 :]
    return body[:place] + bytes([chance.choice([0, 2, 4, 1, 128, 255])]) + body[place:]


@given(st.integers(0, 1 << 32))
@settings(max_examples=80, deadline=None)
def test_corrupt_bodies_never_come_into_a_frame(seed: int) -> None:
    chance = random.Random(seed)
    bodies = list(BODIES)
    broken = chance.sample(range(len(bodies)), chance.choice([1, 1, 2, 10]))
    for place in broken:
        bodies[place] = corrupted(bodies[place], chance)
    good, failed = read_frames(layout(EVENTS), bodies, range(len(bodies)))
    read = [place for places, _ in good for place in places]
    assert sorted([*read, *failed]) == list(range(len(bodies)))
    for places, frame in good:
        assert frame.height == len(places)
        assert all(is_datum(EVENTS, bodies[place]) for place in places)


def test_a_bad_body_leaves_only_its_neighbours_behind() -> None:
    bodies = [*BODIES, *BODIES, *BODIES]
    bodies[100] = bodies[100][:-1]
    good, failed = read_frames(layout(EVENTS), bodies, range(1_000, 1_180))
    assert 1_100 in failed
    assert len(failed) <= SMALLEST
    assert sum(len(places) for places, _ in good) == 180 - len(failed)


def test_many_bodies_are_read_in_several_blocks() -> None:
    bodies = BODIES * 120
    assert sum(map(len, bodies)) > 2 * BLOCK_BYTES
    (((places, frame),), failed) = read_frames(layout(EVENTS), bodies, range(len(bodies)))
    assert not failed
    assert list(places) == list(range(len(bodies)))
    few = read_frame(layout(EVENTS), BODIES)
    assert few is not None
    assert frame.equals(pl.concat([few] * 120))


@given(st.sets(st.integers(0, 120 * len(BODIES) - 1), min_size=1, max_size=4))
@settings(max_examples=5, deadline=None)
def test_a_doubtful_block_does_not_spoil_the_others(bad: set[int]) -> None:
    bodies = BODIES * 120
    for place in bad:
        bodies[place] += b"\x00"
    good, failed = read_frames(layout(EVENTS), bodies, range(len(bodies)))
    assert bad <= set(failed)
    assert len(failed) <= SMALLEST * len(bad)
    assert sorted([*failed, *(place for places, _ in good for place in places)]) == list(range(len(bodies)))
    assert all(frame.height == len(places) for places, frame in good)


def test_every_index_byte_of_a_body_is_checked() -> None:
    """Each optional field of an event, one after the other, with an index that no branch has: none passes."""
    parsed = fastavro.parse_schema(orjson.loads(EVENTS))
    record: Any = fastavro.schemaless_reader(io.BytesIO(BODIES[0]), parsed, None)
    names = [field["name"] for field in orjson.loads(EVENTS)["fields"] if isinstance(field["type"], list)]
    found, passed = layout(EVENTS), 0
    for name in names:
        less = {key: None if key == name else value for key, value in record.items()}
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, less)
        body, whole = out.getvalue(), BODIES[0]
        if record[name] is None:
            continue
        place = next(at for at, (one, two) in enumerate(zip(body, whole, strict=False)) if one != two)
        assert whole[place] == 2
        for index in (1, 3, 4, 5, 6, 126):
            passed += read_frame(found, [BODIES[1], whole[:place] + bytes([index]) + whole[place + 1 :]]) is not None
    assert passed == 0


def test_certain_needs_every_row_to_have_its_length() -> None:
    found = layout(schema_of("string", "long"))
    frame = pl.DataFrame({"f0": ["ab", "c"], "f1": [1, 2]})
    data = b"\x04ab\x02\x02c\x04"
    assert certain(frame, found.places, [data], [0, 4], [4, 3])
    assert certain(frame, found.places, [b"12", data], [2, 6], [4, 3])
    assert certain(frame, found.places, [data[:4], b"1", data[4:]], [0, 5], [4, 3])
    assert not certain(frame, found.places, [data], [0, 3], [3, 4])
    assert not certain(frame, found.places, [data + b"\x00"], [0, 4], [4, 4])
    assert not certain(frame, found.places, [data], [0, 4], [4, 2])
