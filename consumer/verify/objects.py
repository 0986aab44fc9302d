"""The body of one object, read once from start to end: digest, size, header, rows, offsets of quarantine lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

import orjson

from consumer.domain.json_fields import number_in
from consumer.seal.objects import RowCounter
from consumer.seal.record import ObjectEntry
from consumer.store.compression import BLOCK, plain_blocks
from consumer.store.port import ObjectInfo, Store
from consumer.verify.columns import ColumnsLook
from consumer.verify.findings import REPLAY_DAY, RESTORE_OBJECT, RESTORE_QUARANTINE, Finding, Problem
from consumer.verify.replays import RUN_AGAIN
from consumer.verify.wanted import Wanted

LONGEST_LINE = 256 * 1024 * 1024
"""Bytes of one line of a quarantine object. Kafka's messages are far from it."""
Progress = Callable[[int], None]
"""Told of each block's bytes. May raise to end the reading."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a body turned out to be. `rows` are without the header; `damage` is "" for a body that can be read."""

    size: int
    sha256: str
    rows: int
    header: bytes = b""
    first: int | None = None
    last: int | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Inspected:
    """An object as it was found: None in `measured` if it is missing."""

    wanted: Wanted
    measured: Measured | None
    findings: tuple[Finding, ...] = ()


class _Tapped:
    """Reads on while hashing what it reads."""

    def __init__(self, reader: BinaryIO, told: Progress) -> None:
        self._reader, self._told = reader, told
        self.digest, self.size = hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._reader.read(BLOCK if size < 0 else size)
        self.digest.update(block)
        self.size += len(block)
        self._told(len(block))
        return block

    def drain(self) -> None:
        while self.read(BLOCK):
            pass


def inspect(store: Store, wanted: Wanted, columns: ColumnsLook, told: Progress) -> Inspected:
    """Read one object and compare it with what it should be. Raises TransientError."""
    facts = store.head(wanted.entry.key)
    reader = store.open(wanted.entry.key) if facts else None
    if facts is None or reader is None:
        return Inspected(wanted, None)
    with reader:
        measured = _measure(wanted.entry, reader, columns.longest, told)
    whats: list[str] = []
    if store.keeps_metadata:
        half = _half_replayed(wanted, facts.metadata)
        if half is not None:
            return Inspected(wanted, measured, (half,))
        whats.extend(_metadata_problems(wanted, facts, measured))
    elif wanted.replay is not None and measured.sha256 == wanted.former != wanted.sha256:
        return Inspected(wanted, measured, (_replay_finding(wanted),))
    whats.extend(_body_problems(wanted, columns, measured))
    return Inspected(wanted, measured, _told(wanted, whats))


def _told(wanted: Wanted, whats: Iterable[str]) -> tuple[Finding, ...]:
    """All that is wrong with one object as one finding."""
    found = list(dict.fromkeys(whats))
    if not found:
        return ()
    entry = wanted.entry
    todo = RESTORE_QUARANTINE if entry.quarantine else RESTORE_OBJECT.format(day=entry.day)
    return (Finding(entry.key, Problem.OBJECT, "; ".join(found), todo),)


def missing(wanted: Wanted) -> Finding:
    """The finding about an object that is not there."""
    entry = wanted.entry
    what = f"the object is missing; seal {wanted.seal} of {wanted.partition} put {entry.rows} rows into it"
    todo = REPLAY_DAY.format(day=entry.day, stream=entry.stream)
    if entry.quarantine:
        todo = f"if a downstream job moved it, bring it back; otherwise {RESTORE_QUARANTINE}"
    return Finding(entry.key, Problem.MISSING, what, todo)


# -- reading ---------------------------------------------------------------------------------------------------------


def _measure(entry: ObjectEntry, reader: BinaryIO, longest: int, told: Progress) -> Measured:
    tapped = _Tapped(reader, told)
    blocks = plain_blocks(entry.key, cast("BinaryIO", tapped))
    try:
        found = _lines(blocks) if entry.quarantine else _rows(blocks, longest)
    except ValueError as error:
        found = Measured(0, "", -1, damage=str(error))
    tapped.drain()
    return Measured(
        tapped.size, tapped.digest.hexdigest(), found.rows, found.header, found.first, found.last, found.damage
    )


def _rows(blocks: Iterable[bytes], longest: int) -> Measured:
    counter, top, last = RowCounter(), b"", b""
    for block in blocks:
        counter.add(block)
        top += block[: max(0, longest + 1 - len(top))]
        last = block[-1:] or last
    damage = "" if last == b"\n" else "its last line is incomplete"
    return Measured(0, "", counter.rows - 1, header=top[: top.find(b"\n") + 1] or top, damage=damage)


def _lines(blocks: Iterable[bytes]) -> Measured:
    rows, first, last = 0, None, -1
    for line in _split(blocks):
        offset = _offset(line)
        if offset <= last:
            raise ValueError(f"offset {offset} comes after {last}")
        rows, last = rows + 1, offset
        first = offset if first is None else first
    return Measured(0, "", rows, first=first, last=last if rows else None)


def _offset(line: bytes) -> int:
    try:
        return int(orjson.loads(line)["offset"])
    except (KeyError, TypeError) as error:
        raise ValueError("a line without an offset") from error


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    size = 0
    for block in blocks:
        *whole, last = block.split(b"\n")
        if whole:
            yield b"".join((*rest, whole[0]))
            yield from whole[1:]
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
    if size:
        raise ValueError("its last line is incomplete")


# -- comparing -------------------------------------------------------------------------------------------------------


def _half_replayed(wanted: Wanted, said: Mapping[str, str]) -> Finding | None:
    """The object was last written by another replay than the newest that lists it."""
    written = said.get("replay", "")
    if written == ("" if wanted.replay is None else str(wanted.replay)):
        return None
    if wanted.replay is None:
        what = f"replay {written} wrote it, but no record in the replay log lists it"
        return Finding(wanted.entry.key, Problem.OBJECT, what, RESTORE_OBJECT.format(day=wanted.entry.day))
    return _replay_finding(wanted)


def _replay_finding(wanted: Wanted) -> Finding:
    what = f"replay {wanted.replay} is half done: this object is not rewritten yet"
    return Finding(wanted.entry.key, Problem.REPLAY, what, RUN_AGAIN)


def _metadata_problems(wanted: Wanted, facts: ObjectInfo, measured: Measured) -> Iterator[str]:
    said, entry = facts.metadata, wanted.entry
    place = (said.get("topic"), said.get("partition"))
    if place != (wanted.partition.topic, str(wanted.partition.partition)):
        yield f"its metadata says {place[0]}:{place[1]}, not {wanted.partition}"
    if said.get("sha256", "") != measured.sha256:
        yield f"its sha256 is {measured.sha256}, its metadata says {said.get('sha256') or 'none'}"
    rows, first, last = said.get("rows", ""), said.get("first-offset", ""), said.get("last-offset", "")
    wants = (str(entry.rows), _text(entry.first_offset), _text(entry.last_offset))
    if (rows, first, last) != wants and not _fewer(wanted, rows, first):
        said_of = f"its metadata says {rows} rows from {first} to {last}"
        yield f"{said_of}, its record {wants[0]} from {wants[1]} to {wants[2]}"


def _fewer(wanted: Wanted, rows: str, first: str) -> bool:
    """A gap cost it rows: what is left begins behind the gap."""
    number, offset = number_in(rows), number_in(first)
    if wanted.floor is None or number is None or number >= wanted.entry.rows:
        return False
    return number == 0 or (offset is not None and offset >= wanted.floor)


def _text(offset: int | None) -> str:
    return "" if offset is None else str(offset)


def _body_problems(wanted: Wanted, columns: ColumnsLook, measured: Measured) -> Iterator[str]:
    entry = wanted.entry
    source = "manifest" if wanted.replay is None else f"record of replay {wanted.replay}"
    if wanted.sha256 and (measured.sha256, measured.size) != (wanted.sha256, wanted.size or measured.size):
        yield (
            f"it has {measured.size} bytes with sha256 {measured.sha256}, the {source} says"
            f" {measured.size if wanted.size is None else wanted.size} with {wanted.sha256}"
        )
    if measured.damage:
        yield f"it cannot be read: {measured.damage}"
    elif not wanted.allows(measured.rows):
        yield f"it has {measured.rows} rows, its record says {entry.rows}"
    if entry.quarantine:
        if measured.rows == entry.rows and (measured.first, measured.last) != (entry.first_offset, entry.last_offset):
            yield f"its lines have offsets {measured.first} to {measured.last}, not as its record says"
    elif not measured.damage and (what := columns.header_problem(wanted, measured.header)):
        yield what
