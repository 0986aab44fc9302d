"""The seal log in the bucket: read in full, extended by put-if-absent. It is the source of truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import date
from typing import TypeVar

import orjson

from consumer.domain import json_fields
from consumer.domain.days import ABSURD_DAYS
from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import TopicPartition
from consumer.seal.append import put_first
from consumer.seal.chain import Chain
from consumer.seal.keys import chain_prefix, object_keys, record_key, record_number, settings_key
from consumer.seal.record import NewerRecordError, ObjectEntry, Reach, Record, RecordError, RecordKind, record_from
from consumer.store.port import Absent, BytesBody, Store
from consumer.streams.rules import ROWS_VERSION, RowRules, rules_from_document

YEARS = range(2008, 2200)
"""The range of times at which a seal can have been decided: a wrong clock would create unlimited days."""
MOST_OFFSET = 1 << 53
"""No log is as long."""
_T = TypeVar("_T")
Fetch = Callable[[Iterable[Callable[[], _T]]], list[_T]]


def _damaged(partition: TopicPartition, what: str) -> HaltError:
    return HaltError(
        HaltReason.CHAIN_DAMAGED,
        f"seal log {chain_prefix(partition)} {what}. Restore the record from a backup or an older object version; "
        "if that is not possible, seal into a new folder",
    )


def _in_turn(calls: Iterable[Callable[[], _T]]) -> list[_T]:
    return [call() for call in calls]


def parse_record(partition: TopicPartition, n: int, data: bytes) -> Record:
    """One record's text as a record of this partition. Raises HaltError `chain_damaged` or `chain_newer`."""
    try:
        record = record_from(data)
    except NewerRecordError as error:
        raise HaltError(
            HaltReason.CHAIN_NEWER,
            f"{record_key(partition, n)} was written by a newer release ({error}): deploy that release again",
        ) from error
    except RecordError as error:
        raise _damaged(partition, f"record {n} cannot be read ({error})") from error
    if record.n != n or record.partition != partition:
        raise _damaged(partition, f"record {n} says it is record {record.n} of {record.partition}")
    if what := _impossible(record):
        raise _damaged(partition, f"record {n} is not valid: {what}")
    return record


def _impossible(record: Record) -> str:
    """What no release can have written, and later code would not expect; "" if nothing is wrong."""
    if record.sealed_at.year not in YEARS:
        return f"it was sealed at {record.sealed_at}"
    if record.cutoff is not None and not _can_close(record, record.cutoff):
        return f"it closed {record.cutoff} at {record.sealed_at}"
    if record.unfinished is not None and record.unfinished >= record.n:
        return f"it found seal {record.unfinished} unfinished, which is not before it"
    if what := _wrong_offsets(record):
        return what
    if len({(entry.day, entry.quarantine) for entry in record.objects}) != len(record.objects):
        return "it lists an object twice"
    return next(filter(None, (_wrong_object(record, entry) for entry in record.objects)), "")


def _wrong_offsets(record: Record) -> str:
    """What is wrong with where it begins, ends and resumes: rows between them would be read twice, or by nobody."""
    if max(record.start, record.resume, record.through) > MOST_OFFSET:
        return f"it speaks of offset {max(record.start, record.resume, record.through)}, and no log is as long"
    if record.kind is RecordKind.GAP:
        return "it is a gap without lost offsets" if record.lost is None or record.lost.empty else ""
    if record.cutoff is None or record.lost is not None:
        return "it is a seal without a cutoff, or one that has lost offsets"
    if not record.start <= record.resume <= record.through:
        return f"it starts at {record.start} and resumes at {record.resume} of offsets up to {record.through}"
    return ""


def _goes_back(before: Reach, after: Reach) -> bool:
    """A cutoff or an end of offsets never shrinks: which record covers an offset is found by their order."""
    return after.through < before.through or (after.cutoff or date.min) < (before.cutoff or date.min)


def _can_close(record: Record, cutoff: date) -> bool:
    return cutoff.year in YEARS and cutoff <= record.sealed_at.date() + ABSURD_DAYS


def _wrong_object(record: Record, entry: ObjectEntry) -> str:
    """What is wrong with an object: its key must follow from the record, its rows be within the record's offsets."""
    if entry.stream != record.stream or entry.key not in _keys(record, entry):
        return f"its object {entry.key!r:.300} does not belong to stream {record.stream!r:.100} and day {entry.day}"
    if not entry.is_within(record.through):
        return f"its object {entry.key} has {entry.rows} rows from {entry.first_offset} to {entry.last_offset}"
    return ""


def _keys(record: Record, entry: ObjectEntry) -> Collection[str]:
    """The keys that the object can have by the record's own facts: it is put there, and read from there."""
    return object_keys(entry.stream, entry.day, record.partition, record.through, quarantine=entry.quarantine)


class SealLog:
    """One partition's chain in one destination. Any thread may call; remembers what it has read (records never change).

    `fetch` runs several reads; a caller with threads to spare passes one that runs them side by side.
    """

    def __init__(self, store: Store, partition: TopicPartition, fetch: Fetch[bytes] = _in_turn) -> None:
        self._store = store
        self.partition = partition
        self._fetch = fetch
        self._chain = Chain()

    def read(self) -> Chain:
        """The chain as the bucket has it now. Raises HaltError if it is damaged or newer than this release."""
        known = len(self._chain.records)
        numbers = self._numbers(after=record_key(self.partition, known - 1) if known else "")
        expected = list(range(known, known + len(numbers)))
        if numbers != expected:
            missing = next(n for n, found in zip(expected, numbers, strict=True) if n != found)
            raise _damaged(self.partition, f"lacks record {missing}")
        chain = self._chain
        for n, data in zip(numbers, self._fetch([self._getter(n) for n in numbers]), strict=True):
            chain = self._extended(chain, n, data)
        self._chain = chain
        return chain

    def _numbers(self, after: str) -> list[int]:
        found = []
        for facts in self._store.list(chain_prefix(self.partition), after=after):
            number = record_number(facts.key.removeprefix(chain_prefix(self.partition)))
            if number is None:
                raise _damaged(self.partition, f"contains {facts.key}, which is not a record")
            found.append(number)
        return found

    def _getter(self, n: int) -> Callable[[], bytes]:
        def get() -> bytes:
            stored = self._store.get(record_key(self.partition, n))
            if stored is None:
                raise _damaged(self.partition, f"lists record {n} but does not return it")
            return stored.data

        return get

    def _extended(self, chain: Chain, n: int, data: bytes) -> Chain:
        record = parse_record(self.partition, n, data)
        previous = None if chain.empty else chain.reach
        if record.previous != previous:
            raise _damaged(self.partition, f"record {n} does not follow record {n - 1}")
        if previous is not None and _goes_back(previous, record.reach):
            raise _damaged(self.partition, f"record {n} goes back behind record {n - 1}")
        if record.previous_sha256 and (record.previous_sha256,) != chain.digests[-1:]:
            raise _damaged(self.partition, f"record {n - 1} was altered after record {n} was written")
        return chain.then(record, data)

    def append(self, record: Record) -> bool:
        """Put the record under its number: True if it is ours, False if another worker decided first.

        Raises TransientError, and HaltError for a record that no reader would accept.
        """
        data = record.document()
        if what := _impossible(record):  # by a wrong clock, say: nobody would read it again, nor what follows it
            raise HaltError(
                HaltReason.CHAIN_DAMAGED,
                f"seal {record.n} of {self.partition} was not written, as no reader would accept it: {what}",
            )
        return put_first(self._store, record_key(self.partition, record.n), data)


def put_rules(store: Store, rules: RowRules) -> None:
    """Put the row rules under their digest, before the first record that names them."""
    key, body = settings_key(rules.digest), BytesBody(rules.document())
    if store.head(key) is None:
        store.put(key, body, condition=Absent(), metadata={"sha256": body.sha256})


def get_rules(store: Store, digest: str, partition: TopicPartition) -> RowRules:
    """The row rules that a record names. Raises HaltError if they are missing, unreadable or newer."""
    key = settings_key(digest)
    stored = store.get(key)
    if stored is None:
        raise _damaged(partition, f"names the settings {key}, which are missing")
    try:
        if json_fields.whole(json_fields.table(orjson.loads(stored.data), "the document"), "version") > ROWS_VERSION:
            raise HaltError(
                HaltReason.CHAIN_NEWER, f"{key} has the row rules of a newer release: deploy that release again"
            )
        rules = rules_from_document(stored.data)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(partition, f"names the settings {key}, which cannot be read") from error
    if rules.digest != digest:
        raise _damaged(partition, f"names the settings {key}, which were altered")
    return rules
