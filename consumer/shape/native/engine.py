"""The native engine behind the interface of shape/engine: passes rules to the extension, translates results.

`supports` lists the rules that it knows. New rules are not among them until they are implemented there as well: until
then the exact engine makes the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from threading import Lock
from typing import Any

from consumer.decode.avro_decoder import Writer
from consumer.decode.wire_format import HEAD
from consumer.domain.batches import RawBatch, TransformOptions
from consumer.shape.bounds import (
    NESTED,
    OUTPUT_OF_JSON,
    OUTPUT_OF_TEXT,
    UNBOUNDED,
    WIDEST,
    WIDEST_OTHER,
    WIDEST_TIME,
    Bounds,
)
from consumer.shape.engine import EngineResult, NativeDay
from consumer.shape.exact.row import LINE_BREAK, NO_INSTALL, UNLISTED
from consumer.shape.filters import ENVIRONMENT, EVENT_TYPE, HISTORICAL, PROFILE, Filters
from consumer.shape.native.extension import Extension, NativeBatch, NativeRules, ProgramSpec, TypeSpec
from consumer.shape.native.program import NOBODY, default_texts, kind_of_column, programs
from consumer.shape.row_day import EPOCH_DAY, to_date
from consumer.streams.columns import Column, ColumnKind, known_inputs
from consumer.streams.kinds import CUSTOM, kind_of
from consumer.streams.rules import ROWS_VERSION, DayBy, Filter, Format, LineBreaks, Privacy, RowRules

PANIC = "panic"
"""Why records take the exact path: the extension gave up on their batch."""
MOST_HEADERS = 16
"""Headers that are kept ready: today's, and those of covering records."""
_NESTED = frozenset({"array", "map", "record"})
_FILTERS = (EVENT_TYPE, PROFILE, HISTORICAL, ENVIRONMENT)
"""Those that the extension knows, in the order in which it counts them; rules with another one are not its own."""
_FORMATS = frozenset({Format.AVRO, Format.AVRO_REGISTRY, Format.JSON, Format.JSON_REGISTRY})
"""Those that the extension reads."""
_RULES = frozenset(
    {"stream", "kind", "topic", "format", "schema", "time_field", "writer_schema", "day_by", "filter", "version"}
    | {"send_user_attributes", "send_integration_ids", "event_names", "line_breaks", "oldest_day", "privacy"}
    | {"max_record"}  # looked after before any engine
)
_FILTER_FIELDS = frozenset(
    {"event_types", "event_type_default", "include_without_profile", "exclude_historical", "historical_before"}
    | {"environments"}
)
_PRIVACY_FIELDS = frozenset({"columns", "key", "fingerprint"})
_COUNTED = {UNLISTED: 4, NO_INSTALL: 5, LINE_BREAK: 6}
"""Where a day of the extension has the number of an oddity."""
_FORMS = {ColumnKind.INSTANT: "instant", ColumnKind.DATE: "date"}
_TIMES = {
    ColumnKind.INSTANT: "micros",
    ColumnKind.DATE: "days",
    ColumnKind.INTEGER: "epoch",
    ColumnKind.TEXT: "text",
}
"""The columns that can be a row's time, and how."""


def supports(rules: RowRules, columns: Sequence[Column], filters: Filters) -> bool:
    """Whether the extension supports all of these rules."""
    compared = [one for one in (filters.event_type, filters.profile, filters.environment) if one is not None]
    timed = _timed(rules, columns, filters)
    inputs = [name for column in columns for name in column.inputs]
    return (
        rules.version == ROWS_VERSION
        and rules.format in _FORMATS
        and _at_default(rules, _RULES)
        and _at_default(rules.filter, _FILTER_FIELDS)
        and _at_default(rules.privacy, _PRIVACY_FIELDS)
        and all(column.kind in {ColumnKind.TEXT, ColumnKind.JSON} for column in compared)
        and all(column.kind in _TIMES for column in timed)
        and all(column.kind is ColumnKind.TEXT for column in timed if column.default is not None)
        and default_texts(columns) is not None
        and len(inputs) == len(set(inputs))
    )


def _timed(rules: RowRules, columns: Sequence[Column], filters: Filters) -> list[Column]:
    """The columns whose values are also times of a row, not only cells."""
    return [one for one in columns if one.name == rules.time_field or one == filters.install]


def _at_default(rules: RowRules | Filter | Privacy, known: frozenset[str]) -> bool:
    """Whether every field that is not `known` has its default: a rule that came later and is not used."""
    for one in fields(rules):
        if one.name in known:
            continue
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if getattr(rules, one.name) != default:
            return False
    return True


@dataclass(slots=True)
class _Ready:
    """The rules for one header, and for each schema id whether its bodies are read, and how wide rows may be by it."""

    rules: NativeRules
    learned: dict[int, bool] = field(default_factory=dict)
    widest: dict[int, int] = field(default_factory=dict)


class NativeEngine:
    """The extension by one set of rules. Any thread may call it."""

    def __init__(
        self,
        extension: Extension,
        rules: RowRules,
        columns: Sequence[Column],
        filters: Filters,
        key: bytes,
        bounds: Bounds = UNBOUNDED,
    ) -> None:
        """Rules that `supports` accepts; `key` is the one that they hash with."""
        self._extension, self._columns, self._format = extension, columns, rules.format
        self._bounds = bounds
        timed = _timed(rules, columns, filters)
        self._kinds = [kind_of_column(column, timed=column in timed) for column in columns]
        self._defaults = default_texts(columns) or {}
        self._positions = {column.name: number for number, column in enumerate(columns)}
        self._types = filters.event_type.name if filters.event_type else None
        self._methods = rules.privacy.columns
        self._described = {**self._describe(rules, filters), **_finish(rules, key)}
        self._ready: dict[tuple[str, ...], _Ready] = {}
        self._lock = Lock()

    def _describe(self, rules: RowRules, filters: Filters) -> dict[str, Any]:
        """All that does not depend on the header."""
        time = self._columns[self._positions[rules.time_field]]
        install = filters.install
        inputs = None
        if rules.format.is_json:
            inputs = [
                (name, number, self._kinds[number], rank)
                for number, column in enumerate(self._columns)
                for rank, name in enumerate(column.inputs)
            ]
            taken = {name for name, *_ in inputs}
            inputs += [(name, NOBODY, "text", 0) for name in known_inputs(rules, tuple(self._columns)) - taken]
        return {
            "slots": len(self._columns),
            "time": self._positions[time.name],
            "timed": _TIMES[time.kind],
            "by_record": rules.day_by is DayBy.RECORD,
            "event_type": self._position(filters.event_type),
            "profile": self._position(filters.profile),
            "install": self._position(install),
            "install_timed": _TIMES[install.kind] if install else "micros",
            "environment": self._position(filters.environment),
            "before": filters.before,
            "types": list(filters.types.items()),
            "types_default": filters.types_default,
            "environments": list(filters.environments),
            "listed": list(kind_of(rules.kind).event_types),
            "normal_types": rules.kind != CUSTOM,
            "head": HEAD if rules.format.has_schema_id else 0,
            "inputs": inputs,
            "defaults": [(self._positions[name], text) for name, text in self._defaults.items()],
        }

    def _position(self, column: Column | None) -> int | None:
        return None if column is None else self._positions[column.name]

    def judge(
        self,
        batch: RawBatch,
        refused: Mapping[int, str],
        writers: Mapping[int, object],
        how: TransformOptions,
    ) -> EngineResult:
        """Judge what is certain; all is left where the extension panics."""
        try:
            return self._judge(batch, refused, writers, how)
        except self._extension.PanicException:
            live = [place for place, value in enumerate(batch.values) if value and place not in refused]
            return EngineResult(left=dict.fromkeys(live, PANIC))

    def _judge(
        self, batch: RawBatch, refused: Mapping[int, str], writers: Mapping[int, object], how: TransformOptions
    ) -> EngineResult:
        with self._lock:
            ready = self._for_header(how.columns)
            self._learn(ready, writers)
        self._bounds.check_output(batch, self._most_output(ready, batch, writers))
        values = batch.values if isinstance(batch.values, list) else list(batch.values)
        if refused:
            values = [None if place in refused else value for place, value in enumerate(values)]
        found = ready.rules.transform(values, batch.timestamps, lambda day: how.wanted(to_date(day), False))  # noqa: FBT003 - the shape of `Wanted`
        unknown = Counter(found.unknown)
        for number, branch, judged in found.by_schema:
            writer = writers.get(number)
            if isinstance(writer, Writer):
                unknown.update(dict.fromkeys(writer.unknown[branch], judged))
        return EngineResult(
            left=dict(found.left),
            quarantined=dict(found.quarantined),
            filtered=Counter({name: number for name, number in zip(_FILTERS, found.filtered, strict=True) if number}),
            unknown=unknown,
            oddities=_oddities(found),
            days={
                day: NativeDay(rows, first, last, _text(found, ready.rules, day))
                for day, rows, first, last, *_ in found.days
            },
        )

    def _most_output(self, ready: _Ready, batch: RawBatch, writers: Mapping[int, object]) -> int:
        """Bytes of rows that the batch becomes at most."""
        size = batch.sizes.values
        fixed = len(self._columns) + WIDEST_TIME * len(self._methods)  # commas and hashes
        if self._format.is_json:
            return len(batch) * fixed + OUTPUT_OF_JSON * size
        widest = max((ready.widest.get(number, 0) for number in writers), default=0)
        of_a_byte = OUTPUT_OF_TEXT if widest < NESTED else OUTPUT_OF_JSON
        return len(batch) * (fixed + widest) + of_a_byte * size

    def _for_header(self, names: tuple[str, ...]) -> _Ready:
        if names not in self._ready:
            if len(self._ready) == MOST_HEADERS:
                del self._ready[next(iter(self._ready))]
            columns = [
                (self._positions.get(name, NOBODY), self._form(name), str(self._methods.get(name, "")))
                for name in names
            ]
            self._ready[names] = _Ready(self._extension.Engine({**self._described, "columns": columns}))
        return self._ready[names]

    def _form(self, name: str) -> str:
        number = self._positions.get(name, NOBODY)
        if number == NOBODY:
            return "plain"
        return "event-type" if name == self._types else _FORMS.get(self._columns[number].kind, "plain")

    def _learn(self, ready: _Ready, writers: Mapping[int, object]) -> None:
        for number, writer in writers.items():
            if number in ready.learned or not isinstance(writer, Writer):
                continue
            found = programs(writer, self._columns, self._kinds, self._defaults)
            if readable := any(found):
                ready.rules.learn(number, writer.union, found)
                ready.widest[number] = max(_widest(one) for one in found if one is not None)
            ready.learned[number] = readable


def _widest(program: ProgramSpec) -> int:
    """Bytes that a record's row may have in addition to those from its own bytes."""
    fields, absent, _ = program
    told = sum(_widest_of(spec) for spec, _, _, slot in fields if slot != NOBODY)
    return told + sum(len(text.encode()) for _, text in absent)


def _widest_of(spec: TypeSpec) -> int:
    name, _, scale, words, parts = spec
    if name == "union":
        return max(map(_widest_of, parts), default=0)
    if name == "symbol":
        return max((len(word.encode()) for word in words), default=0)
    return NESTED if name in _NESTED else WIDEST.get(name, WIDEST_OTHER) + scale


def _finish(rules: RowRules, key: bytes) -> dict[str, Any]:
    """The rules for rows and cells other than decoding and filters."""
    oldest, name = rules.oldest_day, rules.privacy.key
    return {
        "oldest_day": (oldest - EPOCH_DAY).days if isinstance(oldest, date) else None,
        "oldest_age": oldest if isinstance(oldest, int) else None,
        "event_names": list(rules.event_names.items()),
        "spaces": rules.line_breaks is LineBreaks.SPACE,
        "key": None if name is None else (name, key),
    }


def _text(found: NativeBatch, rules: NativeRules, day: int) -> Callable[[Sequence[tuple[int, bytes]]], bytes]:
    return lambda lines: found.text(rules, day, lines)


def _oddities(found: NativeBatch) -> Counter[str]:
    totals = {name: sum(day[at] for day in found.days) for name, at in _COUNTED.items()}
    return Counter({name: number for name, number in totals.items() if number})
