"""Avro schemas as a tree of types, validated so strictly that later code can rely on them.

`parse` turns the JSON text of a record schema into nodes; full names are resolved, a named type that occurs again is a
`Reference`. A logical type that does not fit its type is dropped, as the Avro specification requires.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from consumer.streams.avro_types import (
    PRIMITIVES,
    Array,
    AvroRecord,
    Dictionary,
    Enumeration,
    Field,
    Fixed,
    Node,
    Primitive,
    Reference,
    Schema,
    Union,
)
from consumer.streams.rules import ROWS_VERSION

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
    "bytes": {"decimal", "big-decimal"},
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
LONGEST_NAME = 1_000
"""Characters of a name or a symbol, which a record of a few bytes puts into a cell as often as it likes."""
LONGEST_TEXT = 8 << 20
"""Characters of a schema."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class SchemaError(ValueError):
    """The text is not an Avro schema of a record."""


def parse(text: str, version: int = ROWS_VERSION) -> Schema:
    """Read a record schema, or a union of record schemas, by the row rules of this version.

    Raises SchemaError with what is wrong and where.
    """
    if version > 1 and len(text) > LONGEST_TEXT:
        raise SchemaError(f"it has more than {LONGEST_TEXT} characters")
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SchemaError(f"not JSON: {error}") from error
    parser = _Parser(version)
    try:
        if isinstance(raw, list) and version > 1:
            return _union_at_the_top(parser.node(raw, ""), parser.names)
        if not isinstance(raw, dict) or raw.get("type") != "record":
            raise SchemaError('not a record: expected a JSON object with "type": "record"')
        root = parser.node(raw, "")
    except RecursionError:
        raise SchemaError("nested too deep") from None
    if not isinstance(root, AvroRecord):  # pragma: no cover - the check above made it one
        raise SchemaError("not a record")
    return Schema(root, parser.names)


def _union_at_the_top(union: Node, names: Mapping[str, Node]) -> Schema:
    """Several kinds of records in one schema: their fields by name.

    A field of several records keeps its type if they agree; otherwise its type is the union of theirs.
    """
    branches = union.branches if isinstance(union, Union) else ()
    records = [branch for branch in branches if isinstance(branch, AvroRecord)]
    if not isinstance(union, Union) or len(records) + (Primitive("null") in branches) < len(branches):
        raise SchemaError("a union at the top level may only have records and null")
    if not records:
        raise SchemaError("a union without a record")
    found: dict[str, list[Field]] = {}
    for record in records:
        for one in record.fields:
            found.setdefault(one.name, []).append(one)
    fields = tuple(_common(same) for same in found.values())
    return Schema(AvroRecord(" ".join(record.name for record in records), fields), names, union)


def _common(same: Sequence[Field]) -> Field:
    """One field for those of the same name in several records."""
    first = same[0]
    types: dict[Node, None] = {}
    for one in same:
        types.update(dict.fromkeys(one.type.branches if isinstance(one.type, Union) else (one.type,)))
    aliases = tuple(dict.fromkeys(alias for one in same for alias in one.aliases))
    if all(one.type == first.type for one in same):
        return Field(first.name, first.type, aliases, first.properties)
    return Field(first.name, Union(tuple(types)), aliases, first.properties)


class _Parser:
    """Walks the JSON once; `names` fills with the named types met."""

    def __init__(self, version: int) -> None:
        self._strict = version == 1
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
            raise SchemaError(f"a type must be text, an object or a list, not {_short(raw)}")
        kind = _need(raw, "type")
        if isinstance(kind, str):
            if kind in self._complex:
                return self._complex[kind](raw, space)
            if kind in PRIMITIVES:
                logical, scale = _logical(kind, raw)
                return Primitive(kind) if self._strict and logical == "big-decimal" else Primitive(kind, logical, scale)
        return self.node(kind, space)

    def _named(self, name: str, space: str) -> Node:
        if name in PRIMITIVES:
            return Primitive(name)
        for full in (self._full(name, space), name):
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
        if not isinstance(name, str) or not self._is_name(name):
            raise SchemaError(f"a {raw['type']} needs a name of letters, digits and _, not {_short(name)}")
        self._bound(name)
        own = raw.get("namespace", space)
        full = self._full(name, own if isinstance(own, str) else space)
        if full in self.names or full in self._open:
            raise SchemaError(f"{full} is defined twice")
        return full, full.rpartition(".")[0]

    def _record(self, raw: Mapping[str, Any], space: str) -> AvroRecord:
        full, inner = self._claim(raw, space)
        fields = raw.get("fields")
        if not isinstance(fields, list):
            raise SchemaError(f"record {full} has no list of fields")
        self._fields += len(fields)
        if self._fields > MOST_FIELDS:
            raise SchemaError(f"it has more than {MOST_FIELDS} fields")
        self._open.add(full)
        record = AvroRecord(full, tuple(self._field(one, full, inner) for one in fields))
        self._open.remove(full)
        names = [one.name for one in record.fields]
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            raise SchemaError(f"record {full} has a field twice: {', '.join(twice)}")
        self.names[full] = record
        return record

    def _field(self, raw: object, record: str, space: str) -> Field:
        if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not raw["name"]:
            raise SchemaError(f"a field of {record} is not an object with a name: {_short(raw)}")
        self._bound(raw["name"])
        try:
            kind = self.node(_need(raw, "type"), space)
        except SchemaError as error:
            raise SchemaError(f"field {raw['name']}: {error}") from error
        aliases = raw.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise SchemaError(f"field {raw['name']}: aliases is not a list of names")
        rest = {key: value for key, value in raw.items() if key not in {"name", "type", "aliases"}}
        return Field(raw["name"], kind, tuple(aliases), rest)

    def _enum(self, raw: Mapping[str, Any], space: str) -> Enumeration:
        full, _ = self._claim(raw, space)
        symbols = raw.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(one, str) for one in symbols):
            raise SchemaError(f"enum {full} has no list of symbols")
        if len(set(symbols)) < len(symbols):
            raise SchemaError(f"enum {full} has a symbol twice")
        for symbol in symbols:
            self._bound(symbol)
        return self._keep(full, Enumeration(tuple(symbols)))

    def _fixed(self, raw: Mapping[str, Any], space: str) -> Fixed:
        full, _ = self._claim(raw, space)
        size = raw.get("size")
        if type(size) is not int or size < 0:
            raise SchemaError(f"fixed {full} has no size")
        logical, scale = _logical("fixed", raw)
        return self._keep(full, Fixed(size, None if logical == "uuid" and size != 16 else logical, scale))  # noqa: PLR2004 - bytes of a UUID

    def _is_name(self, name: str) -> bool:
        """Release 0.1 only used a namespace inside the name, never the separate attribute."""
        return _NAME.fullmatch(name if self._strict else name.rpartition(".")[2]) is not None

    def _full(self, name: str, space: str) -> str:
        return name if self._strict and "." in name else full_name(name, space)

    def _bound(self, name: str) -> None:
        if not self._strict and len(name) > LONGEST_NAME:
            raise SchemaError(f"a name of more than {LONGEST_NAME} characters: {_short(name)}")

    def _keep(self, full: str, node: Named) -> Named:
        self.names[full] = node
        return node


def _need(raw: Mapping[str, Any], key: str) -> object:
    if key not in raw:
        raise SchemaError(f"{_short(raw)} lacks {key!r}")
    return raw[key]


def full_name(name: str, space: str) -> str:
    """The full name of a type. A leading dot, as an empty namespace, means none."""
    if "." in name:
        return name.lstrip(".")
    return f"{space}.{name}" if space else name


def _branch_key(node: Node) -> str:
    if isinstance(node, Primitive):
        return node.type
    if isinstance(node, Array | Dictionary):
        return type(node).__name__.lower()
    return node.name if isinstance(node, AvroRecord | Reference) else f"{type(node).__name__.lower()} {id(node)}"


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
