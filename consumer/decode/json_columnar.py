"""JSON objects into raw columns. A value of another type than its column has in this batch goes to the exact path.

The type of a column of numbers or instants (numbers, or text) is that of the first value met. That decides how quickly
a row is judged, never how.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from consumer.decode.columns import Fast, Held, Raw, Source
from consumer.decode.json_text import EXPONENT, compact
from consumer.decode.values import MOST_NAMES, label, labels
from consumer.streams.columns import Column, ColumnKind

ODD_VALUE = "odd_value"
"""Why records take the exact path: a value that columns do not vouch for."""
_DTYPES: Mapping[Source, type[pl.DataType]] = {
    Source.TEXT: pl.String,
    Source.LONG: pl.Int64,
    Source.REAL: pl.Float64,
    Source.BOOLEAN: pl.Boolean,
}
_NUMBERS = {
    ColumnKind.INTEGER: Source.LONG,
    ColumnKind.INSTANT: Source.LONG,
    ColumnKind.REAL: Source.REAL,
    ColumnKind.REAL32: Source.REAL,
}
_LARGEST = 1 << 63


class Pack:
    """Columns that grow by some rows at a time. `places` are those of the rows so far."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.places: list[int] = []
        self._columns = columns
        self._parts: dict[str, list[pl.Series]] = {column.name: [] for column in columns}
        self._sources: dict[str, Source] = {}
        self._unknown: dict[str, list[int]] = {}

    def add(self, rows: Sequence[Mapping[str, Any]], places: Sequence[int], known: Collection[str], into: Fast) -> None:
        """Take in rows that stand at `places`; those with a value of the wrong type are left to the exact path too."""
        shapes = set(map(tuple, rows))
        names = set().union(*shapes)
        if len(shapes) == 1:
            table: dict[str, Sequence[Any]] = dict(
                zip(shapes.pop(), zip(*[row.values() for row in rows], strict=True), strict=True)
            )
        else:
            table = {name: [row.get(name) for row in rows] for name in names.intersection(known)}
        for column in self._columns:
            present = [table[name] for name in column.inputs if name in table]
            values = present[0] if len(present) == 1 else _first(present) if present else [None] * len(rows)
            series, odd = self._series(column, values)
            self._parts[column.name].append(series)
            into.left.update((places[row], ODD_VALUE) for row in odd)
        self._count_unknown(rows, places, names.difference(known))
        self.places.extend(places)

    def _count_unknown(self, rows: Sequence[Mapping[str, Any]], places: Sequence[int], names: set[str]) -> None:
        """Note where fields stand that belong to no column: by name while there are few names, else row by row."""
        if len(names) <= MOST_NAMES:
            for name in names:
                having = {place for place, row in zip(places, rows, strict=True) if name in row}
                self._unknown[label(name)] = sorted(having.union(self._unknown.get(label(name), ())))
            return
        for place, row in zip(places, rows, strict=True):
            for name in labels(name for name in row if name in names):
                self._unknown.setdefault(name, []).append(place)

    def raw(self) -> Raw:
        """All rows taken in."""
        sources = {column.name: self._sources.get(column.name, Source.TEXT) for column in self._columns}
        frame = pl.DataFrame([_joined(name, parts, _DTYPES[sources[name]]) for name, parts in self._parts.items()])
        held = {name: Held(name, source) for name, source in sources.items()}
        return Raw(self.places, frame, held, self._unknown)

    def _series(self, column: Column, values: Sequence[Any]) -> tuple[pl.Series, list[int]]:
        """The values as a series, and the rows among them that it does not hold."""
        source = self._sources.get(column.name)
        if source is None:
            first = next((value for value in values if value is not None), None)
            if first is None:
                return pl.Series([None] * len(values), dtype=pl.String), []
            source = self._sources[column.name] = _source(column.kind, first)
        if source is Source.TEXT:
            try:
                return pl.Series(values, dtype=pl.String), []
            except TypeError:
                return _sifted(values, _TEXTS.get(column.kind, _text), pl.String)
        types = set(map(type, values)) - {type(None)}
        if types <= _PURE[source]:
            try:
                return pl.Series(values, dtype=_DTYPES[source]), []
            except (TypeError, OverflowError):
                pass
        return _sifted(values, _SIEVES[source], _DTYPES[source])


def _joined(name: str, parts: Sequence[pl.Series], dtype: type[pl.DataType]) -> pl.Series:
    """The parts as one column; what has nothing but nulls takes any type."""
    return pl.concat([part if part.dtype == dtype else part.cast(dtype) for part in parts]).alias(name)


def _first(inputs: Sequence[Sequence[Any]]) -> list[Any]:
    """Row by row the first value that is not null."""
    return [next((value for value in row if value is not None), None) for row in zip(*inputs, strict=True)]


def _source(kind: ColumnKind, first: object) -> Source:
    if kind is ColumnKind.BOOLEAN:
        return Source.BOOLEAN
    return Source.TEXT if isinstance(first, str) else _NUMBERS.get(kind, Source.TEXT)


def _sifted(
    values: Sequence[Any], sieve: Callable[[Any], Any], dtype: type[pl.DataType]
) -> tuple[pl.Series, list[int]]:
    """What passes the sieve, and the rows of what does not (the sieve gives None for a value)."""
    passed = [None if value is None else sieve(value) for value in values]
    odd = [row for row, value in enumerate(values) if value is not None and passed[row] is None]
    return pl.Series(passed, dtype=dtype), odd


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _text_or_number(value: object) -> str | None:
    """An integer is written with its digits; what orjson reads as a double is not looked at here."""
    return str(value) if type(value) is int else _text(value)


def _text_or_object(value: object) -> str | None:
    if not isinstance(value, dict | list):
        return _text(value)
    try:
        text = compact(value)
    except orjson.JSONEncodeError:
        return None
    return None if EXPONENT.search(text) else text


def _long(value: object) -> int | None:
    return value if type(value) is int and -_LARGEST <= value < _LARGEST else None


def _real(value: object) -> float | None:
    return float(value) if type(value) is int or type(value) is float else None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_TEXTS: Mapping[ColumnKind, Callable[[Any], Any]] = {
    ColumnKind.TEXT: _text_or_number,
    ColumnKind.JSON: _text_or_object,
}
_PURE: Mapping[Source, set[type]] = {Source.LONG: {int}, Source.REAL: {int, float}, Source.BOOLEAN: {bool}}
_SIEVES: Mapping[Source, Callable[[Any], Any]] = {
    Source.LONG: _long,
    Source.REAL: _real,
    Source.BOOLEAN: _boolean,
}
