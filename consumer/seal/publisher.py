"""Publishing: manifests, `_SUCCESS` and `_days.json`, by any worker, each write conditional on what was read before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from consumer.domain.errors import TransientError
from consumer.seal.day_plan import (
    DAYS_LISTED,
    DayPlan,
    Part,
    PartitionState,
    list_days,
    manifest_digest,
    plan_days,
    sealed_everywhere,
)
from consumer.seal.keys import days_key, manifest_key, success_key
from consumer.seal.log import SealLog
from consumer.seal.lossy import lossy_objects
from consumer.seal.manifest import listing_from, manifest_from
from consumer.seal.objects import CountRows, ObjectChecker
from consumer.seal.record import ObjectEntry
from consumer.store.port import Absent, BytesBody, Condition, Match, Refused, Store, Stored

MANIFEST_VERSION = 1
ROUNDS = 20
"""How often a publication starts over because another worker was faster, before it waits for its next turn."""

ColumnsOf = Callable[[str], tuple[str, ...]]
"""The CSV columns that the settings of this digest write."""
Digest = Callable[[str], tuple[int, str]]
"""Size and sha256 of a stored object, by reading it: for stores that keep no metadata."""
Logs = Callable[[], Sequence[SealLog]]
"""The seal logs of all partitions that the topic has now."""
Replaced = Callable[[], Mapping[str, ObjectEntry]]
"""Objects as replays left them, by key."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did and saw.

    `written` are the days it wrote, `sealed` the last day that every partition has sealed, `complete` the last
    complete one.
    """

    sealed: date | None
    written: tuple[DayPlan, ...]
    complete: date | None = None


@dataclass(frozen=True, slots=True)
class _Listing:
    """`_days.json` as read: its entries by day, and the condition for writing over it."""

    entries: Mapping[str, Mapping[str, Any]]
    condition: Condition


class _StartOver(Exception):  # noqa: N818 - a signal, not an error
    """Another worker wrote first."""


class Publisher:
    """Publishes one stream. Runs in one thread at a time."""

    def __init__(
        self,
        store: Store,
        stream: str,
        *,
        columns_of: ColumnsOf,
        today: Callable[[], tuple[str, ...]],
        object_checker: Callable[[], ObjectChecker],
        digest: Digest,
        count_rows: CountRows,
        replaced: Replaced,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._stream = stream
        self._columns_of = columns_of
        self._today = today
        self._standing = object_checker
        self._digest = digest
        self._count_rows = count_rows
        self._replaced = replaced
        self._now = now
        self._finished: set[tuple[int, int]] = set()
        self._settled: dict[date, int] = {}

    def publish(self, logs: Logs) -> Published:
        """Publish every day that should be and is not as it should be. Raises TransientError and HaltError."""
        for _ in range(ROUNDS):
            try:
                return self._round(logs)
            except _StartOver:
                self._settled.clear()
        raise TransientError(f"{self._stream}: other workers keep publishing at the same time")

    def _round(self, logs: Logs) -> Published:
        listing = self._listing()
        seen = self._plans(logs)
        stale = {plan.day for plan in seen if not self._listed(plan, listing)}
        # against stale writers: first the ETags, then the chains, then the writes
        old = {day: self._store.get(manifest_key(self._stream, day)) for day in sorted(stale)}
        states = self._states(logs)
        plans = self._planned(states)
        written, news = [], []
        for plan in (plan for plan in plans if plan.day in stale):
            item, wrote = self._publish_day(plan, old[plan.day])
            news.append(item)
            if wrote:
                written.append(plan)
        self._write_listing(listing, news)
        done = [plan for plan in seen if plan.day not in stale] + [plan for plan in plans if plan.day in stale]
        self._settled.update((plan.day, _print_of(plan)) for plan in done)
        complete = max((plan.day for plan in plans if plan.complete), default=None)
        return Published(sealed_everywhere(states), tuple(written), complete)

    def _listed(self, plan: DayPlan, listing: _Listing) -> bool:
        settled = self._settled.get(plan.day)
        if settled is not None and settled != _print_of(plan):
            return False  # a gap or a replay may change what the list does not show
        entry = listing.entries.get(plan.day.isoformat())
        if entry is not None:
            return (entry["rows"], entry["complete"]) == (plan.rows, plan.complete)
        beyond = len(listing.entries) >= DAYS_LISTED and plan.day.isoformat() < min(listing.entries)
        return beyond and plan.day in self._settled

    def _listing(self) -> _Listing:
        stored = self._store.get(days_key(self._stream))
        if stored is None:
            return _Listing({}, Absent())
        return _Listing(listing_from(stored), Match(stored.facts.etag))

    def _write_listing(self, listing: _Listing, news: Sequence[Mapping[str, Any]]) -> None:
        old = list(listing.entries.values())
        days = list_days(old, news)
        if days == old:
            return  # news of days too old for the list change nothing
        document = {"version": MANIFEST_VERSION, "stream": self._stream, "days": days}
        self._write(days_key(self._stream), _json(document), listing.condition)

    def _states(self, logs: Logs) -> list[PartitionState]:
        object_checker = self._standing()
        states = []
        for partition, log in enumerate(logs()):
            chain = log.read()
            seal = chain.last_seal
            finished = seal is None or (partition, seal.n) in self._finished
            if not finished and seal is not None:
                finished = object_checker.finished(seal, lossy=chain.head.n > seal.n)
            if finished and seal is not None:
                self._finished.add((partition, seal.n))
            states.append(PartitionState(partition, chain, finished))
        if len(logs()) != len(states):
            raise _StartOver  # the topic grew after it was asked for: its new partitions count
        return states

    def _plans(self, logs: Logs) -> list[DayPlan]:
        return self._planned(self._states(logs))

    def _planned(self, states: Sequence[PartitionState]) -> list[DayPlan]:
        return plan_days(states, {**lossy_objects(self._store, states, self._count_rows), **self._replaced()})

    def _publish_day(self, plan: DayPlan, old: Stored | None) -> tuple[dict[str, Any], bool]:
        """Write the day's manifest over `old` if it says something else, then its mark."""
        known = manifest_from(old) if old else None
        document = self._manifest(plan, known)
        wrote = known is None or _content(known) != _content(document)
        if wrote:
            document["revision"] = (known["revision"] if known else 0) + 1
            document["sha256"] = manifest_digest(document)
            self._write(manifest_key(self._stream, plan.day), _json(document), _condition(old))
        else:
            document = known or document
        if self._store.head(success_key(self._stream, plan.day)) is None:
            self._store.put(success_key(self._stream, plan.day), BytesBody(b""), condition=Absent())
        item = {"day": plan.day.isoformat(), **{name: document[name] for name in ("revision", "rows", "complete")}}
        return item, wrote

    def _write(self, key: str, data: bytes, condition: Condition) -> None:
        body = BytesBody(data)
        if isinstance(self._store.put(key, body, condition=condition, metadata={"sha256": body.sha256}), Refused):
            raise _StartOver

    def _manifest(self, plan: DayPlan, known: Mapping[str, Any] | None) -> dict[str, Any]:
        columns = self._columns_of(plan.newest.settings) if plan.newest else self._today()
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
        """The sha256 of objects that no manifest lists, for `verify`, where no metadata says it."""
        if self._store.keeps_metadata:
            return {}
        before = (known or {}).get("pins", {}).get("objects", {})
        object_checker = [key for key in plan.unlisted if self._store.head(key) is not None]
        return {key: before.get(key) or self._digest(key)[1] for key in object_checker}

    def _objects(
        self, plan: DayPlan, before: Mapping[str, Mapping[str, Any]], newest: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        for part in plan.parts:
            item = self._object(part, before.get(part.entry.key))
            columns = self._columns_of(part.settings)
            if columns != newest:
                item["columns"] = list(columns)
            yield item

    def _object(self, part: Part, known: Mapping[str, Any] | None) -> dict[str, Any]:
        entry = part.entry
        size, sha256 = self._stored(entry, known)
        return {
            "key": entry.key,
            "partition": part.partition,
            "rows": entry.rows,
            "bytes": size,
            "sha256": sha256,
            "first_offset": entry.first_offset,
            "last_offset": entry.last_offset,
            "seal": part.seal,
        }

    def _stored(self, entry: ObjectEntry, known: Mapping[str, Any] | None) -> tuple[int, str]:
        facts = self._store.head(entry.key)
        if facts is None:
            if known is None:
                raise TransientError(f"{self._store.location}/{entry.key} is gone before its day was published")
            return known["bytes"], known["sha256"]  # moved on by a downstream job
        if facts.metadata.get("sha256"):
            return facts.size, facts.metadata["sha256"]
        return self._digest(entry.key)


def _print_of(plan: DayPlan) -> int:
    """Equal where a plan makes the same manifest."""
    return hash((plan.why, plan.parts))


def _content(document: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a manifest another one; a later seal without rows for the day does not."""
    return {name: document[name] for name in ("complete", "why", "objects")}


def _condition(stored: Stored | None) -> Condition:
    return Match(stored.facts.etag) if stored else Absent()


def _json(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
