"""Disks and stores that fail where a test says so, and a clock that stands where it is put."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import BinaryIO

from consumer.store.port import Body, Condition, ObjectInfo, Refused, Stored, Written
from tests.builders.chains import at
from tests.fakes.disk import MemoryDisk
from tests.fakes.store import MemoryStore


class SetClock:
    """A clock that stands where it is put. Both of its times move together."""

    def __init__(self, now: datetime | None = None) -> None:
        self.at = now or at(0)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.at += timedelta(seconds=seconds)


def fails(*calls: str, error: int = errno.EIO) -> Callable[[str], None]:
    """Fail at these calls of a disk."""

    def at_call(call: str) -> None:
        if call in calls:
            raise OSError(error, os.strerror(error))

    return at_call


class RoughDisk(MemoryDisk):
    """A disk that fails at a call of the test's choice: `at(call)` may raise, before the call or after its effect."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        super().__init__(capacity)
        self.at: Callable[[str], None] = lambda call: None

    def append(self, name: str, data: bytes | memoryview) -> None:
        self.at("before append")
        super().append(name, data)
        self.at("after append")

    def sync(self, names: Iterable[str]) -> None:
        for name in names:
            self.at("before sync")
            super().sync([name])
            self.at("after sync")

    def truncate(self, name: str, length: int) -> None:
        self.at("before truncate")
        super().truncate(name, length)
        self.at("after truncate")

    def remove(self, names: Iterable[str]) -> None:
        for name in list(names):
            self.at("before remove")
            super().remove([name])
            self.at("after remove")

    def set_aside(self, names: Iterable[str], shelf: str) -> None:
        self.at("before set_aside")
        super().set_aside(names, shelf)
        self.at("after set_aside")

    def save(self, key: str, document: bytes | None) -> None:
        self.at("before save")
        super().save(key, document)
        self.at("after save")


class RoughStore(MemoryStore):
    """A store that fails at a call of the test's choice: `before(call, key)` and `after(call, key)` may raise.

    `puts` are the keys of the writes that took effect, in order.
    """

    def __init__(self, clock: SetClock | None = None, *, keeps_metadata: bool = True) -> None:
        self.clock = clock or SetClock()
        super().__init__(self.clock)
        self._keeps_metadata = keeps_metadata
        self.puts: list[str] = []
        self.before: Callable[[str, str], None] = lambda call, key: None
        self.after: Callable[[str, str], None] = lambda call, key: None

    @property
    def keeps_metadata(self) -> bool:
        """As a folder does not."""
        return self._keeps_metadata

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        self.before("put", key)
        kept = metadata if self._keeps_metadata else None
        outcome = super().put(key, body, condition=condition, metadata=kept)
        if isinstance(outcome, Written):
            self.puts.append(key)
        self.after("put", key)
        return outcome

    def get(self, key: str) -> Stored | None:
        self.before("get", key)
        return super().get(key)

    def head(self, key: str) -> ObjectInfo | None:
        self.before("head", key)
        with self._lock:
            stored = self._objects.get(key)
        return stored.facts if stored else None

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        self.before("open", key)
        return super().open(key, version_id=version_id)

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        self.before("copy", target)
        copied = super().copy(source, target, etag=etag)
        self.after("copy", target)
        return copied

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.before("list", prefix)
        return super().list(prefix, after=after)

    def now(self) -> datetime:
        self.before("now", "")
        return super().now()

    def delete(self, *keys: str) -> None:
        """Somebody else takes objects away."""
        for key in keys:
            del self._objects[key]

    def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key in self._objects if key.startswith(prefix))

    def content(self, key: str) -> bytes:
        return self._objects[key].data


def failing(error: Exception, *, times: int = 1, call: str = "", key: str = "") -> Callable[[str, str], None]:
    """Raise this at the next such calls whose key contains `key`."""
    left = times

    def at_call(this: str, place: str) -> None:
        nonlocal left
        if left and call in {"", this} and key in place:
            left -= 1
            raise error

    return at_call
