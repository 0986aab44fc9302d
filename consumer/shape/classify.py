"""A table of rows is sorted: which go to quarantine, which are filtered, which day the others belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from consumer.shape.cast import DTYPES, TIMED, times
from consumer.shape.filters import Filters
from consumer.shape.row_day import NO_TIME, OUT_OF_RANGE, days_by_event, days_by_record, millis
from consumer.shape.table import AT, BOUNDS
from consumer.streams.columns import Column, ColumnKind
from consumer.streams.rules import DayBy, RowRules

DAY = "\0day"
"""The column of day numbers."""
_COMPARABLE = frozenset({ColumnKind.TEXT, ColumnKind.JSON, ColumnKind.INTEGER, ColumnKind.BOOLEAN})


@dataclass(slots=True)
class Sorted:
    """Rows that are kept, with their day; places in quarantine with the reason; how many each filter dropped."""

    kept: pl.DataFrame
    quarantined: dict[int, str]
    filtered: Counter[str]


class Sorter:
    """The vectorised half of the rules that decide about a row."""

    def __init__(self, rules: RowRules, columns: Sequence[Column], filters: Filters) -> None:
        self._by_record = rules.day_by is DayBy.RECORD
        self._filters = filters
        self._time = next(column for column in columns if column.name == rules.time_field)
        compared = [one for one in (filters.event_type, filters.profile, filters.environment) if one is not None]
        self._timed = [self._time, *([filters.install] if filters.install else [])]
        self.able = (
            all(column.kind in DTYPES for column in columns)
            and all(column.kind in _COMPARABLE for column in compared)
            and all(column.kind in TIMED for column in self._timed)
        )
        """Whether these rules have a vectorised form at all."""

    def odd_times(self, frame: pl.DataFrame) -> list[int]:
        """The places of rows whose time, or install date, is text or a number that only the exact path reads."""
        strange = None
        for column in self._timed:
            if column.kind is ColumnKind.TEXT:
                odd = times(column.kind, frame.get_column(column.name)).odd
                strange = odd if strange is None else strange if odd is None else strange | odd
        return [] if strange is None else frame.get_column(AT).filter(strange).to_list()

    def sort_out(self, frame: pl.DataFrame, timestamps: Sequence[int]) -> Sorted:
        """Sort the rows of a table without odd times. `timestamps` are those of the whole batch."""
        stamps = millis(timestamps)
        if len(stamps) > frame.height:
            stamps = stamps[frame.get_column(AT)]
        time = times_of(frame, self._time)
        days, missing, outside = days_by_record(stamps) if self._by_record else days_by_event(time, stamps)
        quarantined: dict[int, str] = {}
        gone = None
        for mask, reason in ((missing, NO_TIME), (outside, OUT_OF_RANGE)):
            if mask is not None:
                quarantined.update(dict.fromkeys(frame.get_column(AT).filter(mask).to_list(), reason))
                gone = mask if gone is None else gone | mask
        filtered: Counter[str] = Counter()
        install = self._filters.install
        drops = self._filters.drops(
            frame, lambda: with_year(time), lambda: with_year(times_of(frame, install)) if install else time
        )
        for reason, mask in drops:
            dropped = mask.fill_null(value=False) if mask.null_count() else mask
            if gone is not None:
                dropped = dropped & ~gone
            if number := dropped.sum():
                filtered[reason] = int(number)
                gone = dropped if gone is None else gone | dropped
        kept = frame.with_columns(days.alias(DAY))
        return Sorted(kept if gone is None else kept.filter(~gone), quarantined, filtered)


def times_of(frame: pl.DataFrame, column: Column) -> pl.Series:
    """A column of a table as instants in epoch microseconds. It is one that `times` reads."""
    return times(column.kind, frame.get_column(column.name)).values


def with_year(times: pl.Series) -> pl.Series:
    """Instants, null where they lie outside the years 1 to 9999."""
    first, last = BOUNDS[ColumnKind.INSTANT]
    return times.set((times < first) | (times > last), None)
