"""How long until retention by age reaches what a partition still needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.domain.offsets import LogEnds, TopicPartition
from consumer.source.port import ClusterAdmin, TopicFacts

PRECISION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Headroom:
    """From when the oldest record at or after `committed` is (None: there is none), and how long records are kept."""

    committed: int
    oldest: datetime | None
    kept: timedelta

    def left(self, now: datetime) -> timedelta:
        """The time until that record may be deleted; never negative."""
        return self.kept if self.oldest is None else max(self.oldest + self.kept - now, timedelta())

    def holds(self, committed: int, ends: LogEnds, kept: timedelta) -> bool:
        """Whether another search would find the same."""
        return (self.committed, self.kept) == (committed, kept) and self.oldest is not None and committed >= ends.low


def retention(facts: TopicFacts) -> timedelta | None:
    """How long the topic keeps records by age; None where age deletes nothing."""
    millis = int(facts.settings.get("retention.ms", "-1"))
    return None if millis < 0 else timedelta(milliseconds=millis)


def find_headroom(
    admin: ClusterAdmin, partition: TopicPartition, ends: LogEnds, committed: int, kept: timedelta, now: datetime
) -> Headroom:
    """Look for the stamp of the oldest record still needed. May wait; raises TransientError."""
    if committed >= ends.high:
        return Headroom(committed, None, kept)
    if committed < ends.low:
        return Headroom(committed, now - kept, kept)
    return Headroom(committed, stamp_at(admin, partition, committed, since=now - kept, until=now), kept)


def stamp_at(
    admin: ClusterAdmin, partition: TopicPartition, offset: int, *, since: datetime, until: datetime
) -> datetime:
    """The newest record timestamp up to and including `offset`, between `since` and `until`, to `PRECISION`.

    Segments are deleted oldest first, each once its newest record is old enough: none with `offset` goes before that.
    May block; raises TransientError.
    """
    low, high = since, until
    while high - low > PRECISION:
        middle = low + (high - low) / 2
        found = admin.offset_at(partition, middle)
        if found is not None and found <= offset:
            low = middle
        else:
            high = middle
    return low
