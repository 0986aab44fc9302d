"""The CSV text of one day's rows: a table written at once, with exact lines put in where they belong.

Where an exact line belongs the table gets a row with nothing but a NUL in one text column; what that row becomes is
known to the byte, so the text is cut there. For that no other cell may hold a NUL: counting them finds the rows that do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import polars as pl

from consumer.shape.csv_text import lines, writable
from consumer.shape.filters import normal
from consumer.shape.table import AT
from consumer.streams.columns import Column

GAP = "\0"


def ready(table: pl.DataFrame, columns: Mapping[str, Column], names: Sequence[str], types: str | None) -> pl.DataFrame:
    """The places of a table and these columns of it, as the CSV writer takes them; one that is not ours is empty.

    `types` names the column of event types, which are written as they are compared; None leaves them as they came.
    """
    made = [table.get_column(AT)]
    for name in names:
        if name not in columns:
            made.append(pl.Series(name, [None], dtype=pl.String).new_from_index(0, table.height))
            continue
        values = writable(columns[name].kind, table.get_column(name))
        made.append((_normal(values) if name == types else values).alias(name))
    return pl.DataFrame(made)


def _normal(event_types: pl.Series) -> pl.Series:
    """Each different event type is looked at once. One with a NUL is left for the exact path to be seen."""
    found = [text for text in event_types.unique() if text is not None and GAP not in text]
    changed = {text: normal(text) for text in found if normal(text) != text}
    return event_types.replace(changed) if changed else event_types


def gap_column(frame: pl.DataFrame) -> str | None:
    """The first text column, which can mark a gap; None where there is none, or no other column beside it."""
    names = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return names[0] if names and frame.width > 2 else None  # noqa: PLR2004 - the places and two columns


def interleave(frame: pl.DataFrame, exact: Mapping[int, bytes], column: str) -> bytes | None:
    """The text of all rows in the order of their places; None where a cell of the frame holds a NUL."""
    if exact:
        gaps = pl.DataFrame({AT: pl.Series([*exact], dtype=pl.UInt32), column: [GAP] * len(exact)})
        frame = pl.concat([frame, gaps], how="diagonal").sort(AT)
    body = lines(frame.drop(AT))
    if body.count(0) != len(exact):
        return None
    if not exact:
        return body
    before = frame.columns.index(column) - 1
    mark = b"," * before + GAP.encode() + b"," * (frame.width - 2 - before) + b"\n"
    parts = body.split(mark)
    return b"".join(chain.from_iterable(zip(parts, [*(exact[place] for place in sorted(exact)), b""], strict=True)))


def with_nul(frame: pl.DataFrame) -> list[int]:
    """The places of rows with a NUL in some cell."""
    masks = [pl.col(name).str.contains(GAP, literal=True) for name, kind in frame.schema.items() if kind == pl.String]
    return frame.filter(pl.any_horizontal(masks)).get_column(AT).to_list()
