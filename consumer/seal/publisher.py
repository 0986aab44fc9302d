"""Publishing: manifests, `_SUCCESS` and `_days.json`, by any worker, each write conditional on what was read before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any

import orjson

from consumer.domain.errors import TransientError
from consumer.seal.day_plan import (
    DAYS_LISTED,
    DayPlan,
    PartitionState,
    StoredContent,
    list_days,
    plan_days,
    sealed_everywhere,
)
from consumer.seal.keys import days_key, manifest_key, success_key
from consumer.seal.log import SealLog
from consumer.seal.lossy import lossy_objects
from consumer.seal.manifest import listing_from, manifest_from
from consumer.seal.manifest_builder import (
    MANIFEST_VERSION,
    REPLAYING,
    ColumnsOf,
    ManifestBuilder,
    content,
    listed_day,
    with_digest,
)
from consumer.seal.objects import ObjectChecker, size_and_digest
from consumer.seal.replacements.contents import as_it_lies, by_record
from consumer.seal.replacements.log import ReplacementLog, Replacements
from consumer.store.port import Absent, BytesBody, Condition, Match, Refused, Store, Stored

ROUNDS = 20
"""How often a publication starts over because another worker was faster, before it waits for its next turn."""

Logs = Callable[[], Sequence[SealLog]]
"""The seal logs of all partitions that the topic has now."""


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
class _StoredListing:
    """`_days.json` as read: its entries by day, and the condition for writing over it."""

    entries: Mapping[str, Mapping[str, Any]]
    condition: Condition


class _StartOver(Exception):  # noqa: N818 - a signal, not an error
    """Another worker wrote first."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a replacement of these days: their manifests lose its mark, and their revision increases."""

    n: int
    days: frozenset[date]


class Publisher:
    """Publishes one stream. Runs in one thread at a time."""

    def __init__(
        self,
        store: Store,
        stream: str,
        *,
        columns_of: ColumnsOf,
        today: Callable[[], tuple[str, ...]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._stream = stream
        self._manifests = ManifestBuilder(store, stream, columns_of, today, now)
        self._replacements = ReplacementLog(store, stream)
        self._finished: set[tuple[int, int]] = set()
        self._settled: dict[date, int] = {}

    def publish(self, logs: Logs, ending: Ending | None = None) -> Published:
        """Publish every day that should be and is not as it should be, and those whose replacement ends.

        Raises TransientError and HaltError.
        """
        for _ in range(ROUNDS):
            try:
                return self._round(logs, ending)
            except _StartOver:
                self._settled.clear()
        raise TransientError(f"{self._stream}: other workers keep publishing at the same time")

    def mark(self, day: date, n: int) -> int | None:
        """Write the mark of replacement `n` into the day's manifest, if there is one, with the same revision.

        Returns the number of another replacement whose mark is there; that mark then stays.
        """
        for _ in range(ROUNDS):
            old = self._store.get(manifest_key(self._stream, day))
            known = manifest_from(old) if old else {REPLAYING: n}
            if REPLAYING in known:
                return None if known[REPLAYING] == n else int(known[REPLAYING])
            document = with_digest({**known, REPLAYING: n})
            try:
                self._write(manifest_key(self._stream, day), _json(document), _condition(old))
            except _StartOver:
                continue
            return None
        raise TransientError(f"{self._stream}: other workers keep publishing {day} at the same time")

    def _round(self, logs: Logs, ending: Ending | None) -> Published:
        listing = self._listing()
        self._manifests.begin_round()
        states, replacements = self._states(logs), self._replacements.read()
        seen = self._planned(states, replacements)
        stale = {plan.day for plan in seen if not self._listed(plan, listing)} | (
            ending.days if ending else frozenset()
        )
        # against stale writers: first the ETags, then the chains, then the writes; without writes one look is enough
        old = {day: self._store.get(manifest_key(self._stream, day)) for day in sorted(stale)}
        if stale:
            states, replacements = self._states(logs), self._replacements.read()
        plans = self._planned(states, replacements)
        if stale and replacements.records:
            plans, by_log = self._as_it_lies(states, replacements, old), plans
        else:
            by_log = plans
        written, news = [], []
        for plan in (plan for plan in plans if plan.day in stale):
            item, wrote = self._publish_day(plan, old[plan.day], ending)
            news.append(item)
            if wrote:
                written.append(plan)
        self._write_listing(listing, news)
        done = [plan for plan in seen if plan.day not in stale] + [plan for plan in plans if plan.day in stale]
        # a day that is not as its log says is in the middle of a replacement: it is looked at again
        said = {plan.day: _print_of(plan) for plan in by_log}
        agreed = {plan.day for plan in plans if said.get(plan.day) == _print_of(plan)}
        self._settled.update((plan.day, _print_of(plan)) for plan in done if plan.day in agreed)
        complete = max((plan.day for plan in plans if plan.complete), default=None)
        return Published(sealed_everywhere(states), tuple(written), complete)

    def _as_it_lies(
        self, states: Sequence[PartitionState], replacements: Replacements, old: Mapping[date, Stored | None]
    ) -> list[DayPlan]:
        """The plans with the current objects of the days in `old`: a replacement may be writing them just now."""
        sealed = {
            entry.key: entry
            for state in states
            for record in state.published.records
            for entry in record.objects
            if not entry.quarantine
        }
        held, absent = by_record(replacements), set()
        for key, listed in replacements.listed.items():
            stored = old.get(listed[-1].new.entry.day, _UNASKED)
            if stored is _UNASKED:
                continue
            found = as_it_lies(self._store, key, sealed.get(key), listed, partial(size_and_digest, self._store))
            if found is not None:
                held[key] = found
            elif key not in _keys_of(stored):  # else a downstream job moved it
                absent.add(key)
        plans = self._planned(states, replacements, {key: one for key, one in held.items() if key not in absent})
        return [_without(plan, absent - sealed.keys()) for plan in plans]

    def _listed(self, plan: DayPlan, listing: _StoredListing) -> bool:
        settled = self._settled.get(plan.day)
        if settled is not None and settled != _print_of(plan):
            return False  # a gap or a replay may change what the list does not show
        entry = listing.entries.get(plan.day.isoformat())
        if entry is not None:
            return (entry["rows"], entry["complete"]) == (plan.rows, plan.complete)
        beyond = len(listing.entries) >= DAYS_LISTED and plan.day.isoformat() < min(listing.entries)
        return beyond and (plan.day in self._settled or self._stands(plan))

    def _stands(self, plan: DayPlan) -> bool:
        """Whether a day too old for the list is published with these rows; `_SUCCESS` is the last that is written."""
        if self._store.head(success_key(self._stream, plan.day)) is None:
            return False
        stored = self._store.get(manifest_key(self._stream, plan.day))
        said = manifest_from(stored) if stored is not None else {}
        return (said.get("rows"), said.get("complete")) == (plan.rows, plan.complete)

    def _listing(self) -> _StoredListing:
        stored = self._store.get(days_key(self._stream))
        if stored is None:
            return _StoredListing({}, Absent())
        return _StoredListing(listing_from(stored), Match(stored.facts.etag))

    def _write_listing(self, listing: _StoredListing, news: Sequence[Mapping[str, Any]]) -> None:
        old = list(listing.entries.values())
        days = list_days(old, news)
        if days == old:
            return  # news of days too old for the list change nothing
        document = {"version": MANIFEST_VERSION, "stream": self._stream, "days": days}
        self._write(days_key(self._stream), _json(document), listing.condition)

    def _states(self, logs: Logs) -> list[PartitionState]:
        object_checker = ObjectChecker(self._store)
        states = []
        for partition, log in enumerate(logs()):
            chain = log.read()
            seal = chain.last_seal
            finished = seal is None or (partition, seal.n) in self._finished
            if not finished and seal is not None:
                finished = object_checker.finished(seal, lossy=chain.lossy)
            if finished and seal is not None:
                self._finished.add((partition, seal.n))
            states.append(PartitionState(partition, chain, finished))
        if len(logs()) != len(states):
            raise _StartOver  # the topic grew after it was asked for: its new partitions count
        return states

    def _planned(
        self,
        states: Sequence[PartitionState],
        replacements: Replacements,
        held: Mapping[str, StoredContent] | None = None,
    ) -> list[DayPlan]:
        lossy = {key: StoredContent(entry) for key, entry in lossy_objects(self._store, states).items()}
        return plan_days(states, {**lossy, **(by_record(replacements) if held is None else held)})

    def _publish_day(self, plan: DayPlan, old: Stored | None, ending: Ending | None) -> tuple[dict[str, Any], bool]:
        """Write the day's manifest over `old` if it differs, then `_SUCCESS`.

        The mark of a replacement stays until that replacement removes it.
        """
        known = manifest_from(old) if old else None
        document = self._manifests.manifest(plan, known)
        if known is not None and REPLAYING in known and not _ends(ending, plan.day, known[REPLAYING]):
            document[REPLAYING] = known[REPLAYING]
        wrote = known is None or content(known) != content(document)
        if wrote:
            document["revision"] = (known["revision"] if known else 0) + 1
            document = with_digest(document)
            self._write(manifest_key(self._stream, plan.day), _json(document), _condition(old))
        else:
            document = known or document
        if self._store.head(success_key(self._stream, plan.day)) is None:
            self._store.put(success_key(self._stream, plan.day), BytesBody(b""), condition=Absent())
        return listed_day(document), wrote

    def _write(self, key: str, data: bytes, condition: Condition) -> None:
        body = BytesBody(data)
        if isinstance(self._store.put(key, body, condition=condition, metadata={"sha256": body.sha256}), Refused):
            raise _StartOver


_UNASKED: Any = object()


def _ends(ending: Ending | None, day: date, n: int) -> bool:
    return ending is not None and ending.n == n and day in ending.days


def _keys_of(stored: Stored | None) -> set[str]:
    return {item["key"] for item in manifest_from(stored)["objects"]} if stored else set()


def _without(plan: DayPlan, keys: Collection[str]) -> DayPlan:
    """The plan without objects that are yet to be added."""
    return replace(plan, parts=tuple(part for part in plan.parts if part.entry.key not in keys)) if keys else plan


def _print_of(plan: DayPlan) -> int:
    """Equal where a plan makes the same manifest."""
    return hash((plan.why, plan.parts))


def _condition(stored: Stored | None) -> Condition:
    return Match(stored.facts.etag) if stored else Absent()


def _json(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
