"""Seals that were pending under a gap: their objects have the rows that were left, and say how many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from consumer.domain import json_fields
from consumer.seal.chain import Chain
from consumer.seal.day_plan import PartitionState
from consumer.seal.keys import manifest_key
from consumer.seal.manifest import objects_from
from consumer.seal.objects import count_rows
from consumer.seal.record import ObjectEntry, Record, RecordKind
from consumer.store.port import Store


def seals_under_gaps(chain: Chain) -> Iterator[Record]:
    """The seals that a gap found unfinished."""
    for gap in chain.records:
        if gap.kind is RecordKind.GAP and gap.unfinished is not None:
            yield chain.records[gap.unfinished]


def lossy_objects(store: Store, states: Iterable[PartitionState]) -> dict[str, ObjectEntry]:
    """The objects of such seals as they are stored, by key; one that was moved away, as its day's manifest has it."""
    found: dict[str, ObjectEntry] = {}
    for state in states:
        for seal in seals_under_gaps(state.published):
            for entry in seal.objects:
                if not entry.quarantine:
                    found[entry.key] = _stored(store, entry)
    return found


def _stored(store: Store, entry: ObjectEntry) -> ObjectEntry:
    facts = store.head(entry.key)
    if facts is None:
        return _listed(store, entry)
    if not store.keeps_metadata:
        rows = count_rows(store, entry)
        return entry if rows == entry.rows else replace(entry, rows=rows, first_offset=None, last_offset=None)
    said = facts.metadata
    return replace(
        entry,
        rows=json_fields.number_in(said.get("rows", "")) or 0,
        first_offset=json_fields.number_in(said.get("first-offset", "")),
        last_offset=json_fields.number_in(said.get("last-offset", "")),
    )


def _listed(store: Store, entry: ObjectEntry) -> ObjectEntry:
    manifest = store.get(manifest_key(entry.stream, entry.day))
    items = objects_from(manifest) if manifest else []
    known = next((item for item in items if item["key"] == entry.key), None)
    if known is None:
        return entry
    return replace(entry, **{name: known[name] for name in ("rows", "first_offset", "last_offset")})
