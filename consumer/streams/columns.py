"""The columns of a stream: what the schema's fields become in the CSV.

A field of the Avro schema can be marked as JSON text with the property `"adapty.type": "json"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.avro_types import (
    Array,
    AvroRecord,
    Dictionary,
    Enumeration,
    Field,
    Fixed,
    Node,
    Primitive,
    Schema,
    Union,
)
from consumer.streams.defaults import Default, default_of
from consumer.streams.kinds import ATTRIBUTES, ATTRIBUTES_ALIAS, CUSTOM, INTEGRATION_IDS, Kind, kind_of
from consumer.streams.rules import RowRules

MARK = "adapty.type"
"""The field property for what an Avro type cannot express."""
PERSONAL = "personal"
"""The field property that marks a column about a person."""
KEPT = 32
"""Schemas, and lists of columns, that stay once made: every reader of a stream's rules asks for the same ones."""


class ColumnKind(StrEnum):
    """How a column's cells are written, and what fits into it. `ANY` takes every value as it comes."""

    TEXT = "text"
    JSON = "json"
    INTEGER = "integer"
    REAL = "real"
    REAL32 = "real32"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    DATE = "date"
    TIME = "time"
    DECIMAL = "decimal"
    ANY = "any"


class Unit(StrEnum):
    """What an epoch number of a column counts."""

    DAYS = "days"
    MILLIS = "millis"
    MICROS = "micros"
    NANOS = "nanos"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column reads times: numbers in `unit` (None: by their magnitude), and text dates as written or in UTC."""

    unit: Unit | None = None
    as_written: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the input names that fill it, its own first.

    `default` fills it where a record has none of its inputs; None: nothing does.
    """

    name: str
    kind: ColumnKind
    inputs: tuple[str, ...]
    reading: Reading = Reading()
    default: Default = field(default=None, hash=False)


def columns_of(rules: RowRules) -> tuple[Column, ...]:
    """The columns that these rules write, in order. Raises SchemaError."""
    return _columns(
        rules.kind,
        rules.schema,
        rules.version,
        attributes=rules.send_user_attributes,
        integration_ids=rules.send_integration_ids,
    )


_schema = lru_cache(KEPT)(parse)


@lru_cache(KEPT)
def _columns(of: str, text: str, version: int, *, attributes: bool, integration_ids: bool) -> tuple[Column, ...]:
    """`columns_of` by what it looks at: `RowRules` with their tables have no hash."""
    kind, schema = kind_of(of), _schema(text, version)
    fields = schema.root.fields
    names = {field.name for field in fields}
    aliases = {name: tuple(alias for alias in more if alias not in names) for name, more in kind.aliases.items()}
    columns = [_column(field, aliases, kind, schema, version) for field in fields]
    if attributes and kind.attributes and ATTRIBUTES not in names:
        columns.append(Column(ATTRIBUTES, ColumnKind.JSON, (ATTRIBUTES, ATTRIBUTES_ALIAS)))
    if integration_ids and kind.integration_ids and INTEGRATION_IDS not in names:
        columns.append(Column(INTEGRATION_IDS, ColumnKind.JSON, (INTEGRATION_IDS,)))
    return tuple(columns)


def column_names(rules: RowRules) -> tuple[str, ...]:
    """Their names. Raises SchemaError."""
    return tuple(column.name for column in columns_of(rules))


def known_inputs(rules: RowRules, columns: tuple[Column, ...]) -> frozenset[str]:
    """The input names that are not counted as unknown: those of columns, and of columns that are switched off."""
    kind = kind_of(rules.kind)
    known = {name for column in columns for name in column.inputs}
    known |= {ATTRIBUTES, ATTRIBUTES_ALIAS} if kind.attributes else set()
    return frozenset(known | ({INTEGRATION_IDS} if kind.integration_ids else set()))


def personal_columns(rules: RowRules) -> tuple[str, ...]:
    """The columns about a person that the schema marks, and the appended ones, which are all about one."""
    marked = {
        one.name for one in _schema(rules.schema, rules.version).root.fields if one.properties.get(PERSONAL) is True
    }
    appended = {ATTRIBUTES, INTEGRATION_IDS} if kind_of(rules.kind).attributes else set()
    return tuple(column.name for column in columns_of(rules) if column.name in marked | appended)


def _column(field: Field, aliases: Mapping[str, tuple[str, ...]], stream: Kind, schema: Schema, version: int) -> Column:
    marked = field.properties.get(MARK) == "json" or field.name in stream.json_columns
    inputs = tuple(dict.fromkeys((field.name, *field.aliases, *aliases.get(field.name, ()))))
    kind = ColumnKind.JSON if marked else column_kind(field.type)
    if version == 1:
        return Column(field.name, kind, inputs)
    unit = declared_unit(field.type) if stream.name == CUSTOM else None
    return Column(
        field.name, kind, inputs, Reading(unit, as_written=kind is ColumnKind.DATE), _default(field, schema.names)
    )


def _default(field: Field, names: Mapping[str, Node]) -> Default:
    """The default of a field, None if there is none. Raises SchemaError if it does not fit."""
    if (raw := field.properties.get("default")) is None:
        return None
    try:
        return default_of(field.type, raw, names)
    except ValueError as error:
        raise SchemaError(f"field {field.name}: {error}") from error


def declared_unit(node: Node) -> Unit | None:
    """The time unit of a type, nullable or not; None if it has none."""
    if isinstance(node, Union):
        inner = [branch for branch in node.branches if branch != Primitive("null")]
        return declared_unit(inner[0]) if len(inner) == 1 else None
    logical = node.logical if isinstance(node, Primitive) else None
    if logical == "date":
        return Unit.DAYS
    return Unit(logical.rpartition("-")[2]) if logical is not None and "timestamp" in logical else None


PRIMITIVE_KINDS = {
    "string": ColumnKind.TEXT,
    "bytes": ColumnKind.TEXT,
    "null": ColumnKind.TEXT,
    "boolean": ColumnKind.BOOLEAN,
    "int": ColumnKind.INTEGER,
    "long": ColumnKind.INTEGER,
    "float": ColumnKind.REAL32,
    "double": ColumnKind.REAL,
}


def column_kind(node: Node) -> ColumnKind:
    """The kind of column for a type. Null in a union with one other type makes no difference."""
    match node:
        case Union(branches):
            inner = [branch for branch in branches if branch != Primitive("null")]
            return column_kind(inner[0]) if len(inner) == 1 else ColumnKind.ANY if inner else ColumnKind.TEXT
        case Primitive(type=name, logical=logical):
            return _logical_kind(logical) or PRIMITIVE_KINDS[name]
        case Fixed(logical=logical):
            return _logical_kind(logical) or ColumnKind.TEXT
        case Enumeration():
            return ColumnKind.TEXT
        case Array() | Dictionary() | AvroRecord():
            return ColumnKind.ANY
    return ColumnKind.ANY


def _logical_kind(logical: str | None) -> ColumnKind | None:
    if logical is None or logical == "uuid":
        return None
    if "timestamp" in logical:
        return ColumnKind.INSTANT
    return _LOGICAL_KINDS.get(logical, ColumnKind.TIME)


_LOGICAL_KINDS = {"date": ColumnKind.DATE, "decimal": ColumnKind.DECIMAL, "big-decimal": ColumnKind.DECIMAL}
