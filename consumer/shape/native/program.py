"""A writer's Avro schema as the extension reads it: field by field, seen from the columns that are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumer.shape.native.extension import FieldSpec
from consumer.streams.avro_types import Enumeration, Field, Node, Primitive, Record, Union
from consumer.streams.columns import Column, ColumnKind

_NULL = Primitive("null")
_NEVER, _FIRST, _SECOND = 0, 1, 2
NOBODY = -1
MOST_SYMBOLS = 10_000
"""Characters of the longest symbols of all enums together: a datum of some bytes may name them all."""
_TEXT, _LONG, _DAYS = "text", "long", "days"
_SKIPPED = {"string": "text", "bytes": "text", "boolean": "boolean", "int": "long", "long": "long"}
_SKIPPED |= {"float": "float", "double": "double"}
_STAMPS = {"timestamp-millis": "millis", "timestamp-micros": "micros", "timestamp-nanos": "nanos"}
_PLAIN: Mapping[ColumnKind, Mapping[str, str]] = {
    ColumnKind.TEXT: {"string": "text", "int": "long", "long": "long", "boolean": "boolean"},
    ColumnKind.JSON: {"string": "text", "int": "long", "long": "long", "boolean": "boolean"},
    ColumnKind.INTEGER: {"string": "text-integer", "int": "long", "long": "long"},
    ColumnKind.REAL: {
        "string": "text-real",
        "int": "long-real",
        "long": "long-real",
        "float": "float",
        "double": "double",
    },
    ColumnKind.REAL32: {
        "string": "text-short",
        "int": "long-short",
        "long": "long-short",
        "float": "float-short",
        "double": "double-short",
    },
    ColumnKind.BOOLEAN: {"boolean": "boolean"},
    ColumnKind.INSTANT: {"string": "text-instant", "int": "epoch", "long": "epoch"},
    ColumnKind.DATE: {"string": "text-date"},
}
"""The way to read a primitive without a meaning of its own, by the column's kind. What is missing is left."""


def program(root: Node | None, columns: Sequence[Column], *, shipped: bool) -> list[FieldSpec] | None:
    """The fields of a writer's record, or None where only the exact engine reads them.

    `shipped`: numbers in columns of instants have the unit of their magnitude.
    """
    if not isinstance(root, Record):
        return None
    names = {field.name for field in root.fields}
    taken: dict[str, int] = {}
    for number, column in enumerate(columns):
        found = [name for name in column.inputs if name in names]
        if len(found) > 1:  # the first that is not null: not told by one field
            return None
        if found:
            taken[found[0]] = number
    made = []
    for field in root.fields:
        number = taken.get(field.name, NOBODY)
        spec = _field(field, None if number == NOBODY else columns[number], number, shipped=shipped)
        if spec is None:
            return None
        made.append(spec)
    longest = sum(max(map(len, symbols), default=0) for *_, symbols in made)
    return made if longest <= MOST_SYMBOLS else None


def _field(field: Field, column: Column | None, number: int, *, shipped: bool) -> FieldSpec | None:
    node, null = _inner(field.type)
    if isinstance(node, Enumeration):
        if column is not None and column.kind not in {ColumnKind.TEXT, ColumnKind.JSON}:
            return None
        return ("symbol", null, number, list(node.symbols))
    if not isinstance(node, Primitive):
        return None
    if node == _NULL:
        return ("nothing", _NEVER, number, [])
    way = _SKIPPED.get(node.type) if column is None else _way(node, column.kind, shipped=shipped)
    return None if way is None else (way, null, number, [])


def _inner(node: Node) -> tuple[Node, int]:
    """A field's type without null, and where null stands. Other unions come back as they are."""
    match node:
        case Union((first, second)) if first == _NULL and second != _NULL:
            return second, _FIRST
        case Union((first, second)) if second == _NULL and first != _NULL:
            return first, _SECOND
    return node, _NEVER


def _way(node: Primitive, kind: ColumnKind, *, shipped: bool) -> str | None:
    if node.logical is None or node.logical == "uuid":
        way = _PLAIN.get(kind, {}).get(node.type)
        return None if way == "epoch" and not shipped else way
    if kind is ColumnKind.INSTANT:
        return "days-instant" if node.logical == "date" else _STAMPS.get(node.logical.removeprefix("local-"))
    return _DAYS if kind is ColumnKind.DATE and node.logical == "date" else None
