"""JSON into values and columns: what orjson reads, and the little that it does not."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.json_decoder import Objects, parse
from consumer.decode.json_text import compact
from consumer.decode.values import DayNumber, Numeral, Stamp, TimeOfDay, label
from consumer.domain.errors import BadRecordError
from consumer.streams.columns import Column, ColumnKind
from tests.builders.nested import nested

TEXT = Column("a", ColumnKind.TEXT, ("a", "b"))
NUMBER = Column("n", ColumnKind.REAL, ("n",))
OBJECT = Column("o", ColumnKind.JSON, ("o",))
OBJECTS = Objects([TEXT, NUMBER, OBJECT], {"a", "b", "n", "o", "off"})


@given(nested(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text()))
@settings(deadline=None)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert repr(parse(text.encode(), 1)[0]) == repr(json.loads(text))
        assert repr(parse(text.encode())[0]) == repr(json.loads(text, parse_float=Numeral))


@pytest.mark.parametrize(
    ("text", "value", "mended"),
    [
        ('{"a":1,"a":2}', {"a": 2}, 0),
        ("9223372036854775807", 9223372036854775807, 0),
        ("12345678901234567890", Decimal(12345678901234567890), 0),
        ("-9223372036854775809", Decimal(-9223372036854775809), 0),
        ("9" * 5_000, Decimal("9" * 5_000), 0),
        ("0.12345678901234567890", Numeral("0.12345678901234567890"), 0),
        ("[5.00, 1e400, -0.0]", [Numeral("5.00"), Numeral("1e400"), Numeral("-0.0")], 0),
        ('\ufeff{"a":1}', {"a": 1}, 0),
        ("-Infinity", float("-inf"), 0),
        ('"\\ud83d"', "\ufffd", 1),
        ('"\\ud83dx\\ude00"', "\ufffdx\ufffd", 1),
        ('"\\ud83d\\ude00"', "😀", 0),
        ('["\\udcc3\\udca9", "b", {"\\ud800": "\\udfff"}]', ["\ufffd\ufffd", "b", {"\ufffd": "\ufffd"}], 3),
        ('"\\u0000"', "\0", 0),
        (' \t\r\n{"a": 1} \n', {"a": 1}, 0),
        ('"\U0001f600\u2028"', "\U0001f600\u2028", 0),
    ],
)
def test_values(text: str, value: object, mended: int) -> None:
    assert parse(text.encode()) == (value, mended)


def test_bytes_that_are_not_utf8_are_replaced_and_counted() -> None:
    assert parse(b'{"a":"x\xffy"}') == ({"a": "x\ufffdy"}, 1)
    assert parse(b'{"a":"\xed\xa0\xbd","b":"\\ud83d"}') == ({"a": "\ufffd\ufffd\ufffd", "b": "\ufffd"}, 2)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"a":1}{"a":2}',
        b'{"a":1}x',
        b'{"a":01}',
        b'{"a":"\x01"}',
        b"{'a':1}",
        b"[1,]",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"nan",
        b"\xff",
        b"[" * 1_000_000,
        b"[" * 201 + b"]" * 201,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadRecordError) as caught:
        parse(text)
    assert caught.value.reason == "undecodable"


def test_nesting_is_bounded_alike_whoever_parses() -> None:
    for inner in (b"1", b"NaN", b"12345678901234567890123"):
        assert parse(b"[" * 200 + inner + b"]" * 200)
        with pytest.raises(BadRecordError, match="too deep"):
            parse(b"[" * 201 + inner + b"]" * 201)
    brackets_in_text = b'{"a":"' + b"[" * 300 + b'"}'
    assert parse(brackets_in_text) == ({"a": "[" * 300}, 0)


@pytest.mark.parametrize("value", [b"5", b"[]", b'"a"', b"null"])
def test_a_record_is_an_object(value: bytes) -> None:
    with pytest.raises(BadRecordError, match="no JSON object"):
        OBJECTS.exact(value)


@pytest.mark.parametrize(
    ("text", "a"),
    [
        (b'{"a":"x","b":"y"}', "x"),
        (b'{"a":null,"b":"y"}', "y"),
        (b'{"b":"y"}', "y"),
        (b'{"a":"","b":"y"}', ""),
        (b"{}", None),
        (b'{"a":null,"b":null}', None),
    ],
)
def test_the_name_wins_over_its_alias_unless_null(text: bytes, a: str | None) -> None:
    assert OBJECTS.exact(text).values["a"] == a


def test_unknown_names_are_told_once_each_and_cut() -> None:
    long = "x" * 300
    text = orjson.dumps({"a": 1, "off": 1, "more": 1, long + "1": 1, long + "2": 1})
    assert set(OBJECTS.exact(text).unknown) == {"more", "x" * 100}
    assert label("\ud800") == "?"


def test_large_values_full_of_brackets_are_read_quickly() -> None:
    began = time.process_time()
    assert len(parse(b"[" + b"[]," * 300_000 + b"1]")[0]) == 300_001  # type: ignore[arg-type] # a list
    deep = b"[" * 199 + b"1" + b"]" * 199
    assert len(parse(b"[" + b",".join([deep] * 2_500) + b"]")[0]) == 2_500  # type: ignore[arg-type] # a list
    with pytest.raises(BadRecordError):
        parse(b'["' + b"[" * 500_000 + b'"' + b"[" * 500_000)
    for tail in (b'\\"' * 400_000, b'\\"' * 400_000 + b"\\", b'"\\' * 400_000):
        with pytest.raises(BadRecordError):
            parse(b"[" * 201 + b'"' + tail)
    assert time.process_time() - began < 4


def test_compact_json() -> None:
    value = {
        "b": [1, 2.5, None, True, 'é\u2028\x00"', float("nan")],
        "a": {"c": Decimal(123456789012345678901234567890)},
    }
    assert compact(value) == '{"b":[1,2.5,null,true,"é\u2028\\u0000\\"",null],"a":{"c":123456789012345678901234567890}}'
    assert compact([Stamp(0), DayNumber(1), TimeOfDay(1), Stamp(1 << 70)]) == (
        '["1970-01-01T00:00:00.000000+00:00","1970-01-02","00:00:00.000001",null]'
    )
