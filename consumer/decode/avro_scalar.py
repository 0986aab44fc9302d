"""Decodes one Avro datum exactly as specified: the oracle for the native engine.

`reader` turns a schema into nested functions (buffer, position, budget) -> (value, position). fastavro is deliberately
not used: it counts a negative union index from the end, takes any non-zero byte for true, and builds as many items as
an array's count says, even if they have no bytes. Hostile input ends in BadRecordError, never in memory or time beyond
the size of the datum: `Budget` limits the items, the values without bytes, the depth of recursive types, and the
symbols and names that the schema puts into cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consumer.decode.primitives import Budget, Reader, bad, fixed, long, primitive, spend_empty, spend_output, text
from consumer.decode.values import Value, nested_too_deep
from consumer.streams.avro_schema import MOST_FIELDS
from consumer.streams.avro_types import (
    Array,
    AvroRecord,
    Dictionary,
    Enumeration,
    Fixed,
    Node,
    Primitive,
    Reference,
    Union,
)
from consumer.streams.rules import ROWS_VERSION

SPARE_ITEMS = 1_000
"""Array and map items allowed beyond one for each byte: only items without bytes can need them."""
SPARE_OUTPUT = 16 << 10
OUTPUT_FOR_A_BYTE = 16
"""Bytes of symbols and names in the cells of a record: in all, and for each byte of it."""


def reader(node: Node, names: Mapping[str, Node], version: int = ROWS_VERSION) -> Reader:
    """The function that reads a value of this type. `names` has the types of references."""
    return _Builder(names, version).build(node)


class _Builder:
    """Makes readers; those of references are made on first use, as a type may contain itself."""

    def __init__(self, names: Mapping[str, Node], version: int) -> None:
        self._names, self._version = names, version
        self._made: dict[str, Reader] = {}

    def build(self, node: Node) -> Reader:
        match node:
            case Primitive():
                return primitive(node, self._version)
            case Fixed():
                return fixed(node, self._version)
            case Enumeration(symbols):
                return _enumeration(symbols)
            case Reference(name):
                return self._late(name)
        return self._nesting(node)

    def _nesting(self, node: Union | Array | Dictionary | AvroRecord) -> Reader:
        match node:
            case Union(branches):
                return _union(branches, [self.build(branch) for branch in branches])
            case Array(items):
                return _array(self.build(items))
            case Dictionary(values):
                return _dictionary(self.build(values))
            case AvroRecord(fields=fields):
                return _record([(field.name, self.build(field.type)) for field in fields])

    def _late(self, name: str) -> Reader:
        def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
            if name not in self._made:
                self._made[name] = self.build(self._names[name])
            budget.depth -= 1
            if budget.depth < 0:
                raise bad("a type is nested in itself too often")
            value, position = self._made[name](buffer, position, budget)
            budget.depth += 1
            return value, position

        return read


def _enumeration(symbols: tuple[str, ...]) -> Reader:
    sizes = [len(symbol.encode()) for symbol in symbols]

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
        index, position = long(buffer, position, budget)
        if not 0 <= index < len(symbols):
            raise bad(f"symbol {index} of {len(symbols)}")
        spend_output(budget, sizes[index])
        return symbols[index], position

    return read


def _union(branches: tuple[Node, ...], readers: list[Reader]) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        branch, position = long(buffer, position, budget)
        if not 0 <= branch < len(readers):
            raise bad(f"branch {branch} of {len(readers)}")
        return readers[branch](buffer, position, budget)

    if branches[0] == Primitive("null") and len(branches) == 2:  # noqa: PLR2004 - the usual optional field
        return _optional(readers[1], read)
    return read


def _optional(inner: Reader, general: Reader) -> Reader:
    """The same as `general`, quicker for the two usual index bytes."""

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        index = buffer[position]
        if index == 0:
            return None, position + 1
        if index == 2:  # noqa: PLR2004 - zigzag for 1
            return inner(buffer, position + 1, budget)
        return general(buffer, position, budget)

    return read


def _counts(buffer: bytes, position: int, budget: Budget) -> tuple[int, int]:
    """The items of the next block of an array or map, 0 at its end."""
    count, position = long(buffer, position, budget)
    if count < 0:
        count = -count
        _, position = long(buffer, position, budget)
    budget.items -= count
    if budget.items < 0:
        raise bad("more items than bytes")
    return count, position


def _array(item: Reader) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[list[Value], int]:
        found: list[Value] = []
        while True:
            count, position = _counts(buffer, position, budget)
            if count == 0:
                return found, position
            for _ in range(count):
                value, position = item(buffer, position, budget)
                found.append(value)

    return read


def _dictionary(item: Reader) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[dict[str, Value], int]:
        found: dict[str, Value] = {}
        while True:
            count, position = _counts(buffer, position, budget)
            if count == 0:
                return found, position
            for _ in range(count):
                key, position = text(buffer, position, budget)
                found[key], position = item(buffer, position, budget)

    return read


def _record(fields: list[tuple[str, Reader]]) -> Reader:
    size = names_size(name for name, _ in fields)

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[dict[str, Value], int]:
        found: dict[str, Value] = {}
        if not fields:
            spend_empty(budget)
        spend_output(budget, size)
        for name, part in fields:
            found[name], position = part(buffer, position, budget)
        return found, position

    return read


def names_size(names: Iterable[str]) -> int:
    """Bytes of names that may be written into a cell."""
    return sum(len(name.encode()) for name in names)


def decode(read: Reader, buffer: bytes, output: int | None = None) -> tuple[Value, int]:
    """The value of a whole datum, and the number of texts repaired. Raises BadRecordError unless all bytes are used.

    `output` are the bytes that symbols and names may have (None: as many as there are).
    """
    budget = Budget(len(buffer) + SPARE_ITEMS, 2 * len(buffer) + MOST_FIELDS + SPARE_ITEMS)
    if output is not None:
        budget.output = output
    try:
        value, position = read(buffer, 0, budget)
    except IndexError:
        raise bad("it ends too early") from None
    except RecursionError:
        raise bad("nested too deep") from None
    if nested_too_deep(value):
        raise bad("nested too deep")
    if position != len(buffer):
        raise bad(f"{len(buffer) - position} bytes too many")
    return value, budget.mended
