"""The folder's columns, `<stream>/_schema.json`: an append-only list.

Readers by position (Athena, Trino, Redshift, Spark, Postgres) must not shift when a schema gets a column in its middle,
or an option one at its end. So the header of every object is a prefix of this list, and a seal record has the length of
the prefix: whoever finishes the seal after a crash writes the same header, whatever has been added to the list
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import orjson

from consumer.domain import json_fields
from consumer.domain.days import day_from
from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.seal.keys import SETTINGS_PREFIX, days_key, manifest_key, schema_key
from consumer.seal.manifest import columns_from, listing_from
from consumer.store.port import Absent, BytesBody, Match, Store, Stored, Written
from consumer.streams.columns import column_names
from consumer.streams.rules import rules_from_document

LIST_VERSION = 1
ROUNDS = 20
"""How often a claim starts over because another worker was faster, before it counts as an outage."""


@dataclass(frozen=True, slots=True)
class FolderColumn:
    """A column of the folder, and the first day that was sealed with it."""

    name: str
    since: date | None


@dataclass(frozen=True, slots=True)
class FolderColumns:
    """The list in its order. Without an `etag` there is no list yet, and these are the columns of older objects."""

    columns: tuple[FolderColumn, ...] = ()
    etag: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The header that a reader of the whole folder has to expect."""
        return tuple(column.name for column in self.columns)


def merged(listed: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """Today's columns: the folder's list, then what the settings add, in their order. None ever leaves."""
    return tuple(dict.fromkeys((*listed, *own)))


def begins_with(names: Sequence[str], prefix: Sequence[str]) -> bool:
    """Whether `names` begins with `prefix`."""
    return tuple(names[: len(prefix)]) == tuple(prefix)


def out_of_order(listed: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """The columns of the settings that the folder cannot have where the settings have them, in their order."""
    wanted = {name: place for place, name in enumerate(own)}
    found, reached = [], -1
    for name in merged(listed, own):
        place = wanted.get(name, reached)
        if place < reached:
            found.append(name)
        reached = max(reached, place)
    return tuple(sorted(found, key=wanted.__getitem__))


def folder_columns(store: Store, stream: str) -> FolderColumns:
    """The folder's current columns. Raises TransientError, and HaltError if the list is not valid."""
    stored = store.get(schema_key(stream))
    return _standing(store, stream) if stored is None else list_from(stored, stream)


def claim_columns(store: Store, stream: str, names: Sequence[str], since: date, earliest: date) -> bool:
    """Make the folder's list start with `names`, before a record says that its objects have them.

    New columns get `since` as their day; those of a new folder the `earliest` day of its first seal. False if another
    worker extended the list differently meanwhile. Raises TransientError and HaltError.
    """
    for _ in range(ROUNDS):
        found = folder_columns(store, stream)
        if found.etag is not None and begins_with(found.names, names):
            return True
        if not begins_with(names, found.names):
            return False
        day = since if found.columns else min(since, earliest)
        added = tuple(FolderColumn(name, day) for name in names[len(found.columns) :])
        old = tuple(FolderColumn(column.name, column.since or since) for column in found.columns)
        body = BytesBody(_document(stream, (*old, *added)))
        condition = Absent() if found.etag is None else Match(found.etag)
        try:
            outcome = store.put(schema_key(stream), body, condition=condition, metadata={"sha256": body.sha256})
        except UnknownOutcomeError:
            continue  # what became of it shows when the list is read again
        if isinstance(outcome, Written):
            return True
    raise TransientError(f"{schema_key(stream)}: other workers keep writing it")


def header_of(store: Store, stream: str, count: int) -> tuple[str, ...]:
    """The first `count` columns of the folder: the header of objects whose record has this number. Raises HaltError."""
    names = folder_columns(store, stream).names
    if len(names) < count:
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{schema_key(stream)} has {len(names)} columns, but a record says {count}: restore it from a backup"
            " or an older object version",
        )
    return names[:count]


def list_from(stored: Stored, stream: str) -> FolderColumns:
    """The list from its text. Raises HaltError `object_mismatch` if it is not one, `chain_newer` for a newer one."""
    try:
        raw = json_fields.table(orjson.loads(stored.data), "the document")
        if json_fields.whole(raw, "version") > LIST_VERSION:
            raise HaltError(
                HaltReason.CHAIN_NEWER, f"{stored.facts.key} was written by a newer release: deploy that release again"
            )
        columns = tuple(
            FolderColumn(json_fields.text(item, "name"), json_fields.day(item, "since"))
            for item in json_fields.tables(raw, "columns")
        )
        if json_fields.text(raw, "stream") != stream or len({column.name for column in columns}) != len(columns):
            raise json_fields.FieldError("it belongs to another stream, or has a column twice")
    except (KeyError, ValueError) as error:
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{stored.facts.key} was not written by a worker ({type(error).__name__}: {error}): restore it from a"
            " backup or an older object version",
        ) from error
    return FolderColumns(columns, stored.facts.etag)


def _document(stream: str, columns: Iterable[FolderColumn]) -> bytes:
    listed = [{"name": column.name, "since": column.since} for column in columns]
    raw = {"version": LIST_VERSION, "stream": stream, "columns": listed}
    return orjson.dumps(raw, option=orjson.OPT_INDENT_2)


# -- folders that were begun before they had a list --------------------------------------------------------------------


def _standing(store: Store, stream: str) -> FolderColumns:
    """What the objects of a folder without a list have: the newest day's columns, then all that its settings name.

    So that as many headers as can be are prefixes, the longest known header that begins with the newest day's is first.
    """
    known = _settings_columns(store, stream)
    first, newest = _published_columns(store, stream)
    start = max((names for names in known if begins_with(names, newest)), key=_by_length, default=newest)
    names = merged(start, [name for own in known for name in own])
    return FolderColumns(tuple(FolderColumn(name, first) for name in names))


def _by_length(names: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """The longest first, and always the same one."""
    return len(names), names


def _settings_columns(store: Store, stream: str) -> list[tuple[str, ...]]:
    """The columns of all row rules of this stream in the bucket, except unreadable ones."""
    found = []
    for facts in list(store.list(SETTINGS_PREFIX)):
        stored = store.get(facts.key)
        try:
            rules = rules_from_document(b"" if stored is None else stored.data)
        except (KeyError, TypeError, ValueError):
            continue  # a newer release's, or damaged: `verify` names it
        if rules.stream == stream:
            found.append(column_names(rules))
    return found


def _published_columns(store: Store, stream: str) -> tuple[date | None, tuple[str, ...]]:
    """The oldest day listed, and the columns of the newest one."""
    stored = store.get(days_key(stream))
    days = sorted(day_from(day) for day in listing_from(stored)) if stored else []
    manifest = store.get(manifest_key(stream, days[-1])) if days else None
    return (days[0] if days else None), (columns_from(manifest) if manifest else ())
