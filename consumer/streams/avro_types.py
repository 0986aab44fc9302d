"""Avro types as a tree. A named type that occurs again is a `Reference`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


@dataclass(frozen=True, slots=True)
class Primitive:
    """A type without a name. `scale` belongs to the logical type decimal."""

    type: str
    logical: str | None = None
    scale: int = 0


@dataclass(frozen=True, slots=True)
class Enumeration:
    """An enum: its symbols in order."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed number of bytes."""

    size: int
    logical: str | None = None
    scale: int = 0


@dataclass(frozen=True, slots=True)
class Array:
    """A list of one type."""

    items: Node


@dataclass(frozen=True, slots=True)
class Dictionary:
    """An Avro map: text to one type."""

    values: Node


@dataclass(frozen=True, slots=True)
class Union:
    """One of several types."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A record's field. `properties` has the keys of its JSON object other than name and type."""

    name: str
    type: Node
    aliases: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class AvroRecord:
    """A record: its fields in the order they are written."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A named type defined elsewhere in the schema, possibly around this very place."""

    name: str


Node = Primitive | Enumeration | Fixed | Array | Dictionary | Union | AvroRecord | Reference


@dataclass(frozen=True, slots=True)
class Schema:
    """A record schema: its root, and every named type by full name.

    For a top-level union of records, `union` is the union, and `root` has the fields of all its branches by name.
    """

    root: AvroRecord
    names: Mapping[str, Node] = field(hash=False)
    union: Union | None = None
