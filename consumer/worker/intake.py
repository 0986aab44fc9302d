"""Taking records in: what the broker delivers of one partition is judged and goes into its spool, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from consumer.domain.batches import DayRows, TransformedBatch
from consumer.domain.days import ABSURD_DAYS
from consumer.domain.errors import PendingError, TooVariousError, TransientError
from consumer.domain.offsets import Span
from consumer.seal.record import Record
from consumer.source.port import EndReached, Lease, OutOfRange, Records
from consumer.spool.checkpoint import Progress
from consumer.spool.files import PartitionSpool, SpoolDamagedError, SpoolFullError
from consumer.worker.lookahead import Judging, Leaving, transforming
from consumer.worker.object_bodies import header
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.stream_context import StreamContext

STALL_SECONDS = 1.0
"""How long a batch waits before it is tried again while the registry or the disk takes nothing."""
PENDING_SECONDS = 0.05
"""The same while an answer of the registry is under way."""


@dataclass(slots=True)
class _Waiting:
    """What was received and not taken in yet. `transforming` was begun on arrival, where the rules were known then."""

    event: Records | EndReached
    transforming: Judging | None = None


class Intake:
    """The reading side of one partition. Open while it has a lens; held while the spool has no room.

    `lost` says why reading cannot go on from here (the position left the log): the partition is looked at anew.
    """

    def __init__(self, context: StreamContext, lease: Lease, spool: PartitionSpool) -> None:
        self._context = context
        self._lease = lease
        self._spool = spool
        self._offset_rules: OffsetRules | None = None
        self._backlog: deque[_Waiting] = deque()
        self._fresh = False
        self._retry_at = 0.0
        self._delivering = False
        self.stalled: TransientError | None = None
        self.held = False
        self.lost = ""
        self.drop_above: date | None = None

    @property
    def position(self) -> int:
        """The NEXT offset to read."""
        return self._spool.progress.position

    @property
    def pending(self) -> bool:
        """An answer is under way: look again within `PENDING_SECONDS`."""
        return isinstance(self.stalled, PendingError)

    @property
    def full(self) -> bool:
        """The disk took no more rows."""
        return isinstance(self.stalled, SpoolFullError)

    def open(self, offset_rules: OffsetRules, position: int) -> None:
        """Read from `position` on; what was on its way from elsewhere is forgotten."""
        self._offset_rules, self.lost, self.stalled = offset_rules, "", None
        self._backlog.clear()
        self._context.broker.start(self._lease, position)
        self._context.broker.resume(self._lease)  # it may have been paused at the old place
        self._context.listener.paused(self._lease.partition, None)
        self._delivering = True
        self._regulate()

    def reopen(self, offset_rules: OffsetRules) -> None:
        """Go on reading where it was shut."""
        self._offset_rules = offset_rules
        self._regulate()

    def shut(self) -> None:
        """Take nothing in until it is opened again; what still arrives waits in order."""
        self._offset_rules = None
        self._regulate()

    def hold(self, *, held: bool) -> None:
        """Wait for room in the spool, or go on."""
        self.held = held
        self._regulate()

    def _regulate(self) -> None:
        wanted = self._offset_rules is not None and not self.held and self.stalled is None
        if wanted == self._delivering:
            return
        self._delivering = wanted
        self._context.listener.paused(self._lease.partition, None if wanted else self._why())
        if wanted:
            self._context.broker.resume(self._lease)
        else:
            self._context.broker.pause(self._lease)

    def _why(self) -> str:
        if self._offset_rules is None:
            return "sealing"
        return "spool" if self.held or self.full else "outage"

    def receive(self, event: Records | EndReached | OutOfRange) -> None:
        """What the broker delivered."""
        if isinstance(event, OutOfRange):
            self.lost = event.detail
            return
        self._backlog.append(_Waiting(event, self._foresee(event)))
        self._fresh = True
        self._drain(self._context.ahead.depth)

    def _foresee(self, event: Records | EndReached) -> Judging | None:
        """Begin to judge what will be taken in after all that waits, if nothing gets in the way."""
        if not isinstance(event, Records) or self._offset_rules is None or self.lost or not self._due():
            return None
        return transforming(self._offset_rules, event.batch, self._leaving(), self._context.ahead)

    @property
    def ready(self) -> bool:
        """Something can be taken in at once."""
        if not self._backlog or self._offset_rules is None or self.lost or not self._due():
            return False
        found = self._backlog[0].transforming
        return found is None or found.done()

    def drain(self) -> bool:
        """Take in what waits; True where anything was taken. A registry or disk out of reach stalls it for a while.

        While more comes, the newest batches are left for the next time: they are under judgement.
        """
        leave, self._fresh = self._context.ahead.depth if self._fresh else 0, False
        return self._drain(leave)

    def _drain(self, leave: int) -> bool:
        taken = False
        while len(self._backlog) > leave and self._offset_rules is not None and not self.lost and self._due():
            try:
                if not self._is_transformed(self._offset_rules, self._backlog[0]):
                    break  # it is looked at again when it is: the loop waits for nothing
                self._take(self._backlog[0])
            except SpoolDamagedError as error:
                self.lost = str(error)
                self._backlog.clear()
                break
            except TransientError as error:
                for waiting in self._backlog:
                    waiting.transforming = None  # it may have met the same outage
                if isinstance(error, SpoolFullError | TooVariousError) and self._halve():
                    continue
                self._stall(error)
                break
            self._backlog.popleft()
            taken = True
            self._recovered()
        self._regulate()
        return taken

    def _halve(self) -> bool:
        """Go on with the first half: a disk may have less room than one batch, a registry be asked for less at once."""
        event = self._backlog[0].event
        if not isinstance(event, Records) or len(event.batch) < 2:  # noqa: PLR2004 - one record has no halves
            return False
        self._backlog.popleft()
        self._backlog.extendleft(_Waiting(replace(event, batch=half)) for half in reversed(event.batch.halves()))
        return True

    def _stall(self, error: TransientError) -> None:
        pending = isinstance(error, PendingError)
        self._retry_at = self._context.clock.monotonic() + (PENDING_SECONDS if pending else STALL_SECONDS)
        if not pending:
            self._context.listener.outage(self._lease.partition, error)
        elif self.stalled is not None:
            return  # what was told is not over yet
        self.stalled = error

    def _due(self) -> bool:
        """Held, it takes nothing in; but one batch that the disk refused is tried again: only that shows new room."""
        if self.stalled is None:
            return not self.held
        return (self.full or not self.held) and self._context.clock.monotonic() >= self._retry_at

    def _recovered(self) -> None:
        if self.stalled is not None:
            if not self.pending:
                self._context.listener.outage(self._lease.partition, None)
            self.stalled = None

    def _is_transformed(self, offset_rules: OffsetRules, waiting: _Waiting) -> bool:
        """Whether the next event can be taken in; what is still to be judged for it is begun."""
        event = waiting.event
        if not isinstance(event, Records) or event.batch.span.start > self.position:
            return True
        if event.batch.span.start < self.position:
            waiting.event = event = replace(event, batch=event.batch.clip(Span(self.position, event.batch.span.end)))
        found = waiting.transforming
        if found is None or not found.is_of(event.batch, offset_rules, self.drop_above):
            found = transforming(offset_rules, event.batch, self._leaving(), self._context.ahead)
            waiting.transforming = found
        return found.done()

    def _take(self, waiting: _Waiting) -> None:
        event = waiting.event
        if isinstance(event, EndReached):
            if event.offset > self.position:
                self._spool.take((), replace(self._spool.progress, position=event.offset))
            return
        if event.batch.span.start > self.position:
            self.lost = f"delivery jumped from {self.position} to {event.batch.span.start}"
            return
        assert waiting.transforming is not None  # begun by `_is_transformed`
        self._take_transformed(waiting.transforming)

    def _take_transformed(self, found: Judging) -> None:
        offset_rules, leaving = found.offset_rules, found.leaving
        keep: list[DayRows] = []
        told: list[tuple[TransformedBatch, int]] = []
        progress = replace(self._spool.progress, position=max(self.position, found.batch.span.end))
        for judged, covering in found.pieces():
            wanted = [rows for rows in judged.days if offset_rules.wants(rows.day, covering)]
            keep.extend(rows for rows in wanted if not leaving(rows.day))
            dropped = [rows for rows in wanted if leaving(rows.day)]
            progress = _advanced(progress, judged, covering, dropped)
            told.append((judged, sum(rows.rows for rows in judged.days) - sum(rows.rows for rows in wanted)))
        self._spool.take(keep, progress, header(offset_rules.columns))
        for judged, already_sealed in told:
            self._context.listener.judged(judged, already_sealed)

    def _leaving(self) -> Leaving:
        """Days that have no room while older ones are to be sealed; days absurdly far ahead are sealed with them."""
        return Leaving(self.drop_above, self._context.clock.now().date() + ABSURD_DAYS)

    def make_room(self, cutoff: date) -> None:
        """Let go of the days after `cutoff`, now and until the next seal."""
        self.drop_above = cutoff
        self._spool.drop(self._leaving())


def _advanced(
    progress: Progress, judged: TransformedBatch, covering: Record | None, dropped: list[DayRows]
) -> Progress:
    gone = _with_dropped(progress.dropped, dropped)
    if covering is not None:
        return replace(progress, dropped=gone)
    known = dict(progress.known_schemas)
    for schema_id, offset in judged.known_schemas.items():
        known.setdefault(schema_id, offset)
    if forgotten := known.keys() & judged.unknown_schemas.keys():
        # a seal record lists from where on an id was known: it cannot be unknown again after that
        raise TransientError(f"the schema registry has forgotten schema {min(forgotten)}, which it knew before")
    first = progress.first_timestamp
    return replace(
        progress,
        counts=progress.counts + judged.counts,
        known_schemas=known,
        dropped=gone,
        first_timestamp=judged.first_timestamp if first is None else first,
    )


def _with_dropped(before: Mapping[date, int], dropped: list[DayRows]) -> dict[date, int]:
    after = dict(before)
    for rows in dropped:
        after[rows.day] = min(rows.first_offset, after.get(rows.day, rows.first_offset))
    return after
