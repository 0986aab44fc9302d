"""Deciding a seal: values in, a decision with its reason out. Depends on no Kafka, store or clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from consumer.domain.batches import Counts, SealedSchemas
from consumer.domain.compression import Compression
from consumer.domain.days import ONE_DAY, due_at, last_due, midnight
from consumer.domain.errors import Halt, HaltReason
from consumer.domain.offsets import LogEnds, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.keys import data_key, quarantine_key
from consumer.seal.record import ObjectEntry, Record, RecordKind, due_by

CLOCK_TOLERANCE = timedelta(seconds=60)
"""A clock further ahead of the store's decides nothing."""
TRANSACTION_PATIENCE = timedelta(minutes=30)
"""How long a seal waits for an open transaction before its days are published as `open_transaction`."""
QUARANTINE_FLOOR = 10
"""Fewer bad records than this never halt a partition."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a day is due: `seal_at` after its end. `through` fixes the cutoff for `run --once --through DAY`."""

    seal_at: timedelta
    through: date | None = None

    def cutoff(self, now: datetime) -> date:
        """The last day to be sealed at `now`."""
        return self.through or last_due(now, self.seal_at)

    def allows(self, cutoff: date, store_now: datetime) -> bool:
        """Whether `cutoff` may be sealed by the store's date; a DAY asked for by hand need only be over."""
        if self.through is not None:
            return midnight(cutoff + ONE_DAY) <= store_now
        return cutoff <= last_due(store_now, self.seal_at)


def cutoff_to_close(chain: Chain, schedule: Schedule, now: datetime) -> date | None:
    """The cutoff that the next seal should have, or None while everything due is closed."""
    wanted = schedule.cutoff(now)
    reached = chain.cutoff
    if reached is None or wanted > reached:
        return wanted
    return wanted if wanted == reached and not chain.head.caught_up else None


def seal_moment(chain: Chain, now: datetime) -> datetime:
    """The `sealed_at` of a seal decided now, never before its predecessor's: days far ahead are taken file by file."""
    return now if chain.empty else max(now, chain.head.sealed_at)


@dataclass(frozen=True, slots=True)
class SealTarget:
    """What a seal catches up to: the cutoff that was due when the log's ends were taken. E is `ends.lso`."""

    cutoff: date
    ends: LogEnds
    taken_at: datetime
    since: datetime

    @property
    def end(self) -> int:
        """E: everything below it is read before the seal."""
        return self.ends.lso

    def settled(self, now: datetime) -> bool:
        """No transaction is open below E, or the patience for it is over."""
        return not self.ends.transaction_open or now - self.since >= TRANSACTION_PATIENCE


@dataclass(frozen=True, slots=True)
class SpooledRows:
    """Rows of one day in the spool. Offsets are those of the first and last row."""

    day: date
    quarantine: bool
    rows: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a seal of one partition is decided from.

    `start` is where the rows not yet taken begin; `position` the NEXT offset to read, everything below it in the spool
    but the days in `dropped` (day -> first offset dropped). `counts` and `known_schemas` speak of the offsets since
    the chain's reach. `columns` is how many columns of the folder's list the rows have.
    """

    stream: str
    partition: TopicPartition
    topic_id: str
    group: str
    writer: str
    settings: str
    compression: Compression
    max_ratio: float
    schedule: Schedule
    chain: Chain
    start: int
    position: int
    held: Sequence[SpooledRows]
    now: datetime
    store_now: datetime
    ends: LogEnds
    cutoff: date
    caught_up: bool
    counts: Counts = Counts()
    known_schemas: Mapping[int, int] = field(default_factory=dict)
    dropped: Mapping[date, int] = field(default_factory=dict)
    first_timestamp: int | None = None
    min_records: int = QUARANTINE_FLOOR
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """Write this record."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """No seal now; look again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reread:
    """Rows that this seal must take were dropped from the spool: read again from `start`."""

    reason: str


Decision = Seal | NotYet | Reread | Halt


def decide(at: Situation) -> Decision:
    """What to do with the rows read so far."""
    return _clock_objection(at) or _progress_objection(at) or _quarantine_objection(at) or _seal(at)


def _clock_objection(at: Situation) -> Decision | None:
    if at.now - at.store_now > CLOCK_TOLERANCE:
        ahead = (at.now - at.store_now).total_seconds()
        return NotYet(f"the clock is {ahead:.0f} s ahead of the store's: correct it, no day is sealed until then")
    if not at.schedule.allows(at.cutoff, at.store_now):
        return NotYet(f"{at.cutoff} is not due yet by the store's clock")
    return None


def _progress_objection(at: Situation) -> Decision | None:
    reach = at.chain.reach
    if reach.cutoff is not None and at.cutoff < reach.cutoff:
        return NotYet(f"the chain has already closed {reach.cutoff}")
    if at.position < reach.through:
        return NotYet(f"reading again below {reach.through}, which the chain has reached")
    grows = at.position > reach.through or at.cutoff != reach.cutoff
    closes = at.caught_up and not at.chain.empty and not at.chain.head.caught_up
    if not grows and not closes:
        return NotYet("nothing new since the last seal")
    sealed_at = seal_moment(at.chain, at.now)
    due = sorted(day for day in at.dropped if due_by(day, at.cutoff, sealed_at))
    if due:
        return Reread(f"rows of {due[0]} were dropped from the spool and are due now")
    return None


def _quarantine_objection(at: Situation) -> Decision | None:
    bad, read = at.counts.quarantined, at.counts.read
    if bad < at.min_records or bad / read <= at.max_ratio:  # a product would round 0.29 * 100 down
        return None
    return Halt(
        HaltReason.QUARANTINE_RATIO,
        f"{bad} of {read} records since offset {at.chain.reach.through} cannot become rows, more than "
        f"quarantine.max_ratio = {at.max_ratio}: fix format, schema or time_field of stream {at.stream}, or raise "
        "the ratio (or quarantine.min_records) if they are really bad; nothing was sealed or lost",
    )


def _entry(at: Situation, held: SpooledRows) -> ObjectEntry:
    key = (
        quarantine_key(at.stream, held.day, at.partition, at.position)
        if held.quarantine
        else data_key(at.stream, held.day, at.partition, at.position, at.compression)
    )
    return ObjectEntry(
        key, at.stream, held.day, held.rows, held.first_offset, held.last_offset, quarantine=held.quarantine
    )


def _seal(at: Situation) -> Seal:
    sealed_at = seal_moment(at.chain, at.now)
    taken = [held for held in at.held if due_by(held.day, at.cutoff, sealed_at)]
    left = [held.first_offset for held in at.held if not due_by(held.day, at.cutoff, sealed_at)]
    left.extend(at.dropped.values())
    first = at.chain.empty
    record = Record(
        kind=RecordKind.SEAL,
        stream=at.stream,
        partition=at.partition,
        topic_id=at.topic_id,
        group=at.group,
        n=len(at.chain.records),
        previous=None if first else at.chain.reach,
        cutoff=at.cutoff,
        caught_up=at.caught_up,
        start=at.start,
        through=at.position,
        resume=min(left, default=at.position),
        lso=at.ends.lso,
        high=at.ends.high,
        settings=at.settings,
        sealed_at=sealed_at,
        writer=at.writer,
        schemas=SealedSchemas(dict(at.known_schemas)),
        objects=tuple(_entry(at, held) for held in sorted(taken, key=lambda held: (held.day, held.quarantine))),
        counts=at.counts,
        first_timestamp=at.first_timestamp if first else None,
        previous_sha256="" if first else at.chain.digests[-1],
        columns=at.columns,
    )
    return Seal(record, "caught up" if at.caught_up else "spill: the spool needs room")


def last_sealed(chain: Chain) -> date | None:
    """The last day that a caught-up seal closed."""
    return next((record.cutoff for record in reversed(chain.records) if record.caught_up and record.cutoff), None)


def next_seal(chain: Chain, schedule: Schedule, now: datetime) -> datetime:
    """When the next seal of this chain is due; in the past where it is overdue."""
    cutoff = cutoff_to_close(chain, schedule, now)
    if cutoff is None:
        cutoff = max(schedule.cutoff(now), chain.cutoff or date.min) + ONE_DAY
    return due_at(cutoff, schedule.seal_at)
