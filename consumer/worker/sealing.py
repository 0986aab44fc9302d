"""One seal of one partition, as design.md, section 3 numbers its steps: catch up, decide, record, upload, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from functools import partial

from consumer.domain.errors import HaltError, SinkError, TransientError, UnknownOutcomeError
from consumer.domain.offsets import LogEnds
from consumer.seal.decide import Decision, Held, NotYet, Reread, Situation, Stop, Target, decide
from consumer.seal.finish import put_object
from consumer.seal.log import put_rules
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.recover import commit_for
from consumer.source.port import Commit
from consumer.spool.checkpoint import SpoolFile
from consumer.spool.files import SpoolDamagedError, SpoolFullError
from consumer.store.body import ChangedError
from consumer.worker.bodies import count_rows
from consumer.worker.partition import Files, Partition
from consumer.worker.steps import Pause, Steps, Until

TRANSACTION_SECONDS = 5.0
"""How often the log's ends are taken anew while a transaction is open."""
OBJECTION_SECONDS = 5.0
"""How long a seal that may not be yet waits (clock ahead of the store's)."""
COMMIT_SECONDS = 0.5


class LookAgainError(SinkError):
    """What was found on assignment is not so any more: the partition is looked at anew, nothing is asked again."""


def seal_when_due(at: Partition) -> Steps[None]:
    """Wait until a day is due or the disk needs room, then seal. Returns early where the position left the log."""
    if at.cutoff_due() is None:
        at.unhalt()
    yield Until(lambda: at.interrupted() or at.cutoff_due() is not None)
    cutoff = at.cutoff_due()
    if cutoff is not None and not at.interrupted():
        target = yield from catch_up(at, cutoff)
        if target is not None:
            yield from seal(at, target.cutoff, target.ends, caught_up=True)
    if at.spill_wanted and not at.intake.lost:
        ends = yield from at.ask(lambda: at.desk.ask_ends(at.name))
        yield from seal(at, at.spill_cutoff(), ends, caught_up=False)


def catch_up(at: Partition, cutoff: date) -> Steps[Target | None]:
    """Step 1: read up to the end that the log had when the day was due. None where something came between."""
    since = at.desk.clock.now()
    while True:
        taken_at = at.desk.clock.now()
        ends = yield from at.ask(partial(_same_topic_ends, at))
        target = Target(cutoff, ends, taken_at, since)
        yield Until(_read_to(at, target.end))
        if at.interrupted():
            return None
        if target.settled(at.desk.clock.now()):
            return target
        yield Pause(TRANSACTION_SECONDS)


def _read_to(at: Partition, end: int) -> Callable[[], bool]:
    return lambda: at.intake.position >= end or at.interrupted()


def _same_topic_ends(at: Partition) -> LogEnds:
    topic = at.desk.ask_topic()
    if topic.topic_id != at.topic_id:
        raise LookAgainError(f"topic {topic.name} was re-created")
    return at.desk.ask_ends(at.name)


def seal(at: Partition, cutoff: date, ends: LogEnds, *, caught_up: bool) -> Steps[None]:
    """Steps 2 to 5, and step 6 asked for."""
    at.sealing = True
    began = at.desk.clock.monotonic()
    at.intake.shut()
    with suppress(SpoolFullError):
        at.spool.checkpoint()  # without room it is Kafka alone that a crash falls back on
    clocks = yield from at.ask(partial(_ask_clocks, at))
    decision = decide(_situation(at, cutoff, ends, clocks, caught_up=caught_up))
    at.spill_wanted = False
    record = yield from obey(at, decision)
    if record is not None:
        yield from write_record(at, record)
        files = at.files_due(record)
        yield from upload(at, record, record.objects, files, at.columns)
        yield from commit(at, commit_for(at.chain))
        at.build_on_head(files, again=bool(at.spool.progress.dropped))
        at.desk.hearing.sealed(record, at.desk.clock.monotonic() - began)
        at.call_publication()
        at.unhalt()
    at.sealing = False


def _ask_clocks(at: Partition) -> tuple[datetime, datetime]:
    """Our clock and the store's, ours first: a slow answer never makes it look ahead."""
    return at.desk.clock.now(), at.desk.store.now()


def _situation(
    at: Partition, cutoff: date, ends: LogEnds, clocks: tuple[datetime, datetime], *, caught_up: bool
) -> Situation:
    job, progress = at.desk.job, at.spool.progress
    assert at.spool.basis is not None
    return Situation(
        stream=job.name,
        partition=at.name,
        topic_id=at.topic_id,
        group=job.group,
        writer=at.desk.writer,
        settings=at.desk.today,
        compression=job.compression,
        max_ratio=job.max_ratio,
        schedule=at.desk.schedule,
        chain=at.chain,
        start=at.spool.basis.start,
        position=progress.position,
        held=[_held(file) for file in at.spool.files],
        now=clocks[0],
        store_now=clocks[1],
        ends=ends,
        cutoff=cutoff,
        caught_up=caught_up,
        counts=progress.counts,
        unknown_schemas=progress.unknown_schemas,
        dropped=progress.dropped,
        first_timestamp=progress.first_timestamp,
    )


def _held(file: SpoolFile) -> Held:
    return Held(file.day, file.quarantine, file.rows, file.first_offset, file.last_offset)


def obey(at: Partition, decision: Decision) -> Steps[Record | None]:
    """Step 2: the record to write, or None after having done what the decision says instead."""
    match decision:
        case Stop(halt, message):
            raise HaltError(halt, message)
        case NotYet(reason):
            at.desk.hearing.sealing(at.name, reason)
            at.sealing = False
            at.intake.reopen(at.lens())
            yield Pause(OBJECTION_SECONDS)
            return None
        case Reread(reason):
            at.desk.hearing.sealing(at.name, reason)
            at.build_on_head({}, again=True)
            return None
    at.desk.hearing.sealing(at.name, decision.reason)
    return decision.record


def write_record(at: Partition, record: Record) -> Steps[None]:
    """Step 3. Another worker's record is obeyed by looking at the partition anew."""
    if not (yield from at.ask(partial(put_record, at, record))):
        raise LookAgainError(f"another worker decided seal {record.n} of {at.name}")
    at.chain = at.chain.then(record, record.document())


def put_record(at: Partition, record: Record) -> bool:
    """Put the record, and before it the settings that it names; False where another worker was first."""
    put_rules(at.desk.store, at.desk.job.rules)
    return at.desk.log(at.name).append(record)


def upload(
    at: Partition,
    record: Record,
    entries: tuple[ObjectEntry, ...],
    files: Files,
    columns: tuple[str, ...],
    *,
    lossy: bool = False,
) -> Steps[None]:
    """Step 4: each object once, in order. `lossy` where a gap may have taken rows of the seal."""
    for entry in entries:
        file = files.get((entry.day, entry.quarantine))
        yield from at.ask(partial(_put, at, record, entry, file, columns, lossy=lossy))


def _put(
    at: Partition,
    record: Record,
    entry: ObjectEntry,
    file: SpoolFile | None,
    columns: tuple[str, ...],
    *,
    lossy: bool,
) -> None:
    began = at.desk.clock.monotonic()
    digest = None if file is None else at.spool.digest(file)
    packing = _compression(entry.key)
    with at.desk.bodies.freeze(file, columns, packing, digest, quarantine=entry.quarantine) as body:
        try:
            written = put_object(at.desk.store, record, entry, body, count_rows, lossy=lossy)
        except HaltError as halt:
            if len(at.desk.log(at.name).read().records) > len(at.chain.records):
                raise LookAgainError(f"the seal log of {at.name} went on meanwhile") from halt
            raise
        except (ChangedError, SpoolDamagedError) as error:
            at.desk.hearing.upload_failed(entry)
            raise SpoolDamagedError(f"{entry.key}: {error}") from error
        except TransientError:
            at.desk.hearing.upload_failed(entry)
            raise
        at.desk.hearing.uploaded(entry, body.size, written=written, seconds=at.desk.clock.monotonic() - began)


def _compression(key: str) -> str:
    if key.endswith(".gz"):
        return "gzip"
    return "zstd" if key.endswith(".zst") else "none"


def commit(at: Partition, wanted: Commit) -> Steps[None]:
    """Step 5. After an unknown outcome the offset is read back, never assumed."""
    while True:
        try:
            at.desk.broker.commit(at.lease, wanted)
        except UnknownOutcomeError as error:
            at.desk.hearing.committed(at.name, wanted.offset, "unknown")
            at.told(error)
            yield Pause(COMMIT_SECONDS)
            found = yield from at.ask(lambda: at.desk.view.committed(at.desk.job.group, [at.name]))
            if found[at.name] == wanted:
                return
        except TransientError as error:
            at.desk.hearing.committed(at.name, wanted.offset, "failed")
            at.told(error)
            yield Pause(COMMIT_SECONDS)
        else:
            at.desk.hearing.committed(at.name, wanted.offset, "ok")
            at.told(None)
            return
