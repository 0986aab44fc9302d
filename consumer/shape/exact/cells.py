"""A value and its column -> the text of a cell. Exact, one at a time: the native engine must give the same.

None is an empty cell, "" is the empty text. A value that does not fit is written as its original text, and counted.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from consumer.decode.json_text import compact, date_text, instant_text, time_text
from consumer.decode.values import DayNumber, Numeral, Stamp, TimeOfDay, Value
from consumer.shape.timestamps import BY_MAGNITUDE, DAY_MICROS, Moment, day_number, moment
from consumer.streams.columns import Column, ColumnKind, Reading

MISFIT = "misfit"
NOT_FINITE = "not_finite"
OUT_OF_RANGE = "instant_out_of_range"
NUL = "nul"
PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
MOST_INTEGER_DIGITS = 19

Cell: TypeAlias = tuple[str | None, str | None]
"""The text, None for an empty cell, and what was odd about the value, None for nothing."""


def cell(kind: ColumnKind, value: Value, reading: Reading = BY_MAGNITUDE) -> Cell:
    """The text of a value in a column of this kind, which reads times so."""
    if value is None:
        return None, None
    if kind is ColumnKind.INSTANT:
        return _instant(value, reading)
    if kind is ColumnKind.DATE:
        return _date(value, reading)
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
        case int() | float() | Decimal() | Numeral():
            return _numeric(value)
    return _timely(value)


def _numeric(value: float | Decimal | Numeral) -> Cell:
    if isinstance(value, Numeral):
        value = float(value.text)
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
    if isinstance(value, Numeral):
        return value.text, MISFIT
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
        case Decimal() if value == value.to_integral_value() and -(1 << 63) <= value < 1 << 63:  # abs() would round
            return str(int(value)), None
        case Numeral() | str():
            return _integer_text(value)
    return misfit(value)


def _integer_text(value: Numeral | str) -> Cell:
    text = value if isinstance(value, str) else value.plain() or ""
    if PLAIN_DECIMAL.fullmatch(text):
        whole, _, fraction = text.partition(".")
        digits = whole.lstrip("-").lstrip("0") or "0"
        if not fraction.strip("0") and len(digits) <= MOST_INTEGER_DIGITS:
            number = -int(digits) if whole[0] == "-" else int(digits)
            if -(1 << 63) <= number < 1 << 63:
                return str(number), None
    return misfit(value)


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
        case Numeral(text):
            return float(text)
        case _:
            return None
    return number if number - number == 0 else None


def _real32(value: Value) -> Cell:
    number = as_real(value)
    return _real(value if number is None else shortest32(number))


def shortest32(value: float) -> float:
    """The double with the fewest digits that reads back as the same float, if the value is one; else the value.

    Of several it is the one nearest to the value.
    """
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        return value
    if value == 0 or math.isinf(value) or struct.unpack("<f", packed)[0] != value:
        return value
    bits = int.from_bytes(packed, "little") & 0x7FFFFFFF
    size = abs(Fraction(value))
    below, above = ((size + _float_of(bits + step)) / 2 for step in (-1, 1))
    for digits in range(1, 9):
        short = _nearest(size, digits, below, above, both=not bits & 1)
        if short is not None:
            return math.copysign(float(short), value)
    return float(f"{value:.9g}")


def _float_of(bits: int) -> Fraction:
    """The float of these bits, and after the last finite one what would follow it."""
    exponent, fraction = bits >> 23, bits & 0x7FFFFF
    return Fraction(fraction if exponent == 0 else fraction | 1 << 23) * Fraction(2) ** (max(exponent, 1) - 150)


def _nearest(size: Fraction, digits: int, below: Fraction, above: Fraction, *, both: bool) -> Decimal | None:
    """The number with that many digits that is nearest to `size` and between the bounds, inclusive if `both`.

    The nearest of all may be beyond the closer bound, and the next one within the other.
    """
    middle = Decimal(f"{float(size):.{digits - 1}e}")
    step = Decimal(1).scaleb(middle.adjusted() - digits + 1)
    for candidate in sorted((middle, middle - step, middle + step), key=lambda one: abs(Fraction(one) - size)):
        found = Fraction(candidate)
        if below < found < above or (both and found in (below, above)):
            return candidate
    return None


def _boolean(value: Value) -> Cell:
    if isinstance(value, bool) or value in ("true", "false"):
        return natural(value)
    return misfit(value)


def _instant(value: Value, reading: Reading) -> Cell:
    found = moment(value, reading)
    if found is None:
        return misfit(value)
    text = instant_text(found.micros)
    return (text, found.oddity) if text is not None else (None, OUT_OF_RANGE)


def _date(value: Value, reading: Reading) -> Cell:
    found = day_number(value, reading)
    if found is None:
        return misfit(value)
    text = date_text(found.micros // DAY_MICROS)
    return (text, found.oddity) if text is not None else (None, OUT_OF_RANGE)


def _time(value: Value) -> Cell:
    return natural(value) if isinstance(value, TimeOfDay | str) else misfit(value)


def _decimal(value: Value) -> Cell:
    if isinstance(value, str):
        return value, None if PLAIN_DECIMAL.fullmatch(value) else MISFIT
    if isinstance(value, Numeral):
        plain = value.plain()
        return misfit(value) if plain is None else (plain, None)
    return natural(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else misfit(value)


def _json(value: Value) -> Cell:
    return (value.text, None) if isinstance(value, Numeral) else natural(value)


_WRITERS: Mapping[ColumnKind, Callable[[Value], Cell]] = {
    ColumnKind.TEXT: _text,
    ColumnKind.JSON: _json,
    ColumnKind.INTEGER: _integer,
    ColumnKind.REAL: _real,
    ColumnKind.REAL32: _real32,
    ColumnKind.BOOLEAN: _boolean,
    ColumnKind.TIME: _time,
    ColumnKind.DECIMAL: _decimal,
}


def time_of(column: Column, value: Value) -> Moment | None:
    """The instant that a value of this column means as the time of a row."""
    if column.kind is ColumnKind.DATE:
        return day_number(value, column.reading)
    return moment(value, column.reading)
