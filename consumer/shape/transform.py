"""The way of a batch: decode, table, sort out, write; beside it the exact path for what leaves the fast one.

    values ──> decoders ──raw columns──> table_of ──vouched rows──> Sorter ──kept, with days──┐
                  │                          │                                                v
                  └─── places left over ─────┴──> exact: decode, verdict, line ─────────> DayWriter

Every decision about a record is a pure function of the record, the rules, and what the registry (or the covering seal
record) says of its schema id. The fast path may leave any record to the exact one: only time depends on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import RLock

import polars as pl

from consumer.decode.columns import Fast
from consumer.decode.decoders import Decoders, Split, decoders_for
from consumer.decode.json_columnar import ODD_VALUE
from consumer.decode.registry import Registry
from consumer.domain.batches import Counts, DayRows, RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.errors import BadRecordError, HaltError, HaltReason
from consumer.shape.classify import Sorter
from consumer.shape.day_writer import DayWriter, Kept, quarantine_days
from consumer.shape.exact.row import ExactRules, Row
from consumer.shape.filters import filters_of
from consumer.shape.table import table_of, without
from consumer.streams.columns import columns_of
from consumer.streams.rules import ROWS_VERSION, Format, RowRules
from consumer.streams.validation import check_rules

EMPTY_VALUE = "empty_value"
_ALONE = RLock()
"""Held, of all judges, by who has many records as Python objects, which take up to 25 times their bytes (measured), or
a large one, which is copied some times over."""
LIGHT = 1 << 18
"""Bytes of records that may be objects at any time."""
LARGE = 1 << 20
"""Bytes of a large record."""
FEW = 40
"""A batch of fewer records is judged one by one: that is quicker (measured)."""


def make_transformer(rules: RowRules, registry: Registry | None = None, *, exact_only: bool = False) -> RowTransformer:
    """The judge for these rules. `exact_only` leaves the fast path out: the rows are the same.

    Raises HaltError (chain_newer) for rules of a newer release, ValueError with all that is wrong with the rules.
    """
    if rules.version > ROWS_VERSION:
        raise HaltError(
            HaltReason.CHAIN_NEWER,
            f"stream {rules.stream} was sealed with row rules {rules.version}, this release knows {ROWS_VERSION}:"
            " run the newer release",
        )
    if problems := check_rules(rules):
        raise ValueError("\n".join(problems))
    return StreamTransformer(rules, decoders_for(rules, registry), exact_only=exact_only)


@dataclass(slots=True)
class _Work:
    """One batch under way: what is decided so far, by place."""

    batch: RawBatch
    split: Split
    quarantined: dict[int, str]
    table: pl.DataFrame | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    filtered: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    exact_path: Counter[str] = field(default_factory=Counter)


class StreamTransformer:
    """A judge by one set of rules. Any thread may call it, several at a time."""

    def __init__(self, rules: RowRules, decoders: Decoders, *, exact_only: bool) -> None:
        self._columns = columns_of(rules)
        self._decoders = decoders
        filters = filters_of(rules, self._columns)
        self._sorter = Sorter(rules, self._columns, filters)
        self._exact = ExactRules(rules, self._columns, filters)
        self._writer = DayWriter(self._columns, filters, self._exact)
        self._fast = self._sorter.able and not exact_only
        self._objects = rules.format is Format.JSON

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self._columns)

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        with _ALONE if self._objects or _largest(batch) > LARGE else nullcontext():
            return self._transform(batch, how)

    def _transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        live, empty = _live(batch)
        split = self._decoders.split(batch, live, how.unknown_schemas)
        work = _Work(batch, split, {**dict.fromkeys(empty, EMPTY_VALUE), **split.refused})
        if self._fast and len(live) >= FEW:
            left = self._vectorised(work)
        else:
            left = [place for group in split.groups for place in group.places]
        with _ALONE if sum(len(batch.values[place] or b"") for place in left) > LIGHT else nullcontext():
            return self._finished(work, how, left, tombstones=len(batch) - len(live) - len(empty))

    def _finished(
        self, work: _Work, how: TransformOptions, left: Iterable[int], *, tombstones: int
    ) -> TransformedBatch:
        """Judge what is `left`, and write."""
        batch = work.batch
        self._one_by_one(work, left)
        kept = Kept(work.table, work.rows, lambda place: self._row(batch, place), exact_path=work.exact_path)
        days = [*self._writer.write(batch, how, kept), *quarantine_days(batch, how, work.quarantined)]
        return _transformed_batch(work, days, kept, tombstones)

    def _vectorised(self, work: _Work) -> Collection[int]:
        """Judge in columns; the places that this leaves to the exact path."""
        fast = Fast()
        for group in work.split.groups:
            group.decoder.fast(group.bodies, group.places, fast)
        table = table_of(fast, self._columns)
        if table is not None:
            odd = self._sorter.odd_times(table)
            fast.left.update(dict.fromkeys(odd, ODD_VALUE))
            found = self._sorter.sort_out(without(table, odd), work.batch.timestamps)
            work.table, work.filtered = found.kept, found.filtered
            work.quarantined.update(found.quarantined)
        for raw in fast.raws:
            for name, places in raw.unknown.items():
                work.unknown[name] += len(places) - sum(place in fast.left for place in places if fast.left)
        work.exact_path.update(fast.left.values())
        return fast.left

    def _one_by_one(self, work: _Work, places: Iterable[int]) -> None:
        """Judge exactly."""
        for place in places:
            try:
                decoded = self._decoders.exact(work.batch.values[place] or b"")
                work.unknown.update(decoded.unknown)
                verdict = self._exact.verdict(decoded, work.batch.timestamps[place])
            except BadRecordError as error:
                work.quarantined[place] = error.reason
                continue
            if isinstance(verdict, str):
                work.filtered[verdict] += 1
            else:
                work.rows[place] = verdict

    def _row(self, batch: RawBatch, place: int) -> Row:
        """The exact row of a record that is kept."""
        verdict = self._exact.verdict(self._decoders.exact(batch.values[place] or b""), batch.timestamps[place])
        if isinstance(verdict, str):
            raise RuntimeError(f"kept in columns, {verdict} by itself: {batch.partition} {batch.offsets[place]}")  # noqa: TRY004 - not a wrong type: the two paths differ
        return verdict


def _largest(batch: RawBatch) -> int:
    """Bytes of the largest value."""
    return max(map(len, filter(None, batch.values)), default=0)


def _live(batch: RawBatch) -> tuple[Sequence[int], list[int]]:
    """The places of records with something to decode, and of those with an empty value."""
    if all(batch.values):
        return range(len(batch)), []
    live = [place for place, value in enumerate(batch.values) if value]
    return live, [place for place, value in enumerate(batch.values) if value == b""]


def _transformed_batch(work: _Work, days: list[DayRows], kept: Kept, tombstones: int) -> TransformedBatch:
    batch = work.batch
    filtered, quarantined = work.filtered.total(), len(work.quarantined)
    first = batch.timestamps[0] if len(batch) else -1
    return TransformedBatch(
        partition=batch.partition,
        span=batch.span,
        days=tuple(sorted(days, key=lambda rows: (rows.day, rows.quarantine))),
        counts=Counts(
            read=len(batch),
            kept=len(batch) - filtered - quarantined - tombstones,
            filtered=filtered,
            quarantined=quarantined,
            tombstones=tombstones,
        ),
        filtered=work.filtered,
        oddities=kept.oddities,
        unknown_fields=work.unknown,
        unknown_schemas=work.split.unknown,
        exact_path=kept.exact_path,
        first_timestamp=first if first >= 0 else None,
    )
