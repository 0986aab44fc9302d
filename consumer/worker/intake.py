"""Intake: what the broker delivers for one partition becomes rows and goes into its spool, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import inf

from consumer.domain.batches import DayRows, RawBatch, TransformedBatch
from consumer.domain.days import ABSURD_DAYS
from consumer.domain.errors import PendingError, TooVariousError, TransientError
from consumer.domain.offsets import Lease, Span
from consumer.seal.record import Record
from consumer.shape.bounds import TURN
from consumer.source.port import EndReached, OutOfRange, Records, Unreadable
from consumer.spool.checkpoint import ReadProgress
from consumer.spool.files import PartitionSpool, SpoolDamagedError, SpoolFullError
from consumer.worker.events import BatchTaken, OutageMet, OutageOver, ReadingPaused, ReadingResumed
from consumer.worker.object_bodies import header
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.stream_context import StreamContext

STALL_SECONDS = 1.0
"""How long a batch waits before it is tried again while the registry or the disk takes nothing."""
UNREADABLE_SECONDS = 60.0
UNREADABLE_TRIES = 3
"""What cannot be read for so long, tried so often, is an operator's to decide about."""
PENDING_SECONDS = 0.05
"""The same while an answer of the registry is under way."""


@dataclass(frozen=True, slots=True)
class DroppedDays:
    """Days that the spool has no space for: those after `above`, except days absurdly far ahead (after `last`)."""

    above: date | None
    last: date

    def __call__(self, day: date) -> bool:
        return self.above is not None and self.above < day <= self.last


@dataclass(frozen=True, slots=True)
class Obstacle:
    """An offset that the client cannot read: since when (monotonic), how many attempts, the client's error."""

    offset: int
    since: float
    tries: int
    detail: str


class Intake:
    """The reading side of one partition. Open while it has rules; held while the spool has no space.

    `lost` says why reading cannot continue from here (the position left the log): the partition recovers again.
    """

    def __init__(self, context: StreamContext, lease: Lease, spool: PartitionSpool) -> None:
        self._context = context
        self._lease = lease
        self._spool = spool
        self._offset_rules: OffsetRules | None = None
        self._backlog: deque[Records | EndReached] = deque()
        self._retry_at = 0.0
        self._delivering = False
        self.stalled: TransientError | None = None
        self.obstacle: Obstacle | None = None
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

    @property
    def blocked(self) -> bool:
        """What comes next was seen not to be readable."""
        return self.obstacle is not None and self.obstacle.offset == self.position

    @property
    def stuck(self) -> bool:
        """And that for long enough."""
        return (
            self.blocked
            and self.obstacle is not None
            and self.obstacle.tries >= UNREADABLE_TRIES
            and self._context.clock.monotonic() - self.obstacle.since >= UNREADABLE_SECONDS
        )

    def open(self, offset_rules: OffsetRules, position: int) -> None:
        """Read from `position` on; what was on its way from elsewhere is forgotten."""
        self._offset_rules, self.lost, self.stalled = offset_rules, "", None
        self._backlog.clear()
        self._context.broker.start(self._lease, position)
        self._context.broker.resume(self._lease)  # it may have been paused at the old place
        self._context.listener(ReadingResumed(self._lease.partition))
        self._delivering = True
        self._pass_gap()
        self._regulate()

    def reopen(self, offset_rules: OffsetRules) -> None:
        """Resume reading where it was closed."""
        self._offset_rules = offset_rules
        self._regulate()

    def shut(self) -> None:
        """Take nothing in until it is opened again; what still arrives waits in order."""
        self._offset_rules = None
        self._regulate()

    def hold(self, *, held: bool) -> None:
        """Wait for room in the spool, or continue."""
        self.held = held
        self._regulate()

    def _regulate(self) -> None:
        wanted = self._offset_rules is not None and not self.held and self.stalled is None
        if wanted == self._delivering:
            return
        self._delivering = wanted
        if wanted:
            self._context.listener(ReadingResumed(self._lease.partition))
            self._context.broker.resume(self._lease)
        else:
            self._context.listener(ReadingPaused(self._lease.partition, self._why()))
            self._context.broker.pause(self._lease)

    def _why(self) -> str:
        if self._offset_rules is None:
            return "sealing"
        return "spool" if self.held or self.full else "outage"

    def receive(self, event: Records | EndReached | OutOfRange | Unreadable) -> None:
        """What the broker delivered."""
        if isinstance(event, OutOfRange):
            self.drain()  # what came before may be in Kafka no more
            self.lost = self.lost or event.detail
            return
        if isinstance(event, Unreadable):
            before, now = self.obstacle, self._context.clock.monotonic()
            again = before is not None and before.offset == event.offset
            since, tries = (before.since, before.tries + 1) if before is not None and again else (now, 1)
            self.obstacle = Obstacle(event.offset, since, tries, event.detail)
            return
        self._backlog.append(event)

    @property
    def waiting(self) -> bool:
        """Something waits that can be taken in now."""
        return bool(self._backlog) and self._offset_rules is not None and not self.lost and self._due()

    def drain(self, until: float = inf) -> bool:
        """Take in what waits, until this moment (monotonic) at most; True where anything was taken.

        A registry or disk out of reach stalls it for a while.
        """
        taken = False
        while self.waiting and self._context.clock.monotonic() < until:
            assert self._offset_rules is not None
            try:
                self._take(self._offset_rules, self._backlog[0])
            except SpoolDamagedError as error:
                self.lost = str(error)
                self._backlog.clear()
                break
            except TransientError as error:
                if isinstance(error, SpoolFullError | TooVariousError) and self._halve():
                    continue
                self._stall(error)
                break
            self._backlog.popleft()
            taken = True
            self._recovered()
            self._pass_gap()
        self._regulate()
        return taken

    def _pass_gap(self) -> None:
        """What was given up is not read, whether the client could by now or not."""
        if self._offset_rules is None or self.lost:
            return
        beyond = self._offset_rules.chain.beyond_gap(self.position)
        if beyond > self.position:
            self._spool.take((), replace(self._spool.progress, position=beyond))
            self._context.broker.start(self._lease, beyond)

    def _halve(self) -> bool:
        """Go on with the first half: a disk may have less room than one batch, a registry be asked for less at once."""
        event = self._backlog[0]
        if not isinstance(event, Records) or len(event.batch) < 2:  # noqa: PLR2004 - one record has no halves
            return False
        self._backlog.popleft()
        self._backlog.extendleft(replace(event, batch=half) for half in reversed(event.batch.halves()))
        return True

    def _stall(self, error: TransientError) -> None:
        pending = isinstance(error, PendingError)
        self._retry_at = self._context.clock.monotonic() + (PENDING_SECONDS if pending else STALL_SECONDS)
        if not pending:
            self._context.listener(OutageMet(str(self._lease.partition), error))
        elif self.stalled is not None:
            return  # what was reported is not over yet
        self.stalled = error

    def _due(self) -> bool:
        """Held, it takes nothing in. But a batch that the disk refused is tried again: only that shows new room."""
        if self._spool.syncing:
            return False
        if self.stalled is None:
            return not self.held
        return (self.full or not self.held) and self._context.clock.monotonic() >= self._retry_at

    def _recovered(self) -> None:
        if self.stalled is not None:
            if not self.pending:
                self._context.listener(OutageOver(str(self._lease.partition)))
            self.stalled = None

    def _take(self, offset_rules: OffsetRules, event: Records | EndReached) -> None:
        if isinstance(event, EndReached):
            if event.offset > self.position:
                self._spool.take((), replace(self._spool.progress, position=event.offset))
            return
        span = event.batch.span
        if span.start > self.position:
            self.lost = f"delivery jumped from {self.position} to {span.start}"
            return
        self._take_batch(offset_rules, event.batch.clip(Span(self.position, span.end)))

    def _take_batch(self, offset_rules: OffsetRules, raw: RawBatch) -> None:
        is_dropped = self._dropped_days()
        keep: list[DayRows] = []
        taken: list[BatchTaken] = []
        progress = replace(self._spool.progress, position=max(self.position, raw.span.end))
        for batch, covering in offset_rules.transform(raw, is_dropped):
            wanted = [rows for rows in batch.days if offset_rules.wants(rows.day, covering)]
            keep.extend(self._context.bodies.spooled(rows) for rows in wanted if not is_dropped(rows.day))
            dropped = [rows for rows in wanted if is_dropped(rows.day)]
            progress = _advanced(progress, batch, covering, dropped)
            already_sealed = sum(rows.rows for rows in batch.days) - sum(rows.rows for rows in wanted)
            taken.append(BatchTaken(batch, already_sealed))
        TURN.check_days(raw, len(keep))  # of all parts: each was judged for itself
        # rows and position go into the spool together, and what is counted is counted after that: a batch that meets an
        # outage here is taken again, and must not be counted twice
        self._spool.take(keep, progress, header(offset_rules.columns))
        for event in taken:
            self._context.listener(event)

    def _dropped_days(self) -> DroppedDays:
        """Days that have no room while older ones are to be sealed; days absurdly far ahead are sealed with them."""
        return DroppedDays(self.drop_above, self._context.clock.now().date() + ABSURD_DAYS)

    def make_room(self, cutoff: date) -> None:
        """Drop the days after `cutoff` from the spool, now and until the next seal."""
        self.drop_above = cutoff
        self._spool.drop(self._dropped_days())


def _advanced(
    progress: ReadProgress, batch: TransformedBatch, covering: Record | None, dropped: list[DayRows]
) -> ReadProgress:
    gone = _with_dropped(progress.dropped, dropped)
    if covering is not None:
        return replace(progress, dropped=gone)
    known = dict(progress.known_schemas)
    for schema_id, offset in batch.known_schemas.items():
        known.setdefault(schema_id, offset)
    if forgotten := known.keys() & batch.unknown_schemas.keys():
        # a seal record lists from where on an id was known: it cannot be unknown again after that
        raise TransientError(f"the schema registry has forgotten schema {min(forgotten)}, which it knew before")
    first = progress.first_timestamp
    return replace(
        progress,
        counts=progress.counts + batch.counts,
        known_schemas=known,
        dropped=gone,
        first_timestamp=batch.first_timestamp if first is None else first,
    )


def _with_dropped(before: Mapping[date, int], dropped: list[DayRows]) -> dict[date, int]:
    after = dict(before)
    for rows in dropped:
        after[rows.day] = min(rows.first_offset, after.get(rows.day, rows.first_offset))
    return after
