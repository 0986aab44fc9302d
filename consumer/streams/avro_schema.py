"""Avro schemas as a tree of types, strict enough that nothing after it has to doubt a schema.

`parse` turns the JSON text of a record schema into nodes; full names are resolved, the second mention of a named type
is a `Reference`. A logical type that does not fit what it annotates is dropped, as the Avro specification asks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from consumer.streams.avro_types import (
    PRIMITIVES,
    Array,
    Dictionary,
    Enumeration,
    Field,
    Fixed,
    Node,
    Primitive,
    Record,
    Reference,
    Schema,
    Union,
)

Named = TypeVar("Named", Enumeration, Fixed)

LOGICAL = {
    "int": {"date", "time-millis"},
    "long": {
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "local-timestamp-micros",
        "local-timestamp-nanos",
    },
    "bytes": {"decimal"},
    "fixed": {"decimal", "uuid"},
    "string": {"uuid"},
}
"""The logical types that mean something here, by the type they annotate."""
MOST_DIGITS = 1_000
"""Decimals of more digits are read as plain bytes: a scale must not make text of any length."""
DEEPEST = 100
"""Types within types. More than anybody writes by hand, fewer than Python's stack takes."""
MOST_FIELDS = 10_000
"""Fields of all records of a schema together: each of them may cost time in every row."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class SchemaError(ValueError):
    """The text is not an Avro schema of a record."""


def parse(text: str) -> Schema:
    """Read a record schema. Raises SchemaError, which says what is wrong and where."""
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SchemaError(f"not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("type") != "record":
        raise SchemaError('not a record: expected a JSON object with "type": "record"')
    parser = _Parser()
    try:
        root = parser.node(raw, "")
    except RecursionError:
        raise SchemaError("nested too deep") from None
    if not isinstance(root, Record):  # pragma: no cover - the check above made it one
        raise SchemaError("not a record")
    return Schema(root, parser.names)


class _Parser:
    """Walks the JSON once; `names` fills with the named types met."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self._open: set[str] = set()
        self._depth = 0
        self._fields = 0
        self._complex: dict[str, Callable[[Mapping[str, Any], str], Node]] = {
            "record": self._record,
            "error": self._record,
            "enum": self._enum,
            "fixed": self._fixed,
            "array": lambda raw, space: Array(self.node(_need(raw, "items"), space)),
            "map": lambda raw, space: Dictionary(self.node(_need(raw, "values"), space)),
        }

    def node(self, raw: object, space: str) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise SchemaError("nested too deep")
        made = self._node(raw, space)
        self._depth -= 1
        return made

    def _node(self, raw: object, space: str) -> Node:
        if isinstance(raw, str):
            return self._named(raw, space)
        if isinstance(raw, list):
            return self._union(raw, space)
        if not isinstance(raw, dict):
            raise SchemaError(f"a type is text, an object or a list, not {_short(raw)}")
        kind = _need(raw, "type")
        if isinstance(kind, str):
            if kind in self._complex:
                return self._complex[kind](raw, space)
            if kind in PRIMITIVES:
                return Primitive(kind, *_logical(kind, raw))
        return self.node(kind, space)

    def _named(self, name: str, space: str) -> Node:
        if name in PRIMITIVES:
            return Primitive(name)
        for full in (_full(name, space), name):
            if full in self.names or full in self._open:
                return Reference(full)
        raise SchemaError(f"unknown type {name!r}")

    def _union(self, raw: list[Any], space: str) -> Union:
        branches = tuple(self.node(branch, space) for branch in raw)
        if not branches:
            raise SchemaError("a union without branches")
        if any(isinstance(branch, Union) for branch in branches):
            raise SchemaError("a union directly inside a union")
        kinds = [_branch_key(branch) for branch in branches]
        if len(set(kinds)) < len(kinds):
            raise SchemaError(f"a union names a type twice: {', '.join(kinds)}")
        return Union(branches)

    def _claim(self, raw: Mapping[str, Any], space: str) -> tuple[str, str]:
        """The full name of a type now defined, and the namespace inside it."""
        name = raw.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SchemaError(f"a {raw['type']} needs a name of letters, digits and _, not {_short(name)}")
        own = raw.get("namespace", space)
        full = _full(name, own if isinstance(own, str) else space)
        if full in self.names or full in self._open:
            raise SchemaError(f"{full} is defined twice")
        return full, full.rpartition(".")[0]

    def _record(self, raw: Mapping[str, Any], space: str) -> Record:
        full, inner = self._claim(raw, space)
        fields = raw.get("fields")
        if not isinstance(fields, list):
            raise SchemaError(f"record {full} has no list of fields")
        self._fields += len(fields)
        if self._fields > MOST_FIELDS:
            raise SchemaError(f"it has more than {MOST_FIELDS} fields")
        self._open.add(full)
        record = Record(full, tuple(self._field(one, full, inner) for one in fields))
        self._open.remove(full)
        names = [one.name for one in record.fields]
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            raise SchemaError(f"record {full} has a field twice: {', '.join(twice)}")
        self.names[full] = record
        return record

    def _field(self, raw: object, record: str, space: str) -> Field:
        if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not raw["name"]:
            raise SchemaError(f"a field of {record} is no object with a name: {_short(raw)}")
        try:
            kind = self.node(_need(raw, "type"), space)
        except SchemaError as error:
            raise SchemaError(f"field {raw['name']}: {error}") from error
        aliases = raw.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise SchemaError(f"field {raw['name']}: aliases is no list of names")
        rest = {key: value for key, value in raw.items() if key not in {"name", "type", "aliases"}}
        return Field(raw["name"], kind, tuple(aliases), rest)

    def _enum(self, raw: Mapping[str, Any], space: str) -> Enumeration:
        full, _ = self._claim(raw, space)
        symbols = raw.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(one, str) for one in symbols):
            raise SchemaError(f"enum {full} has no list of symbols")
        if len(set(symbols)) < len(symbols):
            raise SchemaError(f"enum {full} has a symbol twice")
        return self._keep(full, Enumeration(tuple(symbols)))

    def _fixed(self, raw: Mapping[str, Any], space: str) -> Fixed:
        full, _ = self._claim(raw, space)
        size = raw.get("size")
        if type(size) is not int or size < 0:
            raise SchemaError(f"fixed {full} has no size")
        logical, scale = _logical("fixed", raw)
        return self._keep(full, Fixed(size, None if logical == "uuid" and size != 16 else logical, scale))  # noqa: PLR2004 - bytes of a UUID

    def _keep(self, full: str, node: Named) -> Named:
        self.names[full] = node
        return node


def _need(raw: Mapping[str, Any], key: str) -> object:
    if key not in raw:
        raise SchemaError(f"{_short(raw)} lacks {key!r}")
    return raw[key]


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _branch_key(node: Node) -> str:
    if isinstance(node, Primitive):
        return node.type
    if isinstance(node, Array | Dictionary):
        return type(node).__name__.lower()
    return node.name if isinstance(node, Record | Reference) else f"{type(node).__name__.lower()} {id(node)}"


def _logical(kind: str, raw: Mapping[str, Any]) -> tuple[str | None, int]:
    """The logical type and its scale, or (None, 0) where it means nothing here."""
    name = raw.get("logicalType")
    if not isinstance(name, str) or name not in LOGICAL.get(kind, ()):
        return None, 0
    if name != "decimal":
        return name, 0
    precision, scale = raw.get("precision"), raw.get("scale", 0)
    fits = type(precision) is int and type(scale) is int and 0 <= scale <= precision <= MOST_DIGITS
    return (name, scale) if fits else (None, 0)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - what fits in a message
