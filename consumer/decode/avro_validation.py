"""Whether polars read what stands there: checks on columns that cost no Python per record.

*Alignment.* From the decoded values follows how many bytes each row takes at least (every varint as short as can be).
Is that the length of its body for every row, then each row was read from its own body and nothing else: a row never
takes fewer bytes, and all rows together took no more than there are. That replaces a guard field in each body.

*Union indexes.* polars takes an index that no branch has for "not null" (or, in `[T, "null"]`, for null). The lengths
say where every index byte stands; they are fetched and compared. Booleans and enum symbols are read as longs and
compared here, too, because polars takes any byte but 1 for false and any symbol number for a symbol.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from consumer.decode.columns import Source

FIXED = {"float": 4, "double": 8}


@dataclass(frozen=True, slots=True)
class Place:
    """A field as polars is told to read it. `symbols` are those of an enum."""

    name: str
    type: str
    source: Source
    nullable: bool
    null_first: bool
    symbols: tuple[str, ...] = ()

    @property
    def avro(self) -> object:
        """The type in the header's schema."""
        if not self.nullable:
            return self.type
        return ["null", self.type] if self.null_first else [self.type, "null"]


def certain(
    frame: pl.DataFrame, places: Sequence[Place], files: Sequence[bytes], starts: Sequence[int], lengths: Sequence[int]
) -> bool:
    """Whether each row was read from its own body, with indexes that are those of branches.

    The bodies have these `lengths` and begin at `starts` of the files laid end to end.
    """
    position = pl.Series(starts, dtype=pl.UInt32)
    ends = position + pl.Series(lengths, dtype=pl.UInt32)
    sizes = _sizes(frame, places)
    indexes = []
    for place in places:
        if place.nullable:
            indexes.append(position)
        position = position + sizes[place.name]
    if not position.equals(ends):
        return False
    if not indexes:
        return True
    octets = pl.Series(files, dtype=pl.Binary).cast(pl.List(pl.UInt8)).explode()
    found = octets[pl.concat(indexes)]
    return (found & 0b1111_1101).max() == 0  # 0 or 2: zigzag for the two branches


def _sizes(frame: pl.DataFrame, places: Sequence[Place]) -> dict[str, pl.Series | int]:
    """For each place the bytes that its values take, index byte included, written as short as can be.

    Columns with the same rule are laid end to end first: calls cost more than values do.
    """
    sizes: dict[str, pl.Series | int] = {}
    ask: dict[tuple[str, bool, int, int], list[str]] = {}
    for place in places:
        column = frame.get_column(place.name)
        nulls, widths = column.null_count(), _widths(place, column)
        if nulls == frame.height:
            sizes[place.name] = 1
        elif nulls == 0 and widths[0] == widths[1]:
            sizes[place.name] = widths[0] + place.nullable
        else:
            ask.setdefault((place.type, place.nullable, *widths), []).append(place.name)
    for (kind, nullable, low, high), names in ask.items():
        values = pl.concat([frame.get_column(name).alias("") for name in names]).to_frame()
        if kind == "string":
            size = _text_sizes(values, nullable)
        else:
            size = values.select(_number_size(low, high, nullable)).to_series()
        sizes.update((name, size.slice(turn * frame.height, frame.height)) for turn, name in enumerate(names))
    return sizes


def _text_sizes(values: pl.DataFrame, nullable: bool) -> pl.Series:  # noqa: FBT001 - part of a rule
    """Short texts have one byte of length, longer ones a byte more for every seven bits."""
    least = 1 + int(nullable)
    plain = values.select(pl.col("").str.len_bytes()).to_series() + least
    if nullable:
        plain = plain.fill_null(1)
    size, most = plain, plain.max()
    for bits in range(6, 32, 7):
        bound = least + (1 << bits)
        if not isinstance(most, int) or most < bound:
            break
        size = size + (plain >= bound).cast(pl.UInt32)
    return size


def _number_size(low: int, high: int, nullable: bool) -> pl.Expr:  # noqa: FBT001 - part of a rule
    """Numbers of `low` to `high` bytes."""
    values = pl.col("")
    if low == high:
        return values.is_not_null().cast(pl.UInt32) * low + int(nullable)
    bounds = [1 << bits for bits in range(7 * low - 1, 7 * high - 1, 7)]
    steps = [((values >= bound) | (values < -bound)).cast(pl.UInt32) for bound in bounds]
    size = sum(steps[1:], steps[0] + low)
    return (size + 1).fill_null(1) if nullable else size


def _widths(place: Place, column: pl.Series) -> tuple[int, int]:
    """The bytes of a column's narrowest and widest value; (0, 1) for text, whose widths are not looked for here."""
    if place.type != "long":
        return (0, 1) if place.type == "string" else (FIXED[place.type],) * 2
    least, most = column.min(), column.max()
    if not isinstance(least, int) or not isinstance(most, int):
        return 0, 0
    widths = sorted((_width(least), _width(most)))
    return 1 if least < 0 <= most else widths[0], widths[1]


def _width(number: int) -> int:
    """The bytes of a number's shortest zigzag varint."""
    return max(1, -(-((number << 1) ^ (number >> 63)).bit_length() // 7))
