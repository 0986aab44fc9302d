"""A writer's Avro schema for the extension: type by type, with the target columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumer.decode.avro_decoder import Writer
from consumer.decode.defaults import defaults_of
from consumer.shape.exact.cells import cell
from consumer.shape.native.extension import FieldSpec, ProgramSpec, TypeSpec
from consumer.streams.avro_types import (
    Array,
    AvroRecord,
    Dictionary,
    Enumeration,
    Field,
    Fixed,
    Node,
    Primitive,
    Reference,
    Union,
)
from consumer.streams.columns import Column, ColumnKind

_NULL = Primitive("null")
_NEVER, _FIRST, _SECOND = 0, 1, 2
NOBODY = -1
MOST_SYMBOLS = 8 << 10
"""Bytes of the longest symbols of all enums together: a datum of some bytes may name them all."""
MOST_TYPES = 20_000
"""Types of a record, counting repeated ones each time: they are passed one by one."""
DEEPEST = 40
"""Levels of types within one another; fewer than any bound of the exact engine."""
OTHER: TypeSpec = ("other", -1, 0, [], [])
_PRIMITIVES = {"string": "text", "int": "long"}
_LOGICAL = {"timestamp-millis": "millis", "timestamp-micros": "micros", "timestamp-nanos": "nanos", "date": "date"}
_LOGICAL |= {"time-millis": "time-millis", "time-micros": "time-micros"}


class _TooMuchError(Exception):
    """Too many types, too deep ones, or a recursive one."""


def programs(
    writer: Writer, columns: Sequence[Column], kinds: Sequence[str], defaults: Mapping[str, str]
) -> list[ProgramSpec | None]:
    """The records of a writer, one per branch of a top-level union; None if only the exact engine can read it.

    `kinds` gives the kind of each column, `defaults` the text of a default by the column's name.
    """
    return [
        _program(one, writer.names, columns, kinds, defaults) if isinstance(one, AvroRecord) else None
        for one in writer.types
    ]


def _program(
    root: AvroRecord,
    names: Mapping[str, Node],
    columns: Sequence[Column],
    kinds: Sequence[str],
    defaults: Mapping[str, str],
) -> ProgramSpec | None:
    having = {field.name for field in root.fields}
    slots: dict[str, tuple[int, int]] = {}
    later: list[tuple[int, int]] = []
    absent: list[tuple[int, str]] = []
    for number, column in enumerate(columns):
        found = [name for name in column.inputs if name in having]
        if not found and column.name in defaults:
            absent.append((number, defaults[column.name]))
        for name in found[1:]:  # the first that is not null counts
            slots[name] = (number, len(columns) + len(later))
            later.append(slots[name])
        slots.update(dict.fromkeys(found[:1], (number, number)))
    types = _Types(names)
    # what takes no bytes and fills nothing is left out: a record of a few bytes may have thousands of it
    read = [field for field in root.fields if field.name in slots or field.type != _NULL]
    fields = [_field(field, slots.get(field.name), kinds, types) for field in read]
    return (fields, absent, later) if sum(_longest(spec[0]) for spec in fields) <= MOST_SYMBOLS else None


def default_texts(columns: Sequence[Column]) -> Mapping[str, str] | None:
    """The text of the defaults of columns; None if one counts as odd."""
    values, texts = defaults_of(columns), {}
    for column in columns:
        if column.name in values:
            text, odd = cell(column.kind, values[column.name], column.reading)
            if odd is not None or text is None or "\0" in text:
                return None
            texts[column.name] = text
    return texts


def kind_of_column(column: Column, *, timed: bool) -> str:
    """What a column takes, and the unit that it declares; of one that is a row's time only whole days are its cell."""
    unit = column.reading.unit
    name = "day" if timed and column.kind is ColumnKind.DATE else column.kind.value
    return f"{name} {unit}" if unit and column.kind in {ColumnKind.DATE, ColumnKind.INSTANT} else name


def _field(field: Field, slot: tuple[int, int] | None, kinds: Sequence[str], types: _Types) -> FieldSpec:
    node, null = _inner(field.type)
    try:
        spec = types.spec(node)
    except _TooMuchError:
        spec = OTHER
    if slot is None:
        return (_skipped(spec), "any", null, NOBODY)
    return (spec, kinds[slot[0]], null, slot[1])


def _inner(node: Node) -> tuple[Node, int]:
    """A field's type without null, and the place of null. Other unions are returned unchanged."""
    match node:
        case Union((first, second)) if first == _NULL and second != _NULL:
            return second, _FIRST
        case Union((first, second)) if second == _NULL and first != _NULL:
            return first, _SECOND
    return node, _NEVER


def _skipped(spec: TypeSpec) -> TypeSpec:
    """The type without its logical type: the value is not needed."""
    name, size, _, words, parts = spec
    if name in _LOGICAL.values():
        return ("long", -1, 0, [], [])
    if name in {"decimal", "big-decimal"}:
        return ("bytes", size, 0, [], [])
    return (name, size, 0, words, [_skipped(part) for part in parts])


def _longest(spec: TypeSpec) -> int:
    """The most bytes of symbols of a value outside lists and objects; those inside are counted as they come."""
    name, _, _, words, parts = spec
    if name == "symbol":
        return max((len(word.encode()) for word in words), default=0)
    return max(map(_longest, parts), default=0) if name == "union" else 0


class _Types:
    """The types of one record, each in its place, named ones repeated."""

    def __init__(self, names: Mapping[str, Node]) -> None:
        self._names, self._left = names, MOST_TYPES

    def spec(self, node: Node, depth: int = 0) -> TypeSpec:
        """One type. Raises _TooMuchError."""
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            raise _TooMuchError
        if isinstance(node, Reference):
            return self.spec(self._names[node.name], depth + 1)
        match node:
            case Primitive() | Fixed():
                return _leaf(node)
            case Enumeration(symbols):
                return ("symbol", -1, 0, list(symbols), [])
        name, words, inner = _parts(node)
        return (name, -1, 0, words, [self.spec(one, depth + 1) for one in inner])


def _parts(node: Union | Array | Dictionary | AvroRecord) -> tuple[str, list[str], Sequence[Node]]:
    """The name of a type with types in it, the names of its fields, and the types."""
    match node:
        case Union(branches):
            return "union", [], branches
        case Array(items):
            return "array", [], (items,)
        case Dictionary(values):
            return "map", [], (values,)
    return "record", [one.name for one in node.fields], [one.type for one in node.fields]


def _leaf(node: Primitive | Fixed) -> TypeSpec:
    logical = (node.logical or "").removeprefix("local-")
    size = node.size if isinstance(node, Fixed) else -1
    if logical == "decimal":
        return ("decimal", size, node.scale, [], [])
    if isinstance(node, Fixed):
        return ("uuid", -1, 0, [], []) if logical == "uuid" else ("bytes", size, 0, [], [])
    if logical == "big-decimal":
        return ("big-decimal", -1, 0, [], [])
    if logical and logical not in _LOGICAL and logical != "uuid":
        return OTHER
    return (_LOGICAL.get(logical) or _PRIMITIVES.get(node.type, node.type), -1, 0, [], [])
