"""What the fuzz tests share: bytes and JSON documents that were right once, and what somebody did to them.

`mutated` and `mangled` are for hypothesis, which finds the smallest input that breaks something; `mutate` and `mangle`
do the same a hundred times faster, from a seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FEW = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None, suppress_health_check=list(HealthCheck)
)
"""So many inputs for each test; a campaign asks for more: FUZZ_EXAMPLES=100000."""

VARINTS = (
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # the largest long: a length, a count, an instant
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # the smallest
    b"\xfe\xff\xff\xff\x0f",
    b"\x80" * 12,  # one without an end
    b"\x80\x80\x00",  # a zero, written too long
    b"\x01",  # -1
)
TEXTS = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\\ud800",
    b"[" * 250,
    b'{"a":' * 250,
    b"[[" * 100 + b"]]" * 100,
    b'"',
    b"\\",
    b"9" * 400,
    b"-",
    b"1e999",
    b"0.1e-999",
    b"NaN",
    b"Infinity",
    b"null",
    b'"key":1,',
    b",",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"9999-12-31T23:59:59+00:00",
    b"0001-01-01T00:00:00+14:00",
)
_ODD = (*VARINTS, *TEXTS)
_PIECES = st.sampled_from(_ODD) | st.binary(min_size=1, max_size=8)
_WAYS = ("put", "write", "cut", "twice", "end")
_EDITS = st.lists(
    st.tuples(st.sampled_from(_WAYS), st.floats(0, 1), st.integers(1, 40), _PIECES),
    min_size=1,
    max_size=4,
)


def mutated(originals: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these texts after a few edits; now and then any bytes at all."""
    edited = st.builds(_edited, st.sampled_from(originals), _EDITS)
    return edited | edited | edited | st.binary(max_size=200)


def mutate(chance: random.Random, originals: Sequence[bytes]) -> bytes:
    """One of these texts after one to four edits; now and then any bytes at all."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    return _edited(chance.choice(originals), [_edit(chance) for _ in range(chance.choice((1, 1, 1, 2, 4)))])


def _edit(chance: random.Random) -> tuple[str, float, int, bytes]:
    piece = chance.choice(_ODD) if chance.random() < 0.5 else chance.randbytes(chance.randrange(1, 9))
    return chance.choice(_WAYS), chance.random(), chance.randrange(1, 41), piece


def _edited(data: bytes, edits: Sequence[tuple[str, float, int, bytes]]) -> bytes:
    for what, place, length, piece in edits:
        at = int(place * len(data))
        match what:
            case "put":
                data = data[:at] + piece + data[at:]
            case "write":
                data = data[:at] + piece + data[at + len(piece) :]
            case "cut":
                data = data[:at] + data[at + length :]
            case "twice":
                data = data[: at + length] + data[at:]
            case _:
                data = data[:at]
    return data


_LEAVES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**53, 2**63 - 1, -(2**63), 1.5, -0.0, 1e308, "", "x", "7", "-1", "\0"),
    *("9" * 30, "9" * 5000, "null", "../../x", "/etc/passwd", "2026-03-01", "2026-03-02", "0001-01-01", "9999-12-31"),
    *("2026-03-02T04:00:00.000000Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("seal", "gap", "json", "avro", "event", "zzz"),
)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(_LEAVES) | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=4,
)
_CHANGES = st.lists(st.tuples(st.sampled_from(("set", "set", "drop", "add")), st.floats(0, 1), JUNK), max_size=3)


def mangled(documents: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these JSON documents with values replaced, dropped or added anywhere; or its bytes mutated."""
    return st.builds(_mangled, st.sampled_from(documents), _CHANGES) | mutated(documents)


def mangle(chance: random.Random, documents: Sequence[bytes]) -> bytes:
    """One of these JSON documents with up to three values replaced, dropped or added; or its bytes mutated."""
    if chance.random() < 0.3:
        return mutate(chance, documents)
    return _mangled(chance.choice(documents), [_change(chance) for _ in range(chance.randrange(4))])


def _change(chance: random.Random) -> tuple[str, float, Any]:
    junk = chance.choice(_LEAVES) if chance.random() < 0.8 else chance.choice(([], {}, [chance.choice(_LEAVES)]))
    return chance.choice(("set", "set", "drop", "add")), chance.random(), junk


def _mangled(data: bytes, changes: Sequence[tuple[str, float, Any]]) -> bytes:
    document = {"": orjson.loads(data)}
    for what, place, junk in changes:
        spots = list(_spots(document))
        holder, name = spots[min(int(place * len(spots)), len(spots) - 1)]
        if what == "set":
            holder[name] = junk
        elif what == "drop" and holder is not document:
            del holder[name]
        elif isinstance(holder, dict) and holder is not document:
            holder["added"] = junk
    return orjson.dumps(document[""], option=orjson.OPT_INDENT_2)


def _spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document that holds a value."""
    inside = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    found: list[tuple[Any, Any]] = []
    for name, inner in inside:
        found.append((value, name))
        if isinstance(inner, dict | list):
            found.extend(_spots(inner))
    return found
