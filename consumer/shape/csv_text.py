"""CSV by RFC 4180: `,` and `"`, rows end with `\\n`, no header here. One writer for a line, one for many columns.

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
    """A column of a frame as something that polars writes like `line` does.

    Instants come as epoch microseconds, dates as days, both within the years 1 to 9999; doubles are finite.
    """
    if kind is ColumnKind.INSTANT:
        return values.cast(pl.Datetime("us"))
    if kind is ColumnKind.DATE:
        return values.cast(pl.Int32).cast(pl.Date)
    if kind in REALS and values.null_count() < len(values):
        return _real(values)
    return values


def _real(values: pl.Series) -> pl.Series:
    """Zeros lose their sign; columns with very large or very small values become text."""
    low, high = values.min(), values.max()
    wide = not isinstance(low, float) or not isinstance(high, float) or max(-low, high) >= LARGEST_PLAIN
    small = (values < SMALLEST_PLAIN) & (values > -SMALLEST_PLAIN)
    if not wide and not small.any():
        return values
    frame = values.alias("").to_frame()
    value = pl.when(pl.col("") == 0).then(pl.lit(0.0)).otherwise(pl.col(""))
    frame = frame.select(value)
    if not wide and not (small & (values != 0)).any():
        return frame.to_series()
    return _as_text(frame)


def _as_text(frame: pl.DataFrame) -> pl.Series:
    """A column of doubles as text without exponents, through the CSV writer itself."""
    out = io.BytesIO()
    frame.write_csv(out, include_header=False, float_scientific=False)
    digits = out.getvalue().decode().split("\n")[:-1]
    return pl.Series([text + ".0" if text and "." not in text else text or None for text in digits], dtype=pl.String)
