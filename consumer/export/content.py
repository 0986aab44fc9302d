"""The rows of an export, day by day, while reading: blocks of CSV, and each day's facts at its end."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO, Protocol, cast

from consumer.domain.backoff import Ask
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.location import object_url
from consumer.export.open_days import OpenRows, lacks_rows, stored_objects
from consumer.export.plan import NOT_SEALED, UNKNOWN, DayKind, ExportedDay, PlannedDay
from consumer.export.survey import Manifest, OpenPartition, Survey
from consumer.seal.day_plan import GAP
from consumer.shape.csv_rows import CellRule, fitted
from consumer.shape.csv_text import line
from consumer.store.body import local_disk
from consumer.store.compression import plain_blocks
from consumer.store.port import Store

DAY_TRIES = 3
"""A day that changes while it is read is read so often."""
HELD_IN_MEMORY = 16 * 1024 * 1024
"""Bytes of a day that is held back until it is known to be whole; above that it waits in a temporary file."""
BLOCK = 1 << 20


class DayChangedError(Exception):
    """A day changed while it was read: what was read of it is useless."""

    def __init__(self, day: date) -> None:
        super().__init__(str(day))
        self.day = day


class ProgressListener(Protocol):
    """Gets the progress of reading. Rows and bytes are those since the last call; the rows are an estimate."""

    def advanced(self, rows: float, size: int) -> None: ...

    def day_done(self, day: ExportedDay) -> None: ...


@dataclass(slots=True)
class Tries:
    """How often each day was begun. `rest` waits between two tries."""

    rest: Callable[[], None]
    _begun: dict[date, int] = field(default_factory=dict)

    def again(self, day: date, why: str) -> None:
        """Count a try that failed. Raises HaltError if it was the last one."""
        self._begun[day] = self._begun.get(day, 0) + 1
        if self._begun[day] >= DAY_TRIES:
            raise HaltError(
                HaltReason.OBJECT_MISMATCH,
                f"day {day} {why}, {DAY_TRIES} times in a row: export it again once that is over",
            )
        self.rest()


@dataclass(frozen=True, slots=True)
class Source:
    """The source of the rows.

    `cell_rules` are the current privacy rules for an object with these columns. `hold` holds a day back until it is
    known to be complete, for outputs that cannot be retracted.
    """

    store: Store
    ask: Ask
    manifest: Callable[[date], Manifest | None]
    open_rows: Callable[[], OpenRows]
    cell_rules: Callable[[Sequence[str]], Mapping[int, CellRule]]
    progress: ProgressListener
    tries: Tries
    hold: bool = False


@dataclass(slots=True)
class Content:
    """One reading of all days. `done` are the days read so far."""

    source: Source
    survey: Survey
    columns: tuple[str, ...]
    done: list[ExportedDay] = field(default_factory=list)
    _open: OpenRows | None = None

    def blocks(self) -> Iterator[bytes]:
        """The header and all rows. Raises DayChangedError if a day must be read again from its beginning."""
        try:
            yield line(self.columns)
            for planned in self.survey.days:
                yield from self._held(planned) if self.source.hold else self._day(planned)
                self.source.progress.day_done(self.done[-1])
        finally:
            if self._open is not None:
                self._open.file.close()

    def _held(self, planned: PlannedDay) -> Iterator[bytes]:
        while True:
            with local_disk("buffer a day"), tempfile.SpooledTemporaryFile(HELD_IN_MEMORY) as file:
                try:
                    for block in self._day(planned):
                        file.write(block)
                except DayChangedError as changed:
                    self.source.tries.again(changed.day, "changed while it was read")
                    continue
                file.seek(0)
                yield from iter(lambda: file.read(BLOCK), b"")
                return

    def _day(self, planned: PlannedDay) -> Iterator[bytes]:
        match planned.kind:
            case DayKind.SEALED:
                yield from self._sealed(planned.day)
            case DayKind.OPEN:
                yield from self._open_day(planned.day)
            case DayKind.EMPTY:
                self.done.append(ExportedDay(planned.day, 0, 0, complete=True, why=(), source="bucket"))
            case DayKind.UNKNOWN:
                self.done.append(ExportedDay(planned.day, None, 0, complete=False, why=(UNKNOWN,), source=None))

    # -- sealed days: what the manifest lists, between two looks at the manifest --

    def _sealed(self, day: date) -> Iterator[bytes]:
        manifest = self._settled(day)
        for item in sorted(manifest["objects"], key=lambda item: (item["partition"], item["seal"])):
            try:
                yield from self._object(item["key"], item["rows"], item["bytes"], item["sha256"])
            except HaltError:
                if self._changed(day, manifest):
                    raise DayChangedError(day) from None
                raise
        if self._changed(day, manifest):
            raise DayChangedError(day)
        self.done.append(
            ExportedDay(
                day,
                revision=manifest["revision"],
                rows=manifest["rows"],
                complete=manifest["complete"],
                why=tuple(manifest["why"]),
                source="bucket",
            )
        )

    def _settled(self, day: date) -> Manifest:
        """The day's manifest while no replacement is under way."""
        while True:
            manifest = self.source.manifest(day)
            if manifest is None:
                raise HaltError(HaltReason.OBJECT_MISMATCH, f"the manifest of {day} is missing: run adapty-sink verify")
            if manifest.get("replaying") is None:
                return manifest
            self.source.tries.again(day, f"is being replaced (replacement {manifest['replaying']})")

    def _changed(self, day: date, before: Manifest) -> bool:
        now = self.source.manifest(day)
        return now is None or now["revision"] != before["revision"] or now.get("replaying") is not None

    # -- open days: what seals have taken already, then what Kafka has --

    def _open_day(self, day: date) -> Iterator[bytes]:
        if self._open is None:
            self._open = self.source.open_rows()
        rows = self._open.rows.get(day, 0)
        for part in self.survey.open_partitions:
            for entry in stored_objects(part, day):
                rows += entry.rows
                yield from self._object(entry.key, entry.rows)
            for block in self._open.blocks(day, part.partition.partition):
                self.source.progress.advanced(0, len(block))
                yield block
        self.done.append(_open_day(day, rows, lacks=lacks_rows(self._open, day)))

    # -- objects --

    def _object(self, key: str, rows: int, size: int = 0, sha256: str = "") -> Iterator[bytes]:
        """The rows of one object under the export's header. Raises HaltError if it is not what it should be."""
        store = self.source.store
        with closing(SteadyReader(store, key, self.source.ask)) as reader:
            try:
                plain = plain_blocks(key, cast("BinaryIO", reader))
                for block in fitted(plain, self.columns, self.source.cell_rules):
                    self.source.progress.advanced(rows * len(block) / size if size else 0, len(block))
                    yield block
            except ValueError as error:
                raise _damaged(store, key, str(error)) from error
            if sha256 and reader.sha256() != sha256:
                raise _damaged(store, key, "its sha256 differs from the manifest")


def _open_day(day: date, rows: int, *, lacks: bool) -> ExportedDay:
    if lacks and not rows:
        return ExportedDay(day, None, 0, complete=False, why=(UNKNOWN,), source=None)
    why = (GAP, NOT_SEALED) if lacks else (NOT_SEALED,)
    return ExportedDay(day, None, rows, complete=False, why=why, source="kafka")


def _damaged(store: Store, key: str, what: str) -> HaltError:
    return HaltError(
        HaltReason.OBJECT_MISMATCH,
        f"{object_url(store.location, key)} is not what was sealed: {what}."
        " Run adapty-sink verify, and restore the object",
    )


class SteadyReader(io.RawIOBase):
    """An object's stored bytes, resumed after outages: earlier bytes are read again and compared.

    Raises HaltError if the object is missing.
    """

    def __init__(self, store: Store, key: str, ask: Ask) -> None:
        self._store, self._key, self._ask = store, key, ask
        self._reader: BinaryIO | None = None
        self._position = 0
        self._digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._ask(lambda: self._read(size))
        self._digest.update(data)
        self._position += len(data)
        return data

    def sha256(self) -> str:
        """The digest of what was read."""
        return self._digest.hexdigest()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        super().close()

    def _read(self, size: int) -> bytes:
        try:
            if self._reader is None:
                self._reader = self._opened()
            return self._reader.read(size)
        except TransientError:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            raise

    def _opened(self) -> BinaryIO:
        """The object from the current position on."""
        reader = self._store.open(self._key)
        if reader is None:
            raise _damaged(self._store, self._key, "it is gone")
        digest, left = hashlib.sha256(), self._position
        while left and (data := reader.read(min(left, BLOCK))):
            digest.update(data)
            left -= len(data)
        if digest.digest() != self._digest.digest():
            reader.close()
            raise _damaged(self._store, self._key, "it changed while it was read")
        return reader


def known_columns(
    survey: Survey, rules_columns: Callable[[str, OpenPartition], Sequence[str]]
) -> Iterable[Sequence[str]]:
    """The columns of everything that the export is made of, older ones first."""
    for planned in survey.days:
        if planned.kind is DayKind.SEALED:
            for item in planned.manifest["objects"]:
                yield item.get("columns", planned.manifest["columns"])
            yield planned.manifest["columns"]
    for part in survey.open_partitions:
        for digest in dict.fromkeys(record.settings for record in part.published.records):
            yield rules_columns(digest, part)
