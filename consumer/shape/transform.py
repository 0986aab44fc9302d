"""A batch's path through the two engines, with the same rules.

    values ──> decoders: who reads what ──> native: whole batches, in an extension ──days──┐
                                              │                                           v
                                              └── places left over ──> exact ──lines──> days of rows

The exact engine is plain Python, record by record: it handles what the native one leaves, everything if the extension
is not installed or does not know the rules, and is the oracle in tests.

Every decision about a record is a pure function of the record, the rules, and what the registry (or the covering seal
record) says about its schema id. The engines differ only in speed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from consumer.decode.avro_decoder import Writer
from consumer.decode.decoders import Decoders, Split, decoders_for
from consumer.decode.primitives import EMPTY_VALUE
from consumer.decode.registry import Registry
from consumer.domain.batches import Counts, DayRows, RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.errors import BadRecordError, HaltError, HaltReason
from consumer.shape.bounds import ORDINARY, UNBOUNDED, Bounds
from consumer.shape.engine import Engine, EngineResult
from consumer.shape.exact.row import ExactRules
from consumer.shape.filters import filters_of
from consumer.shape.native import extension
from consumer.shape.native.engine import NativeEngine, supports
from consumer.shape.privacy import key_of
from consumer.shape.quarantine import places_by_day, quarantine_days, too_large
from consumer.shape.row_day import to_date
from consumer.streams.columns import columns_of
from consumer.streams.rules import ROWS_VERSION, RowRules
from consumer.streams.validation import check_rules


def make_transformer(
    rules: RowRules,
    registry: Registry | None = None,
    *,
    engine: str = extension.NATIVE,
    keys: Mapping[str, bytes] | None = None,
    bounds: Bounds = UNBOUNDED,
) -> RowTransformer:
    """The transformer for these rules: native if the extension is installed and supports them, else exact.

    A batch beyond `bounds` raises TooVariousError. `engine` "exact" disables the extension: the rows are the same.
    `keys` are those of [privacy.keys]. Raises HaltError for rules of a newer release (chain_newer) and for a missing
    key (missing_key), ValueError with all mistakes in the rules.
    """
    if rules.version > ROWS_VERSION:
        raise HaltError(
            HaltReason.CHAIN_NEWER,
            f"stream {rules.stream} was sealed with row rules {rules.version}, this release knows {ROWS_VERSION}:"
            " run the newer release",
        )
    if problems := check_rules(rules):
        raise ValueError("\n".join(problems))
    native = _native(rules, key_of(rules, keys or {}), bounds) if engine == extension.NATIVE else None
    return StreamTransformer(rules, decoders_for(rules, registry), native, keys, bounds)


def _native(rules: RowRules, key: bytes, bounds: Bounds) -> Engine | None:
    """The native engine for these rules, where there is one."""
    columns = columns_of(rules)
    filters = filters_of(rules, columns)
    module = extension.find().module
    if module is None or not supports(rules, columns, filters):
        return None
    return NativeEngine(module, rules, columns, filters, key, bounds)


@dataclass(slots=True)
class _ExactRows:
    """What the exact engine made of some records: their lines by day number and place; None for a day not wanted."""

    days: dict[int, dict[int, bytes | None]] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    filtered: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)


class StreamTransformer:
    """A transformer by one set of rules. Any thread may call it, several at a time."""

    def __init__(
        self,
        rules: RowRules,
        decoders: Decoders,
        native: Engine | None,
        keys: Mapping[str, bytes] | None = None,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        self._bounds = bounds
        self._columns = columns_of(rules)
        self._decoders = decoders
        self._native = native
        self._max_record = rules.max_record if rules.version > 1 else sys.maxsize
        self._exact = ExactRules(rules, self._columns, filters_of(rules, self._columns), keys)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self._columns)

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        large = too_large(batch, self._max_record)
        split = self._decoders.split(_without(batch, large), how.schemas)
        split.refused |= large
        width = max((one.width for one in split.writers.values() if isinstance(one, Writer)), default=ORDINARY)
        if self._native is not None:
            self._bounds.check_width(batch, width)
            found = self._native.judge(batch, split.refused, split.writers, how)
            exact_path = Counter(found.left.values())
            left = sorted(found.left)
        else:
            found, exact_path = EngineResult(), Counter()
            left = [place for place, value in enumerate(batch.values) if value and place not in split.refused]
        self._bounds.check_exact(batch, len(left), width)
        rows = self._one_by_one(batch, how, left)
        bare = [place for place, value in enumerate(batch.values) if not value] if batch.sizes.bare else []
        empty = [place for place in bare if batch.values[place] is not None]
        quarantined = dict.fromkeys(empty, EMPTY_VALUE) | split.refused | found.quarantined | rows.quarantined
        bad_days = places_by_day(batch, quarantined)
        self._bounds.check_days(batch, len(found.days.keys() | rows.days.keys()) + len(bad_days))
        days = [*_days(batch, how, found, rows), *quarantine_days(batch, how, bad_days, quarantined)]
        return _transformed_batch(batch, split, found, rows, days, exact_path, tombstones=len(bare) - len(empty))

    def _one_by_one(self, batch: RawBatch, how: TransformOptions, places: Iterable[int]) -> _ExactRows:
        """Judge exactly, in order. Lines are written at once: a record's objects take many times its bytes."""
        rows = _ExactRows()
        wanted: dict[int, bool] = {}
        size = 0
        for place in places:
            try:
                decoded = self._decoders.exact(batch.values[place] or b"")
                rows.unknown.update(decoded.unknown)
                row = self._exact.verdict(decoded, batch.timestamps[place])
            except BadRecordError as error:
                rows.quarantined[place] = error.reason
                continue
            if isinstance(row, str):
                rows.filtered[row] += 1
                continue
            if row.day not in wanted:
                wanted[row.day] = how.wanted(to_date(row.day), False)  # noqa: FBT003 - the shape of `Wanted`
            line = None
            if wanted[row.day]:
                line, oddities = self._exact.line(row, how.columns)
                rows.oddities += oddities
                size += len(line)
                self._bounds.check_exact_output(batch, size)
            rows.days.setdefault(row.day, {})[place] = line
        return rows


def _without(batch: RawBatch, places: Mapping[int, str]) -> RawBatch:
    """The batch as if it had no values at these places: they are not parsed."""
    if not places:
        return batch
    values = [None if place in places else value for place, value in enumerate(batch.values)]
    return replace(batch, values=values, measured=None)


def _days(batch: RawBatch, how: TransformOptions, found: EngineResult, rows: _ExactRows) -> list[DayRows]:
    """Every day that has rows, in order; with text if it is wanted."""
    made = []
    for day in sorted(rows.days.keys() | found.days.keys()):
        date, exact, native = to_date(day), rows.days.get(day, {}), found.days.get(day)
        lines = [(place, line) for place, line in exact.items() if line is not None]
        if native is None:
            body = b"".join(line for _, line in lines)
        else:
            body = native.text(lines) if how.wanted(date, False) else b""  # noqa: FBT003 - the shape of `Wanted`
        places = [*exact, *((native.first, native.last) if native else ())]
        number = len(exact) + (native.rows if native else 0)
        first, last = batch.offsets[min(places)], batch.offsets[max(places)]
        made.append(DayRows(date, False, number, first, last, body))  # noqa: FBT003 - not quarantine
    return made


def _transformed_batch(
    batch: RawBatch,
    split: Split,
    found: EngineResult,
    rows: _ExactRows,
    days: list[DayRows],
    exact_path: Mapping[str, int],
    *,
    tombstones: int,
) -> TransformedBatch:
    filtered = found.filtered + rows.filtered
    quarantined = sum(day.rows for day in days if day.quarantine)
    first = batch.timestamps[0] if len(batch) else -1
    return TransformedBatch(
        partition=batch.partition,
        span=batch.span,
        days=tuple(sorted(days, key=lambda rows: (rows.day, rows.quarantine))),
        counts=Counts(
            read=len(batch),
            kept=len(batch) - filtered.total() - quarantined - tombstones,
            filtered=filtered.total(),
            quarantined=quarantined,
            tombstones=tombstones,
        ),
        filtered=filtered,
        oddities=found.oddities + rows.oddities,
        unknown_fields=found.unknown + rows.unknown,
        known_schemas=split.known,
        unknown_schemas=split.unknown,
        exact_path=exact_path,
        first_timestamp=first if first >= 0 else None,
    )
