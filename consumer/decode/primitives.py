"""The leaves of an Avro datum: numbers, text, bytes. Each reader takes (buffer, position, budget)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TypeAlias

from consumer.decode.values import DayNumber, Stamp, TimeOfDay, Value
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_types import Fixed, Primitive

UNDECODABLE = "undecodable"
DEEPEST = 64
"""Levels of a recursive type. More than any record of ours, fewer than Python's stack takes."""
_MASK = (1 << 64) - 1
_LONGEST_VARINT = 10
_EXACT = Context(prec=5_000)


@dataclass(slots=True)
class Budget:
    """What one datum may still use up: items of lists and maps, values that take no bytes, levels of recursive types.

    `mended` counts texts whose invalid UTF-8 was replaced.
    """

    items: int
    empty: int
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


def chunk(buffer: bytes, position: int, budget: Budget) -> tuple[bytes, int]:
    """Bytes after their length."""
    length, position = long(buffer, position, budget)
    end = position + length
    if length < 0 or end > len(buffer):
        raise bad("a length beyond the end")
    return buffer[position:end], end


def text(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
    """Text, or bytes as text; what is not UTF-8 in it becomes U+FFFD."""
    raw, position = chunk(buffer, position, budget)
    try:
        return raw.decode(), position
    except UnicodeDecodeError:
        budget.mended += 1
        return raw.decode("utf-8", "replace"), position


def _null(_buffer: bytes, position: int, budget: Budget) -> tuple[None, int]:
    spend_empty(budget)
    return None, position


def spend_empty(budget: Budget) -> None:
    """Account for a value without bytes: types that name each other could make any number of them of one byte."""
    budget.empty -= 1
    if budget.empty < 0:
        raise bad("more values than bytes")


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
    "bytes": text,
    "string": text,
}


def decimal_of(raw: bytes, scale: int) -> Decimal:
    """The decimal whose unscaled value is the two's complement number in `raw`."""
    return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, _EXACT)


def _decimal(raw: bytes, scale: int, budget: Budget) -> Value:
    if len(raw) > 1_000:  # noqa: PLR2004 - more digits than any precision that `schema` accepts
        budget.mended += 1
        return raw.decode("utf-8", "replace")
    return decimal_of(raw, scale)


def primitive(node: Primitive) -> Reader:
    """The reader of a type without a name."""
    if node.logical == "decimal":

        def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
            raw, position = chunk(buffer, position, budget)
            return _decimal(raw, node.scale, budget), position

        return read
    wrap = NUMBERS.get((node.logical or "").removeprefix("local-"))
    return _scaled(wrap) if wrap else PLAIN[node.type]


def fixed(node: Fixed) -> Reader:
    """The reader of a fixed number of bytes: a decimal, a UUID, or hexadecimal text."""

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        if not node.size:
            spend_empty(budget)
        end = position + node.size
        if end > len(buffer):
            raise bad("a fixed beyond the end")
        raw = buffer[position:end]
        if node.logical == "decimal":
            return _decimal(raw, node.scale, budget), end
        return str(uuid.UUID(bytes=raw)) if node.logical == "uuid" else raw.hex(), end

    return read
