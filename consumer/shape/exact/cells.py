"""A value and its column -> the text of a cell. Exact, one at a time: what columns at once do must come to the same.

None is an empty cell, "" is the empty text. A value that does not fit is written as the text it came as, and counted.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias

from consumer.decode.json_text import compact, date_text, instant_text, time_text
from consumer.decode.values import DayNumber, Stamp, TimeOfDay, Value
from consumer.shape.timestamps import DAY_MICROS, Moment, day_number, moment
from consumer.streams.columns import ColumnKind

MISFIT = "misfit"
NOT_FINITE = "not_finite"
OUT_OF_RANGE = "instant_out_of_range"
NUL = "nul"
PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
MOST_INTEGER_DIGITS = 19

Cell: TypeAlias = tuple[str | None, str | None]
"""The text, None for an empty cell, and what was odd about the value, None for nothing."""


def cell(kind: ColumnKind, value: Value) -> Cell:
    """The text of a value in a column of this kind."""
    if value is None:
        return None, None
    return _WRITERS.get(kind, natural)(value)


def natural(value: Value) -> Cell:
    """The text of a value by itself."""
    match value:
        case None | str():
            return value, None
        case bool():
            return ("true" if value else "false"), None
        case list() | dict():
            return compact(value), None
        case int() | float() | Decimal():
            return _numeric(value)
    return _timely(value)


def _numeric(value: float | Decimal) -> Cell:
    if isinstance(value, float):
        return (real_text(value), None) if value - value == 0 else (None, NOT_FINITE)
    return format(value, "f") if isinstance(value, Decimal) else str(value), None


def _timely(value: Stamp | DayNumber | TimeOfDay) -> Cell:
    match value:
        case Stamp(micros):
            text = instant_text(micros)
        case DayNumber(days):
            text = date_text(days)
        case TimeOfDay(micros):
            text = time_text(micros) or str(micros)
    return (text, None) if text is not None else (None, OUT_OF_RANGE)


def misfit(value: Value) -> Cell:
    """The text of a value that its column does not take."""
    text, odd = natural(value)
    return text, odd or MISFIT


def real_text(value: float) -> str:
    """The shortest text that reads back as the same double, without exponent; `7.0`, and `0.0` for both zeros."""
    if value == 0:
        return "0.0"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text if "." in text else text + ".0"


def _text(value: Value) -> Cell:
    return misfit(value) if isinstance(value, list | dict) else natural(value)


def _integer(value: Value) -> Cell:
    match value:
        case bool():
            return misfit(value)
        case int():
            return (str(value), None) if -(1 << 63) <= value < 1 << 63 else misfit(value)
        case float() if value.is_integer() and -(1 << 63) <= value < 1 << 63:
            return str(int(value)), None
        case Decimal() if value == value.to_integral_value() and -(1 << 63) <= value < 1 << 63:
            return str(int(value)), None
        case str():
            return _integer_text(value)
    return misfit(value)


def _integer_text(text: str) -> Cell:
    if PLAIN_DECIMAL.fullmatch(text):
        whole, _, fraction = text.partition(".")
        digits = whole.lstrip("-").lstrip("0") or "0"
        if not fraction.strip("0") and len(digits) <= MOST_INTEGER_DIGITS:
            number = -int(digits) if whole[0] == "-" else int(digits)
            if -(1 << 63) <= number < 1 << 63:
                return str(number), None
    return text, MISFIT


def _real(value: Value) -> Cell:
    number = as_real(value)
    if number is None:
        return misfit(value)
    return (real_text(number), None) if number - number == 0 else (None, NOT_FINITE)


def as_real(value: Value) -> float | None:
    """The double that a value means, or None for none. A number too large for a double means none."""
    match value:
        case bool():
            return None
        case float():
            return value
        case int() | Decimal():
            number = float(value)
        case str() if PLAIN_DECIMAL.fullmatch(value):
            number = float(value)
        case _:
            return None
    return number if number - number == 0 else None


def _real32(value: Value) -> Cell:
    number = as_real(value)
    return _real(value if number is None else shortest32(number))


def shortest32(value: float) -> float:
    """The double with the fewest digits that is the same float, where the value is one; else the value.

    The nearest text of so many digits may read back as another float where the one beside it does not: beside a power
    of two floats lie closer on one side.
    """
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        return value
    if struct.unpack("<f", packed)[0] != value:
        return value
    for digits in range(1, 9):
        near = Decimal(f"{value:.{digits - 1}e}")
        step = Decimal(1).scaleb(near.adjusted() - digits + 1)
        for short in (near, near + step, near - step):
            if _same32(float(short), packed):
                return float(short)
    return float(f"{value:.9g}")


def _same32(value: float, packed: bytes) -> bool:
    try:
        return struct.pack("<f", value) == packed
    except OverflowError:
        return False


def _boolean(value: Value) -> Cell:
    if isinstance(value, bool) or value in ("true", "false"):
        return natural(value)
    return misfit(value)


def _instant(value: Value) -> Cell:
    found = moment(value)
    if found is None:
        return misfit(value)
    text = instant_text(found.micros)
    return (text, found.oddity) if text is not None else (None, OUT_OF_RANGE)


def _date(value: Value) -> Cell:
    found = day_number(value)
    if found is None:
        return misfit(value)
    text = date_text(found.micros // DAY_MICROS)
    return (text, found.oddity) if text is not None else (None, OUT_OF_RANGE)


def _time(value: Value) -> Cell:
    return natural(value) if isinstance(value, TimeOfDay | str) else misfit(value)


def _decimal(value: Value) -> Cell:
    if isinstance(value, str):
        return value, None if PLAIN_DECIMAL.fullmatch(value) else MISFIT
    return natural(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else misfit(value)


_WRITERS: Mapping[ColumnKind, Callable[[Value], Cell]] = {
    ColumnKind.TEXT: _text,
    ColumnKind.INTEGER: _integer,
    ColumnKind.REAL: _real,
    ColumnKind.REAL32: _real32,
    ColumnKind.BOOLEAN: _boolean,
    ColumnKind.INSTANT: _instant,
    ColumnKind.DATE: _date,
    ColumnKind.TIME: _time,
    ColumnKind.DECIMAL: _decimal,
}


def time_of(kind: ColumnKind, value: Value) -> Moment | None:
    """The instant that a value means as the time of a row."""
    return day_number(value) if kind is ColumnKind.DATE else moment(value)
