"""Reading manifests and `_days.json`: valid, or not to be used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import orjson

from consumer.domain import json_fields
from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.keys import seal_of
from consumer.store.port import Stored

MOST = 1 << 53
"""No revision and no number of rows or bytes is as large: sums of them stay integers of 64 bits."""
_T = TypeVar("_T")


def manifest_from(stored: Stored) -> dict[str, Any]:
    """A day's manifest. Raises HaltError `object_mismatch` if it is not valid."""
    return _read(stored, partial(_manifest, _folder(stored)))


def objects_from(stored: Stored) -> list[dict[str, Any]]:
    """The objects listed in a manifest, whatever else it says. Raises HaltError `object_mismatch`."""
    return _read(stored, partial(_objects, _folder(stored)))


def columns_from(stored: Stored) -> tuple[str, ...]:
    """The columns that a day's manifest names. Raises HaltError `object_mismatch` if it is not valid."""
    return _read(stored, _columns)


def listing_from(stored: Stored) -> dict[str, dict[str, Any]]:
    """The entries of `_days.json` by day, in order. Raises HaltError `object_mismatch` if it is not valid."""
    return _read(stored, _listing)


def _read(stored: Stored, how: Callable[[dict[str, Any]], _T]) -> _T:
    try:
        return how(json_fields.table(orjson.loads(stored.data), "the document"))
    except (KeyError, ValueError) as error:
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{stored.facts.key} was not written by a worker ({type(error).__name__}: {error}): move it out of the "
            "folder, and it is written again",
        ) from error


def _folder(stored: Stored) -> str:
    """The folder of a manifest's objects: the same as its own."""
    return stored.facts.key.rpartition("/")[0] + "/"


def _manifest(folder: str, raw: dict[str, Any]) -> dict[str, Any]:
    _require_entry(raw)
    if "replaying" in raw:
        json_fields.whole(raw, "replaying")
    json_fields.texts(raw, "why")
    json_fields.texts(raw, "columns")
    for item in _objects(folder, raw):
        json_fields.text(item, "sha256")
        _number(item, "bytes")
    pinned = json_fields.table(json_fields.table(raw.get("pins", {}), "pins").get("objects", {}), "pins")
    for key in pinned:
        json_fields.text(pinned, key)
    return raw


def _objects(folder: str, raw: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(json_fields.tables(raw, "objects"))
    for item in found:
        facts = {"rows": 0, "first_offset": None, "last_offset": None, **item}
        if seal_of(json_fields.text(item, "key").removeprefix(folder)) is None:
            raise json_fields.FieldError(f"the object {item['key']!r:.300} is not in its folder")
        _number(facts, "rows")
        json_fields.whole_or_none(facts, "first_offset")
        json_fields.whole_or_none(facts, "last_offset")
        _optional(item)
    return found


def _optional(item: dict[str, Any]) -> None:
    if "columns" in item:
        json_fields.texts(item, "columns")
    if "replay" in item:
        json_fields.whole(item, "replay")
    for name in ("etag", "version_id"):
        if name in item:
            json_fields.text(item, name)


def _columns(raw: dict[str, Any]) -> tuple[str, ...]:
    return json_fields.texts(raw, "columns")


def _listing(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for item in json_fields.tables(raw, "days"):
        _require_entry(item)
        json_fields.whole_or_none({"replay": None, **item}, "replay")
        found[json_fields.day(item, "day").isoformat()] = item
    return found


def _require_entry(raw: dict[str, Any]) -> None:
    _number(raw, "revision")
    _number(raw, "rows")
    json_fields.flag(raw, "complete")


def _number(raw: dict[str, Any], name: str) -> None:
    if json_fields.whole(raw, name) >= MOST:
        raise json_fields.FieldError(f"{name} is too large")
