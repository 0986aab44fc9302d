"""Readers of Avro's primitive types: numbers, text, bytes. Each takes (buffer, position, budget)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TypeAlias

from consumer.decode.values import MOST_DIGITS, DayNumber, Stamp, TimeOfDay, Value
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_types import Fixed, Primitive

UNDECODABLE = "undecodable"
EMPTY_VALUE = "empty_value"
DEEPEST = 64
"""Levels of a recursive type. More than real records have, fewer than Python's stack allows."""
_MASK = (1 << 64) - 1
_LONGEST_VARINT = 10
_EXACT = Context(prec=5_000)
LONGEST_DECIMAL = 1_000
"""Bytes of a decimal: more digits than any precision that a schema may have."""


@dataclass(slots=True)
class Budget:
    """What one datum may still use: items of lists and maps, values without bytes, levels of recursive types.

    `output` is the number of bytes that the schema itself may put into cells: symbols of enums, names of fields.
    `mended` counts texts whose invalid UTF-8 was replaced.
    """

    items: int
    empty: int
    depth: int = DEEPEST
    mended: int = 0
    output: int = 1 << 62


Reader: TypeAlias = Callable[[bytes, int, Budget], tuple[Value, int]]


def bad(detail: str) -> BadRecordError:
    """The error for a datum that does not match its schema."""
    return BadRecordError(UNDECODABLE, detail)


def long(buffer: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    """A zigzag varint of at most ten bytes; bits above 64 are lost, as in every decoder."""
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


def hexadecimal(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
    """Bytes as lower-case hexadecimal text."""
    raw, position = chunk(buffer, position, budget)
    return raw.hex(), position


def text(buffer: bytes, position: int, budget: Budget) -> tuple[str, int]:
    """Text; what is not UTF-8 in it becomes U+FFFD."""
    raw, position = chunk(buffer, position, budget)
    try:
        return raw.decode(), position
    except UnicodeDecodeError:
        budget.mended += 1
        return raw.decode("utf-8", "replace"), position


def _null(_buffer: bytes, position: int, budget: Budget) -> tuple[None, int]:
    spend_empty(budget)
    return None, position


def spend_output(budget: Budget, size: int) -> None:
    """Account for what the schema puts into a cell: a record could name a long symbol at each of its bytes."""
    budget.output -= size
    if budget.output < 0:
        raise bad("more names and symbols than its bytes justify")


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
    "bytes": hexadecimal,
    "string": text,
}


def decimal_of(raw: bytes, scale: int) -> Decimal:
    """The decimal whose unscaled value is the two's complement number in `raw`."""
    return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, _EXACT)


def decimal_value(raw: bytes, scale: int) -> Value:
    """A decimal, or hexadecimal text if it has more digits than a schema may ask for."""
    return raw.hex() if len(raw) > LONGEST_DECIMAL else decimal_of(raw, scale)


def big_decimal_value(raw: bytes) -> Value:
    """A big-decimal: an unscaled number after its length, then the scale. Hexadecimal text if it is none."""
    budget = Budget(0, 0)
    try:
        unscaled, position = chunk(raw, 0, budget)
        scale, position = long(raw, position, budget)
    except (IndexError, BadRecordError):
        return raw.hex()
    fits = position == len(raw) and 0 < len(unscaled) <= LONGEST_DECIMAL and abs(scale) <= MOST_DIGITS
    return decimal_of(unscaled, scale) if fits else raw.hex()


def _text_decimal(raw: bytes, scale: int, budget: Budget) -> Value:
    """As release 0.1 had it: what has too many digits is text."""
    if len(raw) > LONGEST_DECIMAL:
        budget.mended += 1
        return raw.decode("utf-8", "replace")
    return decimal_of(raw, scale)


def primitive(node: Primitive, version: int) -> Reader:
    """The reader of a type without a name, by the row rules of this version."""
    if node.logical in {"decimal", "big-decimal"}:

        def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
            raw, position = chunk(buffer, position, budget)
            if node.logical == "big-decimal":
                return big_decimal_value(raw), position
            return _any_decimal(raw, node.scale, budget, version), position

        return read
    if node.type == "bytes" and version == 1:
        return text
    wrap = NUMBERS.get((node.logical or "").removeprefix("local-"))
    return _scaled(wrap) if wrap else PLAIN[node.type]


def _any_decimal(raw: bytes, scale: int, budget: Budget, version: int) -> Value:
    return _text_decimal(raw, scale, budget) if version == 1 else decimal_value(raw, scale)


def fixed(node: Fixed, version: int) -> Reader:
    """The reader of a fixed number of bytes: a decimal, a UUID, or hexadecimal text."""

    def read(buffer: bytes, position: int, budget: Budget) -> tuple[Value, int]:
        if not node.size:
            spend_empty(budget)
        end = position + node.size
        if end > len(buffer):
            raise bad("a fixed beyond the end")
        raw = buffer[position:end]
        if node.logical == "decimal":
            return _any_decimal(raw, node.scale, budget, version), end
        return uuid_text(raw) if node.logical == "uuid" else raw.hex(), end

    return read


def uuid_text(raw: bytes) -> str:
    """Sixteen bytes as the text of a UUID."""
    return str(uuid.UUID(bytes=raw))
