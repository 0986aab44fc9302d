"""The value of a column that a record has no field for: the default of the stream's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consumer.decode.primitives import NUMBERS, big_decimal_value, decimal_value, uuid_text
from consumer.decode.values import Value
from consumer.streams.avro_types import Fixed
from consumer.streams.columns import Column
from consumer.streams.defaults import Default, Leaf


def defaults_of(columns: Iterable[Column]) -> Mapping[str, Value]:
    """The defaults of columns, by name; one that is null is left out."""
    return {column.name: _value(column.default) for column in columns if column.default is not None}


def _value(default: Default) -> Value:
    match default:
        case Leaf():
            return _leaf(default)
        case list():
            return [_value(one) for one in default]
        case dict():
            return {name: _value(one) for name, one in default.items()}
    return default


def _leaf(leaf: Leaf) -> Value:
    kind, logical = leaf.type, leaf.type.logical
    if isinstance(kind, Fixed) or kind.type == "bytes":
        raw = leaf.raw.encode("latin-1")
        if logical == "decimal":
            return decimal_value(raw, kind.scale)
        if logical == "big-decimal":
            return big_decimal_value(raw)
        return uuid_text(raw) if logical == "uuid" else raw.hex()
    if kind.type in {"float", "double"}:
        return float(leaf.raw)
    wrap = NUMBERS.get((logical or "").removeprefix("local-"))
    found: Value = wrap(leaf.raw) if wrap else leaf.raw
    return found
