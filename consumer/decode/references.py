"""Schema references: types that another subject defines, inlined into the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from consumer.streams.avro_schema import full_name
from consumer.streams.avro_types import PRIMITIVES

NAMED = frozenset({"record", "error", "enum", "fixed"})


def complete(text: str, parts: Iterable[str]) -> str:
    """The schema with every type of `parts` inserted where it is first named.

    Text that is not JSON, or nested too deep, is returned unchanged: parsing it will fail later.
    """
    try:
        whole, others = orjson.loads(text), [orjson.loads(part) for part in parts]
    except orjson.JSONDecodeError:
        return text
    try:
        inliner = _Inliner({name: body for other in others for name, body in _definitions(other, "")})
        return orjson.dumps(inliner.walk(whole, "")).decode()
    except (RecursionError, orjson.JSONEncodeError):
        return text


def _definitions(raw: Any, space: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The named types in a schema, outermost first, each under its full name and free of its surroundings."""
    if isinstance(raw, list):
        for branch in raw:
            yield from _definitions(branch, space)
    if not isinstance(raw, dict):
        return
    if _has_name(raw):
        name = _full(raw, space)
        space = name.rpartition(".")[0]
        yield name, {**raw, "name": name, "namespace": space}
    for inner in _inner(raw):
        yield from _definitions(inner, space)


def _inner(raw: dict[str, Any]) -> Iterator[Any]:
    """The types directly inside an object of a schema."""
    yield from (raw[key] for key in ("items", "values") if key in raw)
    if not isinstance(raw.get("type"), str):
        yield raw.get("type")
    fields = raw.get("fields")
    yield from (
        one["type"] for one in (fields if isinstance(fields, list) else ()) if isinstance(one, dict) and "type" in one
    )


def _has_name(raw: dict[str, Any]) -> bool:
    """Whether it defines a named type. Its type may be any JSON: an object with a type inside is a type, too."""
    return isinstance(raw.get("type"), str) and raw["type"] in NAMED and isinstance(raw.get("name"), str)


def _full(raw: dict[str, Any], space: str) -> str:
    own = raw.get("namespace")
    return full_name(raw["name"], own if isinstance(own, str) else space)


class _Inliner:
    """Walks a schema in writing order; `_done` are the types defined so far."""

    def __init__(self, definitions: dict[str, dict[str, Any]]) -> None:
        self._definitions = definitions
        self._done: set[str] = set()

    def walk(self, raw: Any, space: str) -> Any:
        if isinstance(raw, str):
            return self._mention(raw, space)
        if isinstance(raw, list):
            return [self.walk(branch, space) for branch in raw]
        return self._object(raw, space) if isinstance(raw, dict) else raw

    def _mention(self, name: str, space: str) -> Any:
        if name in PRIMITIVES or name in NAMED or name in {"array", "map"}:
            return name
        for full in (full_name(name, space), name):
            if full in self._done:
                return self._mentioned(full, space)
            if full in self._definitions:
                return self.walk(self._definitions[full], "")
        return name

    def _mentioned(self, full: str, space: str) -> str:
        """The name of a type defined before, as it is understood inside this namespace."""
        return f".{full}" if "." not in full and f"{space}.{full}" in self._done else full

    def _object(self, raw: dict[str, Any], space: str) -> Any:
        if _has_name(raw):
            full = _full(raw, space)
            if full in self._done:
                return self._mentioned(full, space)
            self._done.add(full)
            space = full.rpartition(".")[0]
            raw = {**raw, "name": full, "namespace": space}
        made = {key: self.walk(raw[key], space) if key in {"items", "values", "type"} else raw[key] for key in raw}
        if isinstance(raw.get("fields"), list):
            made["fields"] = [self._field(one, space) for one in raw["fields"]]
        return made

    def _field(self, raw: Any, space: str) -> Any:
        return {**raw, "type": self.walk(raw["type"], space)} if isinstance(raw, dict) and "type" in raw else raw
