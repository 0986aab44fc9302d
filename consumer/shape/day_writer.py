"""Rows of a batch by day: vectorised rows and exact lines of one day become one text, in offset order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from consumer.domain.batches import DayRows, RawBatch, TransformOptions
from consumer.domain.days import day_of_millis
from consumer.shape.cast import times
from consumer.shape.classify import DAY, with_year
from consumer.shape.csv_writer import gap_column, interleave, ready, with_nul
from consumer.shape.exact.row import NO_INSTALL, UNLISTED, ExactRules, Row
from consumer.shape.filters import Filters, normal
from consumer.shape.quarantine import quarantine_line
from consumer.shape.row_day import to_date
from consumer.shape.table import AT
from consumer.streams.columns import Column

NUL_VALUE = "nul"
"""Why rows take the exact path: a cell holds a NUL."""
ODD_COLUMNS = "columns"
"""Why rows take the exact path: their columns have no text among them, or there is only one."""


@dataclass(slots=True)
class Kept:
    """What is left of a batch: vectorised rows (with places and days), exact rows by place.

    `again` gives the exact row of a place that the table has. What the writing finds odd is counted here.
    """

    table: pl.DataFrame | None
    rows: Mapping[int, Row]
    again: Callable[[int], Row]
    oddities: Counter[str] = field(default_factory=Counter)
    exact_path: Counter[str] = field(default_factory=Counter)


class DayWriter:
    """Writes the rows of a batch, day by day."""

    def __init__(self, columns: Sequence[Column], filters: Filters, exact: ExactRules) -> None:
        self._columns = {column.name: column for column in columns}
        self._exact, self._install = exact, filters.install
        self._types = filters.event_type.name if filters.event_type and exact.normal_types else None

    def write(self, batch: RawBatch, how: TransformOptions, kept: Kept) -> list[DayRows]:
        """Every day that has rows, in order; with text where it is wanted."""
        exact: dict[int, dict[int, Row]] = {}
        for place in sorted(kept.rows):
            exact.setdefault(kept.rows[place].day, {})[place] = kept.rows[place]
        tables = Tables(kept.table, lambda table: ready(table, self._columns, how.columns, self._types))
        found = []
        for day in sorted(exact.keys() | tables.days):
            rows, at, date = exact.get(day, {}), tables.column(AT, day), to_date(day)
            wanted = how.wanted(date, False)  # noqa: FBT003 - the shape of `Wanted`
            body = self._text(how.columns, kept, tables, day, rows) if wanted else b""
            places = [*rows, *([at[0], at[-1]] if len(at) else [])]
            first, last = batch.offsets[min(places)], batch.offsets[max(places)]
            found.append(DayRows(date, False, len(rows) + len(at), first, last, body))  # noqa: FBT003 - not quarantine
        return found

    def _text(self, names: Sequence[str], kept: Kept, tables: Tables, day: int, rows: Mapping[int, Row]) -> bytes:
        written = {place: self._line(row, names, kept) for place, row in rows.items()}
        if day not in tables.days:
            return b"".join(written.values())
        frame, at = tables.ready(day), tables.column(AT, day)
        column = gap_column(frame)
        if column is None:
            self._rewrite(at, ODD_COLUMNS, names, kept, written)
            return b"".join(text for _, text in sorted(written.items()))
        body = interleave(frame, at, written, column)
        gone = None
        if body is None:
            gone = with_nul(frame)
            self._rewrite(at.filter(gone), NUL_VALUE, names, kept, written)
            body = interleave(frame.filter(~gone), at.filter(~gone), written, column)
        if body is None:
            raise RuntimeError("a NUL in rows that have none")
        self._count_oddities(tables, day, gone, kept)
        return body

    def _rewrite(
        self, places: Iterable[int], why: str, names: Sequence[str], kept: Kept, written: dict[int, bytes]
    ) -> None:
        """Write these rows of the table exactly."""
        for place in places:
            kept.exact_path[why] += 1
            written[place] = self._line(kept.again(place), names, kept)

    def _line(self, row: Row, names: Sequence[str], kept: Kept) -> bytes:
        text, oddities = self._exact.line(row, names)
        kept.oddities += oddities
        return text

    def _count_oddities(self, tables: Tables, day: int, gone: pl.Series | None, kept: Kept) -> None:
        """What is odd about vouched rows and no reason to doubt them. `gone` is a mask of rows written exactly."""
        if self._install is not None:
            column = tables.column(self._install.name, day)
            column = column if gone is None else column.filter(~gone)
            missing = with_year(times(self._install.kind, column).values).null_count()
            kept.oddities.update({NO_INSTALL: missing} if missing else {})
        if self._exact.listed and self._types is not None and (unlisted := tables.unlisted(self._types, self._exact)):
            column = tables.column(self._types, day).cast(pl.String)
            column = column if gone is None else column.filter(~gone)
            number = int(column.is_in(unlisted).sum())
            kept.oddities.update({UNLISTED: number} if number else {})


class Tables:
    """A table by day. What concerns all days is made once, when it is first asked for."""

    def __init__(self, table: pl.DataFrame | None, make: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """`make` makes a table ready to be written."""
        self._whole = pl.DataFrame({AT: [], DAY: []}, schema={AT: pl.UInt32, DAY: pl.Int64}) if table is None else table
        self._make = make
        self._ready: pl.DataFrame | None = None
        self._unlisted: list[str] | None = None
        self._numbers = self._whole.get_column(DAY)
        low, high = self._numbers.min(), self._numbers.max()
        self.days: set[int] = set(self._numbers[:1]) if low == high else set(self._numbers.unique())
        self._masks = {day: self._numbers == day for day in self.days} if len(self.days) > 1 else {}

    def column(self, name: str, day: int) -> pl.Series:
        """A column of the day's rows."""
        if day not in self.days:
            return self._whole.get_column(name).clear()
        column = self._whole.get_column(name)
        return column.filter(self._masks[day]) if self._masks else column

    def ready(self, day: int) -> pl.DataFrame:
        """The day's rows as the CSV writer takes them."""
        if self._ready is None:
            self._ready = self._make(self._whole)
        return self._ready.filter(self._masks[day]) if self._masks else self._ready

    def unlisted(self, types: str, exact: ExactRules) -> list[str]:
        """The event types, as they came, that are not published ones."""
        if self._unlisted is None:
            found = self._whole.get_column(types).cast(pl.String).unique()
            self._unlisted = [text for text in found if text is not None and normal(text) not in exact.listed]
        return self._unlisted


def quarantine_days(batch: RawBatch, how: TransformOptions, reasons: Mapping[int, str]) -> list[DayRows]:
    """The quarantined records, by the UTC day of their timestamps."""
    by_day: dict[int, list[int]] = {}
    days = {place: day_of_millis(batch.timestamps[place]) for place in reasons}
    for place in sorted(reasons):
        by_day.setdefault(days[place].toordinal(), []).append(place)
    found = []
    for places in by_day.values():
        day = days[places[0]]
        wanted = how.wanted(day, True)  # noqa: FBT003 - the shape of `Wanted`
        body = b"".join(quarantine_line(batch, place, reasons[place]) for place in places) if wanted else b""
        first, last = batch.offsets[places[0]], batch.offsets[places[-1]]
        found.append(DayRows(day, True, len(places), first, last, body))  # noqa: FBT003 - quarantine
    return found
