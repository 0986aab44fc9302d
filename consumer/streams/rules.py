"""Row rules: all that decides what a record becomes. Kept in the bucket as `_seals/_settings/<digest>.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any

import orjson

ROWS_VERSION = 1
"""The version of the row rules in this code. A release also knows the rules of its predecessor."""


class Format(StrEnum):
    """How a record's value is written."""

    AVRO = "avro"
    AVRO_REGISTRY = "avro-registry"
    JSON = "json"


class DayBy(StrEnum):
    """Where a row's day comes from: its time field, or the record's timestamp."""

    EVENT = "event"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are kept (docs/settings.md). `environments` None keeps all; names are lower case."""

    event_types: Mapping[str, bool] = field(default_factory=dict)
    event_type_default: bool = True
    include_without_profile: bool = False
    exclude_historical: bool = False
    historical_before: datetime | None = None
    environments: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RowRules:
    """What decides the rows of one stream. Holds no secret and no address.

    `kind` is one of the shipped kinds or "custom". `schema` is the Avro schema text that names the columns,
    `writer_schema` the one that producers of bare Avro write (None: the same).
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
    version: int = ROWS_VERSION

    def document(self) -> bytes:
        """The rules as JSON, the same bytes for the same rules."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @property
    def digest(self) -> str:
        """The name of these rules in the bucket."""
        return hashlib.sha256(self.document()).hexdigest()[:16]


def rules_from_document(data: bytes) -> RowRules:
    """Read rules back. Raises ValueError, KeyError or TypeError where the text is not such a document."""
    raw: dict[str, Any] = orjson.loads(data)
    part = dict(raw["filter"])
    if part["historical_before"] is not None:
        part["historical_before"] = datetime.fromisoformat(part["historical_before"])
    if part["environments"] is not None:
        part["environments"] = tuple(part["environments"])
    rules = RowRules(
        **{**raw, "filter": Filter(**part), "format": Format(raw["format"]), "day_by": DayBy(raw["day_by"])}
    )
    if not (_typed(rules) and _typed(rules.filter) and all(map(_is_switch, rules.filter.event_types.items()))):
        raise TypeError("a field is not of its kind")
    return rules


_KINDS: Mapping[str, type | UnionType] = {
    "str": str,
    "str | None": str | None,
    "bool": bool,
    "int": int,
    "datetime | None": datetime | None,
    "Mapping[str, bool]": dict,
}
"""What a field's value must be, by the text of its annotation; others were made of their kind above."""


def _typed(made: RowRules | Filter) -> bool:
    environments = made.environments or () if isinstance(made, Filter) else ()
    return all(isinstance(name, str) for name in environments) and all(
        isinstance(getattr(made, field.name), _KINDS.get(str(field.type), object)) for field in fields(made)
    )


def _is_switch(named: tuple[object, object]) -> bool:
    return isinstance(named[0], str) and isinstance(named[1], bool)
