"""All mistakes in row rules at once: the settings report them, `make_transformer` refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.columns import Column, ColumnKind, columns_of
from consumer.streams.kinds import CUSTOM, HISTORICAL_BEFORE, INSTALL_DATE, KINDS, kind_of
from consumer.streams.rules import FILTER_COLUMNS, DayBy, Format, Method, RowRules

TIME_KINDS = frozenset(
    {ColumnKind.INSTANT, ColumnKind.DATE, ColumnKind.INTEGER, ColumnKind.REAL, ColumnKind.TEXT, ColumnKind.ANY}
)
"""The columns that can give a day: instants, dates, epoch numbers, ISO text."""
RESERVED = "dt"
"""The name of the folders of days, which readers of such folders give to a column of their own, in any case."""
_CONTROL = re.compile("[\0-\x1f]")


def check_rules(rules: RowRules) -> list[str]:
    """What is wrong with the rules, in words for the operator; empty if nothing is."""
    if rules.kind != CUSTOM and rules.kind not in KINDS:
        return [f"kind {rules.kind!r} is none of {', '.join((*KINDS, CUSTOM))}"]
    try:
        columns = columns_of(rules)
    except SchemaError as error:
        return [f"schema: {error}", *_writer_problems(rules)]
    return [
        *_column_problems(columns),
        *(_since_2_problems(rules, columns) if rules.version > 1 else ()),
        *_time_problems(rules, columns),
        *_writer_problems(rules),
        *_filter_problems(rules, columns),
    ]


def lacking(kind: str, columns: Sequence[Column]) -> Mapping[str, str]:
    """The filter settings that cannot apply to such a stream, each with the reason. Setting one is a problem."""
    names = {column.name for column in columns}
    found = {
        setting: f"the stream has no column {column!r}"
        for setting, column in FILTER_COLUMNS.items()
        if column not in names
    }
    historical = kind_of(kind).historical
    if historical == INSTALL_DATE and INSTALL_DATE not in names:
        found["exclude_historical"] = f"the stream has no column {INSTALL_DATE!r}"
    if historical == "":
        found["exclude_historical"] = f"{kind} has no historical rows"
    if historical != HISTORICAL_BEFORE:
        found["historical_before"] = "it applies only to ua_events"
    if not kind_of(kind).attributes:
        found["send_user_attributes"] = "it applies only to events and ua_events"
    if not kind_of(kind).integration_ids:
        found["send_integration_ids"] = "it applies only to events"
    if "event_type" not in names:
        found["event_names"] = "the stream has no column 'event_type'"
    return found


def _column_problems(columns: Sequence[Column]) -> list[str]:
    if not columns:
        return ["schema: the record has no fields"]
    claimed: dict[str, str] = {}
    problems = [
        f"schema: the field name {column.name!r} has control characters"
        for column in columns
        if _CONTROL.search(column.name)
    ]
    for column in columns:
        for name in column.inputs:
            other = claimed.setdefault(name, column.name)
            if other != column.name:
                problems.append(f"schema: {name!r} is an input of two columns, {other!r} and {column.name!r}")
    return problems


def _since_2_problems(rules: RowRules, columns: Sequence[Column]) -> Iterator[str]:
    """What release 0.1 did not know, or let pass."""
    for column in columns:
        if column.name.lower() == RESERVED:
            yield f"schema: the name {column.name!r} is reserved: readers take it from the folder ({RESERVED}=DAY)"
    if rules.oldest_day is not None and rules.day_by is DayBy.RECORD:
        yield 'oldest_day: it applies only to day_by = "event"'
    names = {column.name for column in columns}
    for name, method in rules.privacy.columns.items():
        if name not in names:
            yield f"privacy: the stream has no column {name!r}"
        elif name == rules.time_field:
            yield f"privacy: {name!r} is the time field, which gives a row its day"
        elif method is Method.HASH and rules.privacy.key is None:
            yield f"privacy: {name!r} is hashed, which needs a key"


def _time_problems(rules: RowRules, columns: Sequence[Column]) -> list[str]:
    found = next((column for column in columns if column.name == rules.time_field), None)
    if found is None and not columns:
        return []
    if found is None:
        return [f"time_field: the schema has no field {rules.time_field!r}"]
    if found.kind not in TIME_KINDS:
        takes = "it takes an instant, a date, an epoch number or ISO text"
        return [f"time_field: {rules.time_field!r} is of type {found.kind}; {takes}"]
    return []


def _writer_problems(rules: RowRules) -> list[str]:
    if rules.writer_schema is None:
        return []
    if rules.format is not Format.AVRO:
        return [f"writer_schema: it applies only to the format avro, not to {rules.format}"]
    try:
        parse(rules.writer_schema, rules.version)
    except SchemaError as error:
        return [f"writer_schema: {error}"]
    return []


def _filter_problems(rules: RowRules, columns: Sequence[Column]) -> list[str]:
    wanted = rules.filter
    beside = [name for name in ("send_user_attributes", "send_integration_ids", "event_names") if getattr(rules, name)]
    given = {*wanted.given(), *beside}
    problems = [f"{setting}: {why}" for setting, why in lacking(rules.kind, columns).items() if setting in given]
    needs = kind_of(rules.kind).historical == HISTORICAL_BEFORE and wanted.exclude_historical
    if needs and wanted.historical_before is None:
        problems.append("exclude_historical: ua_events needs historical_before with it")
    return problems
