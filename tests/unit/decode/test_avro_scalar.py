"""One Avro datum by the letter: what fastavro writes is read, what is wrong is refused, hostile input is harmless."""

from __future__ import annotations

import io
import struct
import time
from decimal import Decimal
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.avro_decoder import Writer
from consumer.decode.avro_scalar import decode, reader
from consumer.decode.values import DayNumber, Stamp, TimeOfDay, Value
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_schema import parse
from consumer.streams.columns import columns_of
from consumer.streams.rules import ROWS_VERSION
from tests.builders.transforming import AvroText, custom, raw_types

RECURSIVE = orjson.dumps(
    {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
).decode()
TREE = orjson.dumps(
    {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "all", "type": {"type": "array", "items": {"type": "map", "values": "Node"}}}],
    }
).decode()


def schema_of(kind: object) -> str:
    return orjson.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}).decode()


def read(schema: str, body: bytes, version: int = ROWS_VERSION) -> tuple[Value, int]:
    found = parse(schema, version)
    return decode(reader(found.root, found.names, version), body)


def read_a(kind: object, body: bytes) -> Value:
    value, mended = read(schema_of(kind), body)
    assert isinstance(value, dict)
    assert mended == 0
    return value["a"]


def zigzag(number: int) -> bytes:
    raw, out = (number << 1) ^ (number >> 63), bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LONG = st.integers(-(1 << 63), (1 << 63) - 1)
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", st.integers(-(1 << 31), (1 << 31) - 1)),
    ("long", LONG),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("string", st.text()),
    (ENUM, st.sampled_from("AB")),
    (["null", "string"], st.none() | st.text()),
    (["long", "null"], st.none() | LONG),
    (["null", "string", "long"], st.none() | st.text() | LONG),
    ({"type": "array", "items": ["null", "double"]}, st.lists(st.none() | st.floats(allow_nan=False))),
    ({"type": "map", "values": "string"}, st.dictionaries(st.text(), st.text())),
    (
        {"type": "record", "name": "In", "fields": [{"name": "x", "type": "long"}, {"name": "y", "type": "string"}]},
        st.fixed_dictionaries({"x": LONG, "y": st.text()}),
    ),
]


@given(data=st.data())
@settings(deadline=None)
def test_what_fastavro_writes_is_read_the_same(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    fields = [
        {
            "name": f"f{place}",
            "type": {**kind, "name": f"T{place}"} if isinstance(kind, dict) and "name" in kind else kind,
        }
        for place, (kind, _) in enumerate(chosen)
    ]
    schema = orjson.dumps({"type": "record", "name": "R", "fields": fields}).decode()
    record = {f"f{place}": data.draw(values) for place, (_, values) in enumerate(chosen)}
    assert read(schema, AvroText(schema)(record)) == (record, 0)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_read_like_fastavro_reads_them_or_refused(body: bytes) -> None:
    schema = orjson.dumps(
        {
            "type": "record",
            "name": "R",
            "fields": [
                {"name": "a", "type": ["null", "string", "long"]},
                {"name": "b", "type": {"type": "array", "items": "int"}},
                {"name": "c", "type": {"type": "map", "values": "double"}},
            ],
        }
    ).decode()
    try:
        value, mended = read(schema, body)
    except BadRecordError:
        return
    rest = io.BytesIO(body)
    parsed = fastavro.parse_schema(raw_types(orjson.loads(schema)))
    theirs = fastavro.schemaless_reader(rest, parsed, None, handle_unicode_errors="replace")
    assert repr(value) == repr(theirs)
    assert rest.read() == b""
    assert mended == 0 or "\ufffd" in str(value)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ({"type": "int", "logicalType": "date"}, zigzag(-5), DayNumber(-5)),
        ({"type": "int", "logicalType": "time-millis"}, zigzag(7), TimeOfDay(7_000)),
        ({"type": "long", "logicalType": "time-micros"}, zigzag(7), TimeOfDay(7)),
        ({"type": "long", "logicalType": "timestamp-millis"}, zigzag(1 << 62), Stamp((1 << 62) * 1_000)),
        ({"type": "long", "logicalType": "timestamp-micros"}, zigzag(-7), Stamp(-7)),
        ({"type": "long", "logicalType": "timestamp-nanos"}, zigzag(-1), Stamp(-1)),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, zigzag(9), Stamp(9)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, b"\x04\xff\x38", Decimal("-2.00")),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, b"\x00", Decimal("0.00")),
        (
            {"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 4},
            b"\x01\x00",
            Decimal(256),
        ),
        ({"type": "fixed", "name": "F", "size": 2}, b"\xff\x00", "ff00"),
        (
            {"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"},
            bytes(range(16)),
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ),
        ("bytes", b"\x04ab", "6162"),
        ("bytes", b"\x08\xff\x00\xfe\x41", "ff00fe41"),
        ("long", zigzag(-(1 << 63)), -(1 << 63)),
        ("long", b"\x82\x00", 1),
        ("long", b"\x80" * 9 + b"\x01", 1 << 62),
        ("int", zigzag(1 << 40), 1 << 40),
        ({"type": "array", "items": "int"}, b"\x03\x04\x02\x04\x00", [1, 2]),
        ({"type": "array", "items": "null"}, zigzag(900) + b"\x00", [None] * 900),
    ],
)
def test_values(kind: object, body: bytes, expected: object) -> None:
    assert read_a(kind, body) == expected


@pytest.mark.parametrize("raw", [b"\xff", b"\xed\xa0\xbd", b"a\xf0\x9f\x98", b"\xc0\x80"])
def test_bytes_that_are_not_utf8_are_replaced_and_counted(raw: bytes) -> None:
    for kind, version in (("string", 2), ("string", 1), ("bytes", 1)):
        value, mended = read(schema_of(kind), zigzag(len(raw)) + raw, version)
        assert value == {"a": raw.decode("utf-8", "replace")}
        assert mended == 1


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("long", b"", "ends too early"),
        ("long", b"\x80", "ends too early"),
        ("long", b"\x80" * 10 + b"\x00", "more than ten bytes"),
        ("long", b"\x00\x00", "1 bytes too many"),
        ("boolean", b"\x02", "boolean byte of 2"),
        ("float", b"\x00" * 3, "number beyond the end"),
        ("double", b"\x00" * 7, "number beyond the end"),
        ("string", b"\x02", "length beyond the end"),
        ("string", b"\x01", "length beyond the end"),
        ("string", zigzag((1 << 63) - 1) + b"x", "length beyond the end"),
        ("bytes", zigzag(-(1 << 63)) + b"x", "length beyond the end"),
        (["null", "string"], b"\x04\x00", "branch 2 of 2"),
        (["null", "string"], b"\x01\x00", "branch -1 of 2"),
        (["string", "null"], b"\x04", "branch 2 of 2"),
        (ENUM, b"\x04", "symbol 2 of 2"),
        (ENUM, b"\x01", "symbol -1 of 2"),
        ({"type": "fixed", "name": "F", "size": 4}, b"\x00", "fixed beyond the end"),
        ({"type": "array", "items": "null"}, zigzag(1 << 60) + b"\x00", "more items than bytes"),
        ({"type": "array", "items": "null"}, (zigzag(900) * 3) + b"\x00", "more items than bytes"),
        ({"type": "array", "items": "null"}, zigzag(-(1 << 63)) + b"\x00\x00", "more items than bytes"),
        ({"type": "map", "values": "null"}, zigzag(1 << 50) + b"\x00", "more items than bytes"),
        ({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}, zigzag(1 << 55), "more items"),
    ],
)
def test_what_is_no_datum_is_refused(kind: object, body: bytes, why: str) -> None:
    with pytest.raises(BadRecordError, match=why) as caught:
        read_a(kind, body)
    assert caught.value.reason == "undecodable"


def test_a_type_within_itself_is_read_to_a_bound() -> None:
    value, _ = read(RECURSIVE, b"\x02" * 60 + b"\x00")
    depth = 0
    while isinstance(value, dict) and value["next"] is not None:
        value, depth = value["next"], depth + 1
    assert depth == 60
    for levels in (70, 100_000):
        with pytest.raises(BadRecordError, match="nested in itself too often"):
            read(RECURSIVE, b"\x02" * levels + b"\x00")


def test_nesting_in_all_its_forms_is_bounded() -> None:
    level = b"\x02\x02\x02k"
    assert read(TREE, level * 50 + b"\x00" * 101)[1] == 0
    for levels in (70, 5_000):
        with pytest.raises(BadRecordError, match="undecodable"):
            read(TREE, level * levels + b"\x00" * (2 * levels + 1))


def test_large_hostile_bodies_are_refused_quickly() -> None:
    began = time.process_time()
    for body in (
        zigzag(1 << 40) * 50_000,
        b"\xff" * 1_000_000,
        zigzag(1_000) * 300_000,
    ):
        with pytest.raises(BadRecordError):
            read_a({"type": "array", "items": {"type": "array", "items": "null"}}, body)
    assert time.process_time() - began < 5


def test_a_decimal_beyond_all_digits_is_hexadecimal() -> None:
    schema = schema_of({"type": "bytes", "logicalType": "decimal", "precision": 4})
    body = zigzag(2_000) + b"x" * 2_000
    assert read(schema, body) == ({"a": "78" * 2_000}, 0)
    assert read(schema, body, 1) == ({"a": "x" * 2_000}, 1)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("0601e24004", Decimal("1234.56")),
        ("02ff00", Decimal(-1)),
        ("020103", Decimal("1E+2")),
        ("0000", "0000"),
        ("0601e240", "0601e240"),
        ("0601e2400400", "0601e2400400"),
        ("0201" + zigzag(1_001).hex(), "0201" + zigzag(1_001).hex()),
        ("", ""),
    ],
)
def test_a_big_decimal_is_a_number_or_its_bytes(payload: str, expected: object) -> None:
    body = bytes.fromhex(payload)
    kind = {"type": "bytes", "logicalType": "big-decimal"}
    assert read_a(kind, zigzag(len(body)) + body) == expected
    assert read(schema_of(kind), zigzag(len(body)) + body, 1)[0] == {"a": body.decode("utf-8", "replace")}


def test_symbols_and_names_are_bounded_by_the_size_of_a_record() -> None:
    many = {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["x" * 900]}}
    with pytest.raises(BadRecordError, match="names and symbols"):
        read_bounded(many, zigzag(1_000) + b"\x00" * 1_001)
    assert read_bounded(many, zigzag(10) + b"\x00" * 11) == ["x" * 900] * 10
    fields = [{"name": f"{'n' * 100}{number}", "type": "null"} for number in range(20)]
    records = {"type": "array", "items": {"type": "record", "name": "N", "fields": fields}}
    with pytest.raises(BadRecordError, match="names and symbols"):
        read_bounded(records, zigzag(50) + b"\x00")


def read_bounded(kind: object, body: bytes) -> Value:
    columns = columns_of(custom([{"name": "a", "type": "string"}], "a"))
    return Writer(parse(schema_of(kind)), columns, {"a"}).exact(body).values["a"]


def test_doubles_are_read_bit_by_bit() -> None:
    for raw in (b"\x00" * 7 + b"\x80", struct.pack("<d", 5e-324), struct.pack("<d", float("inf"))):
        value = read_a("double", raw)
        assert isinstance(value, float)
        assert struct.pack("<d", value) == raw
