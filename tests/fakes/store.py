"""A bucket in memory: what S3 promises, without S3. For `demo`, the simulation and tests."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import BinaryIO

from consumer.domain.clock import Clock, SystemClock
from consumer.store.body import BLOCK, blocks
from consumer.store.conditional_writes.barrier import cross
from consumer.store.document_sizes import refuse_unread, refuse_unwritten
from consumer.store.port import Absent, Body, BytesBody, Condition, ObjectInfo, Refused, Stored, Written


class MemoryStore:
    """A store whose objects live as long as it does. `clock` is the store's own; `versioned`: old bodies stay."""

    def __init__(self, clock: Clock | None = None, *, versioned: bool = False) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._objects: dict[str, Stored] = {}
        self._old: dict[tuple[str, str], Stored] = {}
        self._version = 0
        self.versioned = versioned

    @property
    def keeps_metadata(self) -> bool:
        """Yes."""
        return True

    @property
    def location(self) -> str:
        """No place of its own."""
        return "memory://"

    @property
    def version(self) -> int:
        """How many writes have taken effect."""
        return self._version

    def fill(self, other: MemoryStore) -> None:
        """Take over what another one holds, and count on from there."""
        with self._lock:
            assert not self._objects
            self._objects, self._version = dict(other._objects), other._version

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        """See `Store.put`; no outcome is unknown."""
        refuse_unwritten(key, key, body.size)
        data = b"".join(blocks(body, BLOCK))
        cross()
        with self._lock:
            present = self._objects.get(key)
            if not _holds(condition, present):
                return Refused()
            return Written(self._keep(key, data, metadata or {}))

    def _keep(self, key: str, data: bytes, metadata: Mapping[str, str]) -> str:
        self._version += 1
        etag, version = f'"{self._version}"', f"v{self._version}" if self.versioned else ""
        self._objects[key] = Stored(ObjectInfo(key, len(data), etag, dict(metadata), version), data)
        if version:
            self._old[(key, version)] = self._objects[key]
        return etag

    def put_stream(
        self,
        key: str,
        blocks: Iterable[bytes],
        *,
        condition: Condition,
        metadata: Mapping[str, str] | None = None,
        expected: int = 0,
    ) -> Written | Refused:
        """See `StreamingStore.put_stream`."""
        return self.put(key, BytesBody(b"".join(blocks)), condition=condition, metadata=metadata)

    def get(self, key: str) -> Stored | None:
        """The object whole, or None."""
        stored = self._objects.get(key)  # one step of the interpreter: whole without the lock
        if stored is not None:
            refuse_unread(key, key, len(stored.data))
        return stored

    def head(self, key: str) -> ObjectInfo | None:
        """The object's facts, or None."""
        stored = self._objects.get(key)
        return stored.facts if stored else None

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        """The object as a stream, or None."""
        stored = self._old.get((key, version_id)) if version_id else self._objects.get(key)
        return io.BytesIO(stored.data) if stored else None

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        """Copy while the body is the one with this ETag."""
        with self._lock:
            stored = self._objects.get(source)
            if stored is None or stored.facts.etag != etag:
                return False
            self._keep(target, stored.data, stored.facts.metadata)
            return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Objects in key order, as they are at the first step."""
        with self._lock:
            found = [stored.facts for key, stored in self._objects.items() if key.startswith(prefix) and key > after]
        for facts in sorted(found, key=lambda facts: facts.key):
            yield ObjectInfo(facts.key, facts.size, facts.etag)

    def now(self) -> datetime:
        """The injected clock."""
        return self._clock.now()


def _holds(condition: Condition, present: Stored | None) -> bool:
    if isinstance(condition, Absent):
        return present is None
    return present is not None and present.facts.etag == condition.etag
