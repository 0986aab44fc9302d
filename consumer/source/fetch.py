"""One partition as librdkafka sees it: where it fetches, whether it does, and how to move it without losing records.

Why a jump is safe. Every record that librdkafka fetches has the version that its partition had when the fetch was
decided. `seek` raises that version before it returns; records and end-of-partition events with an older one are dropped
when taken off the queue, including those of fetches in progress. So between two calls of `consume`, on the one thread
that makes them, a seek is a clean cut. There are three exceptions in librdkafka (as of 2.15):

- `pause` sets the position to resume to the record after the last one delivered, and a rebalance pauses on its own.
  After an unassign inside a callback that position can be stale for the partition's next assignment. A seek resets it.
  So nothing is taken from a partition before a seek, and there is no bare resume: each is a seek to the expected
  offset.
- Errors for an offset out of range have no version and may come late, and they stop fetching permanently: a seek then
  fails with `_STATE`. Such a partition is unassigned and assigned again at the offset, which restarts fetching.
- A resume during a rebalance may be lost. A partition that delivers neither a record nor an end of partition for a
  while after a seek is moved to its position again.

A partition is parked at offset 0: if a seek is ever lost, what arrives is older than expected, and is dropped.

The arrival of a jump is verified. On a starved machine one arrived 413 records behind its target, once in hundreds of
runs, for no reason visible in librdkafka's source; nothing else would have noticed the missing records. So the first
record after a jump is accepted if it has the expected offset. If its offset is higher, there may be a hole in the log
(transactions, compaction): the same jump is repeated, and its result is accepted unless it is nearer to the target.
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
