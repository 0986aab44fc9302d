"""A value in a column: its text, and what was odd."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.values import DayNumber, Stamp, TimeOfDay
from consumer.shape.exact.cells import MISFIT, NOT_FINITE, OUT_OF_RANGE, cell, real_text, shortest32
from consumer.streams.columns import ColumnKind as K

NOON = 1_721_044_800_000_000
HUGE = "9" * 400


@pytest.mark.parametrize(
    ("kind", "value", "text", "odd"),
    [
        (K.TEXT, "", "", None),
        (K.TEXT, " a ", " a ", None),
        (K.TEXT, "1234e567", "1234e567", None),
        (K.TEXT, 12345678901234567890123, "12345678901234567890123", None),
        (K.TEXT, Decimal(12345678901234567890), "12345678901234567890", None),
        (K.TEXT, 3.0, "3.0", None),
        (K.TEXT, 1e21, "1000000000000000000000.0", None),
        (K.TEXT, True, "true", None),
        (K.TEXT, {"a": 1}, '{"a":1}', MISFIT),
        (K.TEXT, [1, "é"], '[1,"é"]', MISFIT),
        (K.TEXT, math.nan, None, NOT_FINITE),
        (K.TEXT, Stamp(NOON), "2024-07-15T12:00:00.000000+00:00", None),
        (K.JSON, "{'a' : 1}", "{'a' : 1}", None),
        (K.JSON, {"b": 1.0, "a": None}, '{"b":1.0,"a":null}', None),
        (K.JSON, [True], "[true]", None),
        (K.JSON, 5, "5", None),
        (K.JSON, False, "false", None),
        (K.INTEGER, 7, "7", None),
        (K.INTEGER, -(1 << 63), "-9223372036854775808", None),
        (K.INTEGER, 1 << 63, "9223372036854775808", MISFIT),
        (K.INTEGER, 1.0, "1", None),
        (K.INTEGER, -0.0, "0", None),
        (K.INTEGER, 3.7, "3.7", MISFIT),
        (K.INTEGER, 1e20, "100000000000000000000.0", MISFIT),
        (K.INTEGER, math.inf, None, NOT_FINITE),
        (K.INTEGER, Decimal(5), "5", None),
        (K.INTEGER, Decimal("5.5"), "5.5", MISFIT),
        (K.INTEGER, "1", "1", None),
        (K.INTEGER, "1.0", "1", None),
        (K.INTEGER, "-007", "-7", None),
        (K.INTEGER, "-0", "0", None),
        (K.INTEGER, "1.5", "1.5", MISFIT),
        (K.INTEGER, "rev-A", "rev-A", MISFIT),
        (K.INTEGER, "", "", MISFIT),
        (K.INTEGER, " 1", " 1", MISFIT),
        (K.INTEGER, "+1", "+1", MISFIT),
        (K.INTEGER, "1e3", "1e3", MISFIT),
        (K.INTEGER, "1.", "1.", MISFIT),
        (K.INTEGER, "٣", "٣", MISFIT),
        (K.INTEGER, "9223372036854775808", "9223372036854775808", MISFIT),
        (K.INTEGER, HUGE, HUGE, MISFIT),
        (K.INTEGER, "0" * 5_000 + "1", "1", None),
        (K.INTEGER, True, "true", MISFIT),
        (K.INTEGER, {}, "{}", MISFIT),
        (K.REAL, 7, "7.0", None),
        (K.REAL, 7.822496382095424, "7.822496382095424", None),
        (K.REAL, -349.29999999999995, "-349.29999999999995", None),
        (K.REAL, 0, "0.0", None),
        (K.REAL, -0.0, "0.0", None),
        (K.REAL, 1e-7, "0.0000001", None),
        (K.REAL, (1 << 53) + 1, "9007199254740992.0", None),
        (K.REAL, "9.99", "9.99", None),
        (K.REAL, "9.990", "9.99", None),
        (K.REAL, "-7", "-7.0", None),
        (K.REAL, "-0", "0.0", None),
        (K.REAL, "9,99", "9,99", MISFIT),
        (K.REAL, "USD 9.99", "USD 9.99", MISFIT),
        (K.REAL, "1e3", "1e3", MISFIT),
        (K.REAL, ".5", ".5", MISFIT),
        (K.REAL, "nan", "nan", MISFIT),
        (K.REAL, HUGE, HUGE, MISFIT),
        (K.REAL, Decimal(HUGE), HUGE, MISFIT),
        (K.REAL, Decimal("9.99"), "9.99", None),
        (K.REAL, math.nan, None, NOT_FINITE),
        (K.REAL, -math.inf, None, NOT_FINITE),
        (K.REAL, True, "true", MISFIT),
        (K.REAL, [1], "[1]", MISFIT),
        (K.REAL32, 0.10000000149011612, "0.1", None),
        (K.REAL32, 0.1, "0.1", None),
        (K.REAL32, 1e300, "1" + "0" * 300 + ".0", None),
        (K.REAL32, 3.4028234663852886e38, "340282350000000000000000000000000000000.0", None),
        (K.REAL32, 16777216, "16777216.0", None),
        (K.REAL32, "0.1", "0.1", None),
        (K.REAL32, math.nan, None, NOT_FINITE),
        (K.REAL32, "x", "x", MISFIT),
        (K.BOOLEAN, True, "true", None),
        (K.BOOLEAN, "false", "false", None),
        (K.BOOLEAN, 1, "1", MISFIT),
        (K.BOOLEAN, "True", "True", MISFIT),
        (K.INSTANT, Stamp(NOON), "2024-07-15T12:00:00.000000+00:00", None),
        (K.INSTANT, Stamp(-1), "1969-12-31T23:59:59.999999+00:00", None),
        (K.INSTANT, Stamp(-62_135_596_800_000_000), "0001-01-01T00:00:00.000000+00:00", None),
        (K.INSTANT, Stamp(-62_135_596_800_000_001), None, OUT_OF_RANGE),
        (K.INSTANT, Stamp(1 << 62), None, OUT_OF_RANGE),
        (K.INSTANT, 1_721_044_800, "2024-07-15T12:00:00.000000+00:00", None),
        (K.INSTANT, "2024-07-15T12:00:00", "2024-07-15T12:00:00.000000+00:00", "no_offset"),
        (K.INSTANT, "23:59:60", "23:59:60", MISFIT),
        (K.INSTANT, "", "", MISFIT),
        (K.INSTANT, DayNumber(0), "1970-01-01T00:00:00.000000+00:00", None),
        (K.INSTANT, True, "true", MISFIT),
        (K.INSTANT, math.nan, None, NOT_FINITE),
        (K.INSTANT, "9" * 30, None, OUT_OF_RANGE),
        (K.DATE, DayNumber(19_919), "2024-07-15", None),
        (K.DATE, "2024-07-15", "2024-07-15", None),
        (K.DATE, "2024-07-15T12:00:00Z", "2024-07-15", None),
        (K.DATE, DayNumber(1 << 40), None, OUT_OF_RANGE),
        (K.DATE, "July", "July", MISFIT),
        (K.TIME, TimeOfDay(3_661_000_001), "01:01:01.000001", None),
        (K.TIME, TimeOfDay(-1), "-1", None),
        (K.TIME, "13:00", "13:00", None),
        (K.TIME, 5, "5", MISFIT),
        (K.DECIMAL, Decimal("-12.30"), "-12.30", None),
        (K.DECIMAL, Decimal("1E+3"), "1000", None),
        (K.DECIMAL, "12.30", "12.30", None),
        (K.DECIMAL, "12,30", "12,30", MISFIT),
        (K.DECIMAL, 5, "5", None),
        (K.DECIMAL, 0.5, "0.5", None),
        (K.DECIMAL, True, "true", MISFIT),
        (K.ANY, {"a": [1]}, '{"a":[1]}', None),
        (K.ANY, 5, "5", None),
        (K.ANY, "x", "x", None),
    ],
)
def test_cells(kind: K, value: Any, text: str | None, odd: str | None) -> None:
    assert cell(kind, value) == (text, odd)


@pytest.mark.parametrize("kind", list(K))
def test_null_is_empty(kind: K) -> None:
    assert cell(kind, None) == (None, None)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_doubles_read_back_and_have_no_exponent(value: float) -> None:
    text = real_text(value)
    assert float(text) == value
    assert set(text) <= set("-.0123456789")
    assert "." in text
    digits = text.replace("-", "").replace(".", "").strip("0")
    assert len(digits) <= 17


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_floats_are_short_and_the_same_float(value: float) -> None:
    short = shortest32(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)
    digits = real_text(short).replace("-", "").replace(".", "").strip("0")
    assert len(digits) <= 9
