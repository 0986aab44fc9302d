"""A stream with a past: records in memory, seals decided row by row, days that can be replayed.

The seals are written without the worker: each row is judged by itself, by the rules that cover its offset, and goes to
the first seal that takes it. So a second past, sealed at the same points under other rules from the start, says what a
replay of the first one under those rules must come to.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from consumer.domain.batches import Counts, RawBatch, RowTransformer, TransformOptions
from consumer.domain.compression import Compression
from consumer.domain.offsets import Span, TopicPartition
from consumer.replace.bodies import working_folder
from consumer.replace.plan import Plan
from consumer.replace.replay import KeepOld, Replay
from consumer.replace.services import Scope, Services
from consumer.replace.undo import Undo
from consumer.seal.folder_columns import claim_columns, folder_columns, merged
from consumer.seal.keys import data_key, quarantine_key
from consumer.seal.log import SealLog, get_rules, put_rules
from consumer.seal.objects import put_object
from consumer.seal.publisher import Publisher
from consumer.seal.record import ObjectEntry, Record, RecordKind, due_by
from consumer.seal.replacements.record import Replacement
from consumer.shape.csv_text import line as csv_line
from consumer.shape.transform import make_transformer
from consumer.store.body import Piece, freeze
from consumer.store.compression import plain_blocks
from consumer.store.port import Store
from consumer.streams.columns import column_names
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Filter, Format, RowRules, rules_from_document
from consumer.verify.findings import Report
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream
from tests.builders.outside import at_once
from tests.builders.sealed import StoppedClock
from tests.fakes.executor import InlineExecutor
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.kafka.range_reader import MemoryRangeReader
from tests.fakes.store import MemoryStore

TOPIC, STREAM = "adapty.events", "events"
FIRST = date(2026, 3, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def rules(*, drop: tuple[str, ...] = (), **changes: Any) -> RowRules:
    """Rules of the shipped events, as JSON; rows of the types in `drop` are filtered."""
    kind = KINDS[STREAM]
    chosen = Filter(event_types=dict.fromkeys(drop, False), include_without_profile=True)
    return replace(RowRules(STREAM, STREAM, TOPIC, Format.JSON, kind.schema, kind.time_field, filter=chosen), **changes)


@cache
def _transformer(document: bytes) -> RowTransformer:
    return make_transformer(rules_from_document(document))


@cache
def _column_names(document: bytes) -> tuple[str, ...]:
    return column_names(rules_from_document(document))


def transformer_of(by: RowRules) -> RowTransformer:
    """Made once for the same rules: reading a schema takes longer than the few rows of a past."""
    return _transformer(by.document())


def millis(number: int, hour: float = 12) -> int:
    """An instant of day `number`, in epoch ms."""
    instant = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number, hours=hour)
    return int(instant.timestamp() * 1000)


@dataclass(slots=True)
class Past:
    """One stream. `today` are the rules that seals and replays use from now on.

    With `listed`, seals have the folder's columns as workers write them; without, their settings' as before the list.
    """

    store: Store
    folder: Path
    today: RowRules = field(default_factory=rules)
    partitions: int = 1
    compression: Compression = "none"
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    now: datetime = datetime(2026, 3, 2, 4, tzinfo=UTC)
    most_bytes: int = 1 << 30
    keys: Mapping[str, bytes] = field(default_factory=dict)
    listed: bool = False

    def __post_init__(self) -> None:
        if self.cluster.topic(TOPIC) is None:
            self.cluster.create_topic(TOPIC, self.partitions)

    def copied(self, store: MemoryStore, folder: Path) -> Past:
        """The same past in another store in memory: to seal its days takes longer."""
        assert isinstance(self.store, MemoryStore)
        store.fill(self.store)
        return replace(self, store=store, folder=folder, cluster=self.cluster.copy())

    @property
    def topic_id(self) -> str:
        topic = self.cluster.topic(TOPIC)
        assert topic is not None
        return topic.topic_id

    @property
    def header(self) -> tuple[str, ...]:
        """What a worker would write today; none before the folder's list."""
        if not self.listed:
            return ()
        return merged(folder_columns(self.store, STREAM).names, self._columns(self.today.digest))

    # -- records -----------------------------------------------------------------------------------------------------

    def produce(self, number: int, *, kind: str = "trial_started", at: int | None = None, **more: Any) -> int:
        """A record stamped on day `number` whose row is of that day, or of day `at`."""
        partition = TopicPartition(TOPIC, more.pop("partition", 0))
        happened = datetime.fromtimestamp(millis(number if at is None else at) / 1000, UTC).isoformat()
        value = {"profile_id": "p", "event_type": kind, "event_datetime": happened, **more}
        return self.cluster.produce(partition, json.dumps(value).encode(), timestamp=millis(number))

    def produce_raw(self, number: int, value: bytes | None, partition: int = 0) -> int:
        return self.cluster.produce(TopicPartition(TOPIC, partition), value, timestamp=millis(number))

    # -- seals -------------------------------------------------------------------------------------------------------

    def log(self, partition: int = 0) -> SealLog:
        return SealLog(self.store, TopicPartition(TOPIC, partition))

    def seal(self, number: int, *, partition: int = 0, through: int | None = None, upload: bool = True) -> Record:
        """Close day `number` of one partition with all that its log holds by now, or what lies below `through`."""
        place, chain = TopicPartition(TOPIC, partition), self.log(partition).read()
        self.now = max(self.now, datetime.combine(day(number + 1), datetime.min.time(), UTC) + timedelta(hours=4))
        end = self.cluster.existing(place).high if through is None else through
        start = 0 if chain.empty else chain.head.resume
        taken: dict[tuple[date, bool], list[tuple[int, bytes]]] = {}
        resume, counts = end, Counts()
        for offset, batch in self._records(place, start, end):
            covering = chain.covering(offset)
            made = self._transform(self._rules(covering.settings) if covering else self.today, batch)
            if covering is None:
                counts += made.counts
            for rows in made.days:
                sealed_at = covering.sealed_at if covering else self.now
                if covering is not None and due_by(rows.day, chain.reach.cutoff, sealed_at):
                    continue
                if due_by(rows.day, day(number), sealed_at):
                    taken.setdefault((rows.day, rows.quarantine), []).append((offset, rows.body))
                else:
                    resume = min(resume, offset)
        record = Record(
            kind=RecordKind.SEAL,
            stream=STREAM,
            partition=place,
            topic_id=self.topic_id,
            group="g",
            n=len(chain.records),
            previous=None if chain.empty else chain.reach,
            cutoff=day(number),
            caught_up=True,
            start=start,
            through=end,
            resume=resume,
            lso=end,
            high=end,
            settings=self.today.digest,
            sealed_at=self.now,
            writer="test",
            objects=tuple(self._entry(place, end, *key, found) for key, found in sorted(taken.items())),
            counts=counts,
            columns=len(self.header) if self.header else None,
            previous_sha256="" if chain.empty else chain.digests[-1],
        )
        if self.header:
            assert claim_columns(self.store, STREAM, self.header, day(number), day(number))
        put_rules(self.store, self.today)
        assert self.log(partition).append(record)
        for entry in record.objects if upload else ():
            body = b"".join(text for _, text in taken[(entry.day, entry.quarantine)])
            self._put(record, entry, body)
        return record

    def _put(self, record: Record, entry: ObjectEntry, rows: bytes) -> None:
        header = b"" if entry.quarantine else csv_line(self.header or self._columns(record.settings))
        piece = Piece(lambda: io.BytesIO(rows))
        packing: Compression = "none" if entry.quarantine else self.compression
        with freeze([piece], header=header, compression=packing, folder=self.folder) as body:
            assert put_object(self.store, record, entry, body)

    def _entry(
        self, place: TopicPartition, through: int, of: date, quarantine: bool, found: list[tuple[int, bytes]]
    ) -> ObjectEntry:
        key = (
            quarantine_key(STREAM, of, place, through)
            if quarantine
            else data_key(STREAM, of, place, through, self.compression)
        )
        return ObjectEntry(key, STREAM, of, len(found), found[0][0], found[-1][0], quarantine)

    def _records(self, place: TopicPartition, start: int, end: int) -> Iterator[tuple[int, RawBatch]]:
        if start >= end:
            return
        with MemoryRangeReader(self.cluster).read(place, Span(start, end)) as found:
            for batch in found:
                for offset in batch.offsets:
                    yield offset, batch.clip(Span(offset, offset + 1))

    def _transform(self, by: RowRules, batch: RawBatch) -> Any:
        return transformer_of(by).transform(batch, TransformOptions(self.header or self._columns(self.today.digest)))

    def _rules(self, digest: str) -> RowRules:
        return get_rules(self.store, digest, TopicPartition(TOPIC, 0))

    def _columns(self, digest: str) -> tuple[str, ...]:
        return _column_names((self.today if digest == self.today.digest else self._rules(digest)).document())

    def publisher(self) -> Publisher:
        return Publisher(
            self.store,
            STREAM,
            columns_of=self._columns,
            today=lambda: self._columns(self.today.digest),
            now=lambda: self.now,
        )

    def publish(self) -> None:
        self.publisher().publish(lambda: [self.log(number) for number in range(self.partitions)])

    def days(self, numbers: range, *, partition: int = 0) -> None:
        """Six records a day, of two kinds, some late, one bad; each day sealed and published the morning after."""
        for number in numbers:
            for index in range(4):
                kind = "trial_started" if index % 2 else "subscription_paused"
                self.produce(number, kind=kind, partition=partition, profile_id=f"p{number}-{index}")
            self.produce(number, at=number - 1, kind="subscription_paused", partition=partition)
            self.produce_raw(number, b"{", partition)
            self.seal(number, partition=partition)
            self.publish()

    # -- replacements ------------------------------------------------------------------------------------------------

    def services(self, store: Store | None = None) -> Services:
        return Services(
            stream=STREAM,
            topic=TOPIC,
            topic_id=self.topic_id,
            today=self.today,
            compression=self.compression,
            store=store or self.store,
            admin=MemoryAdmin(self.cluster),
            reader=MemoryRangeReader(self.cluster, batch=50),
            publisher=self.publisher() if store is None else replace(self, store=store).publisher(),
            make_transformer=transformer_of,
            clock=StoppedClock(self.now),
            writer="test",
            ask=at_once,
            folder=self.folder / "spool",
            most_bytes=self.most_bytes,
            keys=self.keys,
            logs={n: SealLog(store or self.store, TopicPartition(TOPIC, n)) for n in range(self.partitions)},
        )

    def work(
        self,
        first: int,
        last: int,
        *,
        partitions: tuple[int, ...] | None = None,
        keep_old: KeepOld = "auto",
        store: Store | None = None,
    ) -> Replay:
        return Replay(self.services(store), Scope(day(first), day(last), partitions), keep_old=keep_old)

    def replay(self, first: int, last: int, **how: Any) -> tuple[Plan, list[Replacement]]:
        """The command: finish what is half done, plan, do."""
        skip_gone = how.pop("skip_gone", False)
        work = self.work(first, last, **how)
        work.resume()
        plan = work.plan(skip_gone=skip_gone)
        with working_folder(self.folder / "spool") as folder:
            return plan, work.apply(plan, folder) if plan.objects else []

    def undo(self, n: int, store: Store | None = None) -> Replacement:
        work = Undo(self.services(store), n)
        return work.resume() or work.apply(work.plan())

    # -- looking -----------------------------------------------------------------------------------------------------

    def text(self, key: str) -> str:
        reader = self.store.open(key)
        assert reader is not None
        with reader:
            return b"".join(plain_blocks(key, reader)).decode()

    def objects(self) -> dict[str, str]:
        """The text of each data object that has rows."""
        found = {facts.key: self.text(facts.key) for facts in self.store.list(f"{STREAM}/dt=") if ".csv" in facts.key}
        return {key: text for key, text in found.items() if text.count("\n") > 1}

    def bodies(self) -> Mapping[str, bytes]:
        """Every data object to the byte."""
        keys = [facts.key for facts in self.store.list(f"{STREAM}/dt=") if ".csv" in facts.key]
        return {key: stored.data for key in keys if (stored := self.store.get(key)) is not None}

    def manifest(self, number: int) -> dict[str, Any]:
        stored = self.store.get(f"{STREAM}/dt={day(number)}/_manifest.json")
        assert stored is not None
        found = json.loads(stored.data)
        assert isinstance(found, dict)
        return found

    def revisions(self) -> dict[str, int]:
        """The revision of each day in the list of days."""
        stored = self.store.get(f"{STREAM}/_days.json")
        assert stored is not None
        return {item["day"]: item["revision"] for item in json.loads(stored.data)["days"]}

    def verify(self) -> Report:
        context = VerifyContext(at_once, InlineExecutor(), StoppedClock(self.now), lambda: None)
        target = VerifyTarget(STREAM, TOPIC, self._columns(self.today.digest), self.store)
        return verify_stream(target, Days(), context)
