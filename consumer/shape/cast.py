"""Raw columns into columns of a stream, all rows at once, wherever that comes to what `cells` does row by row.

A column of a kind holds: text and JSON String, integers Int64, doubles Float64, booleans Boolean, instants Int64 epoch
microseconds, dates Int64 days. A row whose value takes more than that is odd: the exact path writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from consumer.decode.columns import Source
from consumer.shape.timestamps import DAY_MICROS, FIRST_MICROS, LAST_MICROS, UNITS
from consumer.streams.columns import ColumnKind

DTYPES: Mapping[ColumnKind, pl.DataType] = {
    ColumnKind.TEXT: pl.String(),
    ColumnKind.JSON: pl.String(),
    ColumnKind.INTEGER: pl.Int64(),
    ColumnKind.REAL: pl.Float64(),
    ColumnKind.REAL32: pl.Float64(),
    ColumnKind.BOOLEAN: pl.Boolean(),
    ColumnKind.INSTANT: pl.Int64(),
    ColumnKind.DATE: pl.Int64(),
}
"""What a column of a kind holds here. Kinds without an entry are the exact path's."""
TIMED = frozenset({ColumnKind.INSTANT, ColumnKind.DATE, ColumnKind.INTEGER, ColumnKind.TEXT})
"""The kinds whose columns `times` reads."""
_TO_THE_SECOND = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_UTC = r"(?:Z|\+00:?00)$"
USUAL = _TO_THE_SECOND + r"\.[0-9]{6}" + _UTC
ISO = _TO_THE_SECOND + r"(?:\.[0-9]{1,6})?" + _UTC
INTEGER = r"^-?[0-9]{1,18}$"
DECIMAL = r"^-?[0-9]{1,30}(?:\.[0-9]{1,30})?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_X = pl.col("x")


@dataclass(frozen=True, slots=True)
class Fit:
    """A column of the stream. `odd` is true where a value did not become one, None where all did."""

    values: pl.Series
    odd: pl.Series | None = None


Fitter = Callable[[pl.Series], Fit]


def fitter(kind: ColumnKind, source: Source) -> Fitter | None:
    """The way from what a raw column holds to a column of this kind; None where only the exact path knows one."""
    return _FITTERS.get((kind, source))


def times(kind: ColumnKind, column: pl.Series) -> Fit:
    """The instants of a stream's column, of one of the kinds in `TIMED`, in epoch microseconds."""
    if kind is ColumnKind.TEXT:
        return _iso(column)
    if kind is ColumnKind.INTEGER:
        return _epoch(column)
    return Fit(column * DAY_MICROS if kind is ColumnKind.DATE else column)


def _by(expression: pl.Expr) -> Fitter:
    """A way by an expression on the column `x` that fits every value."""
    return lambda column: Fit(_of(column, expression))


def _of(column: pl.Series, expression: pl.Expr) -> pl.Series:
    return column.alias("x").to_frame().select(expression).to_series()


def _lost(column: pl.Series, values: pl.Series) -> Fit:
    """Odd is what had a value before."""
    same = values.null_count() == column.null_count()
    return Fit(values, None if same else values.is_null() & column.is_not_null())


def _integer(column: pl.Series) -> Fit:
    return _lost(column, _of(column, pl.when(_X.str.contains(INTEGER)).then(_X).cast(pl.Int64, strict=False)))


def _decimal(column: pl.Series) -> Fit:
    return _lost(column, _of(column, pl.when(_X.str.contains(DECIMAL)).then(_X).cast(pl.Float64, strict=False)))


def _short(column: pl.Series) -> Fit:
    """A value that is a float by the fewest digits that say which."""
    single = column.cast(pl.Float32)
    frame = pl.DataFrame({"x": column, "single": single.cast(pl.Float64), "text": single.cast(pl.String)})
    short = pl.col("text").cast(pl.Float64, strict=False)
    return Fit(frame.select(pl.when(pl.col("single") == _X).then(short).otherwise(_X)).to_series())


def _short_decimal(column: pl.Series) -> Fit:
    wide = _decimal(column)
    return Fit(_short(wide.values).values, wide.odd)


def _scaled(factor: int) -> Fitter:
    """Numbers times a factor, where that gives an instant with a year."""
    fits = _X.is_between(FIRST_MICROS // factor, LAST_MICROS // factor)
    return lambda column: _lost(column, _of(column, pl.when(fits).then(_X * factor)))


def _epoch_expression() -> pl.Expr:
    """Numbers by their magnitude; conditions without `abs`, which the smallest Int64 does not survive."""
    value = _X // 1_000
    for below, factor in reversed(UNITS):
        value = pl.when(_X.is_between(-below, below, closed="none")).then(_X * factor).otherwise(value)
    return value


_epoch = _by(_epoch_expression())


def _iso(column: pl.Series) -> Fit:
    """Text as producers write it, in UTC. Any other goes to the exact path."""
    if column.str.contains(USUAL).all():
        return _lost(column, _clock(column.str.slice(0, 26), "%Y-%m-%dT%H:%M:%S.%6f"))
    plain = _of(column, pl.when(_X.str.contains(ISO)).then(_X))
    digits = plain.str.extract(r"\.([0-9]+)").fill_null("").str.pad_end(6, "0").cast(pl.Int64)
    return _lost(column, _clock(plain.str.slice(0, 19), "%Y-%m-%dT%H:%M:%S") + digits)


def _clock(text: pl.Series, form: str) -> pl.Series:
    return text.str.to_datetime(form, time_unit="us", strict=False).cast(pl.Int64)


def _iso_date(column: pl.Series) -> Fit:
    plain = _of(column, pl.when(_X.str.contains(DATE)).then(_X))
    return _lost(column, plain.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64))


_same: Fitter = Fit
_truth = _by(pl.when(_X).then(pl.lit("true")).when(~_X).then(pl.lit("false")))
_digits = _by(_X.cast(pl.String))
_FITTERS: Mapping[tuple[ColumnKind, Source], Fitter] = {
    (ColumnKind.TEXT, Source.TEXT): _same,
    (ColumnKind.TEXT, Source.LONG): _digits,
    (ColumnKind.TEXT, Source.BOOLEAN): _truth,
    (ColumnKind.JSON, Source.TEXT): _same,
    (ColumnKind.JSON, Source.LONG): _digits,
    (ColumnKind.JSON, Source.BOOLEAN): _truth,
    (ColumnKind.INTEGER, Source.LONG): _same,
    (ColumnKind.INTEGER, Source.TEXT): _integer,
    (ColumnKind.REAL, Source.REAL): _same,
    (ColumnKind.REAL, Source.LONG): _by(_X.cast(pl.Float64)),
    (ColumnKind.REAL, Source.TEXT): _decimal,
    (ColumnKind.REAL32, Source.REAL): _short,
    (ColumnKind.REAL32, Source.LONG): lambda column: _short(column.cast(pl.Float64)),
    (ColumnKind.REAL32, Source.TEXT): _short_decimal,
    (ColumnKind.BOOLEAN, Source.BOOLEAN): _same,
    (ColumnKind.INSTANT, Source.MICROS): _same,
    (ColumnKind.INSTANT, Source.MILLIS): _scaled(1_000),
    (ColumnKind.INSTANT, Source.NANOS): _by(_X // 1_000),
    (ColumnKind.INSTANT, Source.LONG): _epoch,
    (ColumnKind.INSTANT, Source.DAYS): _scaled(DAY_MICROS),
    (ColumnKind.INSTANT, Source.TEXT): _iso,
    (ColumnKind.DATE, Source.DAYS): _same,
    (ColumnKind.DATE, Source.TEXT): _iso_date,
}
