"""CSV by RFC 4180: comma, quote, rows end with a line feed, no header here. For one line, and for many at once.

Python's own csv module is no help: before 3.11.9 it leaves a bare carriage return unquoted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import polars as pl

from consumer.streams.columns import ColumnKind

_SPECIAL = re.compile('[",\r\n]')
INSTANT_FORMAT = "%Y-%m-%dT%H:%M:%S%.6f+00:00"
SMALLEST_PLAIN = 1e-5
LARGEST_PLAIN = 1e16
"""Doubles in [1e-5, 1e16) are those that polars writes shortest and without exponent of its own accord."""
REALS = frozenset({ColumnKind.REAL, ColumnKind.REAL32})


def line(cells: Sequence[str | None]) -> bytes:
    """One row. A row of one empty cell is written as `""`: a blank line would be no row to most readers."""
    if len(cells) == 1 and cells[0] is None:
        return b'""\n'
    return (",".join([_quoted(cell) for cell in cells]) + "\n").encode()


def _quoted(cell: str | None) -> str:
    if cell is None:
        return ""
    if not cell or _SPECIAL.search(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def lines(frame: pl.DataFrame) -> bytes:
    """All rows of a frame of two columns or more, whose cells `writable` has made ready."""
    out = io.BytesIO()
    frame.write_csv(out, include_header=False, datetime_format=INSTANT_FORMAT)
    return out.getvalue()


def writable(kind: ColumnKind, values: pl.Series) -> pl.Series:
    """A column of a table as something that polars writes like `line` does, doubles aside.

    Instants come as epoch microseconds, dates as days, both within the years 1 to 9999.
    """
    if kind is ColumnKind.INSTANT:
        return values.cast(pl.Datetime("us"))
    if kind is ColumnKind.DATE:
        return values.cast(pl.Int32).cast(pl.Date)
    return values


def writable_reals(reals: list[pl.Series]) -> list[pl.Series]:
    """Columns of finite doubles as something that polars writes like `line` does. Mostly they are that already."""
    values = pl.concat([series.alias("") for series in reals]) if reals else pl.Series(dtype=pl.Float64)
    low, high = values.min(), values.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return reals
    small = (values < SMALLEST_PLAIN) & (values > -SMALLEST_PLAIN)
    if max(-low, high) < LARGEST_PLAIN and not small.any():
        return reals
    return [_careful(series) for series in reals]


def _careful(values: pl.Series) -> pl.Series:
    """Zeros lose their sign; a column with very large or very small values becomes text."""
    value, size = pl.col(values.name), pl.col(values.name).abs()
    unsigned = pl.when(value == 0).then(pl.lit(0.0)).otherwise(value).alias(values.name)
    odd = (size >= LARGEST_PLAIN) | ((size < SMALLEST_PLAIN) & (size > 0))
    frame = values.to_frame().select(unsigned)
    return _as_text(frame) if frame.select(odd.any()).item() else frame.to_series()


def _as_text(frame: pl.DataFrame) -> pl.Series:
    """A column of doubles as text without exponents, through the CSV writer itself."""
    out = io.BytesIO()
    frame.write_csv(out, include_header=False, float_scientific=False)
    digits = out.getvalue().decode().split("\n")[:-1]
    texts = [text + ".0" if text and "." not in text else text or None for text in digits]
    return pl.Series(frame.columns[0], texts, dtype=pl.String)
