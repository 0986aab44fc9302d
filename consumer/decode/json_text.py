"""Lists and objects as compact JSON: no white space, names in order, minimal escapes.

A number that came as JSON is written as it was, digit by digit.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson

from consumer.decode.values import DayNumber, Numeral, Stamp, TimeOfDay
from consumer.domain.days import EPOCH

EXPONENT = re.compile(r"[0-9]e\+?[0-9]")
"""What a double of 1e16 or more looks like in orjson's text; such a one may have been an integer with more digits."""


def compact(value: object) -> str:
    """The JSON text of a value. NaN and infinities are null. Raises ValueError for what has no JSON."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()


def _plain(value: object) -> Any:
    match value:
        case Decimal():
            return orjson.Fragment(format(value, "f"))
        case Numeral(text):
            return orjson.Fragment(text)
        case Stamp(micros):
            return instant_text(micros)
        case DayNumber(days):
            return date_text(days)
        case TimeOfDay(micros):
            return time_text(micros)
    raise TypeError(f"{type(value).__name__} has no JSON")


def instant_text(micros: int) -> str | None:
    """`2024-07-15T13:45:18.755258+00:00`, or None outside the years 1 to 9999."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    except OverflowError:
        return None


def date_text(days: int) -> str | None:
    """`2024-07-15`, or None outside the years 1 to 9999."""
    try:
        return (EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return None


def time_text(micros: int) -> str | None:
    """`13:45:18.755258`, or None if the number is outside one day."""
    if not 0 <= micros < 86_400_000_000:  # noqa: PLR2004 - microseconds of a day
        return None
    return (EPOCH + timedelta(microseconds=micros)).time().isoformat(timespec="microseconds")
