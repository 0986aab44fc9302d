"""New bodies on the local disk: rows appended object by object in a separate folder, then frozen for upload."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from consumer.domain.compression import compression_of
from consumer.seal.record import ObjectEntry
from consumer.spool.mark import claim
from consumer.store.body import FileBody, Piece, freeze, local_disk

PREFIX = "replacement-"
LOCK = "lock"


@contextmanager
def working_folder(spool: Path) -> Iterator[Path]:
    """A folder below the spool directory, deleted at the end; `remove_abandoned` deletes those of crashed runs.

    A worker may use the same spool directory. Raises TransientError if the disk fails, UsageError if the directory has
    files that are not the sink's.
    """
    with local_disk(f"write into {spool}"):
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        claim(spool)
        folder, lock = _locked_folder(spool)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(spool: Path) -> tuple[Path, int]:
    """A new folder and its lock. Until that is held, another process may take the folder for one left by a crash."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=spool))
        if (lock := _lock(folder)) is None:
            continue
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), (folder / LOCK).stat()):
                return folder, lock
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """The lock of a working folder; None if another process holds it, or the folder no longer exists."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def remove_abandoned(spool: Path) -> None:
    """Remove the working folders of crashed runs; a live run holds the lock in its own.

    Raises TransientError if the disk fails.
    """
    with local_disk(f"remove old files from {spool}"):
        for folder in spool.glob(f"{PREFIX}*"):
            if (lock := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


class Bodies:
    """The bodies of one batch of days. Close it to give the disk back."""

    def __init__(self, folder: Path, headers: Mapping[str, bytes]) -> None:
        """`headers`: the first line of each object, by key."""
        self._folder = folder
        self._headers = headers
        self._paths = {key: folder / f"{number:08d}.rows" for number, key in enumerate(headers)}
        self._frozen: dict[str, FileBody] = {}
        self._stack = ExitStack()

    def append(self, key: str, rows: bytes) -> None:
        """The next rows of an object."""
        with local_disk(f"write into {self._folder}"), self._paths[key].open("ab") as file:
            file.write(rows)

    def body(self, entry: ObjectEntry) -> FileBody:
        """The object's body, compressed according to the ending of its key."""
        key = entry.key
        if key not in self._frozen:
            path = self._paths[key]
            with local_disk(f"write into {self._folder}"):
                path.touch()
                size = path.stat().st_size
            packing = compression_of(key)
            body = freeze(
                [Piece(lambda: path.open("rb"), size)],
                header=self._headers[key],
                compression=packing,
                folder=self._folder,
            )
            self._frozen[key] = self._stack.enter_context(body)
        return self._frozen[key]

    def close(self) -> None:
        """Give the disk back."""
        self._stack.close()
        for path in self._paths.values():
            path.unlink(missing_ok=True)
