"""What a partition is doing, as one value. All allowed transitions are here.

    recovering -> rebuilding -> finishing -> reading     a seal is unfinished, and its rows are read again
    recovering -> finishing -> reading                   a seal is unfinished, and the spool has its rows
    recovering -> reading                                nothing is pending
    reading -> catching_up -> sealing -> reading         a day is due
    reading | catching_up -> spilling -> sealing         disk space is low
    any of them -> waiting -> recovering                 something stopped it; the next attempt starts over

In addition a phase may have one trouble. A halt or an unexpected error outlives the transitions of new attempts: an
operator has to see it until the step that it stopped is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.domain.errors import HaltError, HaltReason, TransientError


class Activity(StrEnum):
    """What a partition does, trouble or not."""

    RECOVERING = "recovering"
    """Finding out from Kafka, the bucket and the spool how to continue."""
    REBUILDING = "rebuilding"
    """The rows of an unfinished seal are read again; nothing else is in the spool."""
    FINISHING = "finishing"
    """The objects of an unfinished seal are uploaded, then its offset is committed."""
    READING = "reading"
    """Records go into the spool; nothing is due."""
    CATCHING_UP = "catching_up"
    """A day is due: records are read up to the end that the log had by then."""
    SPILLING = "spilling"
    """The disk needs room: a seal that closes no day is about to be decided."""
    SEALING = "sealing"
    """A seal is decided, recorded, uploaded and committed. Nothing is read meanwhile."""
    WAITING = "waiting"
    """Stopped until the next attempt."""


_A = Activity
NEXT: Mapping[Activity, frozenset[Activity]] = {
    _A.RECOVERING: frozenset({_A.REBUILDING, _A.FINISHING, _A.READING, _A.WAITING}),
    _A.REBUILDING: frozenset({_A.FINISHING, _A.WAITING}),
    _A.FINISHING: frozenset({_A.READING, _A.WAITING}),
    _A.READING: frozenset({_A.CATCHING_UP, _A.SPILLING, _A.WAITING}),
    _A.CATCHING_UP: frozenset({_A.SPILLING, _A.SEALING, _A.WAITING}),
    _A.SPILLING: frozenset({_A.SEALING, _A.WAITING}),
    _A.SEALING: frozenset({_A.READING, _A.WAITING}),
    _A.WAITING: frozenset({_A.RECOVERING, _A.WAITING}),
}
"""Where each activity may lead."""

RECOVERED = frozenset({_A.READING, _A.CATCHING_UP, _A.SPILLING, _A.SEALING})
IN_A_SEAL = frozenset({_A.FINISHING, _A.SEALING})
MAY_SPILL = frozenset({_A.READING, _A.CATCHING_UP})

LATER_HALTS = frozenset(
    {
        HaltReason.QUARANTINE_RATIO,
        HaltReason.OBJECT_MISMATCH,
        HaltReason.ROWS_VANISHED,
        HaltReason.UNREADABLE_RECORD,
    }
)
"""Halts of steps after recovery: a successful recovery does not end them, only the step itself does."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One partition's activity and trouble.

    `trouble` is a HaltError (an operator must decide), a TransientError (an outage, retried) or any other exception (an
    unexpected error, retried every minute). There is at most one: a halt or an unexpected error needs somebody to act,
    so the outage of an attempt to continue does not replace it.
    """

    activity: Activity = Activity.WAITING
    trouble: Exception | None = None

    def __str__(self) -> str:
        """The word that `/status` shows."""
        if self.halt is not None:
            return "halted"
        return "unexpected_error" if self.unexpected is not None else str(self.activity)

    @property
    def halt(self) -> HaltError | None:
        """Why an operator must decide."""
        return self.trouble if isinstance(self.trouble, HaltError) else None

    @property
    def outage(self) -> TransientError | None:
        """What is out of reach."""
        return self.trouble if isinstance(self.trouble, TransientError) else None

    @property
    def unexpected(self) -> Exception | None:
        """A bug, or data that triggers one."""
        return None if isinstance(self.trouble, HaltError | TransientError) else self.trouble

    @property
    def stopped(self) -> bool:
        """It cannot continue by itself: halted, or an unexpected error."""
        return self.trouble is not None and self.outage is None

    @property
    def recovered(self) -> bool:
        """Recovery is complete, and nothing is left over from before."""
        return self.activity in RECOVERED

    @property
    def in_a_seal(self) -> bool:
        """It has begun a seal and not finished it: the stream's days are not published meanwhile."""
        return self.activity in IN_A_SEAL

    @property
    def makes_room(self) -> bool:
        """A seal is under way or about to be: room on the disk comes with it."""
        return self.in_a_seal or self.activity is Activity.SPILLING

    @property
    def may_spill(self) -> bool:
        """It may be asked to make room."""
        return self.activity in MAY_SPILL

    # -- moves -------------------------------------------------------------------------------------------------------

    def to(self, activity: Activity) -> Phase:
        """Change the activity. Raises ValueError for a transition that is not listed above."""
        if activity not in NEXT[self.activity]:
            raise ValueError(f"a partition goes from {self.activity} to no {activity}")
        return replace(self, activity=activity)

    def met(self, trouble: Exception) -> Phase:
        """Something went wrong."""
        if isinstance(trouble, TransientError) and self.stopped:
            return self
        return replace(self, trouble=trouble)

    def answered(self) -> Phase:
        """What was out of reach answers again."""
        return self if self.outage is None else replace(self, trouble=None)

    def recovery_succeeded(self) -> Phase:
        """Recovery succeeded: that ends all troubles except those of a seal."""
        return self if self.halt is not None and self.halt.reason in LATER_HALTS else replace(self, trouble=None)

    def went_on(self) -> Phase:
        """The step that was stopped is done: a seal was finished, or none is due."""
        return replace(self, trouble=None) if self.stopped else self
