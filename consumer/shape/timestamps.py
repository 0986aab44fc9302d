"""Instants in all input forms: ISO text with any offset, epoch numbers, digits as text, dates. Exact.

An epoch number is in the unit of its column. Without one, its magnitude decides: below 1e11 seconds, below 1e14
milliseconds, below 1e17 microseconds, else nanoseconds. Fractions of a microsecond are cut off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from consumer.decode.values import DayNumber, Numeral, Stamp, Value
from consumer.domain.days import EPOCH
from consumer.streams.columns import Reading, Unit

DAY_MICROS = 86_400_000_000
FIRST_MICROS = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z"""
LAST_MICROS = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z"""
NO_OFFSET = "no_offset"
LEAP_SECOND = "leap_second"
MOST_EPOCH_DIGITS = 21
"""More digits than that are past the year 9999 in every unit."""
MOST_DAYS = 1_000_000
"""In a column of dates a smaller number counts days, a larger one is an instant."""
UNITS = ((10**11, 10**6), (10**14, 10**3), (10**17, 1))
"""Epoch numbers below the first value are multiplied by the second to get microseconds."""

FACTORS: Mapping[Unit, int | None] = {Unit.DAYS: DAY_MICROS, Unit.MILLIS: 1_000, Unit.MICROS: 1, Unit.NANOS: None}
"""What makes microseconds of a declared unit; None if they are a thousandth of it."""
BY_MAGNITUDE = Reading()

_FEW_DIGITS = re.compile(r"-?[0-9]{1,6}")
_EPOCH = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_COMPACT_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_ISO = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]+))?)?"
    r" ?(Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in epoch microseconds, perhaps outside the years 1 to 9999, and what was odd about its text."""

    micros: int
    oddity: str | None = None

    @property
    def has_year(self) -> bool:
        """Whether it can be written down."""
        return FIRST_MICROS <= self.micros <= LAST_MICROS


def micros_of(instant: datetime) -> int:
    """Epoch microseconds of an aware datetime."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def moment(value: Value, reading: Reading = BY_MAGNITUDE) -> Moment | None:
    """The instant that a value means, or None if it means none."""
    match value:
        case Stamp(micros):
            return Moment(micros)
        case DayNumber(days):
            return Moment(days * DAY_MICROS)
        case str():
            return _text_moment(value.replace("\0", "").strip(" \t\r\n"), reading)
        case int() | float() | Decimal() | Numeral() if not isinstance(value, bool):
            return _number_moment(value, reading.unit)
    return None


def _number_moment(value: float | Decimal | Numeral, unit: Unit | None) -> Moment | None:
    if isinstance(value, int):
        return Moment(epoch_micros(value, unit))
    if isinstance(value, Numeral):
        text = value.plain()
        return None if text is None else _number_text(text, unit)
    return _number_text(format(Decimal(repr(value)) if isinstance(value, float) else value, "f"), unit)


def day_number(value: Value, reading: Reading = BY_MAGNITUDE) -> Moment | None:
    """The instant at which the date that a value means begins, or an instant within it."""
    if reading.unit is None:
        if isinstance(value, str) and _FEW_DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_DAYS:
            return Moment(value * DAY_MICROS)
    return moment(value, reading)


def epoch_micros(number: int, unit: Unit | None = None) -> int:
    """Epoch microseconds of a number in this unit, or in the one given by its magnitude."""
    factor = _factor(abs(number), unit)
    return number // 1_000 if factor is None else number * factor


def _factor(size: int, unit: Unit | None) -> int | None:
    """What makes microseconds of a number of this size; None if they are a thousandth of it."""
    if unit is not None:
        return FACTORS[unit]
    return next((factor for below, factor in UNITS if size < below), None)


def _number_text(text: str, unit: Unit | None) -> Moment | None:
    """An epoch number, optionally with a fraction; the sign applies to all of it."""
    found = _EPOCH.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction = found.groups()
    whole = whole.lstrip("0") or "0"
    if len(whole) > MOST_EPOCH_DIGITS:
        return Moment(LAST_MICROS + 1)
    number = int(whole)
    factor = _factor(number, unit)
    if factor is None:
        return Moment(epoch_micros(-number if sign else number, unit))
    if unit is Unit.DAYS:
        micros = number * factor
        return None if (fraction or "").strip("0") else Moment(-micros if sign else micros)
    digits = len(str(factor)) - 1
    micros = number * factor + int((fraction or "")[:digits].ljust(digits, "0") or "0")
    return Moment(-micros if sign else micros)


def _text_moment(text: str, reading: Reading) -> Moment | None:
    """Digits before ISO: `fromisoformat` would read 1721051762123 as a year 1721."""
    unit = reading.unit
    if (compact := _COMPACT_DATE.fullmatch(text)) is None and (number := _number_text(text, unit)) is not None:
        return number
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        midnight = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return _number_text(text, unit) if compact else None
    base = micros_of(midnight)
    if hour is None:
        return Moment(base)
    clock = _clock(int(hour), int(minute), int(second or 0), (fraction or "")[:6].ljust(6, "0"))
    shift = _offset_micros(offset)
    if clock is None or shift is None:
        return None
    odd = LEAP_SECOND if second == "60" else NO_OFFSET if offset is None else None
    return Moment(base + clock - (0 if reading.as_written else shift), odd)


def _clock(hour: int, minute: int, second: int, fraction: str) -> int | None:
    """Microseconds since midnight. 24:00:00 is the next midnight, second 60 the last microsecond of its minute."""
    whole = (hour * 60 + minute) * 60
    if hour == 24 and minute == second == int(fraction) == 0:  # noqa: PLR2004 - the end of the day
        return whole * 1_000_000
    if hour > 23 or minute > 59 or second > 60:  # noqa: PLR2004 - what clocks show
        return None
    if second == 60:  # noqa: PLR2004 - a leap second
        return (whole + 60) * 1_000_000 - 1
    return (whole + second) * 1_000_000 + int(fraction)


def _offset_micros(text: str | None) -> int | None:
    """How far local time is ahead of UTC; None for no such offset."""
    if text is None or text in {"Z", "z", "UTC"}:
        return 0
    digits = text[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - what zones have
        return None
    micros = (hours * 60 + minutes) * 60_000_000
    return -micros if text[0] == "-" else micros
