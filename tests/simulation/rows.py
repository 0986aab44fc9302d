"""Records and row rules of the simulation: small enough to check by eye, judged with settings that may change."""

from __future__ import annotations

import hmac
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial
from typing import Any

from consumer.domain.batches import Counts, DayRows, RawBatch, TransformedBatch, TransformOptions
from consumer.domain.days import day_of_millis
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Filter, Format, Method, Privacy, RowRules

NARROW = ("id", "at")
SHAPES = (NARROW, ("id", "at", "kind"), ("id", "kind", "at"), ("id", "schema", "at", "kind"), ("id", "at", "schema"))
"""Columns of schemas that follow each other in any order: new ones at the end and in the middle, some that leave."""


KEYS: Mapping[str, bytes] = {"k1": b"1" * 32, "k2": b"2" * 32}
_HASHED = re.compile("k[12]:[0-9a-f]{32}")


def rules(
    topic: str,
    *,
    keep: tuple[str, ...] = ("a", "b"),
    shape: tuple[str, ...] = NARROW,
    moved: bool = False,
    privacy: Privacy | None = None,
) -> RowRules:
    """Rules that keep the record kinds in `keep`, with the columns in `shape`.

    With `moved`, the time field goes by another name where a record has that: other rules, other days.
    """
    kept = {kind: kind in keep for kind in ("a", "b")}
    aliases = {"at": {"aliases": ["moved"]}} if moved else {}
    fields = [{"name": name, "type": "string", **aliases.get(name, {})} for name in shape]
    schema = json.dumps({"type": "record", "name": "Sim", "fields": fields})
    found = privacy or Privacy()
    return RowRules("sim", "custom", topic, Format.JSON, schema, "at", filter=Filter(event_types=kept), privacy=found)


def hashing(key: str) -> Privacy:
    """Ids are hashed with the key of this name."""
    return Privacy({"id": Method.HASH}, key, fingerprint(KEYS[key]))


def value(identity: str, kind: str, day: date, schema: int = 0, moved: date | None = None) -> bytes:
    """A record that becomes a row of `day` (of `moved`, by rules that look there), once its schema is known."""
    more = {} if moved is None else {"moved": moved.isoformat()}
    return json.dumps({"id": identity, "kind": kind, "at": day.isoformat(), "schema": schema, **more}).encode()


@lru_cache(100)
def _time_names(schema: str) -> tuple[str, ...]:
    field = next(field for field in json.loads(schema)["fields"] if field["name"] == "at")
    return (*field.get("aliases", ()), "at")


@lru_cache(10_000)
def private(cell: str, method: Method | None, key: str | None) -> str:
    """A cell after its column's privacy rule; one that is a hash already stays."""
    if method is None or not cell or (method is Method.HASH and _HASHED.fullmatch(cell)):
        return cell
    return f"{key}:{hmac.digest(KEYS[key or ''], cell.encode(), 'sha256').hex()[:32]}" if method is Method.HASH else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one record becomes under one set of rules. `cells` None: it is in quarantine."""

    day: date
    cells: dict[str, Any] | None


def verdict(rules: RowRules, data: bytes | None, timestamp: int, unknown: Callable[[int], bool]) -> Verdict | str:
    """The oracle's and the judge's common definition of a row: a verdict, or why there is no row."""
    if data is None:
        return "tombstone"
    recorded, read = day_of_millis(timestamp), _read(data, _time_names(rules.schema))
    if read is None:
        return Verdict(recorded, None)
    raw, day = read
    strange = bool(raw["schema"]) and unknown(raw["schema"])  # 0: it needs no registry
    if strange or (day > recorded + timedelta(days=1) and raw["kind"] != "f"):
        return Verdict(recorded, None)
    if not rules.filter.event_types.get(raw["kind"], True):
        return "filtered"
    return Verdict(day, raw)


@lru_cache(20_000)
def _read(data: bytes, time_names: tuple[str, ...]) -> tuple[dict[str, Any], date] | None:
    """What a record says, and its day; None where it cannot be read. Judge and oracle read each many times."""
    try:
        raw = json.loads(data)
        day = date.fromisoformat(next(raw[name] for name in time_names if name in raw))
        return {key: raw[key] for key in ("id", "kind", "at", "schema")}, day
    except (ValueError, KeyError, StopIteration):
        return None


class SimTransformer:
    """`RowTransformer` by these rules, record by record. `registry` holds the schema ids known by now."""

    def __init__(self, rules: RowRules, registry: set[int]) -> None:
        self._rules = rules
        self._registry = registry
        names = [field["name"] for field in json.loads(rules.schema)["fields"]]
        self.columns = tuple(names)

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        groups: dict[tuple[date, bool], list[tuple[int, bytes]]] = {}
        tally: Counter[str] = Counter()
        known: dict[int, int] = {}
        unknown: dict[int, int] = {}
        for offset, timestamp, data in zip(batch.offsets, batch.timestamps, batch.values, strict=True):
            found = verdict(self._rules, data, timestamp, partial(self._unknown, offset, how, known, unknown))
            if isinstance(found, str):
                tally[found] += 1
                continue
            tally["kept" if found.cells else "quarantined"] += 1
            line = self._line(offset, found, how)
            groups.setdefault((found.day, found.cells is None), []).append((offset, line))
        days = tuple(_slice(key, groups[key], how) for key in sorted(groups))
        counts = Counts(len(batch), tally["kept"], tally["filtered"], tally["quarantined"], 0, tally["tombstone"])
        first = batch.timestamps[0] if len(batch) else None
        return TransformedBatch(
            batch.partition,
            batch.span,
            days,
            counts,
            known_schemas=known,
            unknown_schemas=unknown,
            first_timestamp=first,
        )

    def _unknown(
        self, offset: int, how: TransformOptions, known: dict[int, int], unknown: dict[int, int], schema: int
    ) -> bool:
        if how.schemas is not None:
            return not how.schemas.knows(schema, offset)
        if schema in self._registry:
            known.setdefault(schema, offset)
            return False
        unknown[schema] = offset + 1
        return True

    def _line(self, offset: int, found: Verdict, how: TransformOptions) -> bytes:
        if found.cells is None:
            return json.dumps({"reason": "undecodable", "offset": offset}).encode() + b"\n"
        privacy = self._rules.privacy
        cells = [
            private(str(found.cells[name]), privacy.columns.get(name), privacy.key) if name in self.columns else ""
            for name in how.columns
        ]
        return ",".join(cells).encode() + b"\n"


def _slice(key: tuple[date, bool], lines: list[tuple[int, bytes]], how: TransformOptions) -> DayRows:
    body = b"".join(line for _, line in lines) if how.wanted(*key) else b""
    return DayRows(*key, len(lines), lines[0][0], lines[-1][0], body)
