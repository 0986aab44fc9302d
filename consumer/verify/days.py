"""Published days: manifests, `_SUCCESS` and `_days.json` against the chains, and keys that belong to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from consumer.domain.days import day_from
from consumer.seal.day_plan import DAYS_LISTED
from consumer.seal.keys import days_key, manifest_key, schema_key, success_key
from consumer.seal.manifest_builder import listed_day
from consumer.store.port import ObjectInfo
from consumer.verify.documents import parsed, unlike_written, without_metadata
from consumer.verify.findings import REPUBLISH, RESTORE, START_WORKER, Finding, Problem
from consumer.verify.manifests import ChainClaims, ManifestLook, against_chains, altered_records, half_done, outdated
from consumer.verify.snapshot import Days, StreamSnapshot

EARLIER = ("day", "revision", "rows", "complete")
"""What an entry of the list had in earlier releases."""
PUBLISHED_AFTER = timedelta(hours=1)
"""So long after the newest seal a day may wait to be published."""
ANEW = "move it away and start the worker, which writes it again"
HELD_UP = f"{START_WORKER}. If one runs, a partition that is halted or was never sealed delays the day: see status"
MARK = "write it again: an empty object. A worker does so when it next publishes the day"
UNPINNED = "it was altered: it is not the record that the manifests of its days include"
STRAY = (
    "move it away: readers of the folder treat it as data. If a worker of another group or topic wrote it, give that"
    " one its own folder"
)


@dataclass(frozen=True, slots=True)
class DaysCheck:
    """What is wrong with the published days, and what a running worker may still be at."""

    findings: tuple[Finding, ...]
    waiting: tuple[Finding, ...]


def check_days(
    stream: str, snapshot: StreamSnapshot, looks: Mapping[date, ManifestLook], claims: ChainClaims | None, days: Days
) -> DaysCheck:
    """Check all days in range. Without `claims` (a chain is broken) each document is only checked by itself."""
    listing = _listing(stream, snapshot, looks, days)
    findings = [*listing.findings, *(finding for look in looks.values() for finding in look.findings)]
    findings.extend(_marks(stream, snapshot, looks, listing.entries, days))
    waiting = [*_unlisted(stream, looks, listing), *_unmarked(stream, snapshot, looks, listing.entries)]
    if claims is not None:
        for look in looks.values():
            findings.extend(
                Finding(look.key, Problem.MANIFEST, what, REPUBLISH) for what in against_chains(look, claims)
            )
            findings.extend(half_done(look, claims))
            findings.extend(Finding(key, Problem.ALTERED, UNPINNED, RESTORE) for key in altered_records(look, claims))
        waiting.extend(_waiting(stream, looks, listing.entries, claims, days))
    return DaysCheck(tuple(findings), tuple(waiting))


@dataclass(frozen=True, slots=True)
class _ListingCheck:
    """The entries of `_days.json` in range, the oldest day where it is full, and what is wrong with it."""

    entries: Mapping[date, Mapping[str, Any]]
    oldest: date = date.min
    findings: tuple[Finding, ...] = ()


def _listing(stream: str, snapshot: StreamSnapshot, looks: Mapping[date, ManifestLook], days: Days) -> _ListingCheck:
    key, stored = days_key(stream), snapshot.listing
    if stored is None:
        if any(look.raw is not None for look in looks.values()):
            finding = Finding(key, Problem.MISSING, "the list of published days is missing", START_WORKER)
            return _ListingCheck({}, date.max, (finding,))
        return _ListingCheck({})
    try:
        raw = parsed(stored.data)
        entries = {day_from(item["day"]): item for item in raw["days"]}
        whats = [unlike_written(stored), without_metadata(stored, keeps_metadata=snapshot.keeps_metadata)]
        whats.extend(_listing_problems(stream, raw, list(entries)))
        inside = {day: item for day, item in entries.items() if day in days}
        whats.extend(_entry_problem(item, looks.get(day)) for day, item in inside.items())
    except (KeyError, TypeError, ValueError) as error:
        return _ListingCheck(
            {}, date.max, (Finding(key, Problem.UNREADABLE, f"it is not a list of days: {error}", ANEW),)
        )
    oldest = min(entries) if len(entries) >= DAYS_LISTED else date.min
    findings = tuple(Finding(key, Problem.MANIFEST, what, ANEW) for what in whats if what)
    return _ListingCheck(inside, oldest, findings)


def _entry_problem(item: Mapping[str, Any], look: ManifestLook | None) -> str:
    """`_days.json` is written after the manifests: it may have an older revision, but nothing else."""
    if look is None or look.raw is None or item["revision"] < look.raw["revision"]:
        return ""
    said = listed_day(look.raw)
    return (
        ""
        if dict(item) in (said, {name: said[name] for name in EARLIER})
        else f"it says {dict(item)}, but the manifest of {look.day} says {said}"
    )


def _listing_problems(stream: str, raw: Mapping[str, Any], days: list[date]) -> Iterator[str]:
    if (raw["version"], raw["stream"], set(raw)) != (1, stream, {"version", "stream", "days"}):
        yield "it is the list of another stream or release"
    if days != sorted(days) or len(days) != len(raw["days"]) or len(days) > DAYS_LISTED:
        yield "its days are not in order"


def _unlisted(stream: str, looks: Mapping[date, ManifestLook], listing: _ListingCheck) -> Iterator[Finding]:
    for day, look in looks.items():
        if look.raw is None or day < listing.oldest:
            continue
        entry = listing.entries.get(day)
        if entry is None or entry["revision"] < look.raw["revision"]:
            what = f"it does not list revision {look.raw['revision']} of {day} yet"
            yield Finding(days_key(stream), Problem.NOT_PUBLISHED, what, START_WORKER)


def _unmarked(
    stream: str, snapshot: StreamSnapshot, looks: Mapping[date, ManifestLook], listed: Mapping[date, object]
) -> Iterator[Finding]:
    for day in looks:
        key = success_key(stream, day)
        if day not in listed and key not in snapshot.data.by_day.get(day, {}):
            yield Finding(key, Problem.NOT_PUBLISHED, "the manifest exists, _SUCCESS does not yet", START_WORKER)


def _marks(
    stream: str,
    snapshot: StreamSnapshot,
    looks: Mapping[date, ManifestLook],
    listed: Mapping[date, object],
    days: Days,
) -> Iterator[Finding]:
    """Manifest and `_SUCCESS` go together, and both with the list of days."""
    marked = {
        day: facts
        for day, keys in snapshot.data.by_day.items()
        if day in days and (facts := keys.get(success_key(stream, day))) is not None
    }
    for day in sorted({*looks, *listed, *marked}):
        key, mark = manifest_key(stream, day), marked.get(day)
        if day not in looks:
            yield Finding(key, Problem.MISSING, "the manifest of a published day is missing", REPUBLISH)
        if mark is None and day in listed:
            yield Finding(success_key(stream, day), Problem.MISSING, "_SUCCESS of a published day is missing", MARK)
        elif mark is not None and mark.size:
            yield Finding(mark.key, Problem.ALTERED, f"it should be empty and has {mark.size} bytes", MARK)


def _waiting(
    stream: str,
    looks: Mapping[date, ManifestLook],
    listed: Mapping[date, object],
    claims: ChainClaims,
    days: Days,
) -> Iterator[Finding]:
    """Days to be published, or published again, now or soon."""
    for day, plan in claims.plans.items():
        if day not in days:
            continue
        look = looks.get(day)
        if look is None:
            if day not in listed:
                what = "every partition with a seal log has sealed this day, but it is not published"
                yield Finding(manifest_key(stream, day), Problem.NOT_PUBLISHED, what, HELD_UP)
        elif what := outdated(look, plan):
            yield Finding(look.key, Problem.NOT_PUBLISHED, what, START_WORKER)


def strays(stream: str, snapshot: StreamSnapshot, known: set[str], days: Days) -> Iterator[Finding]:
    """Keys in the stream's folders that no record and no replay names."""
    for folder in (snapshot.data, snapshot.quarantine):
        for day, keys in folder.by_day.items():
            if day in days:
                yield from (_stray(facts) for facts in keys.values() if not _ours(stream, day, facts, known))
        for key in folder.elsewhere:
            if key not in {days_key(stream), schema_key(stream)} and days.all:
                yield Finding(
                    key, Problem.STRAY, "it is in the stream's folder and is not the sink's", STRAY, note=True
                )


def _ours(stream: str, day: date, facts: ObjectInfo, known: set[str]) -> bool:
    return facts.key in known or facts.key in {manifest_key(stream, day), success_key(stream, day)}


def _stray(facts: ObjectInfo) -> Finding:
    hidden = facts.key.rsplit("/", 1)[1].startswith(("_", "."))
    what = "it is in a day's folder, but in no seal record"
    return Finding(facts.key, Problem.STRAY, what, STRAY, note=hidden)
