"""Default values of schema fields, checked against their types. `decode` turns them into values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from consumer.streams.avro_types import Array, AvroRecord, Dictionary, Enumeration, Fixed, Node, Primitive, Reference
from consumer.streams.avro_types import Union as AnyOf

DEEPEST = 50
"""Levels of a default: a type within itself may have defaults without end."""
_RANGES = {"int": 1 << 31, "long": 1 << 63}


@dataclass(frozen=True, slots=True)
class Leaf:
    """The default of a type without parts: JSON that fits it. Bytes are text of the code points 0 to 255."""

    type: Primitive | Fixed
    raw: Any


Default: TypeAlias = Union[Leaf, str, "list[Default]", "dict[str, Default]", None]
"""A default: leaves in lists and objects; text is a symbol."""


def default_of(node: Node, raw: Any, names: Mapping[str, Node], left: int = DEEPEST) -> Default:
    """The default that `raw` means for a type; of a union, for the first branch that takes it.

    Raises ValueError if it does not fit.
    """
    if left < 0:
        raise ValueError("a default without end")
    match node:
        case Reference(name):
            return default_of(names[name], raw, names, left - 1)
        case AnyOf(branches):
            return _first(branches, raw, names, left)
        case Array() | Dictionary() | AvroRecord():
            return _nesting(node, raw, names, left)
    return _leaf(node, raw)


def _nesting(node: Array | Dictionary | AvroRecord, raw: Any, names: Mapping[str, Node], left: int) -> Default:
    match node:
        case Array(items) if isinstance(raw, list):
            return [default_of(items, one, names, left - 1) for one in raw]
        case Dictionary(values) if isinstance(raw, dict):
            return {name: default_of(values, one, names, left - 1) for name, one in raw.items()}
        case AvroRecord(fields=fields) if isinstance(raw, dict):
            given = {one.name: raw.get(one.name, one.properties.get("default")) for one in fields}
            return {one.name: default_of(one.type, given[one.name], names, left - 1) for one in fields}
    raise ValueError("the default does not fit the type")


def _first(branches: tuple[Node, ...], raw: Any, names: Mapping[str, Node], left: int) -> Default:
    for branch in branches:
        try:
            return default_of(branch, raw, names, left - 1)
        except ValueError:
            continue
    raise ValueError("the default fits no type of the union")


def _leaf(node: Primitive | Fixed | Enumeration, raw: Any) -> Leaf | str | None:
    if isinstance(node, Enumeration) and isinstance(raw, str) and raw in node.symbols:
        return raw
    if node == Primitive("null") and raw is None:
        return None
    if isinstance(node, Enumeration) or not _fits(node, raw):
        raise ValueError("the default does not fit the type")
    return Leaf(node, raw)


def _fits(node: Primitive | Fixed, raw: Any) -> bool:
    if isinstance(node, Fixed) or node.type == "bytes":
        fits = isinstance(raw, str) and all(ord(one) < 1 << 8 for one in raw)
        return fits and (isinstance(node, Primitive) or len(raw) == node.size)
    if (bound := _RANGES.get(node.type)) is not None:
        return type(raw) is int and -bound <= raw < bound
    if node.type in {"float", "double"}:
        return isinstance(raw, int | float) and not isinstance(raw, bool)
    return isinstance(raw, bool if node.type == "boolean" else str) and node.type != "null"
