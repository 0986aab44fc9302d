"""Background observations of the cluster and of the lists of days in the bucket, and their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from consumer.domain.clock import Clock
from consumer.domain.days import day_from
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.observe.calendar import PublishedDay
from consumer.seal.keys import days_key
from consumer.seal.manifest import listing_from
from consumer.source.port import ClusterAdmin, TopicFacts
from consumer.store.port import Store

LATE_SECONDS = 30.0
"""Seconds without an answer after which something counts as unreachable."""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The cluster's answers about our topics (None: no such topic) and our partitions."""

    topics: Mapping[str, TopicFacts | None] = field(default_factory=dict)
    ends: Mapping[TopicPartition, LogEnds] = field(default_factory=dict)
    committed: Mapping[TopicPartition, Commit | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DaysState:
    """`_days.json` as last read; `etag` shows whether it has changed ("": there is none)."""

    etag: str = ""
    days: Mapping[date, PublishedDay] = field(default_factory=dict)


def probe_cluster(
    admin: ClusterAdmin, group: str, topics: Iterable[str], partitions: Iterable[TopicPartition]
) -> ClusterState:
    """Ask the cluster. It may wait: run it on the executor. Raises TransientError."""
    facts = {name: admin.topic(name) for name in topics}
    known = [p for p in partitions if (found := facts.get(p.topic)) is not None and p.partition < found.partitions]
    return ClusterState(facts, admin.ends(known), admin.committed(group, known))


def check_days_listing(store: Store, stream: str, before: DaysState) -> DaysState:
    """Ask the bucket for the stream's published days; read only where they changed. It may wait.

    Raises TransientError and HaltError.
    """
    facts = store.head(days_key(stream))
    if facts is None:
        return DaysState()
    if facts.etag == before.etag:
        return before
    stored = store.get(days_key(stream))
    if stored is None:
        return DaysState()
    days = {
        day_from(day): PublishedDay(item["revision"], item["rows"], item["complete"])
        for day, item in listing_from(stored).items()
    }
    return DaysState(stored.facts.etag, days)


class Liveness:
    """Whether something answers. It does not while its last answer was an error, or is long ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self.asked = False
        self._error: str = ""

    def answered(self, error: str = "") -> None:
        """An answer came, or this error in its place."""
        self._at, self.asked, self._error = self._clock.monotonic(), True, error

    @property
    def trouble(self) -> str:
        """What is wrong; "" if it answers."""
        if self._error:
            return self._error
        silent = self._clock.monotonic() - self._at
        if silent > LATE_SECONDS:
            return f"no answer for {silent:.0f} s"
        return "" if self.asked else "not asked yet"
