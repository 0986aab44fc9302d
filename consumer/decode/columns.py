"""Records decoded together: columns as they came, before it is known what fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl


class Source(StrEnum):
    """What a raw column holds: text, numbers (Int64, Float64), booleans, or Int64 with a meaning."""

    TEXT = "text"
    LONG = "long"
    REAL = "real"
    BOOLEAN = "boolean"
    MICROS = "micros"
    MILLIS = "millis"
    NANOS = "nanos"
    DAYS = "days"


@dataclass(frozen=True, slots=True)
class Held:
    """A column of a raw frame."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class Raw:
    """Records at `places` of a batch, in order.

    `columns` tells which column of `frame` holds a column of the stream, and what; others are missing in all records.
    `unknown` maps the name of an input that belongs to no column to the places that have it.
    """

    places: Sequence[int]
    frame: pl.DataFrame
    columns: Mapping[str, Held]
    unknown: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Fast:
    """What the fast path made of some values, and the places it leaves to the exact path, with the reason."""

    raws: list[Raw] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
