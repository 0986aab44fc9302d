"""Seal records: what one seal decided, immutable, as stored in the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import orjson

from consumer.domain import json_fields
from consumer.domain.batches import Counts, SealedSchemas
from consumer.domain.days import ABSURD_DAYS
from consumer.domain.offsets import Span, TopicPartition

RECORD_VERSION = 1


class RecordError(ValueError):
    """The text is not a seal record."""


class NewerRecordError(RecordError):
    """The record was written by a newer release: its version or kind is not known here."""


class RecordKind(StrEnum):
    """What a record decides."""

    SEAL = "seal"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of a seal and its rows. Offsets are those of its first and last row; None if it is empty."""

    key: str
    stream: str
    day: date
    rows: int
    first_offset: int | None
    last_offset: int | None
    quarantine: bool = False

    def is_within(self, through: int) -> bool:
        """Whether so many rows can lie from the first to the last offset, all of them below `through`."""
        if self.first_offset is None or self.last_offset is None:
            return self.first_offset is self.last_offset and self.rows == 0
        fits = 0 <= self.first_offset <= self.last_offset < through
        return fits and self.rows <= self.last_offset - self.first_offset + 1

    def document(self) -> dict[str, Any]:
        """The entry as written in a record."""
        raw = asdict(self)
        if not self.quarantine:
            del raw["quarantine"]
        return raw


def entry_from(raw: Mapping[str, Any]) -> ObjectEntry:
    """Read an entry back. Raises KeyError or ValueError if it is not valid."""
    return ObjectEntry(
        json_fields.text(raw, "key"),
        json_fields.text(raw, "stream"),
        json_fields.day(raw, "day"),
        json_fields.whole(raw, "rows"),
        json_fields.whole_or_none(raw, "first_offset"),
        json_fields.whole_or_none(raw, "last_offset"),
        json_fields.flag({"quarantine": False, **raw}, "quarantine"),
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a chain has come: the last closed day (None: none yet) and the NEXT offset to process."""

    cutoff: date | None
    through: int


def due_by(day: date, cutoff: date | None, sealed_at: datetime) -> bool:
    """Whether a seal with this cutoff takes a row of `day` whose covering record was sealed at `sealed_at`.

    Besides the days up to the cutoff a seal takes days so far ahead that waiting for them would hold the resume offset.
    """
    return (cutoff is not None and day <= cutoff) or day > sealed_at.date() + ABSURD_DAYS


@dataclass(frozen=True, slots=True)
class Record:
    """Record `n` of one partition's seal log. Of a gap, `unfinished` is the seal that it found pending.

    The data objects have the first `columns` of the folder's list; None in records that are older than the list: theirs
    have the columns of their settings.
    """

    kind: RecordKind
    stream: str
    partition: TopicPartition
    topic_id: str
    group: str
    n: int
    previous: Reach | None
    cutoff: date | None
    caught_up: bool
    start: int
    through: int
    resume: int
    lso: int
    high: int
    settings: str
    sealed_at: datetime
    writer: str
    schemas: SealedSchemas = field(default_factory=SealedSchemas)
    objects: tuple[ObjectEntry, ...] = ()
    counts: Counts = Counts()
    first_timestamp: int | None = None
    lost: Span | None = None
    unfinished: int | None = None
    previous_sha256: str = ""
    columns: int | None = None

    @property
    def reach(self) -> Reach:
        """How far the chain has come with this record."""
        return Reach(self.cutoff, self.through)

    @property
    def open_transaction(self) -> bool:
        """The seal gave up waiting for a producer's transaction: the days that it is the first to close are marked."""
        return self.kind is RecordKind.SEAL and self.caught_up and self.lso < self.high

    def document(self) -> bytes:
        """The record as it is put."""
        raw: dict[str, Any] = {
            "version": RECORD_VERSION,
            "kind": self.kind,
            "stream": self.stream,
            "topic": self.partition.topic,
            "topic_id": self.topic_id,
            "partition": self.partition.partition,
            "group": self.group,
            "n": self.n,
            "previous": asdict(self.previous) if self.previous else None,
            "cutoff": self.cutoff,
            "caught_up": self.caught_up,
            "start": self.start,
            "through": self.through,
            "resume": self.resume,
            "lso": self.lso,
            "high": self.high,
            "settings": self.settings,
            **({} if self.columns is None else {"columns": self.columns}),
            **_schemas_document(self.schemas),
            "objects": [entry.document() for entry in self.objects],
            "counts": asdict(self.counts),
            "sealed_at": self.sealed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "writer": self.writer,
        }
        if self.n == 0:
            raw["first_timestamp"] = self.first_timestamp
        else:
            raw["previous_sha256"] = self.previous_sha256
        if self.lost is not None or self.unfinished is not None:
            raw["lost"] = [self.lost.start, self.lost.end] if self.lost else None
            raw["unfinished"] = self.unfinished
        return orjson.dumps(raw, option=orjson.OPT_INDENT_2)


def _schemas_document(schemas: SealedSchemas) -> dict[str, dict[str, int]]:
    name, found = ("unknown_schemas", schemas.unknown) if schemas.known is None else ("known_schemas", schemas.known)
    return {name: {str(key): value for key, value in sorted(found.items())}}


def _schemas(raw: Mapping[str, Any]) -> SealedSchemas:
    if "known_schemas" in raw:
        return SealedSchemas(_offsets_by_id(raw, "known_schemas"))
    return SealedSchemas(None, _offsets_by_id(raw, "unknown_schemas"))


def _offsets_by_id(raw: Mapping[str, Any], name: str) -> dict[int, int]:
    found = json_fields.table(raw[name], name)
    return {int(key): json_fields.whole(found, key) for key in found}


def _day(raw: Mapping[str, Any], name: str) -> date | None:
    return None if raw[name] is None else json_fields.day(raw, name)


def _reach(raw: object) -> Reach | None:
    if raw is None:
        return None
    previous = json_fields.table(raw, "previous")
    return Reach(_day(previous, "cutoff"), json_fields.whole(previous, "through"))


def _counts(raw: object) -> Counts:
    numbers = json_fields.table(raw, "counts")
    return Counts(**{name: json_fields.whole(numbers, name) for name in numbers})


def _lost(raw: object) -> Span | None:
    if raw is None:
        return None
    if not isinstance(raw, list) or len(raw) != 2:  # noqa: PLR2004 - start and end
        raise RecordError("lost is not a pair of offsets")
    ends = dict(zip(("start", "end"), raw, strict=True))
    return Span(json_fields.whole(ends, "start"), json_fields.whole(ends, "end"))


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise RecordError(f"sealed_at {text!r} has no offset")
    return instant.astimezone(UTC)


def _known(raw: Mapping[str, Any]) -> RecordKind:
    if json_fields.whole(raw, "version") > RECORD_VERSION:
        raise NewerRecordError(f"version {raw['version']}")
    try:
        return RecordKind(raw["kind"])
    except ValueError as error:
        raise NewerRecordError(f"kind {raw['kind']!r:.40}") from error


def record_from(data: bytes) -> Record:
    """Read a record back. Raises NewerRecordError, or RecordError if the text is not a record."""
    try:
        raw = json_fields.table(orjson.loads(data), "a record")
        kind = _known(raw)
        optional = {"first_timestamp": None, "unfinished": None, "previous_sha256": "", "columns": None, **raw}
        return Record(
            kind=kind,
            stream=json_fields.text(raw, "stream"),
            partition=TopicPartition(json_fields.text(raw, "topic"), json_fields.whole(raw, "partition")),
            topic_id=json_fields.text(raw, "topic_id"),
            group=json_fields.text(raw, "group"),
            n=json_fields.whole(raw, "n"),
            previous=_reach(raw["previous"]),
            cutoff=_day(raw, "cutoff"),
            caught_up=json_fields.flag(raw, "caught_up"),
            start=json_fields.whole(raw, "start"),
            through=json_fields.whole(raw, "through"),
            resume=json_fields.whole(raw, "resume"),
            lso=json_fields.whole(raw, "lso"),
            high=json_fields.whole(raw, "high"),
            settings=json_fields.text(raw, "settings"),
            sealed_at=_instant(json_fields.text(raw, "sealed_at")),
            writer=json_fields.text(raw, "writer"),
            schemas=_schemas(raw),
            objects=tuple(entry_from(entry) for entry in json_fields.tables(raw, "objects")),
            counts=_counts(raw["counts"]),
            first_timestamp=json_fields.whole_or_none(optional, "first_timestamp", least=-1),
            lost=_lost(raw.get("lost")),
            unfinished=json_fields.whole_or_none(optional, "unfinished"),
            previous_sha256=json_fields.text(optional, "previous_sha256"),
            columns=json_fields.whole_or_none(optional, "columns", least=1),
        )
    except NewerRecordError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{type(error).__name__}: {error}") from error
