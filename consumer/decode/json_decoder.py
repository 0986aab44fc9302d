"""JSON objects: into values, one at a time and exact, or into raw columns, many at a time.

orjson decides what is JSON, with three indulgences: NaN and infinities are read as what they say (Python writes them),
lone surrogates and invalid UTF-8 inside text are mended, and an integer keeps all its digits. The last name of an
object's duplicates counts. Nesting is bounded, and the bound does not depend on how deep Python's own stack is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from itertools import accumulate, compress
from typing import Any

import orjson

from consumer.decode.avro_decoder import pick
from consumer.decode.columns import Fast
from consumer.decode.json_columnar import Pack
from consumer.decode.primitives import bad
from consumer.decode.values import DEEPEST, Decoded, Value, labels
from consumer.streams.columns import Column

AT_ONCE = 500
"""Records that become columns together (measured: 8.0 us a row, against 8.5 for 1,000 and 14.7 for 10,000)."""
MOST_BYTES = 2_000_000
"""Bytes of records that become columns together, if there is more than one: objects take up to 25 times the room."""
LONG_DIGITS = 19
"""Digits of an integer from which on it may not fit 64 bits; orjson makes such ones doubles."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % LONG_DIGITS)
# Possessive, and a text without an end reaches to the end: so no byte is looked at twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: in, in, out, out
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile("[\ud800-\udfff]")


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < LONG_DIGITS else Decimal(digits)


_PATIENT = json.JSONDecoder(parse_int=_whole)


def parse(value: bytes) -> tuple[Value, int]:
    """The JSON value, and the number of texts mended. Raises BadRecordError (undecodable)."""
    if may_be_deep(value) and _too_deep(value):
        raise bad("nested too deep")
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return _patient(value)
    return _patient(value) if _LONG_NUMBER.search(value) else (found, 0)


def may_be_deep(value: bytes) -> bool:
    """Whether there are brackets enough for too many levels: a quick look, right when it says no."""
    return value.count(b"{") + value.count(b"[") > DEEPEST


def _too_deep(value: bytes) -> bool:
    """Whether lists and objects lie in one another deeper than `DEEPEST`. What is no JSON may get either answer."""
    brackets = _STRING.sub(b"", value).translate(_STEPS, _OTHERS)
    return any(map(DEEPEST.__lt__, accumulate(memoryview(brackets).cast("b"))))


def _patient(value: bytes) -> tuple[Value, int]:
    """What orjson does not read, or not exactly."""
    mended = 0
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text, mended = value.decode("utf-8", "replace"), 1
    try:
        found = _PATIENT.decode(text)
    except (ValueError, RecursionError) as error:
        raise bad(str(error)) from None
    found, more = _mend(found)
    return found, mended + more


def _mend(value: Value) -> tuple[Value, int]:
    """The value without lone surrogates, and the number of texts that had some."""
    if isinstance(value, str):
        return _SURROGATE.subn("\ufffd", value)[0], int(_SURROGATE.search(value) is not None)
    if isinstance(value, list):
        made = [_mend(inner) for inner in value]
        return [inner for inner, _ in made], sum(count for _, count in made)
    if isinstance(value, dict):
        pairs = [(_mend(name), _mend(inner)) for name, inner in value.items()]
        count = sum(name[1] + inner[1] for name, inner in pairs)
        return {str(name[0]): inner[0] for name, inner in pairs}, count
    return value, 0


class Objects:
    """JSON records, seen from the columns that are wanted."""

    def __init__(self, columns: Sequence[Column], known: Collection[str]) -> None:
        """`known` are the input names that do not count as unknown."""
        self._columns = columns
        self._known = frozenset(known)
        self._inputs = {column.name: column.inputs for column in columns}

    def exact(self, value: bytes) -> Decoded:
        """Decode one record. Raises BadRecordError (undecodable)."""
        fields, mended = parse(value)
        if not isinstance(fields, dict):
            raise bad("no JSON object")
        unknown = labels(name for name in fields if name not in self._known)
        return Decoded(pick(fields, self._inputs), unknown, mended)

    def fast(self, values: Sequence[bytes], places: Sequence[int], into: Fast) -> None:
        """Decode values, which stand at `places` of the batch, as columns as far as that is certain.

        Some hundred records at a time: their objects stay in the processor's cache while they become columns.
        """
        pack = Pack(self._columns)
        for low, high in _groups(values):
            rows, stand = _load(values[low:high], places[low:high], into)
            if rows:
                pack.add(rows, stand, self._known, into)
            del rows  # before the next ones are made
        if pack.places:
            into.raws.append(pack.raw())


def _groups(values: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where groups of values that become columns together begin and end."""
    low = size = 0
    for place, value in enumerate(values):
        size += len(value)
        if place - low == AT_ONCE or (size > MOST_BYTES and place > low):
            yield low, place
            low, size = place, len(value)
    if values:
        yield low, len(values)


def _load(values: Sequence[bytes], places: Sequence[int], into: Fast) -> tuple[list[dict[str, Any]], Sequence[int]]:
    """The objects among the values, and where they stand; the others are left to the exact path."""
    try:
        rows = list(map(orjson.loads, values))
    except orjson.JSONDecodeError:
        rows = [_try(value) for value in values]
    # Every object has a bracket of its own: without 200 more in all of them, none is nested too deep.
    joined = b"".join(values)
    deep = joined.count(b"{") + joined.count(b"[") >= len(values) + DEEPEST
    if set(map(type, rows)) == {dict} and not deep:
        return rows, places
    fine = [
        type(row) is dict and not (deep and may_be_deep(value) and _too_deep(value))
        for row, value in zip(rows, values, strict=True)
    ]
    into.left.update((place, bad("").reason) for place, good in zip(places, fine, strict=True) if not good)
    return list(compress(rows, fine)), list(compress(places, fine))


def _try(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
