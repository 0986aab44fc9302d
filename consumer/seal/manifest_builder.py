"""The contents of a day's manifest: its objects with their digests, its columns, and the records it includes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from consumer.domain.errors import TransientError
from consumer.domain.location import object_url
from consumer.seal.day_plan import DayPlan, Part, manifest_digest
from consumer.seal.folder_columns import folder_columns, header_of, merged
from consumer.seal.objects import size_and_digest
from consumer.seal.record import ObjectEntry
from consumer.store.port import ObjectInfo, Store

MANIFEST_VERSION = 1
REPLAYING = "replaying"
"""The mark of a manifest whose objects a replacement is writing: its number."""

ColumnsOf = Callable[[str], tuple[str, ...]]
"""The CSV columns that the settings of this digest write: those of objects older than the folder's list."""


class ManifestBuilder:
    """Makes the manifests of one stream. Runs in one thread at a time."""

    def __init__(
        self,
        store: Store,
        stream: str,
        columns_of: ColumnsOf,
        today: Callable[[], tuple[str, ...]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._stream = stream
        self._columns_of = columns_of
        self._today = today
        self._now = now
        self._header: tuple[str, ...] = ()
        self._empty: tuple[str, ...] = ()

    def begin_round(self) -> None:
        """Ask for today's columns again, should a day need them."""
        self._empty = ()

    def manifest(self, plan: DayPlan, known: Mapping[str, Any] | None) -> dict[str, Any]:
        """The first revision of a manifest for this plan. `known` is the existing one."""
        columns = self._columns(plan.newest) if plan.newest else self._todays_columns()
        before = {item["key"]: item for item in known["objects"]} if known else {}
        objects = list(self._objects(plan, before, columns))
        return {
            "version": MANIFEST_VERSION,
            "stream": self._stream,
            "day": plan.day.isoformat(),
            "revision": 1,
            "complete": plan.complete,
            "why": list(plan.why),
            "columns": list(columns),
            "rows": sum(item["rows"] for item in objects),
            "bytes": sum(item["bytes"] for item in objects),
            "seals": dict(plan.seals),
            "objects": objects,
            "written_at": self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "pins": {"seals": dict(plan.digests), "objects": self._pinned(plan, known)},
        }

    def _pinned(self, plan: DayPlan, known: Mapping[str, Any] | None) -> dict[str, str]:
        """The sha256 of objects that no manifest lists, for `verify`, if no metadata has it."""
        if self._store.keeps_metadata:
            return {}
        before = (known or {}).get("pins", {}).get("objects", {})
        present = [key for key in plan.unlisted if self._store.head(key) is not None]
        return {key: before.get(key) or size_and_digest(self._store, key)[1] for key in present}

    def _objects(
        self, plan: DayPlan, before: Mapping[str, Mapping[str, Any]], newest: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        for part in plan.parts:
            item = self._object(part, before.get(part.entry.key))
            columns = self._columns(part)
            if columns != newest:
                item["columns"] = list(columns)
            yield item

    def _columns(self, part: Part) -> tuple[str, ...]:
        """The columns of an object. The folder's list is read again where the object has more than were known."""
        if part.columns is None:
            return self._columns_of(part.settings)
        if part.columns > len(self._header):
            self._header = header_of(self._store, self._stream, part.columns)
        return self._header[: part.columns]

    def _todays_columns(self) -> tuple[str, ...]:
        """The columns of a day without objects: asked for once in a round."""
        if not self._empty:
            self._empty = merged(folder_columns(self._store, self._stream).names, self._today())
        return self._empty

    def _object(self, part: Part, known: Mapping[str, Any] | None) -> dict[str, Any]:
        entry = part.entry
        item = {
            "key": entry.key,
            "partition": part.partition,
            "rows": entry.rows,
            **self._stored(entry, known),
            "first_offset": entry.first_offset,
            "last_offset": entry.last_offset,
            "seal": part.seal,
        }
        if part.replay is not None:
            item["replay"] = part.replay
        return item

    def _stored(self, entry: ObjectEntry, known: Mapping[str, Any] | None) -> dict[str, Any]:
        """The store's facts about the body: size, digest, and what identifies exactly these bytes to a reader."""
        facts = self._store.head(entry.key)
        if facts is None:
            if known is None:
                raise TransientError(
                    f"{object_url(self._store.location, entry.key)} disappeared before its day was published"
                )
            # moved on by a downstream job
            return {name: known[name] for name in ("bytes", "sha256", "etag", "version_id") if name in known}
        if facts.metadata.get("sha256"):
            return {"bytes": facts.size, "sha256": facts.metadata["sha256"], **_names(facts)}
        size, sha256 = size_and_digest(self._store, entry.key)
        return {"bytes": size, "sha256": sha256, **(_names(facts) if self._store.keeps_metadata else {})}


def listed_day(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of `_days.json` for a day with this manifest. `replay` is the newest replacement that wrote in it."""
    return {
        "day": manifest["day"],
        **{name: manifest[name] for name in ("revision", "rows", "complete")},
        "updated_at": manifest["written_at"],
        "replay": max((item["replay"] for item in manifest["objects"] if "replay" in item), default=None),
    }


def _names(facts: ObjectInfo) -> dict[str, str]:
    return {"etag": facts.etag, **({"version_id": facts.version_id} if facts.version_id else {})}


def with_digest(document: dict[str, Any]) -> dict[str, Any]:
    """The manifest, its own digest last."""
    document.pop("sha256", None)
    return {**document, "sha256": manifest_digest(document)}


def content(document: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a manifest another one; a later seal without rows for the day does not."""
    return {name: document.get(name) for name in ("complete", "why", "objects", REPLAYING)}
