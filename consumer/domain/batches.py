"""What flows: a batch of raw records, and the rows made from it. The consumed span is separate from surviving rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Protocol

from consumer.domain.offsets import Span, TopicPartition


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in bytes of a batch's records, measured once when they are fetched.

    `values` and `keys` are sums; no value is larger than `largest_value`, no key larger than `largest_key`. `bare`
    counts the records without a byte of value: tombstones and empty ones.
    """

    values: int
    keys: int
    largest_value: int
    largest_key: int
    bare: int

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(
            self.values + other.values,
            self.keys + other.keys,
            max(self.largest_value, other.largest_value),
            max(self.largest_key, other.largest_key),
            self.bare + other.bare,
        )


def sizes_of(values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Sizes:
    """Go over the records once; cheap while they are still in the processor's cache."""
    of_values, of_keys = list(map(len, filter(None, values))), list(map(len, filter(None, keys)))
    return Sizes(
        sum(of_values), sum(of_keys), max(of_values, default=0), max(of_keys, default=0), len(values) - len(of_values)
    )


@dataclass(frozen=True)  # no slots: the sizes are kept
class RawBatch:
    """Records of one partition in offset order, as they came from the log.

    `span` is what was consumed: it may begin before the first record and end after the last one (compaction,
    transaction markers). `timestamps` are epoch ms, -1 if the record has none. A value of None is a tombstone.
    `headers` are the bytes of each record's headers, or nothing if none of them has any. `measured` are its sizes
    where somebody has them.
    """

    partition: TopicPartition
    span: Span
    offsets: Sequence[int]
    timestamps: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[int] = ()
    measured: Sizes | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def sizes(self) -> Sizes:
        """What its records weigh."""
        return sizes_of(self.values, self.keys) if self.measured is None else self.measured

    def size(self, place: int) -> int:
        """Bytes of one record: value, key and headers."""
        return (
            len(self.values[place] or b"") + len(self.keys[place] or b"") + (self.headers[place] if self.headers else 0)
        )

    def clip(self, span: Span) -> RawBatch:
        """The part of this batch within `span`."""
        inner = self.span.clip(span)
        if inner == self.span:
            return self
        low, high = bisect_left(self.offsets, inner.start), bisect_left(self.offsets, inner.end)
        return RawBatch(
            self.partition,
            Span(inner.start, max(inner.start, inner.end)),
            self.offsets[low:high],
            self.timestamps[low:high],
            self.values[low:high],
            self.keys[low:high],
            self.headers[low:high],
        )

    def halves(self) -> tuple[RawBatch, RawBatch]:
        """The batch in two, of as many records each as can be; of two records at least."""
        middle = self.offsets[len(self) // 2]
        return self.clip(Span(self.span.start, middle)), self.clip(Span(middle, self.span.end))


@dataclass(frozen=True, slots=True)
class DayRows:
    """The rows of one UTC day in one batch, in offset order.

    `body` is their text without a header (CSV lines, or JSON Lines where `quarantine`); empty if the caller did
    not want the day. Offsets are those of the first and the last row, both inclusive.
    """

    day: date
    quarantine: bool
    rows: int
    first_offset: int
    last_offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """Records read, by outcome. `read` is the sum of all others but `already_sealed`, which overlaps none of them."""

    read: int = 0
    kept: int = 0
    filtered: int = 0
    quarantined: int = 0
    already_sealed: int = 0
    tombstones: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.read + other.read,
            self.kept + other.kept,
            self.filtered + other.filtered,
            self.quarantined + other.quarantined,
            self.already_sealed + other.already_sealed,
            self.tombstones + other.tombstones,
        )


@dataclass(frozen=True, slots=True)
class TransformedBatch:
    """A transformed batch: the rows by day, and what to count.

    `days` is sorted by (day, quarantine) and has every day with rows, wanted or not. `known_schemas` maps a schema id
    that the registry knows to the offset of the first record with it, `unknown_schemas` one that it does not know to
    the offset after the last. `exact_path` maps the reasons why records left the fast path to their number.
    """

    partition: TopicPartition
    span: Span
    days: tuple[DayRows, ...] = ()
    counts: Counts = Counts()
    filtered: Mapping[str, int] = field(default_factory=Counter)
    oddities: Mapping[str, int] = field(default_factory=Counter)
    unknown_fields: Mapping[str, int] = field(default_factory=Counter)
    known_schemas: Mapping[int, int] = field(default_factory=dict)
    unknown_schemas: Mapping[int, int] = field(default_factory=dict)
    exact_path: Mapping[str, int] = field(default_factory=Counter)
    first_timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class SealedSchemas:
    """Which schema ids were known when a range of offsets was sealed; this never changes.

    `known` maps an id to the offset from which it was known; any other id is unknown forever. Records of the first
    release list the others instead: `unknown` maps an id to the offset below which it was unknown, and `known` is None.
    """

    known: Mapping[int, int] | None = field(default_factory=dict)
    unknown: Mapping[int, int] = field(default_factory=dict)

    def knows(self, schema_id: int, offset: int) -> bool:
        """Whether a record with this id at this offset has a schema."""
        if self.known is None:
            return offset >= self.unknown.get(schema_id, 0)
        return schema_id in self.known and offset >= self.known[schema_id]


Wanted = Callable[[date, bool], bool]
"""Whether the text of (day, quarantine) is needed; a day not wanted costs no formatting."""


def all_days(day: date, quarantine: bool) -> bool:  # noqa: ARG001, FBT001 - the shape of `Wanted`
    """Want everything."""
    return True


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """How to transform: which days need their text, the columns of the object, the schema ids to treat as known.

    `schemas` is what the covering seal record says about schema ids. It is None for records that no seal covers yet:
    then the registry is asked.
    """

    columns: tuple[str, ...]
    wanted: Wanted = all_days
    schemas: SealedSchemas | None = None


class RowTransformer(Protocol):
    """Raw records to rows by ONE set of row rules: decode, day, filter, cells. A verdict never depends on the batch."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The CSV columns that these rules write, in order."""

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        """Judge every record of the batch. Raises TransientError while the registry is out of reach."""
