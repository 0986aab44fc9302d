"""Rows of a batch by day: vectorised rows and exact lines of one day become one text, in offset order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from consumer.domain.batches import DayRows, Judgement, RawBatch
from consumer.domain.days import day_of_millis
from consumer.shape.day import to_date
from consumer.shape.exact import NO_INSTALL, UNLISTED, ExactRules, Row
from consumer.shape.filters import Filters, normal
from consumer.shape.quarantine import quarantine_line
from consumer.shape.sorting import DAY, times_of, with_year
from consumer.shape.table import AT, without
from consumer.shape.text import gap_column, interleave, ready, with_nul
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
        self._filters, self._exact = filters, exact
        self._types = filters.event_type.name if filters.event_type and exact.normal_types else None

    def write(self, batch: RawBatch, how: Judgement, kept: Kept) -> list[DayRows]:
        """Every day that has rows, in order; with text where it is wanted."""
        exact: dict[int, dict[int, Row]] = {}
        for place in sorted(kept.rows):
            exact.setdefault(kept.rows[place].day, {})[place] = kept.rows[place]
        tables = _by_day(kept.table)
        found = []
        for day in sorted(tables.keys() | exact.keys()):
            table, rows, date = tables.get(day), exact.get(day, {}), to_date(day)
            wanted = how.wanted(date, False)  # noqa: FBT003 - the shape of `Wanted`
            body = self._text(how.columns, kept, table, rows) if wanted else b""
            places = [*rows, *_ends(table)]
            first, last = batch.offsets[min(places)], batch.offsets[max(places)]
            found.append(DayRows(date, False, len(rows) + (0 if table is None else table.height), first, last, body))  # noqa: FBT003 - not quarantine
        return found

    def _text(self, names: Sequence[str], kept: Kept, table: pl.DataFrame | None, rows: Mapping[int, Row]) -> bytes:
        written = {place: self._line(row, names, kept) for place, row in rows.items()}
        if table is None:
            return b"".join(written.values())
        frame = ready(table, self._columns, names, self._types)
        column = gap_column(frame)
        if column is None:
            self._rewrite(table.get_column(AT), ODD_COLUMNS, names, kept, written)
            return b"".join(text for _, text in sorted(written.items()))
        body = interleave(frame, written, column)
        if body is None:
            nul = with_nul(frame)
            self._rewrite(nul, NUL_VALUE, names, kept, written)
            table = without(table, nul)
            body = interleave(without(frame, nul), written, column)
        self._count_oddities(table, kept)
        if body is None:
            raise RuntimeError("a NUL in rows that have none")
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

    def _count_oddities(self, table: pl.DataFrame, kept: Kept) -> None:
        """What is odd about vouched rows and no reason to doubt them."""
        if self._filters.install is not None:
            missing = with_year(times_of(table, self._filters.install)).null_count()
            kept.oddities.update({NO_INSTALL: missing} if missing else {})
        if self._exact.listed and self._filters.event_type is not None:
            types = table.get_column(self._filters.event_type.name).cast(pl.String)
            unlisted = [text for text in types.unique() if text is not None and normal(text) not in self._exact.listed]
            if unlisted:
                kept.oddities[UNLISTED] += int(types.is_in(unlisted).sum())


def _ends(table: pl.DataFrame | None) -> tuple[int, ...]:
    """The first and the last place of a table."""
    return () if table is None else (table.get_column(AT)[0], table.get_column(AT)[-1])


def _by_day(table: pl.DataFrame | None) -> dict[int, pl.DataFrame]:
    """The rows of each day, in their order."""
    if table is None or table.is_empty():
        return {}
    days = table.get_column(DAY)
    if days.min() == days.max():
        return {days[0]: table}
    return {day: table.filter(days == day) for day in days.unique().to_list()}


def quarantine_days(batch: RawBatch, how: Judgement, reasons: Mapping[int, str]) -> list[DayRows]:
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
