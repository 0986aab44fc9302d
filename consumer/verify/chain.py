"""One partition's seal log, checked record by record. Values in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from consumer.domain.batches import Counts
from consumer.domain.days import ONE_DAY, midnight
from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.gap import moved
from consumer.seal.keys import object_keys, record_key
from consumer.seal.log import parse_record
from consumer.seal.record import ObjectEntry, Reach, Record, RecordKind, due_by
from consumer.store.port import Stored
from consumer.verify.documents import unlike_written, without_metadata
from consumer.verify.findings import RESTORE, Finding, Problem

CLOCK_TOLERANCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ChainLook:
    """A chain as far as it is whole, the records after a break in it (`loose`), and what is wrong."""

    partition: TopicPartition
    chain: Chain
    loose: tuple[Record, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def whole(self) -> bool:
        """No record is missing or unreadable."""
        return not self.loose and not any(
            finding.problem in {Problem.MISSING, Problem.UNREADABLE, Problem.NEWER} for finding in self.findings
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """All that can be read."""
        return (*self.chain.records, *self.loose)


@dataclass(slots=True)
class _Totals:
    """What the records so far have seen and taken; `lossy` once a gap may have cost rows that were counted."""

    kept: int = 0
    quarantined: int = 0
    kept_taken: int = 0
    quarantined_taken: int = 0
    lossy: bool = False


@dataclass(slots=True)
class _Reading:
    partition: TopicPartition
    stream: str
    keeps_metadata: bool
    chain: Chain = field(default_factory=Chain)
    loose: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    totals: _Totals = field(default_factory=_Totals)

    def found(self, n: int, problem: Problem, what: str) -> None:
        self.findings.append(Finding(record_key(self.partition, n), problem, what, RESTORE))


def check_chain(
    partition: TopicPartition, stream: str, stored: Sequence[tuple[int, Stored]], *, keeps_metadata: bool
) -> ChainLook:
    """Check the records of one partition, given with their numbers in order."""
    at = _Reading(partition, stream, keeps_metadata)
    expected = 0
    for n, record in stored:
        for missing in range(expected, n):
            at.found(missing, Problem.MISSING, f"record {missing} of the seal log is missing")
        broken = bool(at.loose) or n != len(at.chain.records)
        _take(at, n, record, broken=broken)
        expected = n + 1
    return ChainLook(partition, at.chain, tuple(at.loose), tuple(at.findings))


def _take(at: _Reading, n: int, stored: Stored, *, broken: bool) -> None:
    for what in (unlike_written(stored), without_metadata(stored, keeps_metadata=at.keeps_metadata)):
        if what:
            at.found(n, Problem.ALTERED, what)
    try:
        record = parse_record(at.partition, n, stored.data)
    except HaltError as error:
        newer = error.reason is HaltReason.CHAIN_NEWER
        at.found(n, Problem.NEWER if newer else Problem.UNREADABLE, error.message)
        return
    if broken:
        at.loose.append(record)
        return
    for what in (*_link_problems(at, record), *record_problems(at.stream, at.chain, record)):
        at.found(n, Problem.INCONSISTENT, what)
    at.chain = at.chain.then(record, stored.data)
    for what in _total_problems(at.totals, record):
        at.found(n, Problem.INCONSISTENT, what)


def _link_problems(at: _Reading, record: Record) -> Iterator[str]:
    if record.n == 0:
        if record.previous is not None:
            yield "record 0 has a predecessor"
        return
    if record.previous != at.chain.reach:
        yield f"it says its predecessor reached {_told(record.previous)}, which reached {_told(at.chain.reach)}"
    if record.previous_sha256 != at.chain.digests[-1]:
        yield (
            f"record {record.n - 1} was altered after it was written, or this one: the digest that links them does not"
            " fit"
        )


def _told(reach: Reach | None) -> str:
    return "nothing" if reach is None else f"{reach.cutoff} and offset {reach.through}"


def record_problems(stream: str, before: Chain, record: Record) -> Iterator[str]:
    """What in one record contradicts itself or the records before it."""
    if record.stream != stream:
        yield f"it belongs to stream {record.stream}"
    if not before.empty:
        yield from _identity_problems(before, record)
    if record.kind is RecordKind.GAP:
        yield from _gap_problems(before, record)
    else:
        yield from _seal_problems(before, record)
        for entry in record.objects:
            yield from _entry_problems(before, record, entry)
        places = [(entry.day, entry.quarantine) for entry in record.objects]
        if places != sorted(set(places)):
            yield "its objects are not in the order of their days"


def _identity_problems(before: Chain, record: Record) -> Iterator[str]:
    head = before.head
    if record.topic_id != head.topic_id:
        yield f"it has the topic id {record.topic_id}, the previous record {head.topic_id}"
    if record.sealed_at < head.sealed_at:
        yield f"it was decided at {record.sealed_at}, before its predecessor ({head.sealed_at})"
    if record.first_timestamp is not None:
        yield "it has a first_timestamp, which belongs to record 0"


def _gap_problems(before: Chain, record: Record) -> Iterator[str]:
    lost = record.lost
    assert lost is not None  # else it could not be read
    if before.empty:
        yield from _gap_move_problems(record, lost, min(record.start, lost.start), min(record.start, lost.start))
        if (record.cutoff, record.through, record.caught_up) != (None, record.resume, False):
            yield "it is a gap at the start of the chain, but closes something"
    else:
        yield from _gap_place_problems(before, record, lost)
    if record.objects or record.counts != Counts():
        yield "it is a gap, but has objects or counts"


def _gap_place_problems(before: Chain, record: Record, lost: Span) -> Iterator[str]:
    head, seal = before.head, before.last_seal
    if (record.reach, record.caught_up) != (head.reach, head.caught_up):
        yield "it is a gap, but moves cutoff or through"
    if record.unfinished is not None and (seal is None or record.unfinished != seal.n):
        yield f"it is a gap over the unfinished seal {record.unfinished}, which is not the newest one"
    # over an unfinished seal, and over gaps that found it so before, reading begins where that seal's rows do
    pending = record.unfinished is not None and (head is seal or head.unfinished == record.unfinished)
    needed = head.start if pending else head.resume
    if lost.start < needed:
        yield f"it is a gap from {lost.start}, but {needed} was the lowest offset still needed"
    yield from _gap_move_problems(record, lost, needed, head.resume)


def _gap_move_problems(record: Record, lost: Span, needed: int, resume: int) -> Iterator[str]:
    """Where reading continues: behind the gap if it would have started within it, otherwise unchanged."""
    right = (moved(needed, lost), moved(resume, lost) if lost.start > needed else lost.end)
    if (record.start, record.resume) != right:
        yield f"it is a gap up to {lost.end}, but resumes at {record.resume} and starts at {record.start}"


def _seal_problems(before: Chain, record: Record) -> Iterator[str]:
    low = record.start if before.empty else before.reach.through
    assert record.cutoff is not None  # else it could not be read
    if midnight(record.cutoff + ONE_DAY) > record.sealed_at + CLOCK_TOLERANCE:
        yield f"it closed {record.cutoff} before that day was over, at {record.sealed_at}"
    if not before.empty and record.start != before.head.resume:
        yield f"it starts at {record.start}, but its predecessor resumes at {before.head.resume}"
    if record.lso > record.high or (record.caught_up and record.through < record.lso):
        yield f"it reads through {record.through} of a log that ended at {record.lso} of {record.high}"
    yield from _progress_problems(before, record)
    yield from _count_problems(record, low)
    yield from _schema_problems(record, low)


def _schema_problems(record: Record, low: int) -> Iterator[str]:
    if any(not low <= first < record.through for first in (record.schemas.known or {}).values()):
        yield "it lists known schemas outside its offsets"
    if any(not low < end <= record.through for end in record.schemas.unknown.values()):
        yield "it lists unknown schemas outside its offsets"


def _progress_problems(before: Chain, record: Record) -> Iterator[str]:
    if before.empty:
        return
    reached, closed = before.reach, before.head.caught_up
    if record.through < reached.through or (record.cutoff or date.min) < (reached.cutoff or date.min):
        yield f"it goes back: from {_told(reached)} to {_told(record.reach)}"
    elif record.reach == reached and not (record.caught_up and not closed):
        yield "it changes nothing"


def _count_problems(record: Record, low: int) -> Iterator[str]:
    counts = record.counts
    parts = (counts.kept, counts.filtered, counts.quarantined, counts.tombstones)
    if min((*parts, counts.read, counts.already_sealed)) < 0 or counts.read != sum(parts):
        yield f"its counts do not add up: {counts.read} read, {sum(parts)} kept, filtered, quarantined or tombstones"
    if counts.read > record.through - low:
        yield f"it counts {counts.read} records in the {record.through - low} offsets from {low} on"


def _entry_problems(before: Chain, record: Record, entry: ObjectEntry) -> Iterator[str]:
    first, last = entry.first_offset, entry.last_offset
    keys = object_keys(record.stream, entry.day, record.partition, record.through, quarantine=entry.quarantine)
    if entry.stream != record.stream or entry.key not in keys:
        yield f"its object {entry.key} has the wrong key for rows of {entry.day}"
    if first is None or last is None or not record.start <= first <= last < record.through:
        yield f"its object {entry.key} has offsets {first} to {last}, outside {record.start} to {record.through}"
        return
    if not 1 <= entry.rows <= last - first + 1:
        yield f"its object {entry.key} has {entry.rows} rows between the offsets {first} and {last}"
    covering = before.covering(first) or record
    if not due_by(entry.day, record.cutoff, covering.sealed_at):
        yield f"its object {entry.key} has rows of a day that was not due at {record.cutoff}"


def _total_problems(totals: _Totals, record: Record) -> Iterator[str]:
    """Rows taken never exceed rows seen; they are the same where nothing is left waiting."""
    totals.lossy = totals.lossy or record.kind is RecordKind.GAP
    totals.kept += record.counts.kept
    totals.quarantined += record.counts.quarantined
    totals.kept_taken += sum(entry.rows for entry in record.objects if not entry.quarantine)
    totals.quarantined_taken += sum(entry.rows for entry in record.objects if entry.quarantine)
    settled = record.resume == record.through and not totals.lossy
    for name, seen, taken in (
        ("kept", totals.kept, totals.kept_taken),
        ("quarantined", totals.quarantined, totals.quarantined_taken),
    ):
        if taken > seen or (settled and taken != seen):
            yield f"up to it {seen} records were {name}, but the objects have {taken} rows of them"
