"""Row rules: everything that determines what a record becomes. Stored as `_seals/_settings/<digest>.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from types import UnionType
from typing import Any

import orjson

from consumer.domain import json_fields

ROWS_VERSION = 2
"""The version of the row rules in this code. A release also knows the rules of its predecessor.

Version 1 (release 0.1): `bytes` are text, numbers of JSON are doubles, epoch numbers go by their magnitude everywhere,
the schema's defaults play no part, a date is the UTC day of its instant, names are Avro names, no union at the top.
"""

MAX_RECORD = 16 * 1024 * 1024
"""Bytes of the largest record that becomes a row, unless the settings say otherwise."""


class Format(StrEnum):
    """How a record's value is written."""

    AVRO = "avro"
    AVRO_REGISTRY = "avro-registry"
    JSON = "json"
    JSON_REGISTRY = "json-registry"

    @property
    def has_schema_id(self) -> bool:
        """Five bytes, with the id of a schema in a registry, come before the record."""
        return self in {Format.AVRO_REGISTRY, Format.JSON_REGISTRY}

    @property
    def is_json(self) -> bool:
        """The record is JSON text; otherwise it is Avro."""
        return self in {Format.JSON, Format.JSON_REGISTRY}


class LineBreaks(StrEnum):
    """Handling of CR, LF and CRLF inside cells: kept, or each replaced by one space."""

    KEEP = "keep"
    SPACE = "space"


class Method(StrEnum):
    """What privacy does to the cells of a column."""

    DROP = "drop"
    HASH = "hash"
    TRUNCATE_IP = "truncate_ip"


class DayBy(StrEnum):
    """Where a row's day comes from: its time field, or the record's timestamp."""

    EVENT = "event"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are kept (docs/settings.md). `environments` None keeps all; names are lower case.

    The fields of a filter are defined here; the decision is in `shape/filters.py`, its key in
    `settings/stream_table.py`. The metadata has the column that the filter uses, the setting if its name differs from
    the field, and `since`, the version of the row rules that introduced it.
    """

    event_types: Mapping[str, bool] = field(default_factory=dict, metadata={"column": "event_type"})
    event_type_default: bool = field(default=True, metadata={"setting": "event_types"})
    include_without_profile: bool = field(default=False, metadata={"column": "profile_id"})
    exclude_historical: bool = False
    historical_before: datetime | None = None
    environments: tuple[str, ...] | None = field(default=None, metadata={"column": "environment"})

    def given(self) -> frozenset[str]:
        """The settings that differ from their default."""
        plain = Filter()
        return frozenset(
            one.metadata.get("setting", one.name)
            for one in fields(self)
            if getattr(self, one.name) != getattr(plain, one.name)
        )


FILTER_COLUMNS: Mapping[str, str] = {
    one.name: one.metadata["column"] for one in fields(Filter) if "column" in one.metadata
}
"""The setting of a filter, and the column that it looks at."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """Treatment of cells of personal columns. `key` and its fingerprint are None if nothing is hashed."""

    columns: Mapping[str, Method] = field(default_factory=dict)
    key: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class RowRules:
    """What determines the rows of one stream. Contains no secret and no address.

    `kind` is one of the shipped kinds or "custom". `schema` is the Avro schema text that defines the columns,
    `writer_schema` the one that producers of bare Avro use (None: the same). `oldest_day` is an age in days before the
    record's day, or a date; None for neither. `event_names` maps an event type, as it is compared, to its name in the
    CSV. `max_record` limits the bytes of a record (value, key and headers); version 1 has no limit.
    """

    stream: str
    kind: str
    topic: str
    format: Format
    schema: str
    time_field: str
    writer_schema: str | None = None
    day_by: DayBy = DayBy.EVENT
    filter: Filter = Filter()
    send_user_attributes: bool = False
    send_integration_ids: bool = False
    event_names: Mapping[str, str] = field(default_factory=dict)
    line_breaks: LineBreaks = LineBreaks.KEEP
    privacy: Privacy = Privacy()
    oldest_day: int | date | None = None
    max_record: int = MAX_RECORD
    version: int = ROWS_VERSION

    def document(self) -> bytes:
        """The rules as JSON, the same bytes for the same rules, and for those of version 1 the bytes of release 0.1."""
        raw = {**_shallow(self), "filter": _shallow(self.filter), "privacy": _shallow(self.privacy)}
        if self.version == 1:
            raw = {name: value for name, value in raw.items() if name not in _SINCE_2}
            raw["filter"] = {one.name: raw["filter"][one.name] for one in _filters_of(1)}
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @property
    def digest(self) -> str:
        """The name of these rules in the bucket."""
        return hashlib.sha256(self.document()).hexdigest()[:16]


def _shallow(made: RowRules | Filter | Privacy) -> dict[str, Any]:
    """Its fields by name. `dataclasses.asdict` would copy each table of it as well, which nobody here changes."""
    return {one.name: getattr(made, one.name) for one in fields(made)}


_SINCE_2 = frozenset({"send_integration_ids", "event_names", "line_breaks", "privacy", "oldest_day", "max_record"})
"""What documents of version 1 do not have."""


def rules_from_document(data: bytes) -> RowRules:
    """Read rules back. Raises ValueError, KeyError or TypeError if the text is not such a document."""
    raw: dict[str, Any] = orjson.loads(data)
    if raw["version"] == 1 and not _SINCE_2.isdisjoint(raw):
        raise TypeError("version 1 has no such field")
    part = {one.name: _from_json(raw["filter"][one.name], str(one.type)) for one in _filters_of(raw["version"])}
    if len(part) < len(raw["filter"]):
        raise TypeError("a filter that its version does not have")
    made = {**raw, "filter": Filter(**part), "format": Format(raw["format"]), "day_by": DayBy(raw["day_by"])}
    rules = RowRules(**{**made, **({} if raw["version"] == 1 else _since_2(raw))})
    if not (_typed(rules) and _typed(rules.filter) and _typed(rules.privacy) and _entries_typed(rules)):
        raise TypeError("a field has the wrong type")
    return rules


def _filters_of(version: int) -> list[Field[Any]]:
    return [one for one in fields(Filter) if one.metadata.get("since", 1) <= version]


def _from_json(value: Any, kind: str) -> Any:
    """A value of a filter, from what JSON has for it."""
    if value is not None and kind == "datetime | None":
        return datetime.fromisoformat(value)
    if value is not None and kind == "tuple[str, ...] | None":
        return tuple(value)
    return value


def _since_2(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of version 2 that are more than JSON."""
    privacy, oldest = json_fields.table(raw["privacy"], "privacy"), raw["oldest_day"]
    columns = json_fields.table(privacy["columns"], "columns")
    privacy = {**privacy, "columns": {name: Method(method) for name, method in columns.items()}}
    return {
        "line_breaks": LineBreaks(raw["line_breaks"]),
        "privacy": Privacy(**privacy),
        "oldest_day": date.fromisoformat(oldest) if isinstance(oldest, str) else oldest,
    }


_KINDS: Mapping[str, type | UnionType] = {
    "str": str,
    "str | None": str | None,
    "bool": bool,
    "int": int,
    "int | date | None": int | date | None,
    "datetime | None": datetime | None,
    "Mapping[str, bool]": dict,
    "Mapping[str, str]": dict,
}
"""What a field's value must be, by the text of its annotation; others were made of their kind above."""


def _typed(made: RowRules | Filter | Privacy) -> bool:
    values = [(getattr(made, one.name), _KINDS.get(str(one.type), object)) for one in fields(made)]
    names = [name for value, _ in values if isinstance(value, tuple) for name in value]
    return all(isinstance(value, kind) for value, kind in values) and all(isinstance(name, str) for name in names)


def _entries_typed(rules: RowRules) -> bool:
    """Whether the entries of tables are what they must be, and an age is a number."""
    switches, names = rules.filter.event_types, rules.event_names
    return (
        all(isinstance(name, str) and isinstance(on, bool) for name, on in switches.items())
        and all(isinstance(name, str) and isinstance(text, str) for name, text in names.items())
        and not isinstance(rules.oldest_day, bool)
        and not isinstance(rules.max_record, bool)
    )
