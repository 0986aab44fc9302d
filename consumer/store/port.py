"""The bucket as the core sees it: keys, conditions, facts. Implemented by `s3.py` and `folder.py`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Absent:
    """Write only where no object is (`If-None-Match: *`)."""


@dataclass(frozen=True, slots=True)
class Match:
    """Write only over the version with this ETag (`If-Match`)."""

    etag: str


Condition = Absent | Match


@dataclass(frozen=True, slots=True)
class Written:
    """The write took effect, by us."""

    etag: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The condition did not hold (412): another object or another version exists."""


class Body(Protocol):
    """Bytes that can be read again from the start, of known size and digest: a frozen file or a short text."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""

    @property
    def self_checking(self) -> bool:
        """Whether its reader itself raises before the last byte if the bytes are not the expected ones."""

    def open(self) -> BinaryIO:
        """A fresh reader at the start. The caller closes it."""

    def open_unchecked(self) -> BinaryIO:
        """The same without any check of the bytes: for who hands `sha256` to somebody that compares."""


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A body held in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def self_checking(self) -> bool:
        """No."""
        return False

    def open(self) -> BinaryIO:
        """A fresh reader at the start. The caller closes it."""
        return io.BytesIO(self.data)

    def open_unchecked(self) -> BinaryIO:
        """The same."""
        return self.open()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A store's facts about an object without its body.

    `metadata` is empty if the store keeps none (a folder). `version_id` identifies this body forever in a versioned
    bucket; "" elsewhere, and in a list.
    """

    key: str
    size: int
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    version_id: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object read whole."""

    facts: ObjectInfo
    data: bytes


class Store(Protocol):
    """One destination folder. Keys are relative to it. Any thread may call; no call sleeps or retries for long.

    Every call may raise TransientError (outage, refused credentials, throttling) or HaltError (`missing_bucket`).
    """

    @property
    def keeps_metadata(self) -> bool:
        """Whether `ObjectInfo.metadata` of an object is what was put with it."""

    @property
    def location(self) -> str:
        """The destination as a URL without secrets, for messages."""

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        """Write the object under the condition, atomically, of any size except for documents.

        Documents that `get` would refuse are refused here, too: HaltError. Raises UnknownOutcomeError if the answer was
        lost: the caller reads back.
        """

    def get(self, key: str) -> Stored | None:
        """The object whole (records, manifests), or None. Raises HaltError above the limit of `document_sizes`."""

    def head(self, key: str) -> ObjectInfo | None:
        """The object's facts, or None."""

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        """A stream over the object's bytes, or None. The caller closes it. Its reads raise TransientError.

        `version_id` asks for that version and not for the newest one.
        """

    def copy(self, source: str, target: str, *, etag: str) -> bool:
        """Copy an object within the store, metadata included, while its body is the one with this ETag.

        False if it is another one, or none. An object under `target` is overwritten: copy to keys of your own.
        """

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix` and sorts after `after`, in key order; without metadata."""

    def now(self) -> datetime:
        """The store's own clock (the `Date` of an answer)."""


class StreamingStore(Store, Protocol):
    """A store that also accepts bodies of unknown length."""

    def put_stream(
        self,
        key: str,
        blocks: Iterable[bytes],
        *,
        condition: Condition,
        metadata: Mapping[str, str] | None = None,
        expected: int = 0,
    ) -> Written | Refused:
        """Write the given blocks, under the condition, atomically; if they raise, nothing is written.

        `expected` is the approximate number of bytes, for stores that limit the number of parts. One part is held in
        memory. The condition may be checked before the first block, and applies at the end. Raises UnknownOutcomeError
        if the answer was lost, UsageError if the store accepts no object of this size.
        """
