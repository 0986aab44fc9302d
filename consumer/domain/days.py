"""UTC days: when a day is due, and which day is the last one due."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

ONE_DAY = timedelta(days=1)
FIRST_DAY = date(2008, 7, 10)
"""The App Store's opening day: no event is older."""
ABSURD_DAYS = timedelta(days=2)
"""A row this far in the future at the time of a seal goes to its own day at once: a wrong clock must not hold the
resume offset."""


def midnight(day: date) -> datetime:
    """The instant at which `day` begins."""
    return datetime.combine(day, time(), UTC)


def due_at(day: date, seal_at: timedelta) -> datetime:
    """The instant at which `day` is due: its end plus `seal_at`."""
    return midnight(day) + ONE_DAY + seal_at


def last_due(now: datetime, seal_at: timedelta) -> date:
    """The newest day that is due at `now`."""
    return (now - seal_at).astimezone(UTC).date() - ONE_DAY


def day_of_millis(millis: int) -> date:
    """The UTC day of a record timestamp in epoch ms; `FIRST_DAY` where there is none (negative) or it has no year."""
    if millis < 0:
        return FIRST_DAY
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)).date()
    except OverflowError:
        return FIRST_DAY


def days_between(first: date, last: date) -> Iterator[date]:
    """Every day from `first` to `last`, both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)
