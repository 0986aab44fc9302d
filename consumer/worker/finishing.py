"""A seal left unfinished by a crash or another worker: its rows from the spool or read again, then steps 4 and 5."""

from __future__ import annotations

from dataclasses import replace

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.recover import RecoveryPlan, commit_for
from consumer.spool.checkpoint import SpoolBasis
from consumer.spool.files import SpoolDamagedError
from consumer.worker.coroutines import Steps, WaitUntil
from consumer.worker.events import SealFinished
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.partition import Files, Partition
from consumer.worker.phase import Activity
from consumer.worker.sealing import commit, upload
from consumer.worker.unreadable import halt_if_unreadable


def finish_pending(partition: Partition, plan: RecoveryPlan, seal: Record) -> Steps[None]:
    """Finish `seal` with the rows that its record names, then continue after it.

    Raises HaltError `rows_vanished` if the log gives other rows, SpoolDamagedError if the spool does. Returns
    early where the position left the log.
    """
    began = partition.context.clock.monotonic()
    columns = yield from partition.ask(lambda: partition.context.ask_header(seal))
    if not plan.spool:
        yield from _rebuild(partition, plan, seal, columns)
        if partition.intake.lost:
            return
    files = partition.files_due(seal) if plan.spool else partition.files()
    entries = _entries(seal, files)
    if entries != seal.objects and not plan.lossy:
        if plan.spool:
            raise SpoolDamagedError(f"the spool of {partition.name} has other rows than seal {seal.n}")
        raise HaltError(HaltReason.ROWS_VANISHED, _vanished(seal, entries))
    partition.enter(Activity.FINISHING)
    yield from upload(partition, seal, entries, files, columns, lossy=plan.lossy)
    yield from commit(partition, commit_for(partition.chain))
    again = not plan.spool or bool(partition.spool.progress.dropped)
    partition.build_on_head(files, again=again)
    if not again:
        partition.intake.open(partition.offset_rules(), partition.intake.position)
    partition.enter(Activity.READING)
    partition.went_on()
    partition.context.listener(SealFinished(seal, partition.context.clock.monotonic() - began))


def _rebuild(partition: Partition, plan: RecoveryPlan, seal: Record, columns: tuple[str, ...]) -> Steps[None]:
    """Read only the rows of a pending seal again.

    The checkpoint says `rebuild`, which is not a digest of settings: after a crash in the middle it matches nothing,
    and the rebuild starts over rather than mix its rows with others.
    """
    partition.enter(Activity.REBUILDING)
    partition.spool.begin(
        SpoolBasis(partition.topic_id, f"rebuild {seal.n}", partition.chain.identity, seal.n, plan.start), plan.start
    )
    if plan.start >= seal.through:
        return
    partition.intake.open(
        OffsetRules(partition.chain, partition.transformers, partition.context.today, columns, only=seal), plan.start
    )
    while partition.intake.position < seal.through and not partition.intake.lost:
        yield WaitUntil(lambda: partition.intake.position >= seal.through or partition.interrupted())
        yield from halt_if_unreadable(partition)
    partition.intake.shut()


def _entries(seal: Record, files: Files) -> tuple[ObjectEntry, ...]:
    """The seal's objects as these files have them; an object without a file has no rows."""
    entries = []
    for entry in seal.objects:
        file = files.get((entry.day, entry.quarantine))
        rows, first, last = (0, None, None) if file is None else (file.rows, file.first_offset, file.last_offset)
        entries.append(replace(entry, rows=rows, first_offset=first, last_offset=last))
    # rows of days that the seal does not know are never silently left out
    for day, quarantine in sorted(set(files) - {(entry.day, entry.quarantine) for entry in seal.objects}):
        rows = files[(day, quarantine)].rows
        entries.append(ObjectEntry("", seal.stream, day, rows, None, None, quarantine=quarantine))
    return tuple(entries)


def _vanished(seal: Record, entries: tuple[ObjectEntry, ...]) -> str:
    extra = entries[len(seal.objects) :]
    changed = [(said, found) for said, found in zip(seal.objects, entries, strict=False) if said != found]
    if changed:
        said, found = changed[0]
        what = f"{found.rows} rows of {said.day}, but the seal says {said.rows}"
        if found.rows == said.rows:
            what = f"rows {found.first_offset} to {found.last_offset} of {said.day}, but the seal says others"
    else:
        what = f"{extra[0].rows} rows of {extra[0].day}, a day that is not in the seal"
    return (
        f"{seal.partition}: reading offsets {seal.start} to {seal.through} again for seal {seal.n} gives {what}. "
        "Kafka or the settings in the bucket have changed: restore the spool of the worker that decided it, or the"
        " records"
    )
