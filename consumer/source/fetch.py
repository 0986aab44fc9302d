"""One partition as librdkafka sees it: where it fetches, whether it does, and how to move it without losing records.

Why a jump is safe. Every record that librdkafka fetches carries the version that its partition had when the fetch was
decided. `seek` raises that version before it returns; what carries an older one is dropped where it is taken off the
queue, fetches under way included, and so are end-of-partition events. So between two calls of `consume`, on the one
thread that makes them, a seek is a clean cut. Three things in librdkafka (read at 2.15) bend that rule:

- `pause` makes the record after the last one handed out the place to resume, and a rebalance pauses by itself. After
  an unassign inside a callback that place can be stale for the partition's next assignment. A seek forgets it. So
  nothing is taken of a partition before a seek, and there is no bare resume: each is a seek to what is expected next.
- Errors of an offset out of range carry no version and may come late, and they stop the fetching for good: a seek then
  fails with `_STATE`. Such a partition is unassigned and assigned again at the offset, which starts the fetching again.
- A resume that crosses a rebalance may be dropped unseen. A partition from which neither record nor end of partition
  has come for a while after a seek is moved to its place once more.

A partition is parked at offset 0: should a seek ever be lost, what comes is older than expected, and is dropped.

And where a jump comes down is looked at. On a starved machine one came down 413 records behind its place, once in
hundreds of runs, for no reason that librdkafka's source shows; nothing else would ever have missed these records. So
what comes first after a jump is believed if it is of the expected offset. If it lies higher, there may be a hole in the
log (transactions, compaction): the same jump is made a second time, and what it shows is believed unless it is nearer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.offsets import Lease
from consumer.source.errors import cause
from consumer.source.inbox import FetchTarget

PARKED_AT = 0
RETRY_SECONDS = 0.1
SILENCE_SECONDS = 10.0
"""No sign of life for that long after a seek: once more."""
RESTART_AFTER = 3
"""So many silences, and the fetching is started again."""


@dataclass(slots=True)
class PartitionFetch:
    """The fetch state of one lease.

    `epoch` is the last one applied (-1: none), `dead` says that fetching was seen to stop. `expected` is where the last
    jump should arrive, until it did; `doubted` is where it arrived instead.
    """

    lease: Lease
    epoch: int = -1
    fetching: bool = True
    dead: bool = False
    not_before: float = 0.0
    quiet_since: float | None = None
    quiet_spells: int = 0
    expected: int | None = None
    doubted: int | None = None

    def place(self, offset: int = PARKED_AT) -> Place:
        """The partition as the client library takes it."""
        return Place(self.lease.partition.topic, self.lease.partition.partition, offset)

    def heard(self) -> None:
        """A record or an end of partition came for the present turn."""
        self.quiet_since = None
        self.quiet_spells = 0

    def landed(self, offsets: Sequence[int]) -> bool:
        """Whether these offsets, in order, may be believed to be what comes next. No: the jump is made again."""
        if self.expected is None or self.epoch == -1:
            return True
        fresh = offsets[bisect_left(offsets, self.expected) :]
        if not fresh:
            return False  # older than expected: of no use, and no sign of where we are
        if fresh[0] > self.expected and (self.doubted is None or fresh[0] < self.doubted):
            self.doubted, self.epoch = fresh[0], -1
            return False
        self.expected = self.doubted = None
        return True

    def hold(self, now: float, seconds: float) -> None:
        """Stop fetching the partition for a while, then continue from the expected offset."""
        self.epoch = -1
        self.not_before = now + seconds

    def apply(self, consumer: Consumer, target: FetchTarget, now: float, *, stalled: bool) -> None:
        """Make librdkafka do what is wanted. What does not work is tried again at a later call."""
        if not target.wanted or stalled or now < self.not_before:
            self._park(consumer)
        elif self.epoch != target.epoch or self._too_quiet(now):
            self._move(consumer, target, now)

    def _park(self, consumer: Consumer) -> None:
        self.epoch = -1
        if self.fetching:
            consumer.pause([self.place()])
            self.fetching = False

    def _too_quiet(self, now: float) -> bool:
        return self.quiet_since is not None and now - self.quiet_since >= SILENCE_SECONDS

    def _move(self, consumer: Consumer, target: FetchTarget, now: float) -> None:
        self.quiet_spells += self._too_quiet(now)
        try:
            if self.quiet_spells and self.quiet_spells % RESTART_AFTER == 0:
                restart(consumer, self.place(target.offset))
            else:
                self._seek(consumer, self.place(target.offset))
            consumer.resume([self.place()])
        except KafkaException:
            # A fetcher that is about to start, or in the middle of a rebalance, refuses for a moment.
            self.hold(now, RETRY_SECONDS)
            return
        if self.expected != target.offset:
            self.expected, self.doubted = target.offset, None
        self.epoch, self.fetching, self.dead = target.epoch, True, False
        self.quiet_since = now

    def _seek(self, consumer: Consumer, place: Place) -> None:
        try:
            consumer.seek(place)
        except KafkaException as error:
            if not self.dead or cause(error).code() != KafkaError._STATE:  # noqa: SLF001 - a public constant
                raise
            restart(consumer, place)


def restart(consumer: Consumer, place: Place) -> None:
    """Unassign and assign one partition, outside of a rebalance: its fetching starts again at the offset.

    Raises KafkaException.
    """
    if any(p.topic == place.topic and p.partition == place.partition for p in consumer.assignment()):
        consumer.incremental_unassign([place])
    consumer.incremental_assign([place])
