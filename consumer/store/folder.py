"""`file://`: a local folder as a destination. Put-if-absent is an exclusive hard link, If-Match a lock and a rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store.body import BLOCK, blocks, local_disk
from consumer.store.conditional_writes.barrier import cross
from consumer.store.document_sizes import refuse_unread, refuse_unwritten
from consumer.store.port import (
    Absent,
    Body,
    Condition,
    Match,
    ObjectInfo,
    Refused,
    Stored,
    Written,
)

TEMPORARY = ".adapty-sink-tmp"
"""Half-written files and the lock, in the root; never listed."""
LOCK = "lock"
LEFTOVER_SECONDS = 24 * 3600
_LEFTOVER = re.compile(r"[0-9]+-[0-9a-f]{24}")
"""A half-written file: nothing else is ever deleted."""
LOCK_SECONDS = 30.0
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class FolderStore:
    """A store in one folder of a file system with hard links. Safe for many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / TEMPORARY
        self._durable: set[Path] = set()
        self._swept = False

    @property
    def keeps_metadata(self) -> bool:
        """No: a recount serves instead."""
        return False

    @property
    def location(self) -> str:
        """The folder as a file url."""
        return self._root.as_uri()

    def put(
        self,
        key: str,
        body: Body,
        *,
        condition: Condition,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - a folder keeps none
    ) -> Written | Refused:
        """Write a temporary file, make it durable, then let it appear under its name at once."""
        refuse_unwritten(key, f"{self._root}/{key}", body.size)
        return self._put(key, lambda: blocks(body, BLOCK), condition)

    def put_stream(
        self,
        key: str,
        blocks: Iterable[bytes],
        *,
        condition: Condition,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - a folder keeps none
        expected: int = 0,  # noqa: ARG002 - a file has no parts
    ) -> Written | Refused:
        """See `StreamingStore.put_stream`."""
        return self._put(key, lambda: blocks, condition)

    def _put(self, key: str, open_blocks: Callable[[], Iterable[bytes]], condition: Condition) -> Written | Refused:
        target = self._path(key)
        with self._outage(f"write {target}"):
            self._prepare(target.parent)
            if not _holds(condition, target):
                _sync_folder(target.parent)  # what refuses us is obeyed: it must outlive a crash
                return Refused()
            temporary = self._write(open_blocks())
            try:
                cross()
                if isinstance(condition, Match):
                    return self._swap(temporary, target, condition)
                return self._link(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

    def get(self, key: str) -> Stored | None:
        """The file whole, or None."""
        reader = self.open(key)
        if reader is None:
            return None
        with self._outage(f"read {key}"), reader:
            facts = _facts(key, os.fstat(reader.fileno()))
            refuse_unread(key, f"{self._root}/{key}", facts.size)
            return Stored(facts, reader.read())

    def head(self, key: str) -> ObjectInfo | None:
        """Size and ETag, or None."""
        path = self._path(key)
        with self._outage(f"inspect {path}"):
            status = _status(path)
            if status is None:
                self._require_parent()
                return None
            return _facts(key, status)

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:  # noqa: ARG002 - a folder keeps no versions
        """The file as a stream, or None. Its reads raise TransientError."""
        path = self._path(key)
        with self._outage(f"open {path}"):
            try:
                reader = _Reader(path, opener=_without_waiting)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_parent()
                return None
            if not stat.S_ISREG(os.fstat(reader.fileno()).st_mode):
                reader.close()
                return None
            return io.BufferedReader(reader, BLOCK)

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        """See `Store.copy`. The opened file is the one that is copied, whatever is put meanwhile."""
        place = self._path(target)
        reader = self.open(source)
        if reader is None:
            return False
        with self._outage(f"write {place}"), reader:
            if _etag(os.fstat(reader.fileno())) != etag:
                return False
            self._prepare(place.parent)
            temporary = self._temporary / f"{os.getpid()}-{os.urandom(12).hex()}"
            try:
                with temporary.open("xb") as out:
                    shutil.copyfileobj(reader, out, BLOCK)
                    out.flush()
                    os.fsync(out.fileno())
                temporary.replace(place)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(place.parent)
        return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Files in the order of their keys, folder by folder."""
        with self._outage(f"list {self._root}"):
            if not self._root.is_dir():
                self._require_parent()
            yield from self._walk("", prefix, after)

    def now(self) -> datetime:
        """The file system's clock: the time it stamps on a fresh file."""
        with self._outage(f"write to {self._root}"):
            self._prepare(self._root)
            with tempfile.TemporaryFile(dir=self._temporary) as file:
                nanoseconds = os.fstat(file.fileno()).st_mtime_ns
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if {"", ".", ".."} & set(parts) or parts[0] == TEMPORARY or "\0" in key:
            raise ValueError(f"not a valid key: {key!r}")
        return self._root.joinpath(*parts)

    @contextlib.contextmanager
    def _outage(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(f"{self.location}: cannot {doing}: {error.strerror or error}") from error

    def _require_parent(self) -> None:
        if not self._root.parent.is_dir():
            raise HaltError(
                HaltReason.MISSING_BUCKET,
                f"{self._root.parent} does not exist: mount or create it, or correct the destination's url",
            )

    def _prepare(self, folder: Path) -> None:
        """Make the folder durable, from the root down; a folder once seen to be durable is not synced again."""
        if not self._root.is_dir():
            self._require_parent()
        for path in (*reversed(folder.parents), folder):
            if path.is_relative_to(self._root):
                self._make(path)
        self._make(self._temporary)
        if not self._swept:
            self._sweep()
            self._swept = True

    def _make(self, folder: Path) -> None:
        if folder in self._durable and folder.is_dir():
            return
        folder.mkdir(exist_ok=True, mode=0o700)  # rows are private to the owner
        _sync_folder(folder.parent)
        self._durable.add(folder)

    def _sweep(self) -> None:
        """Delete what crashed runs left half-written more than a day ago."""
        oldest = time.time() - LEFTOVER_SECONDS
        for path in self._temporary.iterdir():
            status = _status(path)
            if _LEFTOVER.fullmatch(path.name) and status and status.st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _write(self, pieces: Iterable[bytes]) -> Path:
        path = self._temporary / f"{os.getpid()}-{os.urandom(12).hex()}"
        try:
            with _create(path, os.O_EXCL) as out:
                for block in pieces:
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _link(self, temporary: Path, target: Path) -> Written | Refused:
        try:
            os.link(temporary, target)
        except FileExistsError:
            if temporary.stat().st_nlink == 1:  # more: NFS repeated a request whose answer was lost
                _sync_folder(target.parent)
                return Refused()
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            raise HaltError(
                HaltReason.UNSAFE_STORE,
                f"{self._root} is on a file system without hard links, so two writers could overwrite each"
                f" other: choose another one ({error.strerror})",
            ) from error
        return self._written(target)

    def _swap(self, temporary: Path, target: Path, condition: Match) -> Written | Refused:
        with self._lock():
            if not _holds(condition, target):
                return Refused()
            _make_newer(temporary, target)
            temporary.replace(target)
            return self._written(target)

    def _written(self, target: Path) -> Written:
        try:
            etag = _etag(target.stat())
            _sync_folder(target.parent)
        except OSError as error:
            raise UnknownOutcomeError(f"{target} may not survive a crash: {error}") from error
        return Written(etag)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One compare-and-rename at a time, across threads and processes."""
        deadline = time.monotonic() + LOCK_SECONDS
        with _create(self._temporary / LOCK) as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.005)
            yield

    def _walk(
        self, folder: str, prefix: str, after: str, above: tuple[tuple[int, int], ...] = ()
    ) -> Iterator[ObjectInfo]:
        """Files below `folder` ("" or ending with a slash) in the order of their keys.

        `above` are the folders that it lies in: a link back to one of them is passed over.
        """
        try:
            status = (self._root / folder).stat()
            place = (status.st_dev, status.st_ino)
            if place in above:
                return
            with os.scandir(self._root / folder) as entries:
                found = sorted((entry.name + "/" if _is_folder(entry) else entry.name, entry) for entry in entries)
        except FileNotFoundError:
            return
        for name, entry in found:
            key = folder + name
            if key == f"{TEMPORARY}/":
                continue
            if name.endswith("/"):
                if _may_hold(key, prefix, after):
                    yield from self._walk(key, prefix, after, (*above, place))
            elif key.startswith(prefix) and key > after and (of_file := _status(entry)):
                yield _facts(key, of_file)


def _without_waiting(path: str, flags: int) -> int:
    """Open it: a pipe in a file's place would be waited for until somebody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


class _Reader(io.FileIO):
    """A file whose failing disk is an outage."""

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override] # narrower than any writable buffer
        with local_disk(f"read {self.name!r}"):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with local_disk(f"read {self.name!r}"):
            return super().readall()


def _create(path: Path, flags: int = 0) -> BinaryIO:
    """A file private to its owner: anyone who could open the lock could hold it forever."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")


def _may_hold(folder: str, prefix: str, after: str) -> bool:
    return (folder.startswith(prefix) or prefix.startswith(folder)) and (folder > after or after.startswith(folder))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _status(path: Path | os.DirEntry[str]) -> os.stat_result | None:
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _holds(condition: Condition, target: Path) -> bool:
    if isinstance(condition, Absent):
        return not os.path.lexists(target)
    status = _status(target)
    return status is not None and _etag(status) == condition.etag


def _facts(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _etag(status))


def _etag(status: os.stat_result) -> str:
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'


def _make_newer(temporary: Path, target: Path) -> None:
    """Let no two versions of an object share a time of change: an ETag must never come back."""
    old, new = target.stat().st_mtime_ns, temporary.stat()
    if new.st_mtime_ns <= old:
        os.utime(temporary, ns=(new.st_atime_ns, old + 1))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
