"""The columns of a stream: what the schema's fields become in the CSV.

A field of the Avro schema can be marked as JSON text with the property `"adapty.type": "json"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.streams.avro_schema import parse
from consumer.streams.avro_types import Array, Dictionary, Enumeration, Field, Fixed, Node, Primitive, Record, Union
from consumer.streams.kinds import ATTRIBUTES, ATTRIBUTES_ALIAS, kind_of
from consumer.streams.rules import RowRules

MARK = "adapty.type"
"""The field property that says what an Avro type cannot."""


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


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the input names that fill it, its own first."""

    name: str
    kind: ColumnKind
    inputs: tuple[str, ...]


def columns_of(rules: RowRules) -> tuple[Column, ...]:
    """The columns that these rules write, in order. Raises SchemaError."""
    kind = kind_of(rules.kind)
    fields = parse(rules.schema).root.fields
    names = {field.name for field in fields}
    aliases = {name: tuple(alias for alias in more if alias not in names) for name, more in kind.aliases.items()}
    columns = [_column(field, aliases, kind.json_columns) for field in fields]
    if rules.send_user_attributes and kind.attributes and ATTRIBUTES not in names:
        columns.append(Column(ATTRIBUTES, ColumnKind.JSON, (ATTRIBUTES, ATTRIBUTES_ALIAS)))
    return tuple(columns)


def column_names(rules: RowRules) -> tuple[str, ...]:
    """Their names. Raises SchemaError."""
    return tuple(column.name for column in columns_of(rules))


def known_inputs(rules: RowRules, columns: tuple[Column, ...]) -> frozenset[str]:
    """The input names that are not counted as unknown: those of columns, and attributes that are switched off."""
    known = {name for column in columns for name in column.inputs}
    return frozenset(known | ({ATTRIBUTES, ATTRIBUTES_ALIAS} if kind_of(rules.kind).attributes else set()))


def _column(field: Field, aliases: Mapping[str, tuple[str, ...]], json_columns: frozenset[str]) -> Column:
    marked = field.properties.get(MARK) == "json" or field.name in json_columns
    inputs = tuple(dict.fromkeys((field.name, *field.aliases, *aliases.get(field.name, ()))))
    return Column(field.name, ColumnKind.JSON if marked else column_kind(field.type), inputs)


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
    """The kind of column that a type makes. Null beside one other type makes no difference."""
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
        case Array() | Dictionary() | Record():
            return ColumnKind.ANY
    return ColumnKind.ANY


def _logical_kind(logical: str | None) -> ColumnKind | None:
    if logical is None or logical == "uuid":
        return None
    if "timestamp" in logical:
        return ColumnKind.INSTANT
    return {"date": ColumnKind.DATE, "decimal": ColumnKind.DECIMAL}.get(logical, ColumnKind.TIME)
