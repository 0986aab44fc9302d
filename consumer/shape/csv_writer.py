"""The CSV text of one day's rows: a table written at once, with exact lines put in where they belong.

Where an exact line belongs the table gets a row with nothing but a NUL in one text column; what that row becomes is
known to the byte, so the text is cut there. For that no other cell may hold a NUL; counting them shows if one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import polars as pl

from consumer.shape.csv_text import REALS, lines, writable, writable_reals
from consumer.shape.filters import normal
from consumer.shape.table import AT
from consumer.streams.columns import Column

GAP = "\0"


def ready(table: pl.DataFrame, columns: Mapping[str, Column], names: Sequence[str], types: str | None) -> pl.DataFrame:
    """These columns of a table as the CSV writer takes them; one that is not ours is empty.

    `types` names the column of event types, which are written as they are compared; None leaves them as they came.
    """
    reals = [table.get_column(name) for name in names if name in columns and columns[name].kind in REALS]
    made = {series.name: series for series in writable_reals(reals)}
    for name in names:
        if name not in columns:
            made[name] = pl.Series(name, [None], dtype=pl.String).new_from_index(0, table.height)
        elif name not in made:
            made[name] = writable(columns[name].kind, table.get_column(name))
    if types in made:
        made[types] = _normal(made[types])
    return pl.DataFrame([made[name] for name in names])


def _normal(event_types: pl.Series) -> pl.Series:
    """Each different event type is looked at once. One with a NUL is left for the exact path to be seen."""
    found = [text for text in event_types.unique() if text is not None and GAP not in text]
    changed = {text: normal(text) for text in found if normal(text) != text}
    return event_types.replace(changed) if changed else event_types


def gap_column(frame: pl.DataFrame) -> str | None:
    """The first text column, which can mark a gap; None where there is none, or no other column beside it."""
    found = next((name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if dtype == pl.String), None)
    return found if frame.width > 1 else None


def interleave(frame: pl.DataFrame, places: pl.Series, exact: Mapping[int, bytes], column: str) -> bytes | None:
    """The text of all rows in the order of their places; None where a cell of the frame holds a NUL."""
    if not exact:
        body = lines(frame)
        return None if GAP.encode() in body else body
    gaps = pl.DataFrame({AT: pl.Series([*exact], dtype=pl.UInt32), column: [GAP] * len(exact)})
    body = lines(pl.concat([frame.with_columns(places.alias(AT)), gaps], how="diagonal").sort(AT).drop(AT))
    if body.count(GAP.encode()) != len(exact):
        return None
    before = frame.columns.index(column)
    mark = b"," * before + GAP.encode() + b"," * (frame.width - 1 - before) + b"\n"
    parts = body.split(mark)
    return b"".join(chain.from_iterable(zip(parts, [*(exact[place] for place in sorted(exact)), b""], strict=True)))


def with_nul(frame: pl.DataFrame) -> pl.Series:
    """A mask of the rows with a NUL in some cell."""
    texts = [pl.col(name) for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if dtype == pl.String]
    found = pl.any_horizontal([text.str.contains(GAP, literal=True) for text in texts])
    return frame.select(found.fill_null(value=False)).to_series()
