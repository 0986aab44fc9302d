"""Records decoded together become a table of the stream's columns, in which every value is vouched for.

The table has the places of its rows in the batch (`AT`) beside the stream's columns. Rows with a value that columns do
not vouch for are taken out and left to the exact path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from consumer.decode.avro_decoder import ODD_SCHEMA
from consumer.decode.columns import Fast, Raw
from consumer.decode.json_columnar import ODD_VALUE
from consumer.shape.cast import DTYPES, fitter
from consumer.shape.csv_text import REALS
from consumer.shape.timestamps import DAY_MICROS, FIRST_MICROS, LAST_MICROS
from consumer.streams.columns import Column, ColumnKind

AT = "\0at"
"""The column of places. No field has such a name: `check_rules` sees to that."""
BOUNDS = {
    ColumnKind.INSTANT: (FIRST_MICROS, LAST_MICROS),
    ColumnKind.DATE: (FIRST_MICROS // DAY_MICROS, LAST_MICROS // DAY_MICROS),
}
"""What has a year."""


def table_of(fast: Fast, columns: Sequence[Column]) -> pl.DataFrame | None:
    """The table of all records that the fast path decoded, in their order; None where there are none.

    What does not come into the table is added to `fast.left`.
    """
    groups: dict[tuple[object, ...], list[Raw]] = {}
    for raw in fast.raws:
        groups.setdefault((*raw.columns.items(), *raw.frame.columns), []).append(raw)
    frames = [frame for raws in groups.values() if (frame := _fitted(raws, columns, fast)) is not None]
    if not frames:
        return None
    frame = frames[0] if len(frames) == 1 else pl.concat(frames)
    if not frame.get_column(AT).is_sorted():
        frame = frame.sort(AT)
    frame = without(frame, fast.left)
    odd = _out_of_bounds(frame, columns)
    fast.left.update(dict.fromkeys(odd, ODD_VALUE))
    return without(frame, odd)


def without(frame: pl.DataFrame, places: Iterable[int]) -> pl.DataFrame:
    """The table without the rows at these places."""
    gone = pl.Series([*places], dtype=pl.UInt32)
    return frame.filter(~frame.get_column(AT).is_in(gone.implode())) if len(gone) else frame


def _fitted(raws: Sequence[Raw], columns: Sequence[Column], fast: Fast) -> pl.DataFrame | None:
    """Raw columns that hold the same as columns of the stream."""
    held = raws[0].columns
    places = [place for raw in raws for place in raw.places]
    frame = pl.concat([raw.frame for raw in raws]) if len(raws) > 1 else raws[0].frame
    made = [pl.Series(AT, places, dtype=pl.UInt32)]
    for column in columns:
        given = held.get(column.name)
        if given is None:
            empty = pl.Series(column.name, [None], dtype=DTYPES[column.kind])
            made.append(empty.new_from_index(0, frame.height))
            continue
        way = fitter(column.kind, given.source)
        if way is None:
            fast.left.update(dict.fromkeys(places, ODD_SCHEMA))
            return None
        fit = way(frame.get_column(given.name))
        made.append(fit.values.alias(column.name))
        if fit.odd is not None:
            fast.left.update((places[row], ODD_VALUE) for row in fit.odd.arg_true())
    return pl.DataFrame(made)


def _out_of_bounds(frame: pl.DataFrame, columns: Sequence[Column]) -> list[int]:
    """The places of rows with a double that is not finite, or an instant or a date outside the years 1 to 9999."""
    strange = None
    for kinds in (REALS, {ColumnKind.INSTANT}, {ColumnKind.DATE}):
        names = [column.name for column in columns if column.kind in kinds]
        if not names or frame.is_empty():
            continue
        values = pl.concat([frame.get_column(name).alias("") for name in names])
        wrong = _wrong(values, BOUNDS.get(next(iter(kinds))))
        if wrong is not None:
            for turn in range(len(names)):
                part = wrong.slice(turn * frame.height, frame.height)
                strange = part if strange is None else strange | part
    return [] if strange is None else frame.get_column(AT).filter(strange).to_list()


def _wrong(values: pl.Series, bounds: tuple[int, int] | None) -> pl.Series | None:
    """A mask of the values that cannot be written as they are, or None where all can."""
    low, high = values.min(), values.max()
    if low is None or high is None:
        return None
    if bounds is None:
        fine = values.is_finite()
        return None if fine.all() else (~fine).fill_null(value=False)
    first, last = bounds
    if first <= low and high <= last:  # type: ignore[operator] # integers, since the column is
        return None
    return ((values < first) | (values > last)).fill_null(value=False)
