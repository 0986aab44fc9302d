"""One replacement, step by step: record, old bodies, then per day the mark, the objects, the manifest, `_days.json`.

Every step may be the last one before a crash; each can be repeated, by this process or another, and changes nothing the
second time. docs/decisions/0013-replacements-in-place.md explains the order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from consumer.domain.errors import RefusedError, TransientError
from consumer.replace.services import Services
from consumer.seal.day_plan import DAYS_LISTED
from consumer.seal.keys import days_key, kept_key, manifest_key
from consumer.seal.manifest import listing_from, manifest_from
from consumer.seal.manifest_builder import REPLAYING
from consumer.seal.objects import size_and_digest
from consumer.seal.publisher import Ending
from consumer.seal.replacements.log import Replacements
from consumer.seal.replacements.record import Former, NewObject, Replacement
from consumer.store.port import Absent, Body, Match, ObjectInfo, Written

BodyOf = Callable[[NewObject], Body]
"""The new body of an object."""


def record_new(services: Services, seen: Replacements, record: Replacement) -> Replacement:
    """Put the record under the next number. `seen` is the log that the plan was based on, for every batch of its days.

    Raises RefusedError if another replacement of the same days and partitions came first.
    """
    found = services.ask(services.log.read)
    while True:
        refuse_overlap(services, found, frozenset(record.days), record.partitions, seen=len(seen.records))
        digest = found.digests[-1] if found.digests else None
        record = replace(record, n=len(found.records), previous_sha256=digest)
        if services.ask(lambda: services.log.append(record)):  # noqa: B023 - called at once
            return record
        found = services.ask(services.log.read)


def refuse_overlap(
    services: Services,
    found: Replacements,
    days: Collection[date],
    partitions: Iterable[int] | None,
    *,
    seen: int | None = None,
) -> None:
    """Raise RefusedError if a replacement of these days is half done, or (from number `seen` on) new.

    A new erasure counts for all days that it was asked for: rows that the plan brings back have to know of it.
    """
    for other in () if seen is None else found.records[seen:]:
        if other.touches(days, partitions) or other.erases(days, partitions):
            raise RefusedError(
                f"{other.kind} {other.n} of {services.stream} changed days {other.days[0]} to {other.days[-1]} after"
                " the plan was made: run the command again"
            )
    for other in found.touching(days, partitions):
        if not finished(services, other):
            raise RefusedError(
                f"{other.kind} {other.n} of {services.stream}, days {other.days[0]} to {other.days[-1]}, is half done:"
                f" wait until it finishes, or if it is not running, run its command again ({command_of(other)})"
            )


def command_of(record: Replacement) -> str:
    """The command that finishes a replacement, for messages."""
    if record.undoes is not None:
        return f"replay --undo {record.undoes} --stream {record.stream}"
    which = "" if record.partitions is None else "".join(f" --partition {number}" for number in record.partitions)
    return f"{record.kind} --from {record.first} --to {record.last} --stream {record.stream}{which}"


def finished(services: Services, record: Replacement) -> bool:
    """Whether nothing of a replacement is left to be done. Its last step is the list of days."""
    if not all(_day_finished(services, record, day) for day in record.days):
        return False
    stored = services.ask(lambda: services.store.get(days_key(services.stream)))
    if stored is None:
        return True  # an operator moved it away, and the next publication writes it again
    entries = listing_from(stored)
    return all(_day_listed(services, entries, record.n, day) for day in record.days)


def _day_listed(services: Services, entries: Mapping[str, Mapping[str, Any]], n: int, day: date) -> bool:
    """Whether the list of days knows that replacement `n` wrote in this day, or has no place for it."""
    entry = entries.get(day.isoformat())
    if entry is None:
        beyond = len(entries) >= DAYS_LISTED and day.isoformat() < min(entries)
        return beyond or services.ask(lambda: services.store.head(manifest_key(services.stream, day))) is None
    replay = entry.get("replay")
    return isinstance(replay, int) and replay >= n


def _day_finished(services: Services, record: Replacement, day: date) -> bool:
    stored = services.ask(lambda: services.store.get(manifest_key(services.stream, day)))
    objects = record.of_day(day)
    if stored is None:
        return all(stands(services, record.n, one) for one in objects)
    manifest = manifest_from(stored)
    listed = {item["key"]: item.get("replay", -1) for item in manifest["objects"]}
    return manifest.get(REPLAYING) != record.n and all(listed.get(one.entry.key, -1) >= record.n for one in objects)


def stands(services: Services, n: int, one: NewObject) -> bool:
    """Whether the object was put, by this replacement or a later one."""
    facts = services.ask(lambda: services.store.head(one.entry.key))
    if facts is None:
        return False
    if not services.store.keeps_metadata:
        return digest_of(services, facts) == one.sha256
    said = facts.metadata.get("replay", "")
    return said.isdecimal() and int(said) >= n


def digest_of(services: Services, facts: ObjectInfo) -> str:
    """The sha256 of a stored body: from its metadata, otherwise by reading it."""
    said = facts.metadata.get("sha256")
    return said or services.ask(lambda: size_and_digest(services.store, facts.key))[1]


def former_of(services: Services, key: str) -> tuple[Former, int] | None:
    """The current body under a key, and its size; None if there is none."""
    facts = services.ask(lambda: services.store.head(key))
    if facts is None:
        return None
    return Former(facts.etag, digest_of(services, facts), facts.version_id), facts.size


def finish(services: Services, record: Replacement, body_of: BodyOf) -> None:
    """Do what is left of a recorded replacement.

    Raises RefusedError if a body is neither the one that the record names nor that of this replacement.
    """
    if record.kept_old:
        for one in record.objects:
            _keep(services, record, one)
    for day in record.days:
        if _day_finished(services, record, day):
            continue
        _mark(services, record, day)
        for one in record.of_day(day):
            _put(services, record, one, body_of)
        ending = Ending(record.n, frozenset({day}))
        services.ask(lambda: services.publisher.publish(services.all_logs, ending))  # noqa: B023 - called at once
    # a crash may have come between a manifest and the list of days
    services.ask(lambda: services.publisher.publish(services.all_logs, Ending(record.n, frozenset(record.days))))


def _keep(services: Services, record: Replacement, one: NewObject) -> None:
    """Copy the old body aside, before anything is put over it."""
    if one.former is None:
        return
    target = kept_key(services.stream, record.n, one.entry.key)
    former = one.former
    if services.ask(lambda: services.store.head(target)) is not None:
        return
    if not services.ask(lambda: services.store.copy(one.entry.key, target, etag=former.etag)):
        raise _changed(record, one)


def _mark(services: Services, record: Replacement, day: date) -> None:
    """Write the mark, once there is no mark of another replacement: one of other partitions may be at this day."""

    def mark() -> None:
        other = services.publisher.mark(day, record.n)
        if other is not None:
            raise TransientError(
                f"replacement {other} of {services.stream} is writing objects of {day}: if that command is no longer"
                " running, run it again"
            )

    services.ask(mark)


def _put(services: Services, record: Replacement, one: NewObject, body_of: BodyOf) -> None:
    if stands(services, record.n, one):
        return
    body = body_of(one)
    if (body.size, body.sha256) != (one.size, one.sha256):
        raise RefusedError(
            f"{one.entry.key}: {record.kind} {record.n} recorded a body of {one.size:,} bytes with sha256 {one.sha256},"
            f" but it now has {body.size:,} with {body.sha256}. It stays half done: use the release that started it"
        )
    condition = Match(one.former.etag) if one.former else Absent()
    metadata = metadata_of(services, record, one)
    outcome = services.ask(lambda: services.store.put(one.entry.key, body, condition=condition, metadata=metadata))
    if not isinstance(outcome, Written) and not stands(services, record.n, one):
        raise _changed(record, one)


def metadata_of(services: Services, record: Replacement, one: NewObject) -> dict[str, str]:
    """The row facts that a replaced object carries."""
    entry = one.entry
    return {
        "topic": services.topic,
        "partition": str(one.partition),
        "rows": str(entry.rows),
        "first-offset": "" if entry.first_offset is None else str(entry.first_offset),
        "last-offset": "" if entry.last_offset is None else str(entry.last_offset),
        "sha256": one.sha256,
        "replay": str(record.n),
    }


def _changed(record: Replacement, one: NewObject) -> RefusedError:
    return RefusedError(
        f"{one.entry.key} was overwritten after {record.kind} {record.n} read it. adapty-sink verify says what is there"
    )
