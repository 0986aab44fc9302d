"""A destination filled by the real seal code, row by row as the test says: for what looks at a bucket from outside."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import zstandard

from consumer.domain.batches import Counts
from consumer.domain.compression import Compression
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.keys import data_key, quarantine_key, record_key
from consumer.seal.log import SealLog, put_rules
from consumer.seal.objects import put_object, size_and_digest
from consumer.seal.publisher import Publisher
from consumer.seal.record import ObjectEntry, Record, RecordKind
from consumer.seal.replacements.log import ReplacementLog
from consumer.seal.replacements.record import Former, NewObject, Replacement, ReplacementKind
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Match, ObjectInfo, Store, Stored
from consumer.streams.rules import Format, RowRules
from consumer.verify.findings import Report
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream
from tests.fakes.executor import InlineExecutor
from tests.fakes.store import MemoryStore

STREAM, TOPIC, GROUP = "clicks", "t", "g"
SCHEMA = '{"type":"record","name":"Click","fields":[{"name":"id","type":"long"},{"name":"at","type":"string"}]}'
RULES = RowRules(STREAM, "custom", TOPIC, Format.JSON, SCHEMA, "at")
COLUMNS = ("id", "at")
DAY = date(2026, 11, 20)
NOON = timedelta(hours=12)

Rows = Mapping[date, Sequence[int]]


def at(day: date, hours: float = 28) -> datetime:
    """So many hours after the beginning of `day`: 28 is when it is due."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours)


def next_day(day: date, days: int = 1) -> date:
    return day + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class StoppedClock:
    """The clock of one look."""

    instant: datetime

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return 0.0


def body_of(day: date, offsets: Sequence[int], key: str) -> BytesBody:
    """An object's text: rows that name their offsets, or quarantine lines."""
    if key.endswith(".jsonl"):
        return BytesBody(b"".join(json.dumps({"offset": offset, "value": None}).encode() + b"\n" for offset in offsets))
    text = b"id,at\n" + b"".join(f"{offset},{day}\n".encode() for offset in offsets)
    if key.endswith(".gz"):
        return BytesBody(gzip.compress(text, mtime=0))
    return BytesBody(zstandard.compress(text) if key.endswith(".zst") else text)


@dataclass(slots=True)
class Bucket:
    """One stream's destination. Days are sealed by `seal`, published by `publish`, looked at by `verify`."""

    store: Store
    rules: RowRules = RULES
    compression: Compression = "none"
    partitions: int = 1
    now: datetime = field(default_factory=lambda: at(DAY))
    seen: dict[int, int] = field(default_factory=dict)
    logs: dict[int, SealLog] = field(default_factory=dict)

    def log(self, number: int = 0) -> SealLog:
        return self.logs.setdefault(number, SealLog(self.store, TopicPartition(TOPIC, number)))

    def head(self, number: int = 0) -> Record:
        return self.log(number).read().head

    def seal(
        self,
        rows: Rows,
        *,
        cutoff: date,
        through: int,
        number: int = 0,
        resume: int | None = None,
        bad: Rows | None = None,
        waiting: int = 0,
        caught_up: bool = True,
        upload: bool = True,
        **changes: Any,
    ) -> Record:
        """Decide a seal that takes these offsets; `waiting` more rows were counted and wait for a later one."""
        place, chain = TopicPartition(TOPIC, number), self.log(number).read()
        start = 0 if chain.empty else chain.head.resume
        self.now = max(self.now, at(cutoff))
        taken = [*self._entries(place, rows, through), *self._entries(place, bad or {}, through, quarantine=True)]
        kept, quarantined = sum(map(len, rows.values())) + waiting, sum(map(len, (bad or {}).values()))
        kept -= self.seen.get(number, 0)
        self.seen[number] = waiting
        record = Record(
            kind=RecordKind.SEAL,
            stream=STREAM,
            partition=place,
            topic_id="topic-0001",
            group=GROUP,
            n=len(chain.records),
            previous=None if chain.empty else chain.reach,
            cutoff=cutoff,
            caught_up=caught_up,
            start=start,
            through=through,
            resume=through if resume is None else resume,
            lso=through,
            high=through,
            settings=self.rules.digest,
            sealed_at=self.now,
            writer="test",
            objects=tuple(sorted(taken, key=lambda entry: (entry.day, entry.quarantine))),
            counts=Counts(read=kept + quarantined, kept=kept, quarantined=quarantined),
            previous_sha256="" if chain.empty else chain.digests[-1],
        )
        record = replace(record, **changes)
        put_rules(self.store, self.rules)
        assert self.log(number).append(record)
        if upload:
            self.upload(
                record,
                {**{(day, False): o for day, o in rows.items()}, **{(d, True): o for d, o in (bad or {}).items()}},
            )
        return record

    def gap(self, lost: Span, number: int = 0, *, unfinished: int | None = None) -> Record:
        """An operator's gap; `unfinished` is the seal that was pending then."""
        chain = self.log(number).read()
        record = replace(
            chain.head,
            kind=RecordKind.GAP,
            n=len(chain.records),
            previous=chain.reach,
            start=lost.end,
            resume=lost.end,
            lost=lost,
            unfinished=unfinished,
            objects=(),
            counts=Counts(),
            first_timestamp=None,
            previous_sha256=chain.digests[-1],
        )
        assert self.log(number).append(record)
        return record

    def upload(self, record: Record, offsets: Mapping[tuple[date, bool], Sequence[int]]) -> None:
        """Put the objects of a seal; fewer offsets than it names, where a gap took the others."""
        for entry in record.objects:
            have = offsets.get((entry.day, entry.quarantine), ())
            first, last = (have[0], have[-1]) if have else (None, None)
            real = replace(entry, rows=len(have), first_offset=first, last_offset=last)
            put_object(self.store, record, real, body_of(entry.day, have, entry.key))

    def _entries(
        self, place: TopicPartition, rows: Rows, through: int, *, quarantine: bool = False
    ) -> list[ObjectEntry]:
        return [
            ObjectEntry(
                quarantine_key(STREAM, day, place, through)
                if quarantine
                else data_key(STREAM, day, place, through, self.compression),
                STREAM,
                day,
                len(offsets),
                offsets[0],
                offsets[-1],
                quarantine,
            )
            for day, offsets in rows.items()
        ]

    def publish(self) -> None:
        """Publish every day that is sealed everywhere."""
        self.publisher().publish(self.all_logs)

    def all_logs(self) -> list[SealLog]:
        return [self.log(number) for number in range(self.partitions)]

    def publisher(self) -> Publisher:
        return Publisher(
            self.store,
            STREAM,
            columns_of=lambda _: COLUMNS,
            today=lambda: COLUMNS,
            now=lambda: self.now,
        )

    def replay(self, new: Mapping[ObjectEntry, Sequence[int]], partition: int = 0) -> Replacement:
        """The record of a replay that puts these objects, each with the rows of these offsets."""
        log = ReplacementLog(self.store, STREAM)
        found = log.read()
        days = sorted({entry.day for entry in new})
        record = Replacement(
            kind=ReplacementKind.REPLAY,
            n=len(found.records),
            stream=STREAM,
            first=days[0],
            last=days[-1],
            days=tuple(days),
            partitions=None,
            settings=self.rules.digest,
            previous_sha256=found.digests[-1] if found.digests else None,
            objects=tuple(self._new(entry, offsets, partition) for entry, offsets in new.items()),
            unchanged=0,
            kept_old=False,
            replaced_at=self.now,
            writer="test",
        )
        assert log.append(record)
        return record

    def _new(self, entry: ObjectEntry, offsets: Sequence[int], partition: int) -> NewObject:
        body, facts = body_of(entry.day, offsets, entry.key), self.store.head(entry.key)
        former = Former(facts.etag, size_and_digest(self.store, entry.key)[1]) if facts else None
        return NewObject(entry, partition, self.rules.digest, body.size, body.sha256, former)

    def rewrite(self, entry: ObjectEntry, offsets: Sequence[int], replay: int) -> None:
        """What a replay does with an object."""
        facts = self.store.head(entry.key)
        body = body_of(entry.day, offsets, entry.key)
        metadata = {
            "topic": TOPIC,
            "partition": "0",
            "rows": str(entry.rows),
            "first-offset": "" if entry.first_offset is None else str(entry.first_offset),
            "last-offset": "" if entry.last_offset is None else str(entry.last_offset),
            "sha256": body.sha256,
            "replay": str(replay),
        }
        self.store.put(entry.key, body, condition=Match(facts.etag) if facts else Absent(), metadata=metadata)

    def verify(self, now: datetime | None = None, days: Days | None = None) -> Report:
        """What verification says, without waiting between looks."""
        ways = VerifyContext(lambda call: call(), InlineExecutor(), StoppedClock(now or self.now), lambda: None)
        return verify_stream(VerifyTarget(STREAM, TOPIC, COLUMNS, self.store), days or Days(), ways)

    # -- other hands -------------------------------------------------------------------------------------------------

    def all_keys(self) -> list[str]:
        return [facts.key for facts in self.store.list("")]

    def read(self, key: str) -> bytes:
        stored = self.store.get(key)
        assert stored is not None
        return stored.data

    def overwrite(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Other bytes under the key; the metadata stay as they were if none are given."""
        if isinstance(self.store, MemoryStore):
            old = self.store._objects.get(key)
            kept = metadata if metadata is not None else (old.facts.metadata if old else {})
            self.store._objects[key] = Stored(ObjectInfo(key, len(data), f'"{data[:8].hex()}"', dict(kept)), data)
        else:
            assert isinstance(self.store, FolderStore)
            path = Path(self.store.location.removeprefix("file://")) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def remove(self, key: str) -> None:
        if isinstance(self.store, MemoryStore):
            del self.store._objects[key]
        else:
            (Path(self.store.location.removeprefix("file://")) / key).unlink()

    def alter_record(self, n: int, number: int = 0, **fields: Any) -> None:
        """A record with other values, formatted as we do, its digest in the metadata as it was."""
        key = record_key(TopicPartition(TOPIC, number), n)
        raw = {**orjson.loads(self.read(key)), **fields}
        self.overwrite(key, orjson.dumps(raw, option=orjson.OPT_INDENT_2))


def three_days(store: Store, compression: Compression = "none") -> Bucket:
    """Two partitions, three days sealed and published: late rows, quarantine, a spill, a day far ahead, a lazy one.

    In memory they are made once for each compression, and copied.
    """
    if type(store) is not MemoryStore or store.versioned:
        return _three_days(store, compression)
    made = _made(compression)
    assert isinstance(made.store, MemoryStore)
    store.fill(made.store)
    return replace(made, store=store, seen=dict(made.seen), logs={})


@cache
def _made(compression: Compression) -> Bucket:
    return _three_days(MemoryStore(), compression)


def _three_days(store: Store, compression: Compression) -> Bucket:
    bucket = Bucket(store, partitions=2, compression=compression)
    far = next_day(DAY, 30)
    bucket.seal({DAY: [0, 2, 3]}, bad={DAY: [1]}, cutoff=DAY, through=6, resume=4, waiting=2)
    bucket.seal({next_day(DAY, -1): [7], DAY: [0, 1]}, cutoff=DAY, through=8, number=1)
    bucket.publish()
    second = next_day(DAY)
    bucket.seal({DAY: [6], second: [4, 5, 8]}, cutoff=second, through=10, caught_up=False, resume=10, bad={DAY: [9]})
    bucket.seal({second: [10, 11], far: [12]}, cutoff=second, through=14)
    bucket.seal({}, cutoff=second, through=8, number=1)
    bucket.publish()
    third = next_day(DAY, 2)
    bucket.seal({third: [14, 15]}, cutoff=third, through=16)
    bucket.seal({second: [8], third: [9]}, cutoff=third, through=10, number=1)
    bucket.publish()
    return bucket
