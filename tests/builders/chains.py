"""What the tests of seal and worker share: days, records, chains and row rules, small and the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from consumer.domain.batches import Counts, DayRows
from consumer.domain.offsets import LogEnds, Span, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.keys import data_key, quarantine_key
from consumer.seal.record import ObjectEntry, Record, RecordKind
from consumer.spool.files import PartitionSpool
from consumer.store.port import Absent, BytesBody, Written
from consumer.streams.rules import Format, RowRules
from tests.fakes.store import MemoryStore

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
FIRST = date(2026, 3, 1)
SEAL_AT = timedelta(hours=4)
SCHEMA = '{"type":"record","name":"Row","fields":[{"name":"id","type":"string"},{"name":"at","type":"string"}]}'
RULES = RowRules("s", "custom", "t", Format.JSON, SCHEMA, "at")
COLUMNS = ("id", "at")


def day(number: int) -> date:
    """Day 0 is the one that record 0 closes unless a test says otherwise."""
    return FIRST + timedelta(days=number)


def at(number: int, hours: float = 4) -> datetime:
    """An instant of the day after day `number`: by default the one at which that day is due."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number + 1, hours=hours)


def restored(spool: PartitionSpool) -> bool:
    """Restore the spool, all of it; False where nothing could be taken up."""
    for _ in spool.restore():
        pass
    return spool.basis is not None


def ends(low: int = 0, high: int = 1000, lso: int | None = None) -> LogEnds:
    return LogEnds(low, high if lso is None else lso, high)


def following(chain: Chain, **changes: Any) -> Record:
    """The next record of the chain: one more day closed, a hundred offsets further, caught up, without objects."""
    n = len(chain.records)
    through = changes.get("through", 100 * (n + 1))
    record = Record(
        kind=RecordKind.SEAL,
        stream="s",
        partition=ONE,
        topic_id="id-1",
        group="g",
        n=n,
        previous=None if chain.empty else chain.reach,
        cutoff=day(n),
        caught_up=True,
        start=0 if chain.empty else chain.head.resume,
        through=through,
        resume=through,
        lso=through,
        high=through,
        settings=RULES.digest,
        sealed_at=at(n),
        writer="w",
        previous_sha256="" if chain.empty else chain.digests[-1],
    )
    return replace(record, **changes)


def then(chain: Chain, **changes: Any) -> Chain:
    """The chain with one record more."""
    record = following(chain, **changes)
    return chain.then(record, record.document())


def chain_of(*changes: Mapping[str, Any]) -> Chain:
    """A chain of one record for each of these."""
    chain = Chain()
    for change in changes:
        chain = then(chain, **change)
    return chain


def gap(chain: Chain, start: int, end: int, unfinished: int | None = None, sealed_at: datetime | None = None) -> Chain:
    """The chain after `accept-gap ... start end`, which found seal `unfinished` pending."""
    through = end if chain.empty else chain.reach.through
    return then(
        chain,
        kind=RecordKind.GAP,
        cutoff=chain.reach.cutoff,
        caught_up=not chain.empty and chain.head.caught_up,
        start=end,
        resume=end,
        through=through,
        lost=Span(start, end),
        sealed_at=sealed_at or (at(0) if chain.empty else chain.head.sealed_at),
        unfinished=unfinished,
    )


def data(
    number: int, through: int, rows: int = 1, first: int = 0, last: int | None = None, partition: TopicPartition = ONE
) -> ObjectEntry:
    """An object of day `number`: rows that follow each other, unless `last` says otherwise."""
    key = data_key("s", day(number), partition, through, "none")
    return ObjectEntry(key, "s", day(number), rows, first, first + rows - 1 if last is None else last)


def bad(number: int, through: int, rows: int = 1, first: int = 0, last: int | None = None) -> ObjectEntry:
    """A quarantine object of day `number`."""
    key = quarantine_key("s", day(number), ONE, through)
    return ObjectEntry(key, "s", day(number), rows, first, first + rows - 1 if last is None else last, quarantine=True)


def day_rows(number: int, body: bytes, first: int, *, quarantine: bool = False, rows: int | None = None) -> DayRows:
    """Rows of day `number` from offset `first` on, one to a line."""
    count = body.count(b"\n") if rows is None else rows
    return DayRows(day(number), quarantine, count, first, first + max(count, 1) - 1, body)


def counts(read: int = 0, kept: int = 0, quarantined: int = 0) -> Counts:
    return Counts(read=read, kept=kept, quarantined=quarantined)


def put(store: MemoryStore, key: str, content: bytes, metadata: Mapping[str, str] | None = None) -> None:
    """An object in the bucket, new."""
    assert isinstance(store.put(key, BytesBody(content), condition=Absent(), metadata=metadata), Written)
