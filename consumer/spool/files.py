"""The files of one partition's spool: one per (day, quarantine), and the checkpoint with their lengths."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date

from consumer.domain.batches import DayRows
from consumer.domain.errors import SinkError, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.spool.checkpoint import Checkpoint, ReadProgress, SpoolBasis, SpoolFile, is_name, read
from consumer.spool.departure import SWEPT, Departure
from consumer.spool.disk import Disk

LOOKED_AT = 256
"""Files that a restore compares with the checkpoint at a time."""
BLOCK = 1 << 19
"""Bytes summed and written at a time: they are still in the processor's cache at the second look and the third."""


class SpoolFullError(TransientError):
    """The disk accepts no more rows now; earlier ones are kept."""


class SpoolDamagedError(SinkError):
    """A spool file is not what was written: set the spool aside and read the log again."""


class Running:
    """The digest of everything appended to a file, after `top`: what precedes the rows in the later object."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self._sha256 = hashlib.sha256(top)

    def copy(self) -> Running:
        """A copy; both continue independently."""
        made = Running(self.top)
        made._sha256 = self._sha256.copy()
        return made

    def add(self, data: bytes | memoryview) -> None:
        """Go on with what was appended."""
        self._sha256.update(data)

    @property
    def sha256(self) -> str:
        """Hex digest so far."""
        return self._sha256.hexdigest()


class PartitionSpool:
    """One partition's rows on the disk. `take` appends, `checkpoint` makes it durable, `restore` finds it again.

    `appended` counts the bytes ever taken.
    """

    def __init__(self, disk: Disk, partition: TopicPartition) -> None:
        self._disk = disk
        self._key = f"{partition.topic}-{partition.partition}"
        self._files: dict[tuple[date, bool], SpoolFile] = {}
        self._digests: dict[str, Running] = {}
        self._touched: set[str] = set()
        self._departure = Departure(disk)
        self._leaving = False
        self._reserved: set[str] = set()
        self._sequence = 0
        self._dirty = self._syncing = self._restoring = False
        self.appended = 0
        self.basis: SpoolBasis | None = None
        self.progress = ReadProgress(0)

    @property
    def files(self) -> list[SpoolFile]:
        """All files, by day."""
        return [self._files[key] for key in sorted(self._files)]

    @property
    def busy(self) -> bool:
        """A checkpoint or a restore is under way: another turn takes it further."""
        return self._syncing or self._restoring

    @property
    def syncing(self) -> bool:
        """A checkpoint is under way: nothing may be taken until it is complete."""
        return self._syncing

    @property
    def days(self) -> int:
        """How many files there are: one for each day, and one more if it has quarantined records, too."""
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes of rows held."""
        return sum(file.length for file in self._files.values())

    def size_of(self, wanted: Callable[[date], bool]) -> int:
        """Bytes of the rows of the days for which this is true."""
        return sum(file.length for file in self._files.values() if wanted(file.day))

    def digest(self, file: SpoolFile) -> Running | None:
        """The file's digest, while it was written from its first byte on by this process: it outlives no restart."""
        return self._digests.get(file.name)

    def restore(self) -> Iterator[None]:
        """Resume from the checkpoint, some files at a time. In the end `basis` is None if there is none.

        It is also None if the files do not match: then they are set aside.
        """
        self._forget()
        document = self._disk.load(self._key)
        if document is None:
            self.clear()
            return
        self._restoring = True
        try:
            yield from self._load(document)
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            self._forget()  # an invalid checkpoint, or a failing disk: treated like missing files
        finally:
            self._restoring = False
        if self.basis is None:
            self.set_aside()

    def _load(self, document: bytes) -> Iterator[None]:
        found = read(document)
        if found is None or not all(is_name(self._key, file.name) for file in found.files):
            return  # another release's, or no file of this partition
        for place, file in enumerate(found.files, 1):
            length = self._disk.length(file.name)
            if length is None or length < file.length:
                return
            if length > file.length:
                self._disk.truncate(file.name, file.length)
            if place % LOOKED_AT == 0:
                yield
        known = {file.name for file in found.files}
        gone = [name for name in self._names() if name not in known]
        self._reserved = set(gone)
        self._departure.remove(gone)
        self._departure.remove_some()
        self._files = {(file.day, file.quarantine): file for file in found.files}
        self._sequence, self.basis, self.progress = found.sequence, found.basis, found.progress

    def begin(self, basis: SpoolBasis, position: int) -> None:
        """Start empty at `position`. The old checkpoint goes first: a crash now finds no spool."""
        self.clear()
        self.basis = basis
        self.progress = ReadProgress(position)
        self._dirty = True

    def clear(self) -> None:
        """Delete all files and the checkpoint; if there are many, `sweep` removes the rest."""
        self._leave(aside=False)

    def set_aside(self) -> None:
        """Keep the files for inspection, out of the way, and start without any; `sweep` moves the rest of many."""
        self._leave(aside=True)

    def _names(self) -> list[str]:
        """The files of this spool, less those that are to be set aside; other files are left alone."""
        waiting = set(self._departure.aside)
        return [name for name in self._disk.names(self._key) if is_name(self._key, name) and name not in waiting]

    def _leave(self, *, aside: bool) -> None:
        self._forget()
        try:
            with suppress(OSError):  # a disk full to the last page takes not even this before files are gone
                self._disk.save(self._key, None)
            names = self._names()
            self._reserved = {*names, *self._departure.aside}
            if aside and names:
                self._departure.set_aside(names)
            else:
                self._departure.remove(names)
            self._departure.set_some_aside()
            self._departure.remove_some()
            self._disk.save(self._key, None)
        except OSError as error:
            raise SpoolFullError(f"the spool cannot be emptied: {error.strerror or error}") from error

    def _forget(self) -> None:
        """Hold nothing. What was to be removed is looked for again, what is to be set aside stays to be."""
        self._files, self._digests, self._touched = {}, {}, set()
        self._departure.forget_removals()
        self._dirty = self._syncing = self._leaving = False
        self.basis, self.progress = None, ReadProgress(0)

    def take(self, slices: Sequence[DayRows], progress: ReadProgress, top: bytes = b"") -> None:
        """Append these rows and move to `progress`, atomically. Raises SpoolFullError.

        `top` is what will precede rows that are not in quarantine.
        """
        grown: dict[tuple[date, bool], SpoolFile] = {}
        digests: dict[str, Running] = {}
        begun: set[str] = set()
        try:
            for rows in slices:
                key = (rows.day, rows.quarantine)
                file = grown.get(key) or self._files.get(key) or self._new(rows)
                begun.add(file.name)
                digest = digests.get(file.name) or self._running(file, top)
                grown[key] = self._append(file, rows, digest)
                if digest is not None:
                    digests[file.name] = digest
        except OSError as error:
            self._undo(begun)
            raise SpoolFullError(f"rows cannot be written to the spool: {error.strerror or error}") from error
        self._files.update(grown)
        self._digests.update(digests)
        self._touched.update(file.name for file in grown.values())
        self.appended += sum(len(rows.body) for rows in slices)
        self.progress = progress
        self._dirty = True

    def _new(self, rows: DayRows) -> SpoolFile:
        ending = "jsonl" if rows.quarantine else "csv"
        name = ""
        while not name or name in self._reserved:  # it may lie there still
            self._sequence += 1
            name = f"{self._key}/{rows.day}.{self._sequence}.{ending}"
        return SpoolFile(name, rows.day, rows.quarantine, 0, rows.first_offset, rows.last_offset, 0, 0)

    def _running(self, file: SpoolFile, top: bytes) -> Running | None:
        """A copy of the digest to continue with, as nothing counts before everything is written; None if unknown."""
        if (file.day, file.quarantine) in self._files:
            known = self._digests.get(file.name)
            return None if known is None else known.copy()
        return Running(b"" if file.quarantine else top)

    def _append(self, file: SpoolFile, rows: DayRows, digest: Running | None) -> SpoolFile:
        crc, body = file.crc, memoryview(rows.body)
        for start in range(0, len(body) or 1, BLOCK):
            block = body[start : start + BLOCK]
            crc = zlib.crc32(block, crc)
            if digest is not None:
                digest.add(block)
            self._disk.append(file.name, block)
        return replace(
            file,
            rows=file.rows + rows.rows,
            last_offset=rows.last_offset,
            length=file.length + len(body),
            crc=crc,
        )

    def _undo(self, begun: set[str]) -> None:
        """Cut these files back to what counts. Raises SpoolDamagedError if the disk refuses even that."""
        lengths = {file.name: file.length for file in self._files.values() if file.name in begun}
        try:
            for name, length in lengths.items():
                self._disk.truncate(name, length)
            self._disk.remove(sorted(begun - lengths.keys()))
        except OSError as error:
            raise SpoolDamagedError(f"a half-written file cannot be truncated: {error.strerror or error}") from error

    def drop(self, leaves: Callable[[date], bool]) -> None:
        """Drop the days for which `leaves` is true; they are read again after the next seal."""
        dropped = dict(self.progress.dropped)
        gone = [file for file in self._files.values() if leaves(file.day)]
        for file in gone:
            dropped[file.day] = min(file.first_offset, dropped.get(file.day, file.first_offset))
            self._let_go(file)
        self.progress = replace(self.progress, dropped=dropped)
        self._part_with(gone)

    def _part_with(self, gone: Sequence[SpoolFile]) -> None:
        self._dirty = self._leaving = True
        self._departure.remove(file.name for file in gone)
        self.sweep()

    def sweep(self) -> bool:
        """Remove some of the dropped files, or set them aside, `SWEPT` of them; True if more are left.

        The checkpoint comes first: after a crash it must not name files that are gone. A full disk refuses it until
        they are: then a crash finds an invalid spool, which is better than no room.
        """
        if not (self._leaving or self._departure.pending):
            return False
        if self._leaving:
            with suppress(SpoolFullError):
                if not self.checkpoint(SWEPT):
                    return True
            self._leaving = False
        with suppress(OSError):  # a file that cannot be moved now is not in the checkpoint: `restore` removes it
            self._departure.set_some_aside()
        with suppress(OSError):
            self._departure.remove_some()
        return self._departure.pending

    def _let_go(self, file: SpoolFile) -> None:
        del self._files[(file.day, file.quarantine)]
        self._digests.pop(file.name, None)

    def checkpoint(self, files: int | None = None) -> bool:
        """Make all appended rows durable. Raises SpoolFullError.

        With `files` at most that many are fsynced; False if others wait for the next call.
        """
        self._syncing = False
        if not self._dirty or self.basis is None:
            return True
        self._touched &= {file.name for file in self._files.values()}
        now = sorted(self._touched)[:files]
        try:
            self._disk.sync(now)
            self._touched.difference_update(now)
            self._syncing = bool(self._touched)
            if self._syncing:
                return False
            self._disk.save(self._key, Checkpoint(self._sequence, self.basis, self.progress, self.files).document())
        except OSError as error:
            raise SpoolFullError(f"the checkpoint cannot be written to the spool: {error.strerror or error}") from error
        self._dirty = False
        return True

    def rebase(self, basis: SpoolBasis, taken: Iterable[SpoolFile]) -> None:
        """A seal took these files: drop them and build on it. Counts start anew."""
        gone = list(taken)
        for file in gone:
            self._let_go(file)
        self.basis = basis
        self.progress = ReadProgress(self.progress.position)
        # where a full disk refuses the checkpoint, the old one builds on an older record: void with or without files
        self._part_with(gone)
