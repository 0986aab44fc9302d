"""Files that leave a spool, a few at a time: to be removed, or to be set aside for inspection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumer.spool.disk import Disk

SWEPT = 16
"""Files that are removed or set aside at a time: a file system may take milliseconds for each."""


class Departure:
    """What still lies on the disk and counts no more."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._gone: list[str] = []
        self._aside: list[str] = []
        self._shelf = ""

    @property
    def pending(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._gone or self._shelf)

    @property
    def aside(self) -> Sequence[str]:
        """The files that are still to be set aside."""
        return self._aside

    def remove(self, names: Iterable[str]) -> None:
        """Have these files removed."""
        self._gone += names

    def set_aside(self, names: Iterable[str]) -> None:
        """Have these files set aside, together with those that still wait for that."""
        self._shelf = self._disk.new_shelf()
        self._aside += names

    def forget_removals(self) -> None:
        """Know no longer what was to be removed. What is to be set aside stays to be."""
        self._gone = []

    def remove_some(self) -> None:
        """Remove some files. Raises OSError; those are not tried again."""
        now = self._gone[:SWEPT]
        del self._gone[:SWEPT]
        self._disk.remove(now)

    def set_some_aside(self) -> None:
        """Move some files; once all are moved, delete some of those that were set aside before. Raises OSError."""
        if not self._shelf:
            return
        now = self._aside[:SWEPT]
        del self._aside[:SWEPT]
        if now:
            self._disk.set_aside(now, self._shelf)
            return
        shelf, self._shelf = self._shelf, ""  # what cannot be deleted stays: no endless retries
        if self._disk.clear_shelves(SWEPT):
            self._shelf = shelf
