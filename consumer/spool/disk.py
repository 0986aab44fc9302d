"""The local disk as the core sees it: append-only files and one checkpoint document per partition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol


class Disk(Protocol):
    """One spool directory. Called by the worker's loop; `read` by any thread. Names are relative paths.

    Raises OSError as the system does (disk full included). After a crash a file has any prefix of what was appended
    since its last `sync`, never less than what was synced; a checkpoint is the last one saved, whole.
    """

    def append(self, name: str, data: bytes | memoryview) -> None:
        """Append to the file, which is created if missing."""

    def sync(self, names: Iterable[str]) -> None:
        """Make these files, and their names, outlive a crash."""

    def length(self, name: str) -> int | None:
        """Bytes in the file, or None if it is missing."""

    def truncate(self, name: str, length: int) -> None:
        """Cut the file to `length` bytes."""

    def read(self, name: str) -> BinaryIO:
        """A reader at the start of the file."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete the files; missing ones are passed over."""

    def new_shelf(self) -> str:
        """Where files can be set aside: a name that is newer than all before it."""

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        """Move the files out of the way, to be kept there for a look; missing ones are passed over."""

    def clear_shelves(self, files: int) -> bool:
        """Delete so many files at most of all shelves but the newest; True where more are left."""

    def names(self, folder: str) -> list[str]:
        """The files below `folder`, as names for the other methods."""

    def folders(self) -> list[str]:
        """The folders with files, except set-aside ones."""

    def free_bytes(self) -> int:
        """What the file system still takes."""

    def save(self, key: str, document: bytes | None) -> None:
        """Replace the checkpoint `key` durably; None deletes it."""

    def load(self, key: str) -> bytes | None:
        """The checkpoint, or None."""
