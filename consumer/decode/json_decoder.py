"""JSON objects into values, one at a time and exact.

orjson decides what is JSON, with four exceptions: NaN and infinities are read (Python writes them), lone surrogates and
invalid UTF-8 inside text are replaced, a number keeps all its digits, and a leading byte order mark is skipped. Of
duplicate names in an object the last one counts. Nesting is limited, independently of the depth of Python's own stack.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Collection, Sequence
from decimal import Decimal
from itertools import accumulate

import orjson

from consumer.decode.avro_decoder import pick
from consumer.decode.defaults import defaults_of
from consumer.decode.primitives import bad
from consumer.decode.values import DEEPEST, Decoded, Numeral, Value, labels
from consumer.decode.wire_format import HEAD, MAGIC
from consumer.domain.errors import BadRecordError
from consumer.streams.columns import Column
from consumer.streams.rules import ROWS_VERSION

SCHEMA_ID = "schema_id_before_json"
"""Why a record is none: what `json-registry` writes, read as `json`."""

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


_FRACTION = re.compile(rb"[0-9][.eE]")
"""What a number with a fraction or an exponent has in it; text may have it, too."""
_PATIENT = json.JSONDecoder(parse_int=_whole, parse_float=Numeral)
_DOUBLES = json.JSONDecoder(parse_int=_whole)
"""As release 0.1 read numbers."""


def parse(value: bytes, version: int = ROWS_VERSION) -> tuple[Value, int]:
    """The JSON value, and the number of texts repaired, by the row rules of this version.

    Raises BadRecordError (undecodable).
    """
    if version > 1:
        value = value.removeprefix(BOM_UTF8)
    if may_be_deep(value) and _too_deep(value):
        raise bad("nested too deep")
    decoder = _DOUBLES if version == 1 else _PATIENT
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return _patient(value, decoder)
    exact = _LONG_NUMBER.search(value) is None and (version == 1 or _FRACTION.search(value) is None)
    return (found, 0) if exact else _patient(value, decoder)


def may_be_deep(value: bytes) -> bool:
    """Whether there are enough brackets for too many levels: a fast check that is reliable when it says no."""
    return value.count(b"{") + value.count(b"[") > DEEPEST


def _too_deep(value: bytes) -> bool:
    """Whether lists and objects are nested deeper than `DEEPEST`. Text that is not JSON may get either answer."""
    brackets = _STRING.sub(b"", value).translate(_STEPS, _OTHERS)
    return any(map(DEEPEST.__lt__, accumulate(memoryview(brackets).cast("b"))))


def _patient(value: bytes, decoder: json.JSONDecoder) -> tuple[Value, int]:
    """What orjson does not read, or not exactly."""
    mended = 0
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text, mended = value.decode("utf-8", "replace"), 1
    try:
        found = decoder.decode(text)
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

    def __init__(self, columns: Sequence[Column], known: Collection[str], version: int = ROWS_VERSION) -> None:
        """`known` are the input names that do not count as unknown, `version` is that of the row rules."""
        self._known = frozenset(known)
        self._version = version
        self._inputs = {column.name: column.inputs for column in columns}
        self._defaults = defaults_of(columns)

    def exact(self, value: bytes) -> Decoded:
        """Decode one record. Raises BadRecordError (undecodable, schema_id_before_json)."""
        if self._version > 1 and value[:1] == MAGIC and len(value) > HEAD:
            raise BadRecordError(SCHEMA_ID, "a zero byte and a schema id come first")
        fields, mended = parse(value, self._version)
        if not isinstance(fields, dict):
            raise bad("no JSON object")
        unknown = labels(name for name in fields if name not in self._known)
        values = pick(fields, self._inputs)
        for name, default in self._defaults.items():
            if not any(one in fields for one in self._inputs[name]):
                values[name] = default
        return Decoded(values, unknown, mended)
