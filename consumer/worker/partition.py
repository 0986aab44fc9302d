"""The state of one partition under one lease. `lifecycle.py`, `finishing.py` and `sealing.py` change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import TypeVar

from consumer.domain.batches import RowTransformer
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Lease
from consumer.seal.chain import Chain
from consumer.seal.decide import cutoff_to_close, seal_moment
from consumer.seal.record import Record, due_by
from consumer.seal.recover import NO_RECORD
from consumer.source.port import EndReached, OutOfRange, Records, Unreadable
from consumer.spool.checkpoint import SpoolBasis, SpoolFile
from consumer.spool.files import PartitionSpool, SpoolFullError
from consumer.worker.coroutines import Steps, with_backoff
from consumer.worker.events import OutageMet, OutageOver, PartitionHalted, PartitionResumed, UnexpectedErrorMet
from consumer.worker.intake import Intake
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.phase import Activity, Phase
from consumer.worker.stream_context import StreamContext

_T = TypeVar("_T")

SYNC_FILES = 16
"""Files that one turn of the loop writes through to the disk."""
Files = Mapping[tuple[date, bool], SpoolFile]
"""Spool files by (day, quarantine)."""


class Partition:
    """The state of one lease. `chain` is the seal log as last read or extended, `transformers` are for its offsets.

    `columns` are those of the rows that are read: the folder's as they were on assignment, then what settings add.
    """

    def __init__(self, context: StreamContext, lease: Lease, request_publishing: Callable[[], None]) -> None:
        self.context = context
        self.lease = lease
        self.name = lease.partition
        self.spool = PartitionSpool(context.disk, lease.partition)
        self.intake = Intake(context, lease, self.spool)
        self.chain = Chain()
        self.topic_id = ""
        self.transformers: Mapping[str, RowTransformer] = {}
        self.columns: tuple[str, ...] = ()
        self.phase = Phase()
        self.request_publishing = request_publishing

    # -- questions ---------------------------------------------------------------------------------------------------

    def cutoff_due(self) -> date | None:
        """The cutoff that the next seal should close, or None."""
        return cutoff_to_close(self.chain, self.context.schedule, self.context.clock.now())

    def spill_cutoff(self) -> date:
        """The cutoff that a spill would have now."""
        due, reached = self.context.schedule.cutoff(self.context.clock.now()), self.chain.cutoff
        return due if reached is None else max(due, reached)

    def bytes_to_spill(self) -> int:
        """Bytes of rows that a spill would take now: days far ahead too, for they wait for no day."""
        cutoff, moment = self.spill_cutoff(), seal_moment(self.chain, self.context.clock.now())
        return self.spool.size_of(lambda day: due_by(day, cutoff, moment))

    def interrupted(self) -> bool:
        """Something comes before catching up: a spill, or a position that left the log."""
        return self.phase.activity is Activity.SPILLING or bool(self.intake.lost) or self.intake.stuck

    def files_due(self, record: Record) -> Files:
        """The spool files that this seal takes."""
        return {key: file for key, file in self.files().items() if due_by(file.day, record.cutoff, record.sealed_at)}

    def files(self) -> Files:
        """All spool files."""
        return {(file.day, file.quarantine): file for file in self.spool.files}

    def passed_obstacle(self) -> bool:
        """It was halted by an unreadable record, and has continued after it."""
        halt = self.phase.halt
        return halt is not None and halt.reason is HaltReason.UNREADABLE_RECORD and not self.intake.blocked

    # -- changes -----------------------------------------------------------------------------------------------------

    def receive(self, event: Records | EndReached | OutOfRange | Unreadable) -> None:
        """What the broker delivered, for the next `drain`. What cannot be read is an outage, at first."""
        self.intake.receive(event)
        if isinstance(event, Unreadable):
            text = f"{self.name}: the Kafka client cannot read offset {event.offset} ({event.detail})"
            self.report_outage(TransientError(text))

    def drain(self, until: float) -> bool:
        """Take in what waits, until this moment (monotonic) at most; True where anything was taken."""
        blocked = self.intake.blocked
        taken = self.intake.drain(until)
        if blocked and not self.intake.blocked:
            self.report_outage(None)
        return taken

    def ask(self, call: Callable[[], _T]) -> Steps[_T]:
        """Run `call` on the executor, through any outage."""
        return with_backoff(call, self.report_outage, self.context.jitter)

    def enter(self, activity: Activity) -> None:
        """Change to another activity."""
        self.phase = self.phase.to(activity)

    def request_spill(self) -> None:
        """Free disk space, if the current step allows it."""
        if self.phase.may_spill:
            self.enter(Activity.SPILLING)

    def report_outage(self, error: TransientError | None) -> None:
        """An outage began or went on; None: it is over."""
        before, self.phase = self.phase, self.phase.answered() if error is None else self.phase.met(error)
        # another trouble may have hidden an outage, whose end is reported as well
        if error is not None:
            self.context.listener(OutageMet(str(self.name), error))
        elif before.trouble is not None:
            self.context.listener(OutageOver(str(self.name)))

    def halt(self, halt: HaltError) -> None:
        """Remember and report why it is stopped, once while the reason stays."""
        if self.phase.halt is None or str(self.phase.halt) != str(halt):
            self.context.listener(PartitionHalted(self.name, halt))
        self.phase = self.phase.met(halt)

    def fail(self, error: Exception) -> None:
        """Remember and report an unforeseen error."""
        self._relieve(self.phase.met(error))
        self.context.listener(UnexpectedErrorMet(self.context.config.name, str(self.name), error))

    def recovery_succeeded(self) -> None:
        """Recovery succeeded: a halt that recovery caused is over."""
        self._relieve(self.phase.recovery_succeeded())

    def went_on(self) -> None:
        """A seal was finished, or none is due: a halt caused by a seal is over, unless it is at the same place."""
        halt = self.phase.halt
        if halt is None or halt.reason is not HaltReason.UNREADABLE_RECORD or self.passed_obstacle():
            self._relieve(self.phase.went_on())

    def _relieve(self, after: Phase) -> None:
        before, self.phase = self.phase, after
        if before.halt is not None and after.halt is None:
            self.context.listener(PartitionResumed(self.name))

    def stand_still(self) -> None:
        """Take nothing in, and be in the middle of nothing."""
        self.enter(Activity.WAITING)
        self.intake.shut()

    def basis(self, start: int) -> SpoolBasis:
        """What rows from `start` on build on."""
        builds_on = NO_RECORD if self.chain.empty else self.chain.head.n
        return SpoolBasis(self.topic_id, self.context.today, self.chain.identity, builds_on, start, self.columns)

    def offset_rules(self) -> OffsetRules:
        """The rules for what is read now."""
        return OffsetRules(self.chain, self.transformers, self.context.today, self.columns)

    def build_on_head(self, taken: Files, *, again: bool) -> None:
        """Go on after the head: with the rows it left in the spool, or `again` from its resume offset."""
        assert self.spool.basis is not None
        start = self.spool.basis.start if self.chain.empty else self.chain.head.resume
        self.intake.drop_above = None
        if again:
            self.spool.begin(self.basis(start), start)
            self.intake.open(self.offset_rules(), start)
        else:
            self.spool.rebase(self.basis(start), taken.values())
            self.intake.reopen(self.offset_rules())

    def set_spool_aside(self) -> None:
        """Do without the spool: what is left of it is not to be trusted."""
        with suppress(SpoolFullError):
            self.spool.set_aside()

    def checkpoint(self, files: int | None = None) -> bool:
        """Make the rows read so far outlive a crash, if there is room for saying so; True once it is done or refused.

        `files` as in `PartitionSpool.checkpoint`.
        """
        try:
            return self.spool.checkpoint(files)
        except SpoolFullError as error:
            self.context.listener(OutageMet(str(self.name), error))
            return True
