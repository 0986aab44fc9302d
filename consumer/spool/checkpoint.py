"""A checkpoint: the contents of a partition's spool and its position, as text that survives a crash."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import orjson

from consumer.domain import json_fields
from consumer.domain.batches import Counts

SPOOL_VERSION = 2
_NAME = re.compile(r"[0-9-]{10}\.[0-9]+\.(csv|jsonl)")


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """Rows of one day on the disk. `crc` runs over the `length` bytes that count; anything after them does not."""

    name: str
    day: date
    quarantine: bool
    rows: int
    first_offset: int
    last_offset: int
    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class SpoolBasis:
    """What the rows of a spool build on: the log, today's rules, and the chain up to record `builds_on` (-1: none).

    `start` is where the rows begin that no seal up to that record took. `columns` are those of the rows.
    """

    topic_id: str
    settings: str
    chain: str
    builds_on: int
    start: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """The reading progress: the NEXT offset, and what was found in the offsets that no record covers yet.

    `dropped` has the first dropped offset of each day that was dropped to free disk space.
    """

    position: int
    counts: Counts = Counts()
    known_schemas: Mapping[int, int] = field(default_factory=dict)
    dropped: Mapping[date, int] = field(default_factory=dict)
    first_timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All of it. `sequence` is the number of the file made last."""

    sequence: int
    basis: SpoolBasis
    progress: ReadProgress
    files: Sequence[SpoolFile]

    def document(self) -> bytes:
        """The text to be kept."""
        text = orjson.dumps(
            {
                "version": SPOOL_VERSION,
                "sequence": self.sequence,
                "basis": asdict(self.basis),
                "progress": {
                    **asdict(self.progress),
                    "known_schemas": {str(key): value for key, value in self.progress.known_schemas.items()},
                    "dropped": {day.isoformat(): offset for day, offset in self.progress.dropped.items()},
                },
                "files": self.files,  # which orjson writes by itself: there may be thousands
            }
        )
        return sealed_text(text)


def read(document: bytes) -> Checkpoint | None:
    """A checkpoint from its text; None if another release wrote it.

    Raises ValueError, KeyError, TypeError or AttributeError if it is not what was saved.
    """
    raw = orjson.loads(opened_text(document))
    if raw["version"] != SPOOL_VERSION:
        return None
    files = [_file_from(entry) for entry in raw["files"]]
    return Checkpoint(int(raw["sequence"]), _basis_from(raw["basis"]), _progress_from(raw["progress"]), files)


def is_name(key: str, name: str) -> bool:
    """Whether this names a file of this partition's spool."""
    return _NAME.fullmatch(name.removeprefix(f"{key}/")) is not None


def sealed_text(text: bytes) -> bytes:
    """A checkpoint's text behind its checksum: SQLite does not notice a flipped bit."""
    return b"%08x\n%s" % (zlib.crc32(text), text)


def opened_text(document: bytes) -> bytes:
    """The text of a checkpoint. Raises ValueError if it is not what was saved."""
    crc, _, text = document.partition(b"\n")
    if int(crc, 16) != zlib.crc32(text):
        raise ValueError("the checkpoint is corrupt")
    return text


def _file_from(raw: Mapping[str, Any]) -> SpoolFile:
    for name in ("rows", "first_offset", "last_offset", "length", "crc"):
        json_fields.whole(raw, name)
    json_fields.text(raw, "name")
    json_fields.flag(raw, "quarantine")
    return SpoolFile(**{**raw, "day": json_fields.day(raw, "day")})


def _basis_from(raw: Mapping[str, Any]) -> SpoolBasis:
    for name in ("topic_id", "settings", "chain"):
        json_fields.text(raw, name)
    json_fields.whole(raw, "builds_on", least=-1)
    json_fields.whole(raw, "start")
    # older releases wrote no columns: such a spool fits no folder that has any
    columns = json_fields.texts(raw, "columns") if "columns" in raw else ()
    return SpoolBasis(**{**raw, "columns": columns})


def _progress_from(raw: Mapping[str, Any]) -> ReadProgress:
    return ReadProgress(
        int(raw["position"]),
        Counts(**raw["counts"]),
        {int(key): int(value) for key, value in raw["known_schemas"].items()},
        {date.fromisoformat(key): int(value) for key, value in raw["dropped"].items()},
        raw["first_timestamp"],
    )
