"""After the record: put its objects, each exactly once, and check whether all objects of a seal exist."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from typing import BinaryIO

from consumer.domain import json_fields
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.location import object_url
from consumer.seal.keys import manifest_key
from consumer.seal.manifest import objects_from
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.replacements.log import ReplacementLog
from consumer.store.compression import BLOCK, plain_blocks
from consumer.store.port import Absent, Body, ObjectInfo, Store, Written


def object_metadata(record: Record, entry: ObjectEntry, body: Body) -> dict[str, str]:
    """The row facts that an object carries in its metadata."""
    return {
        "topic": record.partition.topic,
        "partition": str(record.partition.partition),
        "rows": str(entry.rows),
        "first-offset": "" if entry.first_offset is None else str(entry.first_offset),
        "last-offset": "" if entry.last_offset is None else str(entry.last_offset),
        "sha256": body.sha256,
    }


def put_object(store: Store, record: Record, entry: ObjectEntry, body: Body, *, lossy: bool = False) -> bool:
    """Put one object of a seal: True if this call wrote it, False if the same rows were already there.

    `lossy` accepts an existing object with as many rows as the record says or fewer: a gap may have taken some, and
    another worker may have been first. Raises TransientError, or HaltError `object_mismatch` if there are other rows
    under the key.
    """
    metadata = object_metadata(record, entry, body)
    outcome = store.put(entry.key, body, condition=Absent(), metadata=metadata)
    if isinstance(outcome, Written):
        return True
    facts = store.head(entry.key)
    if facts is None:  # S3 refuses so for a write or a deletion that was under way, too
        raise TransientError(f"{object_url(store.location, entry.key)} was refused as existing, but does not exist")
    said = next((one for one in record.objects if one.key == entry.key), entry)
    if not (_same_rows(store, facts, metadata, entry) or (lossy and _holds(store, facts, record, said, lossy=True))):
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{object_url(store.location, entry.key)} has other rows than seal {record.n} of {record.partition} says "
            f"(found {dict(facts.metadata)}). It was not written by this chain: move it out of the folder, and the "
            "seal continues",
        )
    return False


def _same_rows(store: Store, facts: ObjectInfo, wanted: Mapping[str, str], entry: ObjectEntry) -> bool:
    if not store.keeps_metadata:
        return count_rows(store, entry) == entry.rows
    names = ("topic", "partition", "rows", "first-offset", "last-offset")
    return all(facts.metadata.get(name, "") == wanted[name] for name in names)


class ObjectChecker:
    """Checks whether the objects of a seal exist in the bucket, or in the manifest of their day.

    `lossy` allows an object with fewer rows: a gap took the others before the seal was finished.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listed: dict[tuple[str, date], set[str]] = {}

    def finished(self, record: Record, *, lossy: bool = False) -> bool:
        """Every object of the record exists with its row facts, or was published (and may have been moved since)."""
        return all(self.stands(record, entry, lossy=lossy) for entry in record.objects)

    def stands(self, record: Record, entry: ObjectEntry, *, lossy: bool = False) -> bool:
        """One object exists with its row facts, or was published."""
        facts = self._store.head(entry.key)
        if facts is None:
            return not entry.quarantine and entry.key in self._published(entry)
        if _holds(self._store, facts, record, entry, lossy=lossy):
            return True
        # without metadata the body cannot say that a replacement wrote it, over the seal's own that was finished
        return not self._store.keeps_metadata and entry.key in ReplacementLog(self._store, entry.stream).read().newest

    def _published(self, entry: ObjectEntry) -> set[str]:
        place = (entry.stream, entry.day)
        if place not in self._listed:
            stored = self._store.get(manifest_key(entry.stream, entry.day))
            listed = objects_from(stored) if stored else []
            self._listed[place] = {item["key"] for item in listed}
        return self._listed[place]


def _holds(store: Store, facts: ObjectInfo, record: Record, entry: ObjectEntry, *, lossy: bool) -> bool:
    """Whether a stored object is the one of this entry; `lossy` as in `ObjectChecker`."""
    if not store.keeps_metadata:
        rows = count_rows(store, entry)
        return rows <= entry.rows if lossy else rows == entry.rows
    said = facts.metadata
    if said.get("replay"):
        return True  # a later replay wrote it again over the seal's object
    same = said.get("topic") == record.partition.topic and said.get("partition") == str(record.partition.partition)
    number = json_fields.number_in(said.get("rows", ""))
    if not same or number is None:
        return False
    return number <= entry.rows if lossy else _pins(said, entry)


def _pins(said: Mapping[str, str], entry: ObjectEntry) -> bool:
    first = "" if entry.first_offset is None else str(entry.first_offset)
    last = "" if entry.last_offset is None else str(entry.last_offset)
    return (said.get("rows"), said.get("first-offset"), said.get("last-offset")) == (str(entry.rows), first, last)


def count_rows(store: Store, entry: ObjectEntry) -> int:
    """The rows of a stored object, by reading it; -1 if it is missing or unreadable."""
    reader = store.open(entry.key)
    if reader is None:
        return -1
    with reader:
        try:
            return count_lines(entry.key, reader)
        except ValueError:
            return -1


def size_and_digest(store: Store, key: str) -> tuple[int, str]:
    """Size and sha256 of a stored object, by reading it. Raises TransientError if it is missing."""
    reader = store.open(key)
    if reader is None:
        raise TransientError(f"{object_url(store.location, key)} is gone")
    digest, size = hashlib.sha256(), 0
    with reader:
        for block in iter(lambda: reader.read(BLOCK), b""):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


class RowCounter:
    """Counts CSV rows block by block: line ends outside quotes. The header counts as one."""

    def __init__(self) -> None:
        self.rows = 0
        self._quoted = False

    def add(self, block: bytes) -> None:
        """Count what this block adds."""
        pieces = block.split(b'"')
        for index, piece in enumerate(pieces):
            if index:
                self._quoted = not self._quoted
            if not self._quoted:
                self.rows += piece.count(b"\n")


def count_lines(key: str, reader: BinaryIO) -> int:
    """Rows of a data object without its header, or lines of a quarantine object."""
    if key.endswith(".jsonl"):
        return sum(block.count(b"\n") for block in plain_blocks(key, reader))
    counter = RowCounter()
    for block in plain_blocks(key, reader):
        counter.add(block)
    return counter.rows - 1
