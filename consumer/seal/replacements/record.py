"""One record of the replacement log, immutable: which objects of which days it replaces, and with what."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import orjson

from consumer.domain import json_fields
from consumer.domain.days import day_from
from consumer.seal.keys import day_folder, seal_of
from consumer.seal.record import ObjectEntry, entry_from

REPLACEMENT_VERSION = 1


MOST_DIGESTS = 200_000
"""Of one erasure: a record of more would be larger than what is read (store/document_sizes)."""
CELLS, ROWS = "cells", "rows"
"""What an erasure empties or takes out."""


class ReplacementError(ValueError):
    """The text is not a record of the replacement log."""


class NewerReplacementError(ReplacementError):
    """A newer release wrote it: its version or kind is not known here."""


class ReplacementKind(StrEnum):
    """What made the new bodies."""

    REPLAY = "replay"
    REWRITE = "rewrite"
    ERASE = "erase"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Former:
    """The body that stood under the key before: exactly this one is replaced. `version_id` is "" without versions."""

    etag: str
    sha256: str
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class NewObject:
    """One object after the replacement: its rows, its body, its header.

    The header is the first `columns` of the folder's list; None: the columns of `settings`, as in objects older than
    the list. `former` is None for an object that is added.
    """

    entry: ObjectEntry
    partition: int
    settings: str
    size: int
    sha256: str
    former: Former | None
    columns: int | None = None

    def document(self) -> dict[str, Any]:
        """The object as written in a record."""
        return {
            **self.entry.document(),
            "partition": self.partition,
            "settings": self.settings,
            **({} if self.columns is None else {"columns": self.columns}),
            "bytes": self.size,
            "sha256": self.sha256,
            "replaced": asdict(self.former) if self.former else None,
        }


@dataclass(frozen=True, slots=True)
class Erasure:
    """The persons that an `erase` removes: cells of `column` whose keyed digest is among `digests`.

    `mode` is "cells" (the `personal` columns of their rows become empty) or "rows". `key` is the name of the digests'
    key, and `fingerprint` distinguishes it from others of that name. Values are not stored.
    """

    column: str
    mode: str
    key: str
    fingerprint: str
    digests: frozenset[str]
    personal: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The erasure as written in a record."""
        return {**asdict(self), "digests": sorted(self.digests), "personal": list(self.personal)}


@dataclass(frozen=True, slots=True)
class Replacement:
    """Record `n` of a stream's replacement log.

    `days` are those whose objects it replaces, `partitions` those of the command (None: all). `settings` is the digest
    of the current row rules. `heads` are the newest records that its plan was based on, by partition. `unchanged` is
    the number of objects that were examined and kept.
    """

    kind: ReplacementKind
    n: int
    stream: str
    first: date
    last: date
    days: tuple[date, ...]
    partitions: tuple[int, ...] | None
    settings: str
    previous_sha256: str | None
    objects: tuple[NewObject, ...]
    unchanged: int
    kept_old: bool
    replaced_at: datetime
    writer: str
    heads: Mapping[int, int] = field(default_factory=dict)
    undoes: int | None = None
    erasure: Erasure | None = None

    def touches(self, days: Container[date], partitions: Iterable[int] | None) -> bool:
        """Whether it shares a day and a partition with these; None: all partitions."""
        return any(day in days for day in self.days) and self._shares(partitions)

    def erases(self, days: Iterable[date], partitions: Iterable[int] | None) -> bool:
        """Whether it is an erasure that applies to rows of these days and partitions, whenever they are made."""
        held = self.erasure is not None and any(self.first <= day <= self.last for day in days)
        return held and self._shares(partitions)

    def _shares(self, partitions: Iterable[int] | None) -> bool:
        return partitions is None or self.partitions is None or bool(set(self.partitions) & set(partitions))

    def of_day(self, day: date) -> tuple[NewObject, ...]:
        """Its objects of one day."""
        return tuple(one for one in self.objects if one.entry.day == day)

    def document(self) -> bytes:
        """The record as it is put."""
        raw: dict[str, Any] = {
            "version": REPLACEMENT_VERSION,
            "kind": self.kind,
            "n": self.n,
            "stream": self.stream,
            "from": self.first,
            "to": self.last,
            "days": list(self.days),
            "partitions": None if self.partitions is None else list(self.partitions),
            "settings": self.settings,
            "previous_sha256": self.previous_sha256,
            "heads": {str(number): n for number, n in sorted(self.heads.items())},
            "objects": [one.document() for one in self.objects],
            "unchanged": self.unchanged,
            "kept_old": self.kept_old,
            "replaced_at": self.replaced_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "writer": self.writer,
        }
        if self.undoes is not None:
            raw["undoes"] = self.undoes
        if self.erasure is not None:
            raw["erasure"] = self.erasure.document()
        return orjson.dumps(raw, option=orjson.OPT_INDENT_2)


def replacement_from(data: bytes) -> Replacement:
    """Read a record back. Raises NewerReplacementError, or ReplacementError if the text is not one."""
    try:
        raw = json_fields.table(orjson.loads(data), "a replacement")
        kind = _known(raw)
        found = _replacement(kind, raw)
    except NewerReplacementError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ReplacementError(f"{type(error).__name__}: {error}") from error
    if what := _impossible(found):
        raise ReplacementError(what)
    return found


def _known(raw: Mapping[str, Any]) -> ReplacementKind:
    version, kind = json_fields.whole(raw, "version"), json_fields.text(raw, "kind")
    if version > REPLACEMENT_VERSION or kind not in list(ReplacementKind):
        raise NewerReplacementError(f"version {version}, kind {kind}")
    return ReplacementKind(kind)


def _replacement(kind: ReplacementKind, raw: Mapping[str, Any]) -> Replacement:
    optional = {"undoes": None, **raw}
    before = raw["previous_sha256"]
    partitions = raw["partitions"]
    heads = json_fields.table(raw["heads"], "heads")
    return Replacement(
        kind=kind,
        n=json_fields.whole(raw, "n"),
        stream=json_fields.text(raw, "stream"),
        first=json_fields.day(raw, "from"),
        last=json_fields.day(raw, "to"),
        days=tuple(day_from(day) for day in json_fields.texts(raw, "days")),
        partitions=None if partitions is None else tuple(_numbers(raw, "partitions")),
        settings=json_fields.text(raw, "settings"),
        previous_sha256=None if before is None else json_fields.text(raw, "previous_sha256"),
        objects=tuple(map(_object, json_fields.tables(raw, "objects"))),
        unchanged=json_fields.whole(raw, "unchanged"),
        kept_old=json_fields.flag(raw, "kept_old"),
        replaced_at=_instant(json_fields.text(raw, "replaced_at")),
        writer=json_fields.text(raw, "writer"),
        heads={int(number): json_fields.whole(heads, number) for number in heads},
        undoes=json_fields.whole_or_none(optional, "undoes"),
        erasure=_erasure(raw["erasure"]) if "erasure" in raw else None,
    )


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(raw[name], list):
        raise json_fields.FieldError(f"{name} is not a list")
    return list(raw[name])


def _numbers(raw: Mapping[str, Any], name: str) -> list[int]:
    return [json_fields.whole({name: one}, name) for one in _list(raw, name)]


def _object(raw: Mapping[str, Any]) -> NewObject:
    former, optional = raw["replaced"], {"columns": None, **raw}
    return NewObject(
        entry_from(raw),
        json_fields.whole(raw, "partition"),
        json_fields.text(raw, "settings"),
        json_fields.whole(raw, "bytes"),
        json_fields.text(raw, "sha256"),
        None if former is None else _former(json_fields.table(former, "replaced")),
        json_fields.whole_or_none(optional, "columns", least=1),
    )


def _former(raw: Mapping[str, Any]) -> Former:
    return Former(*(json_fields.text(raw, name) for name in ("etag", "sha256", "version_id")))


def _erasure(raw: object) -> Erasure:
    found = json_fields.table(raw, "erasure")
    if found["mode"] not in {CELLS, ROWS}:
        raise NewerReplacementError(f"an erasure of mode {found['mode']!r:.40}")
    return Erasure(
        column=json_fields.text(found, "column"),
        mode=json_fields.text(found, "mode"),
        key=json_fields.text(found, "key"),
        fingerprint=json_fields.text(found, "fingerprint"),
        digests=frozenset(json_fields.texts(found, "digests")),
        personal=json_fields.texts(found, "personal"),
    )


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise json_fields.FieldError(f"{text!r} has no zone")
    return instant.astimezone(UTC)


def _impossible(found: Replacement) -> str:
    """What no release can have written; "" if nothing is wrong."""
    if (found.previous_sha256 is None) != (found.n == 0):
        return f"replacement {found.n} has previous_sha256 {found.previous_sha256}"
    if (found.undoes is not None) != (found.kind is ReplacementKind.UNDO) or (
        found.undoes is not None and found.undoes >= found.n
    ):
        return f"it is of kind {found.kind} and undoes {found.undoes}"
    if (found.erasure is not None) != (found.kind is ReplacementKind.ERASE):
        return f"it is of kind {found.kind}, and has an erasure or lacks one"
    days = list(found.days)
    if not days or days != sorted(set(days)) or not found.first <= days[0] <= days[-1] <= found.last:
        return f"its days are not in order, not from {found.first} to {found.last}, or none"
    if len({one.entry.key for one in found.objects}) != len(found.objects):
        return "it lists an object twice"
    return _impossible_object(found)


def _impossible_object(found: Replacement) -> str:
    for one in found.objects:
        entry = one.entry
        if entry.quarantine or entry.stream != found.stream or entry.day not in found.days:
            return f"{entry.key} belongs to none of its days"
        through = _through_of(one)
        if through is None:
            return f"its object {entry.key!r:.300} is not one of {entry.day} and partition {one.partition}"
        if not entry.is_within(through) or (entry.rows == 0) != (entry.first_offset is None):
            return f"{entry.key} has {entry.rows} rows from {entry.first_offset} to {entry.last_offset}"
    return ""


def _through_of(one: NewObject) -> int | None:
    """The end of its seal by its key, if that is one that a seal gives: it is put there, and read from there."""
    folder = day_folder(one.entry.stream, one.entry.day)
    found = seal_of(one.entry.key.removeprefix(folder)) if one.entry.key.startswith(folder) else None
    through = found[1] if found is not None and found[0].partition == one.partition else 0
    return through or None  # a seal that ends at 0 has no objects
