"""One Avro datum, decoded by the letter: the oracle that the vectorised path is held against.

`reader` turns a schema into nested functions (buffer, position, budget) -> (value, position). fastavro is not used
here on purpose: it takes a negative union index for one counted from the end, any non-zero byte for true, and builds
as many items as an array's count says, even where they have no bytes. Hostile input ends in BadRecordError, never in
memory or time beyond the size of the datum: `Budget` bounds the items and the depth of recursive types.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TypeAlias

from consumer.decode.values import DayNumber, Stamp, TimeOfDay, Value, nested_too_deep
from consumer.domain.errors import BadRecordError
from consumer.streams.schema import Array, Dictionary, Enumeration, Fixed, Node, Primitive, Record, Reference, Union

UNDECODABLE = "undecodable"
DEEPEST = 64
"""Levels of a recursive type. More than any record of ours, fewer than Python's stack takes."""
SPARE_ITEMS = 1_000
"""Array and map items allowed beyond one for each byte: only items without bytes can need them."""
_MASK = (1 << 64) - 1
_LONGEST_VARINT = 10
_EXACT = Context(prec=5_000)


@dataclass(slots=True)
class Budget:
    """What one datum may still use up. `mended` counts texts whose invalid UTF-8 was replaced."""

    items: int
    depth: int = DEEPEST
    mended: int = 0


Reader: TypeAlias = Callable[[bytes, int, Budget], tuple[Value, int]]


def bad(detail: str) -> BadRecordError:
    """The error of a datum that is not what its schema says."""
    return BadRecordError(UNDECODABLE, detail)


def long(buffer: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    """A zigzag varint of at most ten bytes; what they hold above 64 bits is lost, as in every decoder."""
    byte = buffer[position]
    if byte < 0x80:  # noqa: PLR2004 - one byte: nearly always
        return (byte >> 1) ^ -(byte & 1), position + 1
    raw, shift, start = byte & 0x7F, 7, position
    while True:
        position += 1
        if position - start >= _LONGEST_VARINT:
            raise bad("a varint of more than ten bytes")
        byte = buffer[position]
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last byte
            break
        shift += 7
    raw &= _MASK
    return (raw >> 1) ^ -(raw & 1), position + 1


def _chunk(buffer: bytes, position: int, budget: Budget) -> tuple[bytes, int]:
    """Bytes after their length."""
    length, position = long(buffer, position, budget)
    end = position + length
    if length < 0 or end > len(buffer):
        raise bad("a length beyond the end")
    return buffer[position:end], end


def _text(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
    raw, position = _chunk(buffer, position, budget)
    try:
        return raw.decode(), position
    except UnicodeDecodeError:
        budget.mended += 1
        return raw.decode("utf-8", "replace"), position


def _null(_buffer: bytes, position: int, _budget: Budget) -> tuple[None, int]:
    return None, position


def _boolean(buffer: bytes, position: int, _budget: Budget) -> tuple[bool, int]:
    byte = buffer[position]
    if byte > 1:
        raise bad(f"a boolean byte of {byte}")
    return byte == 1, position + 1


def _packed(form: str) -> Reader:
    unpack, size = struct.Struct(form).unpack_from, struct.calcsize(form)

    def read(buffer: bytes, position: int, _budget: Budget) -> tuple[float, int]:
        if position + size > len(buffer):
            raise bad("a number beyond the end")
        return unpack(buffer, position)[0], position + size

    return read


def _scaled(wrap: Callable[[int], Value]) -> Reader:
    """A varint with a meaning."""

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        number, position = long(buffer, position, budget)
        return wrap(number), position

    return read


NUMBERS: Mapping[str, Callable[[int], Value]] = {
    "date": DayNumber,
    "time-millis": lambda number: TimeOfDay(number * 1_000),
    "time-micros": TimeOfDay,
    "timestamp-millis": lambda number: Stamp(number * 1_000),
    "timestamp-micros": Stamp,
    "timestamp-nanos": lambda number: Stamp(number // 1_000),
}
"""What the integers of a logical type are. A local timestamp is read as if its zone were UTC."""
PLAIN: Mapping[str, Reader] = {
    "null": _null,
    "boolean": _boolean,
    "int": long,
    "long": long,
    "float": _packed("<f"),
    "double": _packed("<d"),
    "bytes": _text,
    "string": _text,
}


def decimal_of(raw: bytes, scale: int) -> Decimal:
    """The decimal whose unscaled value is the two's complement number in `raw`."""
    return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, _EXACT)


def _decimal(raw: bytes, scale: int, budget: Budget) -> Value:
    if len(raw) > 1_000:  # noqa: PLR2004 - more digits than any precision that `schema` accepts
        budget.mended += 1
        return raw.decode("utf-8", "replace")
    return decimal_of(raw, scale)


def reader(node: Node, names: Mapping[str, Node]) -> Reader:
    """The function that reads a value of this type. `names` holds the types that references mean."""
    made: dict[str, Reader] = {}

    def build(one: Node) -> Reader:
        match one:
            case Primitive():
                return _primitive(one)
            case Fixed():
                return _fixed(one)
            case Enumeration(symbols):
                return _enumeration(symbols)
            case Union(branches):
                return _union(branches, [build(branch) for branch in branches])
            case Array(items):
                return _array(build(items))
            case Dictionary(values):
                return _dictionary(build(values))
            case Record(fields=fields):
                return _record([(field.name, build(field.type)) for field in fields])
            case Reference(name):
                return late(name)

    def late(name: str) -> Reader:
        def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
            if name not in made:
                made[name] = build(names[name])
            budget.depth -= 1
            if budget.depth < 0:
                raise bad("a type within itself too often")
            value, position = made[name](buffer, position, budget)
            budget.depth += 1
            return value, position

        return read

    return build(node)


def _primitive(node: Primitive) -> Reader:
    if node.logical == "decimal":

        def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
            raw, position = _chunk(buffer, position, budget)
            return _decimal(raw, node.scale, budget), position

        return read
    wrap = NUMBERS.get((node.logical or "").removeprefix("local-"))
    return _scaled(wrap) if wrap else PLAIN[node.type]


def _fixed(node: Fixed) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        end = position + node.size
        if end > len(buffer):
            raise bad("a fixed beyond the end")
        raw = buffer[position:end]
        if node.logical == "decimal":
            return _decimal(raw, node.scale, budget), end
        return str(uuid.UUID(bytes=raw)) if node.logical == "uuid" else raw.hex(), end

    return read


def _enumeration(symbols: tuple[str, ...]) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
        index, position = long(buffer, position, budget)
        if not 0 <= index < len(symbols):
            raise bad(f"symbol {index} of {len(symbols)}")
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
                key, position = _text(buffer, position, budget)
                found[key], position = item(buffer, position, budget)

    return read


def _record(fields: list[tuple[str, Reader]]) -> Reader:
    def read(buffer: bytes, position: int, budget: Budget) -> tuple[dict[str, Value], int]:
        found: dict[str, Value] = {}
        for name, part in fields:
            found[name], position = part(buffer, position, budget)
        return found, position

    return read


def decode(read: Reader, buffer: bytes) -> tuple[Value, int]:
    """The value of a whole datum, and the number of texts mended. Raises BadRecordError unless all bytes are used."""
    budget = Budget(len(buffer) + SPARE_ITEMS)
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
