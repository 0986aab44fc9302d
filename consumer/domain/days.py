"""UTC days: when a day is due, and which day is the last one due."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

ONE_DAY = timedelta(days=1)
FIRST_DAY = date(2008, 7, 10)
"""The App Store's opening day: no event is older."""
ABSURD_DAYS = timedelta(days=2)
"""A row this far in the future at the time of a seal goes to its own day at once: a wrong clock must not hold the
resume offset."""
MOST_NAMED = 31
"""Days that a message names one by one."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def day_from(text: str) -> date:
    """The day written as `2026-11-21`, and in no other form of ISO 8601: `2026-W47` is a week. Raises ValueError."""
    if _DAY.fullmatch(text) is None:
        raise ValueError(f"{text!r:.40} is not a day like 2026-11-21")
    return date.fromisoformat(text)


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
        return (EPOCH + timedelta(milliseconds=millis)).date()
    except OverflowError:
        return FIRST_DAY


def days_text(days: Collection[date]) -> str:
    """Days for people, in order: each one, or of many the first, the last and how many there are."""
    if len(days) <= MOST_NAMED:
        return ", ".join(map(str, sorted(days)))
    return f"{min(days)} to {max(days)} ({len(days):,} days)"


@dataclass(frozen=True, slots=True)
class DayRange(Collection[date]):
    """Every day from `first` to `last`, both included; none of them is made before it is needed."""

    first: date
    last: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=number) for number in range(len(self)))

    def __len__(self) -> int:
        return max(0, (self.last - self.first).days + 1)
