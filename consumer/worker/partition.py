"""One partition under one lease: its state. What happens to it stands in `lifecycle.py` and `sealing.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from typing import TypeVar

from consumer.domain.batches import RowTransformer
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.seal.chain import Chain
from consumer.seal.decide import cutoff_to_close
from consumer.seal.record import Record, due_by
from consumer.seal.recover import NO_RECORD
from consumer.source.port import Lease
from consumer.spool.checkpoint import Basis, SpoolFile
from consumer.spool.files import PartitionSpool, SpoolFullError
from consumer.worker.coroutines import Steps, with_backoff
from consumer.worker.intake import Intake
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.stream_context import StreamContext

_T = TypeVar("_T")

LATER_HALTS = frozenset({HaltReason.QUARANTINE_RATIO, HaltReason.OBJECT_MISMATCH, HaltReason.ROWS_VANISHED})
"""Halts of a later step than recovery: they end when that step was done."""

Files = Mapping[tuple[date, bool], SpoolFile]
"""Spool files by (day, quarantine)."""


class Partition:
    """The state of one lease. `chain` is the seal log as last read or extended, `transformers` are for its offsets.

    `ready`: recovered and reading. `sealing`: in the middle of a seal. `rebuilding`: the rows of a pending seal are
    read again, and nothing else is in the spool.
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
        self.halted: HaltError | None = None
        self.outage: TransientError | None = None
        self.ready = False
        self.sealing = False
        self.rebuilding = False
        self.spill_wanted = False
        self.request_publishing = request_publishing

    # -- what it says of itself --------------------------------------------------------------------------------------

    def cutoff_due(self) -> date | None:
        """The cutoff that the next seal should close, or None."""
        return cutoff_to_close(self.chain, self.context.schedule, self.context.clock.now())

    def spill_cutoff(self) -> date:
        """The cutoff that a spill would have now."""
        due, reached = self.context.schedule.cutoff(self.context.clock.now()), self.chain.reach.cutoff
        return due if reached is None else max(due, reached)

    @property
    def columns(self) -> tuple[str, ...]:
        """Today's CSV columns."""
        return self.transformers[self.context.today].columns

    def interrupted(self) -> bool:
        """Something comes before catching up: a spill, or a position that left the log."""
        return self.spill_wanted or bool(self.intake.lost)

    def files_due(self, record: Record) -> Files:
        """The spool files that this seal takes: all of them where they were read again for it alone."""
        files = self.spool.files
        taken = files if self.rebuilding else [f for f in files if due_by(f.day, record.cutoff, record.sealed_at)]
        return {(file.day, file.quarantine): file for file in taken}

    def may_unhalt(self) -> bool:
        """A good look at Kafka and the bucket ends the halt, where it was such a look that began it."""
        return self.halted is not None and self.halted.reason not in LATER_HALTS

    # -- what it does ------------------------------------------------------------------------------------------------

    def ask(self, call: Callable[[], _T]) -> Steps[_T]:
        """Run `call` as a job, through any outage."""
        return with_backoff(call, self.told)

    def told(self, error: TransientError | None) -> None:
        """An outage began or went on; None: it is over."""
        if error is not None or self.outage is not None:
            self.context.listener.outage(self.name, error)
        self.outage = error

    def halt(self, halt: HaltError) -> None:
        """Remember and tell why it stands, once while the reason stays."""
        if self.halted is None or str(self.halted) != str(halt):
            self.context.listener.halted(self.name, halt)
        self.halted = halt

    def unhalt(self) -> None:
        """The reason is gone."""
        if self.halted is not None:
            self.halted = None
            self.context.listener.halted(self.name, None)

    def stand_still(self) -> None:
        """Take nothing in, and be in the middle of nothing."""
        self.ready = self.sealing = self.rebuilding = self.spill_wanted = False
        self.intake.shut()

    def basis(self, start: int) -> Basis:
        """What rows from `start` on build on."""
        builds_on = NO_RECORD if self.chain.empty else self.chain.head.n
        return Basis(self.topic_id, self.context.today, self.chain.identity, builds_on, start)

    def offset_rules(self) -> OffsetRules:
        """How what is read now is judged."""
        return OffsetRules(self.chain, self.transformers, self.context.today, self.columns)

    def build_on_head(self, taken: Files, *, again: bool) -> None:
        """Go on after the head: with the rows it left in the spool, or `again` from its resume offset."""
        assert self.spool.basis is not None
        start = self.spool.basis.start if self.chain.empty else self.chain.head.resume
        self.rebuilding = False
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

    def checkpoint(self) -> None:
        """Make the rows read so far outlive a crash, if there is room for saying so."""
        try:
            self.spool.checkpoint()
        except SpoolFullError as error:
            self.context.listener.outage(self.name, error)
