"""One seal of one partition: catch up, decide, record, upload, commit.

The order puts each row into the bucket exactly once, whatever crashes in between:

- The record comes before its objects. It pins their rows, so whoever finishes the seal after a crash makes the same
  objects under the same keys, and no object can be left behind that is in no record.
- The objects come before the commit. A new owner starts reading at the committed offset, so no row below it may be
  missing from the bucket.
- The spool is rebased after the commit. Until then it has the rows that an interrupted seal needs again.

Two workers may do this at the same time, as a lease can end without either of them noticing. Only the put-if-absent of
the record decides between them: one of them wrote it, the other follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from functools import partial

from consumer.domain.backoff import pauses
from consumer.domain.compression import compression_of
from consumer.domain.errors import Halt, HaltError, SinkError, TransientError, UnknownOutcomeError
from consumer.domain.offsets import Commit, LogEnds
from consumer.seal.decide import Decision, NotYet, Reread, SealTarget, Situation, SpooledRows, decide
from consumer.seal.folder_columns import claim_columns
from consumer.seal.log import put_rules
from consumer.seal.objects import put_object
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.recover import commit_for
from consumer.spool.checkpoint import SpoolFile
from consumer.spool.files import SpoolDamagedError, SpoolFullError
from consumer.store.body import ChangedError
from consumer.worker.coroutines import FIRST_PAUSE, LONGEST_PAUSE, Sleep, Steps, Together, WaitUntil
from consumer.worker.events import (
    CommitOutcome,
    CommitTried,
    ObjectUploaded,
    SealConsidered,
    SealFinished,
    SealObeyed,
    UploadFailed,
)
from consumer.worker.partition import SYNC_FILES, Files, Partition
from consumer.worker.phase import Activity

TRANSACTION_SECONDS = 5.0
"""Seconds between requests for the log's ends while a transaction is open."""
SYNC_PAUSE = 0.001
"""What ends a turn of the loop."""
UPLOADS = 4
"""Objects of one seal that are uploaded side by side."""
OBJECTION_SECONDS = 5.0
"""How long to wait where a seal may not be made yet (our clock is ahead of the store's)."""


class LookAgainError(SinkError):
    """The result of recovery is outdated: the partition recovers again. Nothing is wrong."""


def seal_when_due(partition: Partition) -> Steps[None]:
    """Wait until a day is due or the disk needs room, then seal. Returns early where the position left the log."""
    if partition.cutoff_due() is None:
        partition.went_on()
    yield WaitUntil(
        lambda: partition.interrupted() or partition.cutoff_due() is not None or partition.passed_obstacle()
    )
    cutoff = partition.cutoff_due()
    if cutoff is not None and not partition.interrupted():
        partition.enter(Activity.CATCHING_UP)
        target = yield from catch_up(partition, cutoff)
        if target is not None:
            yield from seal(partition, target.cutoff, target.ends, caught_up=True)
    if partition.phase.activity is Activity.SPILLING and not partition.intake.lost:
        ends = yield from partition.ask(lambda: partition.context.ask_ends(partition.name))
        yield from seal(partition, partition.spill_cutoff(), ends, caught_up=False)


def catch_up(partition: Partition, cutoff: date) -> Steps[SealTarget | None]:
    """Step 1: read up to the end that the log had when the day was due. None if something else comes first.

    The ends are requested after the day is due by our clock: everything produced before is below them. While a
    transaction is open they are requested again, as its records are not readable yet and may belong to the day.
    """
    since = partition.context.clock.now()
    while True:
        taken_at = partition.context.clock.now()
        ends = yield from partition.ask(partial(_same_topic_ends, partition))
        target = SealTarget(cutoff, ends, taken_at, since)
        yield WaitUntil(_read_to(partition, target.end))
        if partition.interrupted():
            return None
        if target.settled(partition.context.clock.now()):
            return target
        yield Sleep(TRANSACTION_SECONDS)


def _read_to(partition: Partition, end: int) -> Callable[[], bool]:
    return lambda: partition.intake.position >= end or partition.interrupted()


def _same_topic_ends(partition: Partition) -> LogEnds:
    topic = partition.context.ask_topic()
    if topic.topic_id != partition.topic_id:
        raise LookAgainError(f"topic {topic.name} was re-created")
    return partition.context.ask_ends(partition.name)


def seal(partition: Partition, cutoff: date, ends: LogEnds, *, caught_up: bool) -> Steps[None]:
    """Steps 2 to 5, and step 6 asked for."""
    partition.enter(Activity.SEALING)
    began = partition.context.clock.monotonic()
    partition.intake.shut()
    with suppress(SpoolFullError):
        # the record pins rows that must be found again after a crash; without room for a checkpoint Kafka has them
        while not partition.spool.checkpoint(SYNC_FILES):
            yield Sleep(SYNC_PAUSE)
    clocks = yield from partition.ask(partial(_ask_clocks, partition))
    decision = decide(_situation(partition, cutoff, ends, clocks, caught_up=caught_up))
    record = yield from obey(partition, decision)
    if record is not None:
        yield from write_record(partition, record)
        files = partition.files_due(record)
        yield from upload(partition, record, record.objects, files, partition.columns)
        yield from commit(partition, commit_for(partition.chain))
        partition.build_on_head(files, again=bool(partition.spool.progress.dropped))
        partition.context.listener(SealFinished(record, partition.context.clock.monotonic() - began))
        partition.enter(Activity.READING)
        partition.went_on()
        partition.request_publishing()


def _ask_clocks(partition: Partition) -> tuple[datetime, datetime]:
    """Our clock and the store's, ours first: a slow answer must not make ours appear to be ahead."""
    return partition.context.clock.now(), partition.context.store.now()


def _situation(
    partition: Partition, cutoff: date, ends: LogEnds, clocks: tuple[datetime, datetime], *, caught_up: bool
) -> Situation:
    job, progress = partition.context.config, partition.spool.progress
    assert partition.spool.basis is not None
    return Situation(
        stream=job.name,
        partition=partition.name,
        topic_id=partition.topic_id,
        group=job.group,
        writer=partition.context.writer,
        settings=partition.context.today,
        compression=job.compression,
        max_ratio=job.max_ratio,
        min_records=job.min_records,
        schedule=partition.context.schedule,
        chain=partition.chain,
        start=partition.spool.basis.start,
        position=progress.position,
        held=[_held(file) for file in partition.spool.files],
        now=clocks[0],
        store_now=clocks[1],
        ends=ends,
        cutoff=cutoff,
        caught_up=caught_up,
        counts=progress.counts,
        known_schemas=progress.known_schemas,
        dropped=progress.dropped,
        first_timestamp=progress.first_timestamp,
        columns=len(partition.columns),
    )


def _held(file: SpoolFile) -> SpooledRows:
    return SpooledRows(file.day, file.quarantine, file.rows, file.first_offset, file.last_offset)


def obey(partition: Partition, decision: Decision) -> Steps[Record | None]:
    """Step 2: the record to write, or None after doing what the decision says instead."""
    match decision:
        case Halt():
            raise decision.error
        case NotYet(reason):
            partition.context.listener(SealConsidered(partition.name, reason))
            partition.intake.reopen(partition.offset_rules())
            partition.enter(Activity.READING)
            yield Sleep(OBJECTION_SECONDS)
            return None
        case Reread(reason):
            partition.context.listener(SealConsidered(partition.name, reason))
            partition.build_on_head({}, again=True)
            partition.enter(Activity.READING)
            return None
    partition.context.listener(SealConsidered(partition.name, decision.reason))
    return decision.record


def write_record(partition: Partition, record: Record) -> Steps[None]:
    """Step 3. Another worker's record is obeyed: recovery finds it, and finishes it if need be."""
    if not (yield from partition.ask(partial(put_record, partition, record))):
        partition.context.listener(SealObeyed(partition.name, record.n))
        raise LookAgainError(f"another worker decided seal {record.n} of {partition.name}")
    partition.chain = partition.chain.then(record, record.document())


def put_record(partition: Partition, record: Record) -> bool:
    """Put the record; False if another worker was first. Before it what it names: columns, then settings."""
    claim_header(partition, record)
    put_rules(partition.context.store, partition.context.config.rules)
    return partition.context.log(partition.name).append(record)


def claim_header(partition: Partition, record: Record) -> None:
    """Make the record's columns the first ones of the folder's list, for whoever reads or rebuilds it."""
    assert record.cutoff is not None
    earliest = min((entry.day for entry in record.objects if not entry.quarantine), default=record.cutoff)
    store, stream = partition.context.store, partition.context.config.name
    if not claim_columns(store, stream, partition.columns, record.cutoff, earliest):
        raise LookAgainError(f"another worker changed the columns of the folder of {stream}: rows are read again")


def upload(
    partition: Partition,
    record: Record,
    entries: tuple[ObjectEntry, ...],
    files: Files,
    columns: tuple[str, ...],
    *,
    lossy: bool = False,
) -> Steps[None]:
    """Step 4: each object once, some side by side. `lossy` if a gap may have taken rows of the seal."""
    puts = [
        partial(_put, partition, record, entry, files.get((entry.day, entry.quarantine)), columns, lossy=lossy)
        for entry in entries
    ]
    yield Together([partition.ask(put) for put in puts], UPLOADS)


def _put(
    partition: Partition,
    record: Record,
    entry: ObjectEntry,
    file: SpoolFile | None,
    columns: tuple[str, ...],
    *,
    lossy: bool,
) -> None:
    began = partition.context.clock.monotonic()
    digest = None if file is None else partition.spool.digest(file)
    packing = compression_of(entry.key)
    with partition.context.bodies.freeze(file, columns, packing, digest, quarantine=entry.quarantine) as body:
        try:
            written = put_object(partition.context.store, record, entry, body, lossy=lossy)
        except HaltError as halt:
            if len(partition.context.log(partition.name).read().records) > len(partition.chain.records):
                raise LookAgainError(f"the seal log of {partition.name} was extended meanwhile") from halt
            raise
        except (ChangedError, SpoolDamagedError) as error:
            partition.context.listener(UploadFailed(entry))
            raise SpoolDamagedError(f"{entry.key}: {error}") from error
        except TransientError:
            partition.context.listener(UploadFailed(entry))
            raise
        seconds = partition.context.clock.monotonic() - began
        partition.context.listener(ObjectUploaded(entry, body.size, written, seconds))


def commit(partition: Partition, wanted: Commit) -> Steps[None]:
    """Step 5. After an unknown outcome the offset is read back, never assumed."""
    waits = pauses(FIRST_PAUSE, LONGEST_PAUSE, partition.context.jitter)

    def report(outcome: CommitOutcome) -> None:
        partition.context.listener(CommitTried(partition.name, wanted.offset, outcome))

    while True:
        try:
            partition.context.broker.commit(partition.lease, wanted)
        except UnknownOutcomeError as error:
            report(CommitOutcome.UNKNOWN)
            partition.report_outage(error)
            yield Sleep(next(waits))
            found = yield from partition.ask(
                lambda: partition.context.admin.committed(partition.context.config.group, [partition.name])
            )
            if found[partition.name] == wanted:
                return
        except TransientError as error:
            report(CommitOutcome.FAILED)
            partition.report_outage(error)
            yield Sleep(next(waits))
        else:
            report(CommitOutcome.DONE)
            partition.report_outage(None)
            return
