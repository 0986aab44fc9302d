"""`[streams.X]`: what arrives, what is kept, and where it goes -> the stream with its row rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path as Folder
from typing import Any, TypeVar

from consumer.settings import values
from consumer.settings.destination import read_destination
from consumer.settings.model import PrivacySettings, StreamSettings
from consumer.settings.privacy import personal_of, privacy_of
from consumer.settings.problems import Path, Problems, suggestion
from consumer.settings.schema_files import normal, read_schema
from consumer.settings.stream_table import FilterTable, PrivacyTable, StreamTable
from consumer.settings.tables import as_table, read_table, require
from consumer.streams.columns import columns_of
from consumer.streams.kinds import CUSTOM, KINDS
from consumer.streams.rules import DayBy, Filter, Format, LineBreaks, Privacy, RowRules
from consumer.streams.validation import check_rules, lacking

_FILTERS = frozenset(FilterTable.model_fields)
_ADVICE = {
    "schema": "fix the file",
    "writer_schema": 'leave it out, or write format = "avro" and a schema file',
    "time_field": "write a field of the schema",
    "privacy": "write a rule for another column, or the key",
}
_LEAVE_OUT = "leave it out"
_APPENDING = {"send_user_attributes", "send_integration_ids"}
T = TypeVar("T", bool, str)


@dataclass(frozen=True, slots=True)
class Around:
    """The context of a stream's table: the file's folder, the base destination, other tables.

    `registry`: whether one is configured.
    """

    folder: Folder
    destination: Mapping[str, Any]
    registry: bool
    privacy: PrivacySettings
    max_record: int


def read_stream(name: str, raw: object, around: Around, problems: Problems) -> StreamSettings:
    """One stream. After a problem the result is only of use for finding more of them."""
    path = ("streams", name)
    if wrong := values.stream_name_problem(name):
        problems.add(path, wrong)
    given = as_table(raw, path, problems)
    parts = {
        part: as_table(given.pop(part, None), (*path, part), problems)
        for part in ("event_types", "event_names", "filter", "privacy", "destination")
    }
    table = read_table(StreamTable, given, path, problems)
    require("topic", table, path, problems)
    if table.format == "avro-registry" and not around.registry:
        problems.add((*path, "format"), '"avro-registry" needs the table [schema_registry]; write it, with its url')
    privacy = read_table(PrivacyTable, parts["privacy"], (*path, "privacy"), problems)
    rules = _rules(
        name, table, parts, privacy_of(privacy, around.privacy, (*path, "privacy"), problems), around, problems
    )
    personal: tuple[str, ...] = ()
    if rules.kind and rules.schema:
        _check(rules, parts, path, problems)
        if not problems.about((*path, "schema")):
            personal = personal_of(privacy, rules, columns_of(rules), (*path, "privacy"), problems)
    destination = read_destination(
        around.destination, parts["destination"], (*path, "destination"), around.folder, problems
    )
    return StreamSettings(
        name=name,
        kind=rules.kind,
        topic=table.topic,
        start=table.start,
        rules=rules,
        personal=personal,
        destination=destination,
    )


def _rules(
    name: str,
    table: StreamTable,
    parts: Mapping[str, Mapping[str, Any]],
    privacy: Privacy,
    around: Around,
    problems: Problems,
) -> RowRules:
    path = ("streams", name)
    kind = _kind(name, table, path, problems)
    switches = _by_type(parts["event_types"], (*path, "event_types"), values.flag, "switch", problems)
    wanted = read_table(FilterTable, parts["filter"], (*path, "filter"), problems)
    shipped = KINDS.get(kind)
    own = read_schema(table.schema_file, around.folder, (*path, "schema"), problems) if table.schema_file else ""
    writer = table.writer_schema
    return RowRules(
        stream=name,
        kind=kind,
        topic=table.topic,
        format=Format(table.format),
        schema=own if table.schema_file or shipped is None else normal(shipped.schema),
        time_field=table.time_field or (shipped.time_field if shipped else ""),
        writer_schema=read_schema(writer, around.folder, (*path, "writer_schema"), problems) if writer else None,
        day_by=DayBy(table.day_by),
        filter=Filter(
            event_types={name: on for name, on in switches.items() if name != "default"},
            event_type_default=switches.get("default", True),
            **{one.name: getattr(wanted, one.name) for one in fields(Filter) if one.name in _FILTERS},
        ),
        send_user_attributes=wanted.send_user_attributes,
        send_integration_ids=wanted.send_integration_ids,
        event_names=_by_type(parts["event_names"], (*path, "event_names"), values.event_name, "name", problems),
        line_breaks=LineBreaks(table.line_breaks),
        privacy=privacy,
        oldest_day=table.oldest_day,
        max_record=around.max_record,
    )


def _kind(name: str, table: StreamTable, path: Path, problems: Problems) -> str:
    """The stream's kind; empty, with a problem noted, if it has none."""
    kind = table.kind or (name if name in KINDS else CUSTOM)
    if kind in KINDS:
        return kind
    if kind != CUSTOM:
        place = (*path, "kind")
        problems.add(place, f"{problems.shown(place)}is not a valid kind; {suggestion(kind, (*KINDS, CUSTOM))}")
        return ""
    if not table.kind and not table.schema_file:
        problems.add(
            (*path, "kind"),
            f"is missing, and the stream's name is not a shipped kind; write {' or '.join(KINDS)},"
            " or your own schema and time_field",
            also=[(*path, "schema")],
        )
        return ""
    require("schema_file", table, path, problems)
    require("time_field", table, path, problems)
    return kind


def _by_type(
    raw: Mapping[str, Any], path: Path, read: Callable[[object], T], what: str, problems: Problems
) -> dict[str, T]:
    """Values by event type, in the form in which records are compared: stripped, lower case."""
    found: dict[str, T] = {}
    for written, value in raw.items():
        place = (*path, written)
        try:
            said = read(value)
        except ValueError as error:
            problems.add(place, f"{problems.shown(place)}{error}")
            continue
        if found.setdefault(written.strip().lower(), said) != said:
            problems.add(place, f"is the same event type as another key, with the other {what}; leave one of them out")
    return found


def _check(rules: RowRules, parts: Mapping[str, Mapping[str, Any]], path: Path, problems: Problems) -> None:
    """Contradictions within the rules, and between the rules and the schema's columns."""
    before = (*path, "filter", "historical_before")
    for problem in check_rules(rules):
        setting, _, why = problem.partition(": ")
        if setting == "exclude_historical" and rules.filter.historical_before is None and "needs" in why:
            problems.add(before, f'is missing: {why}; write e.g. historical_before = "2026-11-01T00:00:00Z"')
        else:
            place = _place(setting, path)
            # a value from the environment is repeated as it was written
            told = why.replace(repr(rules.time_field), problems.shown(place).strip() or repr(rules.time_field))
            problems.add(place, f"{told}; {_ADVICE.get(setting, _LEAVE_OUT)}")
    if not problems.about((*path, "schema")):
        given = {*parts["filter"], *(part for part in ("event_types", "event_names") if parts[part])} - _APPENDING
        for setting, why in lacking(rules.kind, columns_of(rules)).items():
            if setting in given:
                problems.add(_place(setting, path), f"{why}; {_LEAVE_OUT}")


def _place(setting: str, path: Path) -> Path:
    return (*path, "filter", setting) if setting in _FILTERS else (*path, setting)
