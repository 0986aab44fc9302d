"""The replacement log of a stream in the bucket: read in full, extended by put-if-absent.

The rows of an object are those in the newest replacement that lists it, otherwise those in its seal record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.append import put_first
from consumer.seal.keys import record_number, replacement_key, replacement_prefix
from consumer.seal.replacements.record import (
    NewerReplacementError,
    NewObject,
    Replacement,
    ReplacementError,
    replacement_from,
)
from consumer.store.port import Store


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as replacement `n` lists it."""

    n: int
    new: NewObject


@dataclass(frozen=True)
class Replacements:
    """The replacement log as a value. `digests` are the sha256 of the records' texts."""

    records: tuple[Replacement, ...] = ()
    digests: tuple[str, ...] = ()

    def then(self, record: Replacement, data: bytes) -> Replacements:
        """The log with one record more."""
        return Replacements((*self.records, record), (*self.digests, hashlib.sha256(data).hexdigest()))

    def before(self, n: int) -> Replacements:
        """The log as it was when replacement `n` was recorded."""
        return Replacements(self.records[:n], self.digests[:n])

    @cached_property
    def listed(self) -> dict[str, tuple[Listed, ...]]:
        """By key, all entries of replacements for an object, oldest first."""
        found: dict[str, list[Listed]] = {}
        for record in self.records:
            for one in record.objects:
                found.setdefault(one.entry.key, []).append(Listed(record.n, one))
        return {key: tuple(listed) for key, listed in found.items()}

    @cached_property
    def newest(self) -> dict[str, Listed]:
        """By key, the entry of the newest replacement that lists it."""
        return {key: listed[-1] for key, listed in self.listed.items()}

    def touching(self, days: Container[date], partitions: Iterable[int] | None) -> Iterator[Replacement]:
        """The replacements that share a day and a partition with these, the newest first."""
        numbers = None if partitions is None else set(partitions)
        return (record for record in reversed(self.records) if record.touches(days, numbers))


def parse_replacement(stream: str, n: int, data: bytes) -> Replacement:
    """One record's text as record `n` of this stream. Raises HaltError `chain_damaged` or `chain_newer`."""
    key = replacement_key(stream, n)
    try:
        record = replacement_from(data)
    except NewerReplacementError as error:
        raise HaltError(
            HaltReason.CHAIN_NEWER, f"{key} was written by a newer release ({error}): deploy that release again"
        ) from error
    except ReplacementError as error:
        raise _damaged(key, f"cannot be read ({error})") from error
    if (record.n, record.stream) != (n, stream):
        raise _damaged(key, f"says it is replacement {record.n} of {record.stream}")
    return record


def _damaged(key: str, what: str) -> HaltError:
    return HaltError(HaltReason.CHAIN_DAMAGED, f"{key} {what}: restore it from a backup or an older object version")


class ReplacementLog:
    """One stream's replacement log. Remembers what it has read: records never change. One thread at a time."""

    def __init__(self, store: Store, stream: str) -> None:
        self._store = store
        self._stream = stream
        self._known = Replacements()

    def read(self) -> Replacements:
        """The log as the bucket has it now. Raises HaltError if it is damaged or newer than this release."""
        prefix = replacement_prefix(self._stream)
        found = self._known
        while True:
            n = len(found.records)
            # "00000003.json" sorts before the bodies kept in "00000003/", and those before "000000030"
            after = f"{prefix}{n - 1:08d}0" if n else ""
            facts = next(iter(self._store.list(prefix, after=after)), None)
            if facts is None:
                break
            if record_number(facts.key.removeprefix(prefix)) != n:
                raise _damaged(replacement_key(self._stream, n), f"is missing, and {facts.key} comes after it")
            found = self._extended(found, n)
        self._known = found
        return found

    def _extended(self, found: Replacements, n: int) -> Replacements:
        key = replacement_key(self._stream, n)
        stored = self._store.get(key)
        if stored is None:
            raise _damaged(key, "is listed and cannot be read")
        record = parse_replacement(self._stream, n, stored.data)
        if n and record.previous_sha256 != found.digests[-1]:
            raise _damaged(replacement_key(self._stream, n - 1), f"was altered after replacement {n} was written")
        return found.then(record, stored.data)

    def append(self, record: Replacement) -> bool:
        """Put the record under its number: True if it is ours, False if another process was first.

        Raises TransientError.
        """
        return put_first(self._store, replacement_key(self._stream, record.n), record.document())
