"""A disk in memory with the failures of a real one: what was not synced may be lost, and room runs out."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable
from random import Random
from typing import BinaryIO


class MemoryDisk:
    """`Disk` without a disk. `capacity` bytes fit; `crash` loses what was not synced."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.files: dict[str, bytearray] = {}
        self.synced: dict[str, int] = {}
        self.documents: dict[str, bytes] = {}
        self.aside: list[dict[str, bytes]] = []
        self._shelves: dict[str, dict[str, bytes]] = {}

    def append(self, name: str, data: bytes | memoryview) -> None:
        """Append; a full disk takes what still fits before it raises ENOSPC, as a file system does."""
        room = self.free_bytes()
        file = self.files.setdefault(name, bytearray())
        file.extend(data[:room])
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device", name)

    def sync(self, names: Iterable[str]) -> None:
        for name in names:
            self.synced[name] = len(self.files[name])

    def length(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    def truncate(self, name: str, length: int) -> None:
        del self.files[name][length:]
        self.synced[name] = min(length, self.synced.get(name, 0))

    def read(self, name: str) -> BinaryIO:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        return io.BytesIO(bytes(self.files[name]))

    def remove(self, names: Iterable[str]) -> None:
        for name in list(names):
            self.files.pop(name, None)
            self.synced.pop(name, None)

    def new_shelf(self) -> str:
        shelf = str(len(self._shelves))
        self._shelves[shelf] = {}
        self.aside.append(self._shelves[shelf])
        return shelf

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        gone = {name: bytes(self.files[name]) for name in names if name in self.files}
        self._shelves[shelf].update(gone)
        self.remove(gone)

    def clear_shelves(self, files: int) -> bool:
        old = [(shelf, name) for shelf in self.aside[:-1] for name in shelf]
        for shelf, name in old[:files]:
            del shelf[name]
        self.aside = [shelf for shelf in self.aside[:-1] if shelf] + self.aside[-1:]
        return len(old) > files

    def names(self, folder: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(folder + "/"))

    def folders(self) -> list[str]:
        return sorted({name.split("/", 1)[0] for name in self.files})

    def free_bytes(self) -> int:
        return max(0, self.capacity - sum(map(len, self.files.values())))

    def save(self, key: str, document: bytes | None) -> None:
        if document is None:
            self.documents.pop(key, None)
        else:
            self.documents[key] = document

    def load(self, key: str) -> bytes | None:
        return self.documents.get(key)

    def crash(self, random: Random) -> None:
        """Power off: each file keeps any prefix of what came after its last sync, and may be gone if never synced."""
        for name in list(self.files):
            kept = self.synced.get(name, 0)
            length = random.randint(kept, len(self.files[name]))
            if length == 0 and name not in self.synced:
                del self.files[name]
            else:
                del self.files[name][length:]
                self.synced[name] = length
