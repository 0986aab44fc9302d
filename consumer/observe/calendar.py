"""The calendar of the status page: the state of each of a stream's last days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

DAYS_SHOWN = 60


class DayState(StrEnum):
    """What is known of a day."""

    COMPLETE = "complete"
    REVISED = "revised"
    INCOMPLETE = "incomplete"
    PENDING = "pending"
    HALTED = "halted"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """One entry of `_days.json`. A `revision` above 1: late rows or a replay changed it after it was published."""

    revision: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class DayCell:
    """One day as the calendar shows it; `published` is None if it is not."""

    day: date
    state: DayState
    published: PublishedDay | None = None


def calendar(published: Mapping[date, PublishedDay], today: date, *, halted: bool) -> tuple[DayCell, ...]:
    """The last `DAYS_SHOWN` days up to today, oldest first.

    A day that is not published is pending, or `halted` if the stream is halted; nothing is expected before the first
    published day.
    """
    first = min(published, default=today)
    waiting = DayState.HALTED if halted else DayState.PENDING
    days = [today - timedelta(days=back) for back in reversed(range(DAYS_SHOWN))]
    return tuple(_cell(day, published.get(day), waiting if day >= first else DayState.NONE) for day in days)


def _cell(day: date, found: PublishedDay | None, otherwise: DayState) -> DayCell:
    if found is None:
        return DayCell(day, otherwise)
    if not found.complete:
        return DayCell(day, DayState.INCOMPLETE, found)
    return DayCell(day, DayState.REVISED if found.revision > 1 else DayState.COMPLETE, found)


def last_complete(published: Mapping[date, PublishedDay]) -> date | None:
    """The newest day of which nothing is known to be missing."""
    return max((day for day, found in published.items() if found.complete), default=None)
