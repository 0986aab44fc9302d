"""The spool directory on a real disk: append-only files, checkpoints in SQLite, one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from consumer.domain.errors import UsageError
from consumer.spool.mark import PARTITION, claim

OPEN_FILES = 256
"""Maximum number of open append handles, whatever the number of days in a backlog: a quarter of what a process may
usually open."""
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
KEPT_ASIDE = 1
"""How many set-aside spools stay for a look: they take room."""
_ASIDE = re.compile(r"[0-9]{8}T[0-9]{12}")
"""The folder of one."""


class LocalDisk:
    """`Disk` in `directory`, locked for this process. Files are readable by their owner only.

    Raises UsageError if another process has the directory or it cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._handles: OrderedDict[str, int] = OrderedDict()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(f"spool.directory: {directory} cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise UsageError(f"spool.directory: {directory} is in use by another worker: give each its own") from error
        except OSError as error:
            os.close(self._lock)
            raise UsageError(
                f"spool.directory: {directory} cannot be locked ({errno.errorcode.get(error.errno or 0, '')}:"
                f" {error.strerror}): use a volume with file locks"
            ) from error
        try:
            claim(directory)
        except UsageError:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise UsageError(f"spool.directory: {directory} cannot be written ({error.strerror})") from error
        try:
            self._checkpoints = self._open_checkpoints()
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise UsageError(
                f"spool.directory: {directory} cannot store checkpoints ({error}): free some space there"
            ) from error

    def _open_checkpoints(self) -> sqlite3.Connection:
        path = self._root / "checkpoints.sqlite"
        try:
            return _connect(path)
        except sqlite3.OperationalError:
            raise  # full or read-only, not damaged
        except sqlite3.DatabaseError:
            # doubtful checkpoints are worth nothing: the rows are still in Kafka
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            path.rename(self._root / f"checkpoints.damaged-{stamp}.sqlite")
            for name in ("checkpoints.sqlite-wal", "checkpoints.sqlite-shm"):
                (self._root / name).unlink(missing_ok=True)
            return _connect(path)

    def close(self) -> None:
        """Let go of the directory."""
        while self._handles:
            os.close(self._handles.popitem()[1])
        self._checkpoints.close()
        os.close(self._lock)

    def append(self, name: str, data: bytes | memoryview) -> None:
        handle = self._handle(name)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def _handle(self, name: str) -> int:
        if name in self._handles:
            self._handles.move_to_end(name)
            return self._handles[name]
        if len(self._handles) >= OPEN_FILES:
            os.close(self._handles.popitem(last=False)[1])
        path = f"{self._root}/{name}"
        try:
            handle = os.open(path, _APPEND, 0o600)
        except FileNotFoundError:  # the partition's first file
            Path(path).parent.mkdir(exist_ok=True, mode=0o700)
            handle = os.open(path, _APPEND, 0o600)
        self._handles[name] = handle
        return handle

    def _release(self, name: str) -> None:
        handle = self._handles.pop(name, None)
        if handle is not None:
            os.close(handle)

    def sync(self, names: Iterable[str]) -> None:
        folders = set()
        for name in names:
            os.fsync(self._handle(name))
            folders.add((self._root / name).parent)
        for folder in folders | {self._root} if folders else ():
            _sync_folder(folder)

    def length(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            return None

    def truncate(self, name: str, length: int) -> None:
        os.truncate(self._root / name, length)

    def read(self, name: str) -> BinaryIO:
        return (self._root / name).open("rb")

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._release(name)
            (self._root / name).unlink(missing_ok=True)

    def new_shelf(self) -> str:
        shelf = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        (self._root / "aside").mkdir(exist_ok=True, mode=0o700)
        (self._root / "aside" / shelf).mkdir(mode=0o700)
        return shelf

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        folder = self._root / "aside" / shelf
        folder.mkdir(exist_ok=True, mode=0o700)  # another partition may have cleared it meanwhile
        for name in names:
            self._release(name)
            with suppress(FileNotFoundError):
                (self._root / name).rename(folder / name.replace("/", "_"))

    def clear_shelves(self, files: int) -> bool:
        shelves = sorted(path for path in (self._root / "aside").iterdir() if _ASIDE.fullmatch(path.name))
        for old in shelves[:-KEPT_ASIDE]:
            with os.scandir(old) as entries:
                gone = list(islice(entries, files + 1))
            for entry in gone[:files]:
                Path(entry.path).unlink()
            if len(gone) > files:
                return True
            old.rmdir()
            files -= len(gone)
        return False

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(
                f"{folder}/{entry.name}"
                for entry in os.scandir(self._root / folder)
                if entry.is_file(follow_symlinks=False)
            )
        except FileNotFoundError:
            return []

    def folders(self) -> list[str]:
        return sorted(
            entry.name
            for entry in os.scandir(self._root)
            if entry.is_dir(follow_symlinks=False) and PARTITION.fullmatch(entry.name)
        )

    def free_bytes(self) -> int:
        stats = os.statvfs(self._root)
        return stats.f_bavail * stats.f_frsize

    def save(self, key: str, document: bytes | None) -> None:
        try:
            with self._checkpoints:
                if document is None:
                    self._checkpoints.execute("DELETE FROM checkpoints WHERE name = ?", (key,))
                else:
                    self._checkpoints.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (key, document))
        except sqlite3.Error as error:
            raise OSError(f"checkpoint of {key}: {error}") from error

    def load(self, key: str) -> bytes | None:
        try:
            row = self._checkpoints.execute("SELECT document FROM checkpoints WHERE name = ?", (key,)).fetchone()
        except sqlite3.DatabaseError:
            return None  # as good as none: the log is read again
        return None if row is None else bytes(row[0])


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS checkpoints (name TEXT PRIMARY KEY, document BLOB NOT NULL)")
        _require_whole(connection)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _require_whole(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
