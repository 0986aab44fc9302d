"""The survey before an export: the days' manifests and, for days without, the seal logs and Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from consumer.domain.days import ONE_DAY, midnight
from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import Span, TopicPartition
from consumer.export.plan import DayKind, PlannedDay, plan_export
from consumer.seal.chain import Chain
from consumer.seal.day_plan import PartitionState
from consumer.seal.inspection import Outlook, Outside
from consumer.seal.keys import manifest_key
from consumer.seal.manifest import manifest_from
from consumer.source.port import begin_at
from consumer.streams.rules import DayBy, RowRules

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenPartition:
    """A partition's part of days that are not sealed.

    `chain` says which rules apply to each offset, `published` which rows are in objects. The others are read from
    Kafka: `span`. `low` is the log's start if needed records were below it, else None.
    """

    partition: TopicPartition
    chain: Chain
    published: Chain
    span: Span
    low: int | None


@dataclass(frozen=True, slots=True)
class Survey:
    """The days of one stream, and what its open ones are read from."""

    days: tuple[PlannedDay, ...]
    open_partitions: tuple[OpenPartition, ...]

    @property
    def kafka(self) -> dict[int, Span]:
        """What is read from Kafka, by partition."""
        return {part.partition.partition: part.span for part in self.open_partitions}

    @property
    def open_days(self) -> tuple[date, ...]:
        """The days that are not sealed."""
        return tuple(day.day for day in self.days if day.kind is DayKind.OPEN)


class Surveyor:
    """One stream. The state of seal logs and Kafka is taken once; manifests are read at each `survey`."""

    def __init__(self, outside: Outside, days: Sequence[date]) -> None:
        self._outside = outside
        self._days = days
        self._outlooks: list[Outlook] | None = None

    def survey(self) -> Survey:
        """What there is of each day now. Raises HaltError if an open day's partitions cannot be read."""
        manifests = self._manifests()
        if len(manifests) == len(self._days):
            return Survey(plan_export(self._days, manifests, None), ())
        if self._outlooks is None:
            self._outlooks = self._look()
        days = plan_export(self._days, manifests, list(map(_state, self._outlooks)))
        open_days = [day.day for day in days if day.kind is DayKind.OPEN]
        return Survey(days, tuple(self._open(outlook, open_days) for outlook in self._outlooks) if open_days else ())

    def manifest(self, day: date) -> Manifest | None:
        """The manifest of a day as it is now."""
        store, name = self._outside.store, self._outside.stream.name
        stored = self._outside.ask(lambda: store.get(manifest_key(name, day)))
        return None if stored is None else manifest_from(stored)

    def _manifests(self) -> dict[date, Manifest]:
        found = self._outside.pool.map(self.manifest, self._days)
        return {day: manifest for day, manifest in zip(self._days, found, strict=True) if manifest is not None}

    def _look(self) -> list[Outlook]:
        """All partitions as the worker would find them; none if the topic does not exist (any more)."""
        try:
            return self._outside.partitions(self._outside.topic())
        except HaltError as halt:
            if halt.reason is not HaltReason.MISSING_TOPIC:
                raise
            return []

    def _open(self, outlook: Outlook, days: Sequence[date]) -> OpenPartition:
        """What is needed of one partition. Raises HaltError where log and chain do not belong together."""
        if outlook.halt is not None and outlook.halt.reason is not HaltReason.RETENTION_HOLE:
            raise outlook.halt
        state = _state(outlook)
        needed = self._first_needed(outlook, state)
        low = outlook.ends.low if needed < outlook.ends.low or _from_retention(state, outlook, needed) else None
        start = self._first_of(outlook.partition, days[0], max(needed, outlook.ends.low))
        span = Span(start, max(start, outlook.ends.lso))
        return OpenPartition(outlook.partition, state.chain, state.published, span, low)

    def _first_needed(self, outlook: Outlook, state: PartitionState) -> int:
        """The first offset that may have a row that is in no object."""
        if not state.published.empty:
            return state.published.head.resume
        if not state.chain.empty:
            return state.chain.records[0].start
        if outlook.commit is not None:
            return outlook.commit.offset
        ask, stream = self._outside.ask, self._outside.stream
        return ask(lambda: begin_at(self._outside.admin, outlook.partition, outlook.ends, stream.start))

    def _first_of(self, partition: TopicPartition, day: date, needed: int) -> int:
        """The first offset at or above `needed` that may have a row of `day` or later, by the brokers' time index."""
        instant = midnight(day) - stamp_margin(self._outside.stream.rules)
        found = self._outside.ask(lambda: self._outside.admin.offset_at(partition, instant))
        return needed if found is None else max(needed, found)


def stamp_margin(rules: RowRules) -> timedelta:
    """How long before its day a row's record can have been stamped: a row's day is at most its record's day + 1."""
    return ONE_DAY * (rules.day_by is DayBy.EVENT)


def _state(outlook: Outlook) -> PartitionState:
    """Raises the outlook's halt where nothing could be found."""
    if outlook.found is None:
        assert outlook.halt is not None
        raise outlook.halt
    return PartitionState(outlook.partition.partition, outlook.found.chain, outlook.found.finished)


def _from_retention(state: PartitionState, outlook: Outlook, needed: int) -> bool:
    """Whether nothing was sealed or committed, and the log's own start is not its first record's."""
    return state.chain.empty and outlook.commit is None and needed == outlook.ends.low > 0
