"""Raw columns into columns of a stream, all rows at once, wherever that comes to what `cells` does row by row.

A column of a kind holds: text and JSON String, integers Int64, doubles Float64, booleans Boolean, instants Int64 epoch
microseconds, dates Int64 days. A row whose value takes more than that is odd: the exact path writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from consumer.decode.raw import Source
from consumer.shape.instants import DAY_MICROS, FIRST_MICROS, LAST_MICROS, UNITS
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
ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|\+00:?00)$"
INTEGER = r"^-?[0-9]{1,18}$"
DECIMAL = r"^-?[0-9]{1,30}(?:\.[0-9]{1,30})?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


@dataclass(frozen=True, slots=True)
class Fit:
    """How a raw column becomes one of the stream. `odd` is true where it does not, None where it always does."""

    value: pl.Expr
    odd: pl.Expr | None = None


Fitter = Callable[[pl.Expr], Fit]


def fitter(kind: ColumnKind, source: Source) -> Fitter | None:
    """The way from what a raw column holds to a column of this kind; None where only the exact path knows one."""
    return _FITTERS.get((kind, source))


def times(kind: ColumnKind, column: pl.Expr) -> Fit | None:
    """The way from a column of the stream to instants in epoch microseconds; None where there is none."""
    match kind:
        case ColumnKind.INSTANT:
            return Fit(column)
        case ColumnKind.DATE:
            return Fit(column * DAY_MICROS)
        case ColumnKind.INTEGER:
            return _epoch(column)
        case ColumnKind.TEXT:
            return _iso(column)
    return None


def _same(column: pl.Expr) -> Fit:
    return Fit(column)


def _integer(column: pl.Expr) -> Fit:
    return Fit(column.cast(pl.Int64, strict=False), ~column.str.contains(INTEGER))


def _decimal(column: pl.Expr) -> Fit:
    return Fit(column.cast(pl.Float64, strict=False), ~column.str.contains(DECIMAL))


def _short(column: pl.Expr) -> Fit:
    """A value that is a float by the fewest digits that say which."""
    single = column.cast(pl.Float32)
    short = single.cast(pl.String).cast(pl.Float64, strict=False)
    return Fit(pl.when(single.cast(pl.Float64) == column).then(short).otherwise(column))


def _short_decimal(column: pl.Expr) -> Fit:
    wide = _decimal(column)
    return Fit(_short(wide.value).value, wide.odd)


def _truth(column: pl.Expr) -> Fit:
    return Fit(pl.when(column).then(pl.lit("true")).when(~column).then(pl.lit("false")))


def _epoch(column: pl.Expr) -> Fit:
    """Numbers by their magnitude; conditions without `abs`, which the smallest Int64 does not survive."""
    value = column // 1_000
    for below, factor in reversed(UNITS):
        value = pl.when((column < below) & (column > -below)).then(column * factor).otherwise(value)
    return Fit(value)


def _from_millis(column: pl.Expr) -> Fit:
    fits = column.is_between(FIRST_MICROS // 1_000, LAST_MICROS // 1_000)
    return Fit(pl.when(fits).then(column * 1_000), ~fits)


def _from_days(column: pl.Expr) -> Fit:
    fits = column.is_between(FIRST_MICROS // DAY_MICROS, LAST_MICROS // DAY_MICROS)
    return Fit(pl.when(fits).then(column * DAY_MICROS), ~fits)


def _iso(column: pl.Expr) -> Fit:
    """Text as producers write it, in UTC: six digits of fraction, none, or some. Any other goes to the exact path."""
    usual = pl.when(column.str.contains(ISO)).then(column)
    six = usual.str.slice(26, 1).is_in(["Z", "+"])
    broken = usual.str.slice(19, 1) == "."
    some = pl.when(broken & ~six).then(usual)
    digits = some.str.extract(r"\.([0-9]+)").str.pad_end(6, "0").cast(pl.Int64, strict=False)
    value = pl.coalesce(
        _clock(pl.when(six).then(usual).str.slice(0, 26), "%Y-%m-%dT%H:%M:%S.%6f"),
        _clock(pl.when(~broken).then(usual).str.slice(0, 19), "%Y-%m-%dT%H:%M:%S"),
        _clock(some.str.slice(0, 19), "%Y-%m-%dT%H:%M:%S") + digits,
    )
    return Fit(value, column.is_not_null() & value.is_null())


def _clock(text: pl.Expr, form: str) -> pl.Expr:
    return text.str.to_datetime(form, time_unit="us", strict=False).cast(pl.Int64)


def _iso_date(column: pl.Expr) -> Fit:
    usual = pl.when(column.str.contains(DATE)).then(column)
    value = usual.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64)
    return Fit(value, column.is_not_null() & value.is_null())


_FITTERS: Mapping[tuple[ColumnKind, Source], Fitter] = {
    (ColumnKind.TEXT, Source.TEXT): _same,
    (ColumnKind.TEXT, Source.LONG): lambda column: Fit(column.cast(pl.String)),
    (ColumnKind.TEXT, Source.BOOLEAN): _truth,
    (ColumnKind.JSON, Source.TEXT): _same,
    (ColumnKind.JSON, Source.LONG): lambda column: Fit(column.cast(pl.String)),
    (ColumnKind.JSON, Source.BOOLEAN): _truth,
    (ColumnKind.INTEGER, Source.LONG): _same,
    (ColumnKind.INTEGER, Source.TEXT): _integer,
    (ColumnKind.REAL, Source.REAL): _same,
    (ColumnKind.REAL, Source.LONG): lambda column: Fit(column.cast(pl.Float64)),
    (ColumnKind.REAL, Source.TEXT): _decimal,
    (ColumnKind.REAL32, Source.REAL): _short,
    (ColumnKind.REAL32, Source.LONG): lambda column: _short(column.cast(pl.Float64)),
    (ColumnKind.REAL32, Source.TEXT): _short_decimal,
    (ColumnKind.BOOLEAN, Source.BOOLEAN): _same,
    (ColumnKind.INSTANT, Source.MICROS): _same,
    (ColumnKind.INSTANT, Source.MILLIS): _from_millis,
    (ColumnKind.INSTANT, Source.NANOS): lambda column: Fit(column // 1_000),
    (ColumnKind.INSTANT, Source.LONG): _epoch,
    (ColumnKind.INSTANT, Source.DAYS): _from_days,
    (ColumnKind.INSTANT, Source.TEXT): _iso,
    (ColumnKind.DATE, Source.DAYS): _same,
    (ColumnKind.DATE, Source.TEXT): _iso_date,
}
