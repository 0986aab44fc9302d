"""The life of one partition, from its assignment on: recover, finish what is pending, read, and seal day after day.

Each step is a line of design.md, section 3. The generator ends with the lease; an error of any kind leads back to
recovery, which starts from what the bucket and Kafka say and from nothing that was remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import TypeVar

from consumer.domain.batches import Judge
from consumer.domain.errors import (
    HaltError,
    HaltReason,
    LeaseLostError,
    TransientError,
    UnknownOutcomeError,
)
from consumer.domain.offsets import LogEnds
from consumer.seal.chain import Chain
from consumer.seal.decide import Decision, Held, NotYet, Reread, Situation, Stop, Target, cutoff_to_close, decide
from consumer.seal.finish import put_object
from consumer.seal.log import put_rules
from consumer.seal.record import ObjectEntry, Record, due_by
from consumer.seal.recover import NO_RECORD, Plan, commit_for
from consumer.seal.recover import Stop as Refusal
from consumer.source.port import Commit, Lease
from consumer.spool.files import Basis, PartitionSpool, SpoolDamagedError, SpoolFile, SpoolFullError
from consumer.worker.bodies import count_rows
from consumer.worker.desk import Desk
from consumer.worker.intake import Intake
from consumer.worker.lens import Lens
from consumer.worker.steps import Pause, Steps, Until, patiently
from consumer.worker.survey import Survey, spool_reach, survey

HALT_SECONDS = 60.0
"""A halted partition is looked at again this often."""
TRANSACTION_SECONDS = 5.0
"""How often the log's ends are taken anew while a transaction is open."""
OBJECTION_SECONDS = 5.0
"""How long a seal that may not be yet waits (clock ahead of the store's)."""
LEASE_SECONDS = 1.0
RETRY_SECONDS = 0.5

_T = TypeVar("_T")


class PartitionLife:
    """One partition under one lease. `steps` is its story; the rest is what the loop and /status look at."""

    def __init__(self, desk: Desk, lease: Lease, published: Callable[[], None]) -> None:
        self.desk = desk
        self.lease = lease
        self.partition = lease.partition
        self.spool = PartitionSpool(desk.disk, lease.partition)
        self.intake = Intake(desk, lease, self.spool)
        self.chain = Chain()
        self.halted: HaltError | None = None
        self.outage: TransientError | None = None
        self.ready = False
        self.sealing = False
        self.rebuilding = False
        self.spill_wanted = False
        self._call_publication = published
        self._topic_id = ""
        self._judges: Mapping[str, Judge] = {}

    # -- the story ---------------------------------------------------------------------------------------------------

    def steps(self) -> Steps[None]:
        """Live until the lease ends."""
        while True:
            try:
                yield from self._work()
            except HaltError as halt:
                self._halt(halt)
                yield Pause(HALT_SECONDS)
            except LeaseLostError:
                self.desk.hearing.committed(self.partition, -1, "refused")
                yield Pause(LEASE_SECONDS)  # if it is really gone the loop ends this generator meanwhile
            except SpoolDamagedError as error:
                self.desk.hearing.recovered(self.partition, (f"{error}: set aside, the log is read again",))
                self._set_spool_aside()
            except TransientError as error:
                self._told(error)
                yield Pause(RETRY_SECONDS)
            finally:
                self._stand_still()

    def _work(self) -> Steps[None]:
        plan = yield from self._recover()
        if plan.pending is not None:
            yield from self._finish_pending(plan, plan.pending)
        else:
            if plan.commit is not None:
                yield from self._commit(plan.commit)
            self._read_on(plan)
        self.ready = True
        self._call_publication()
        while not self.intake.lost:
            yield from self._seal_when_due()

    def _recover(self) -> Steps[Plan]:
        with suppress(SpoolFullError):
            self.spool.restore()
        found: Survey = yield from self._ask(lambda: survey(self.desk, self.partition, spool_reach(self.spool)))
        if isinstance(found.outcome, Refusal):
            raise HaltError(found.outcome.halt, found.outcome.message)
        self.chain, self._topic_id, self._judges = found.found.chain, found.found.topic_id, found.judges
        self._unhalt()
        self.desk.hearing.recovered(self.partition, found.outcome.notes)
        return found.outcome

    def _finish_pending(self, plan: Plan, seal: Record) -> Steps[None]:
        columns, began = self._judges[seal.settings].columns, self.desk.clock.monotonic()
        if not plan.spool:
            yield from self._rebuild(plan, seal, columns)
            if self.intake.lost:
                return
        files = self._files_due(seal)
        entries = _entries(seal, files)
        if entries != seal.objects and not plan.lossy:
            if plan.spool:
                raise SpoolDamagedError(f"the spool of {self.partition} holds other rows than seal {seal.n}")
            raise HaltError(HaltReason.ROWS_VANISHED, _vanished(seal, entries))
        self.sealing = True
        yield from self._upload(seal, entries if plan.lossy else seal.objects, files, columns)
        yield from self._commit(commit_for(self.chain))
        again = not plan.spool or bool(self.spool.progress.dropped)
        self._build_on_head(list(files.values()), again=again)
        if not again:
            self.intake.open(self._lens(), self.intake.position)
        self.sealing = False
        self.desk.hearing.sealed(seal, self.desk.clock.monotonic() - began)

    def _rebuild(self, plan: Plan, seal: Record, columns: tuple[str, ...]) -> Steps[None]:
        """Read the rows of a pending seal again, and nothing else. Its spool is worth nothing after a crash."""
        self.rebuilding = True
        void = Basis(self._topic_id, f"rebuild {seal.n}", self.chain.identity, seal.n, plan.start)
        self.spool.begin(void, plan.start)
        if plan.start >= seal.through:
            return
        self.intake.open(Lens(self.chain, self._judges, self.desk.today, columns, only=seal), plan.start)
        yield Until(lambda: self.intake.position >= seal.through or bool(self.intake.lost))
        self.intake.shut()

    def _read_on(self, plan: Plan) -> None:
        if not plan.spool:
            self.spool.begin(self._basis(plan.start), plan.start)
        if self.spool.progress.dropped:
            # what was dropped is read again at the start of a new life: the reason for it may be gone
            self.spool.begin(self._basis(plan.start), plan.start)
        self.intake.drop_above = None
        self.intake.open(self._lens(), self.intake.position)

    # -- sealing -----------------------------------------------------------------------------------------------------

    def _seal_when_due(self) -> Steps[None]:
        yield Until(lambda: bool(self.intake.lost) or self.spill_wanted or self.cutoff_due() is not None)
        cutoff = self.cutoff_due()
        if cutoff is not None and not self.spill_wanted and not self.intake.lost:
            target = yield from self._catch_up(cutoff)
            if target is not None:
                yield from self._seal(target.cutoff, target.ends, caught_up=True)
        if self.spill_wanted and not self.intake.lost:
            ends = yield from self._ask(lambda: self.desk.ask_ends(self.partition))
            yield from self._seal(self.spill_cutoff(), ends, caught_up=False)

    def cutoff_due(self) -> date | None:
        """The cutoff that the next seal should close, or None."""
        return cutoff_to_close(self.chain, self.desk.schedule, self.desk.clock.now())

    def spill_cutoff(self) -> date:
        """The cutoff that a spill would have now."""
        due, reached = self.desk.schedule.cutoff(self.desk.clock.now()), self.chain.reach.cutoff
        return due if reached is None else max(due, reached)

    def _catch_up(self, cutoff: date) -> Steps[Target | None]:
        """Step 1: read up to the end that the log had when the day was due. None where something came between."""
        since = self.desk.clock.now()
        while True:
            taken_at = self.desk.clock.now()
            ends: LogEnds = yield from self._ask(self._ask_same_topic)
            target = Target(cutoff, ends, taken_at, since)
            yield Until(self._reads_to(target.end))
            if self._interrupted():
                return None
            if target.settled(self.desk.clock.now()):
                return target
            yield Pause(TRANSACTION_SECONDS)

    def _reads_to(self, end: int) -> Callable[[], bool]:
        return lambda: self.intake.position >= end or self._interrupted()

    def _ask_same_topic(self) -> LogEnds:
        topic = self.desk.ask_topic()
        if topic.topic_id != self._topic_id:
            raise TransientError(f"topic {topic.name} was re-created: looking at {self.partition} anew")
        return self.desk.ask_ends(self.partition)

    def _interrupted(self) -> bool:
        return self.spill_wanted or bool(self.intake.lost)

    def _seal(self, cutoff: date, ends: LogEnds, *, caught_up: bool) -> Steps[None]:
        """Steps 2 to 6 of one seal."""
        self.sealing = True
        began = self.desk.clock.monotonic()
        self.intake.shut()
        with suppress(SpoolFullError):
            self.spool.checkpoint()  # without room it is Kafka alone that a crash falls back on
        clocks = yield from self._ask(self._ask_clocks)
        decision = decide(self._situation(cutoff, ends, clocks, caught_up=caught_up))
        self.spill_wanted = False
        record = yield from self._obey(decision)
        if record is None:
            self.sealing = False
            return
        if not (yield from self._ask(lambda: self._put_record(record))):
            raise TransientError(f"another worker decided seal {record.n} of {self.partition}: looking at it")
        self.chain = self.chain.then(record, record.document())
        files = self._files_due(record)
        yield from self._upload(record, record.objects, files, self._columns)
        yield from self._commit(commit_for(self.chain))
        self._build_on_head(list(files.values()), again=bool(self.spool.progress.dropped))
        self.sealing = False
        self.desk.hearing.sealed(record, self.desk.clock.monotonic() - began)
        self._call_publication()

    def _ask_clocks(self) -> tuple[datetime, datetime]:
        """Our clock and the store's, ours first: a slow answer never makes it look ahead."""
        return self.desk.clock.now(), self.desk.store.now()

    def _situation(
        self, cutoff: date, ends: LogEnds, clocks: tuple[datetime, datetime], *, caught_up: bool
    ) -> Situation:
        job, progress = self.desk.job, self.spool.progress
        assert self.spool.basis is not None
        return Situation(
            stream=job.name,
            partition=self.partition,
            topic_id=self._topic_id,
            group=job.group,
            writer=self.desk.writer,
            settings=self.desk.today,
            compression=job.compression,
            max_ratio=job.max_ratio,
            schedule=self.desk.schedule,
            chain=self.chain,
            start=self.spool.basis.start,
            position=progress.position,
            held=[_held(file) for file in self.spool.files],
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

    def _obey(self, decision: Decision) -> Steps[Record | None]:
        """The record to write, or None after having done what the decision says instead."""
        match decision:
            case Stop(halt, message):
                raise HaltError(halt, message)
            case NotYet(reason):
                self.desk.hearing.sealing(self.partition, reason)
                self.intake.reopen(self._lens())
                yield Pause(OBJECTION_SECONDS)
                return None
            case Reread(reason):
                self.desk.hearing.sealing(self.partition, reason)
                self._build_on_head([], again=True)
                return None
        self.desk.hearing.sealing(self.partition, decision.reason)
        return decision.record

    def _put_record(self, record: Record) -> bool:
        put_rules(self.desk.store, self.desk.job.rules)
        return self.desk.log(self.partition).append(record)

    def _upload(
        self,
        record: Record,
        entries: tuple[ObjectEntry, ...],
        files: Mapping[tuple[date, bool], SpoolFile],
        columns: tuple[str, ...],
    ) -> Steps[None]:
        """Step 4: each object once, in order."""
        for entry in entries:
            file = files.get((entry.day, entry.quarantine))
            yield from self._ask(partial(self._put, record, entry, file, columns))

    def _put(self, record: Record, entry: ObjectEntry, file: SpoolFile | None, columns: tuple[str, ...]) -> None:
        began = self.desk.clock.monotonic()
        with self.desk.bodies.freeze(file, columns, _compression(entry.key)) as body:
            written = put_object(self.desk.store, record, entry, body, count_rows)
            self.desk.hearing.uploaded(entry, body.size, written=written, seconds=self.desk.clock.monotonic() - began)

    def _commit(self, commit: Commit) -> Steps[None]:
        """Step 5. After an unknown outcome the offset is read back, never assumed."""
        while True:
            try:
                self.desk.broker.commit(self.lease, commit)
            except UnknownOutcomeError as error:
                self.desk.hearing.committed(self.partition, commit.offset, "unknown")
                self._told(error)
                yield Pause(RETRY_SECONDS)
                found = yield from self._ask(lambda: self.desk.view.committed(self.desk.job.group, [self.partition]))
                if found[self.partition] == commit:
                    return
            except TransientError as error:
                self.desk.hearing.committed(self.partition, commit.offset, "failed")
                self._told(error)
                yield Pause(RETRY_SECONDS)
            else:
                self.desk.hearing.committed(self.partition, commit.offset, "ok")
                self._told(None)
                return

    # -- small doings ------------------------------------------------------------------------------------------------

    def _build_on_head(self, taken: list[SpoolFile], *, again: bool) -> None:
        """Go on after the head: with the rows it left in the spool, or `again` from its resume offset."""
        start = self.chain.head.resume if not self.chain.empty else self._start()
        self.rebuilding = False
        self.intake.drop_above = None
        basis = self._basis(start)
        if again:
            self.spool.begin(basis, start)
            self.intake.open(self._lens(), start)
        else:
            self.spool.rebase(basis, taken)
            self.intake.reopen(self._lens())

    def _start(self) -> int:
        assert self.spool.basis is not None
        return self.spool.basis.start

    def _basis(self, start: int) -> Basis:
        builds_on = NO_RECORD if self.chain.empty else self.chain.head.n
        return Basis(self._topic_id, self.desk.today, self.chain.identity, builds_on, start)

    @property
    def _columns(self) -> tuple[str, ...]:
        return self._judges[self.desk.today].columns

    def _lens(self) -> Lens:
        return Lens(self.chain, self._judges, self.desk.today, self._columns)

    def _files_due(self, record: Record) -> dict[tuple[date, bool], SpoolFile]:
        files = self.spool.files
        if self.rebuilding:
            return {(file.day, file.quarantine): file for file in files}
        return {
            (file.day, file.quarantine): file for file in files if due_by(file.day, record.cutoff, record.sealed_at)
        }

    def _ask(self, call: Callable[[], _T]) -> Steps[_T]:
        return patiently(call, self._told)

    def _told(self, error: TransientError | None) -> None:
        if error is not None or self.outage is not None:
            self.desk.hearing.outage(self.partition, error)
        self.outage = error

    def _halt(self, halt: HaltError) -> None:
        self.halted = halt
        self.desk.hearing.halted(self.partition, halt)

    def _unhalt(self) -> None:
        if self.halted is not None:
            self.halted = None
            self.desk.hearing.halted(self.partition, None)

    def _set_spool_aside(self) -> None:
        with suppress(SpoolFullError):
            self.spool.set_aside()

    def _stand_still(self) -> None:
        self.ready = self.sealing = self.rebuilding = self.spill_wanted = False
        self.intake.shut()

    def checkpoint(self) -> None:
        """Make the rows read so far outlive a crash, if there is room for saying so."""
        try:
            self.spool.checkpoint()
        except SpoolFullError as error:
            self.desk.hearing.outage(self.partition, error)


def _held(file: SpoolFile) -> Held:
    return Held(file.day, file.quarantine, file.rows, file.first_offset, file.last_offset)


def _entries(seal: Record, files: Mapping[tuple[date, bool], SpoolFile]) -> tuple[ObjectEntry, ...]:
    """The seal's objects as these files have them; an object without a file has no rows."""
    extra = set(files) - {(entry.day, entry.quarantine) for entry in seal.objects}
    entries = []
    for entry in seal.objects:
        file = files.get((entry.day, entry.quarantine))
        if file is None:
            entries.append(replace(entry, rows=0, first_offset=None, last_offset=None))
        else:
            entries.append(replace(entry, rows=file.rows, first_offset=file.first_offset, last_offset=file.last_offset))
    if extra:
        # rows of days that the seal does not know: never silently left out
        day, quarantine = min(extra)
        entries.append(ObjectEntry("", seal.stream, day, files[(day, quarantine)].rows, None, None, quarantine))
    return tuple(entries)


def _vanished(seal: Record, entries: tuple[ObjectEntry, ...]) -> str:
    found = {(entry.day, entry.quarantine): entry for entry in entries}
    said = next(
        (entry for entry in seal.objects if found.get((entry.day, entry.quarantine)) != entry),
        None,
    )
    what = (
        f"rows of days that the seal does not name ({entries[-1].day})"
        if said is None
        else f"{found[(said.day, said.quarantine)].rows} rows of {said.day} where the seal says {said.rows}"
    )
    return (
        f"{seal.partition}: reading offsets {seal.start} to {seal.through} again for seal {seal.n} gives {what}. "
        "Kafka or the settings in the bucket changed under it. Bring back the spool that wrote it, or the records"
    )


def _compression(key: str) -> str:
    if key.endswith(".gz"):
        return "gzip"
    return "zstd" if key.endswith(".zst") else "none"
