"""Instants as they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.decode.values import DayNumber, Stamp
from consumer.shape.timestamps import DAY_MICROS, LEAP_SECOND, NO_OFFSET, day_number, moment

NOON = 1_721_044_800_000_000
"""2024-07-15T12:00:00Z"""
HOUR = 3_600_000_000


@given(
    st.datetimes(timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))),
    st.sampled_from("T t"),
    st.booleans(),
)
@settings(deadline=None)
def test_iso_text_with_any_offset(instant: datetime, between: str, colon: bool) -> None:
    text = instant.isoformat().replace("T", between)
    if not colon:
        text = text[:-3] + text[-2:]
    expected = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    found = moment(text)
    assert found is not None
    assert (found.micros, found.oddity) == (expected, None)


@pytest.mark.parametrize(
    ("text", "micros", "oddity"),
    [
        ("2024-07-15T12:00:00.000000+0000", NOON, None),
        ("2024-07-15T12:00:00Z", NOON, None),
        ("2024-07-15T12:00:00z", NOON, None),
        ("2024-07-15 12:00:00 UTC", NOON, None),
        ("2024-07-15T12:00Z", NOON, None),
        ("  2024-07-15T12:00:00Z\n", NOON, None),
        ("20240715T120000Z", NOON, None),
        ("2024-07-15T17:30:00+05:30", NOON, None),
        ("2024-07-15T04:00:00-0800", NOON, None),
        ("2024-07-15T13:00:00+01", NOON, None),
        ("2024-07-15T12:00:00", NOON, NO_OFFSET),
        ("2024-07-15 12:00:00.5", NOON + 500_000, NO_OFFSET),
        ("2024-07-15T12:00:00.123456789Z", NOON + 123_456, None),
        ("2024-07-15T12:00:00,9999999Z", NOON + 999_999, None),
        ("2024-07-15", NOON - 12 * HOUR, None),
        ("20240715", NOON - 12 * HOUR, None),
        ("2024-07-15T24:00:00Z", NOON + 12 * HOUR, None),
        ("2024-07-15T23:59:60Z", NOON + 12 * HOUR - 1, LEAP_SECOND),
        ("2024-07-16T05:29:60.5+05:30", NOON + 12 * HOUR - 1, LEAP_SECOND),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000, None),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999, None),
        ("1721044800", NOON, None),
        ("1721044800.25", NOON + 250_000, None),
        ("1721044800123", NOON + 123_000, None),
        ("1721044800123.4567", NOON + 123_456, None),
        ("1721044800123456", NOON + 123_456, None),
        ("1721044800123456789", NOON + 123_456, None),
        ("-1", -1_000_000, None),
        ("-0.5", -500_000, None),
        ("20249915", 20_249_915_000_000, None),
        ("0", 0, None),
        ("99999999999", 99_999_999_999_000_000, None),
        ("100000000000", 100_000_000_000_000, None),
    ],
)
def test_text(text: str, micros: int, oddity: str | None) -> None:
    found = moment(text)
    assert found is not None
    assert (found.micros, found.oddity) == (micros, oddity)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "2024-13-01",
        "2024-02-30T00:00:00Z",
        "2024-07-15T25:00:00Z",
        "2024-07-15T24:00:01Z",
        "2024-07-15T12:60:00Z",
        "2024-07-15T12:00:61Z",
        "2024-07-15T12:00:00+24:00",
        "2024-07-15T12:00:00+01:60",
        "0000-01-01",
        "2024-W29-1",
        "15.07.2024",
        "2024-7-15",
        "٢٠٢٤-07-15",
        "1e9",
        "0x10",
        "--1",
        "1 000",
        "2024-07-15T12:00:00Zjunk",
        True,
        False,
        None,
        [],
        {"a": 1},
        float("nan"),
        float("inf"),
    ],
)
def test_what_is_no_instant(value: Any) -> None:
    assert moment(value) is None


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (1_721_044_800, NOON),
        (1_721_044_800_000, NOON),
        (1_721_044_800_000_000, NOON),
        (1_721_044_800_000_000_999, NOON),
        (-1, -1_000_000),
        (10**11 - 1, (10**11 - 1) * 10**6),
        (10**11, 10**14),
        (-(10**11), -(10**14)),
        (10**14 - 1, (10**14 - 1) * 10**3),
        (10**14, 10**14),
        (10**17 - 1, 10**17 - 1),
        (10**17, 10**14),
        (-(10**17) - 1, -(10**14) - 1),
        (1_721_044_800.5, NOON + 500_000),
        (1_721_044_800_000.25, NOON + 250),
        (Decimal(1721044800000000), NOON),
        (Stamp(5), 5),
        (DayNumber(-1), -DAY_MICROS),
    ],
)
def test_numbers_by_magnitude(value: Any, micros: int) -> None:
    found = moment(value)
    assert found is not None
    assert found.micros == micros


@pytest.mark.parametrize(
    "value", ["9" * 5_000, Decimal("9" * 5_000), 1e300, "-" + "9" * 30, Stamp(1 << 62), "0001-01-01T00:00:00+01:00"]
)
def test_what_has_no_year(value: Any) -> None:
    found = moment(value)
    assert found is not None
    assert not found.has_year


@pytest.mark.parametrize(
    ("value", "day"),
    [
        (19_919, 19_919),
        ("19919", 19_919),
        (-1, -1),
        (DayNumber(19_919), 19_919),
        (Stamp(NOON), 19_919),
        ("2024-07-15", 19_919),
        ("20240715", 19_919),
        ("2024-07-15T23:30:00-05:00", 19_920),
        (1_721_044_800, 19_919),
        (1_721_044_800_000, 19_919),
    ],
)
def test_dates(value: Any, day: int) -> None:
    found = day_number(value)
    assert found is not None
    assert found.micros // DAY_MICROS == day
