"""The day of a row: the UTC day of its time field, or of the record's timestamp.

A record's event day must be within [2008-07-10, record day + 1], and the rules may set a later first day, as a date or
as an age before the record's day. A record without a timestamp has no record day: then limits relative to it do not
apply. Days are numbers here: days since 1970-01-01.
"""

from __future__ import annotations

from datetime import date, timedelta

from consumer.domain.days import FIRST_DAY
from consumer.domain.errors import BadRecordError
from consumer.shape.timestamps import DAY_MICROS, LAST_MICROS, Moment

NO_TIME = "no_time"
OUT_OF_RANGE = "day_out_of_range"
DAY_MILLIS = 86_400_000
EPOCH_DAY = date(1970, 1, 1)
FIRST = (FIRST_DAY - EPOCH_DAY).days
LAST = LAST_MICROS // DAY_MICROS
"""9999-12-31"""


def to_date(day: int) -> date:
    """The calendar date of a day number."""
    return EPOCH_DAY + timedelta(days=day)


def record_day(timestamp: int) -> int | None:
    """The UTC day of a record timestamp (epoch ms); None if there is none, or none with a year."""
    day = timestamp // DAY_MILLIS
    return day if timestamp >= 0 and day <= LAST else None


def day_by_event(time: Moment | None, timestamp: int, oldest: int | date | None = None) -> int:
    """The day of a row by its time field; `oldest` as in `RowRules`.

    Raises BadRecordError (no_time, day_out_of_range).
    """
    if time is None:
        raise BadRecordError(NO_TIME, "the time field has no instant")
    day, recorded = time.micros // DAY_MICROS, record_day(timestamp)
    if not _first_day(oldest, recorded) <= day <= (LAST if recorded is None else recorded + 1):
        raise BadRecordError(OUT_OF_RANGE, "the time field is outside the range that the record's timestamp allows")
    return day


def _first_day(oldest: int | date | None, recorded: int | None) -> int:
    if isinstance(oldest, date):
        return max(FIRST, (oldest - EPOCH_DAY).days)
    return FIRST if oldest is None or recorded is None else max(FIRST, recorded - oldest)


def day_by_record(timestamp: int) -> int:
    """The day of a row by its record. Raises BadRecordError (no_time, day_out_of_range)."""
    if timestamp < 0:
        raise BadRecordError(NO_TIME, "the record has no timestamp")
    day = record_day(timestamp)
    if day is None:
        raise BadRecordError(OUT_OF_RANGE, "the record's timestamp is beyond the year 9999")
    return day
