"""The plan of a replay: current and future rows, object by object, before anything is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Any

from consumer.domain.batches import DayRows, RawBatch
from consumer.domain.days import days_text
from consumer.domain.errors import RefusedError
from consumer.replace.partition_view import PartitionView, StoredObject
from consumer.replace.shortcuts import Change
from consumer.replace.verdicts import Difference, Judge
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.replacements.record import Former
from consumer.shape.csv_rows import Row, parsed

OTHER_DAY = "other_day"
"""Why a row is added to one day and removed from another: other rules date it differently."""


@dataclass(slots=True)
class Tally:
    """Rows of one object on one side, as they come: their number, offsets and text."""

    rows: int = 0
    first: int | None = None
    last: int | None = None
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, rows: DayRows, *, hashed: bool = True) -> None:
        """The rows of the next batch. `hashed`: their text counts for the digest."""
        self.rows += rows.rows
        self.first = rows.first_offset if self.first is None else self.first
        self.last = rows.last_offset
        self.size += len(rows.body)
        if hashed:
            self.digest.update(rows.body)

    def entry(self, key: str, stream: str, day: date) -> ObjectEntry:
        """These rows as an object's."""
        return ObjectEntry(key, stream, day, self.rows, self.first, self.last)


@dataclass(slots=True)
class ObjectPlan:
    """One object: as it is (None: it would be added) and as it would be. `former` is the current body.

    Digests are of the text from the first batch on in which the two differ (`differs`): before that they are not
    needed, nor after a first difference that is `for_good`: the same rows with other cells.
    """

    key: str
    day: date
    partition: int
    stored: StoredObject | None
    former: Former | None = None
    size: int = 0
    differs: bool = False
    for_good: bool = False
    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    added: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    def add(self, before: DayRows | None, after: DayRows | None, *, same_rows: bool = False) -> None:
        """The rows of the next batch, current and new; `same_rows` except for their cells."""
        if not self.differs:
            self.differs = before is None or after is None or before.body != after.body
            self.for_good = self.differs and same_rows
        hashed = self.differs and not self.for_good
        if before is not None:
            self.before.add(before, hashed=hashed)
        if after is not None:
            self.after.add(after, hashed=hashed)

    def count(self, change: Change, reason: str) -> None:
        """What differs in a batch, rows coming and going for this reason."""
        if change.added:
            self.added[reason] += change.added
        if change.removed:
            self.removed[reason] += change.removed
        self.changed.update(change.changed)

    def same(self, header: tuple[str, ...], stored_header: tuple[str, ...]) -> bool:
        """Whether its text would stay as it is."""
        if self.stored is None:
            return self.after.rows == 0
        same_rows = self.before.digest.digest() == self.after.digest.digest()
        return same_rows and not self.for_good and header == stored_header and self.former is not None


@dataclass(slots=True)
class Planner:
    """Takes in one partition's records, batch by batch."""

    view: PartitionView
    judge: Judge
    columns: tuple[str, ...]
    objects: dict[str, ObjectPlan] = field(default_factory=dict)
    crossing: set[date] = field(default_factory=set)
    exchanged: set[tuple[date, date]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for key, stored in self.view.objects.items():
            self.objects[key] = ObjectPlan(key, stored.entry.day, self.view.partition.partition, stored)

    def take(self, batch: RawBatch, record: Record) -> None:
        """The next batch, whose offsets this record covers."""
        pair = self.judge.pair(batch, record)
        unlike = pair.before != pair.after
        found = self.judge.at_once(pair) if unlike else None
        for key in {**pair.before, **pair.after}:
            before, after = pair.before.get(key), pair.after.get(key)
            rows = before or after
            assert rows is not None
            self._object(key, rows.day).add(before, after, same_rows=found is not None and not found.reason)
        if not unlike:
            return
        if found is None:
            for one in self.judge.differences(batch, record):
                self._differ(one)
            return
        for key, change in found.changes.items():
            self.objects[key].count(change, found.reason)

    def _object(self, key: str, day: date) -> ObjectPlan:
        if key not in self.objects:
            self.objects[key] = ObjectPlan(key, day, self.view.partition.partition, None)
        return self.objects[key]

    def _differ(self, one: Difference) -> None:
        old, new = self._place(one.offset, one.before.day), self._place(one.offset, one.after.day)
        if one.before.day is not None and one.after.day is not None and (old is None or new is None):
            self.crossing |= {one.before.day, one.after.day}
        if old is not None and old is new:
            changed = zip(self.columns, self._cells(one.before.text), self._cells(one.after.text), strict=True)
            old.changed.update(name for name, left, right in changed if left != right)
            return
        if old is not None and new is not None:
            self.exchanged.add((old.day, new.day))
        if old is not None:
            old.removed[one.after.reason or OTHER_DAY] += 1
        if new is not None:
            new.added[one.before.reason or OTHER_DAY] += 1

    def _place(self, offset: int, day: date | None) -> ObjectPlan | None:
        key = self.view.key(offset, day) if day is not None else None
        return self._object(key, day) if key is not None and day is not None else None

    @staticmethod
    def _cells(text: bytes) -> Row:
        return next(parsed([text]))


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a replay before it is done. `skipped` are days left out because Kafka has lost records of them.

    `exchanged` are pairs of days of which a row leaves the one for the other: they are replaced by one record, so that
    the row is in just one of them whenever the command ends, and whatever is undone.
    `columns` are those of new bodies; none where each object keeps its own.
    """

    stream: str
    first: date
    last: date
    settings: str
    objects: tuple[ObjectPlan, ...]
    unchanged: int
    heads: Mapping[int, int]
    skipped: tuple[date, ...] = ()
    kept_old: bool = True
    exchanged: frozenset[tuple[date, date]] = frozenset()
    columns: tuple[str, ...] = ()

    @property
    def days(self) -> tuple[date, ...]:
        """The days with an object to be put."""
        return tuple(sorted({one.day for one in self.objects}))

    @property
    def kept_bytes(self) -> int:
        """Bytes of old bodies that are kept."""
        return sum(one.size for one in self.objects) if self.kept_old else 0


def batches_of(plan: Plan, most_bytes: int) -> Iterator[tuple[date, ...]]:
    """The days in batches of as many bytes of new bodies at most, but one day, or days that exchange rows, at least."""
    sizes: Counter[date] = Counter()
    for one in plan.objects:
        sizes[one.day] += one.after.size
    batch: list[date] = []
    for days in _inseparable(plan):
        if batch and sum(sizes[day] for day in (*batch, *days)) > most_bytes:
            yield tuple(sorted(batch))
            batch = []
        batch.extend(days)
    if batch:
        yield tuple(sorted(batch))


def _inseparable(plan: Plan) -> Iterator[set[date]]:
    """The days of the plan in groups that exchange no rows, in the order of their first days."""
    groups = {day: {day} for day in (*plan.days, *chain.from_iterable(plan.exchanged))}
    for one, other in plan.exchanged:
        merged = groups[one] | groups[other]
        groups.update(dict.fromkeys(merged, merged))
    days = set(plan.days)  # a day may give and get rows of the same text, and stay as it is
    yield from (group & days for day, group in sorted(groups.items()) if day == min(group) and group & days)


def refuse_other_rows(objects: Iterable[ObjectPlan]) -> None:
    """Raise RefusedError if the old rules do not give the rows that the logs say an object has."""
    for one in objects:
        stored, before = one.stored, one.before
        found = (before.rows, before.first, before.last)
        said = (stored.entry.rows, stored.entry.first_offset, stored.entry.last_offset) if stored else (0, None, None)
        treated = stored is not None and stored.basis.treatments  # an erasure leaves the offsets that it found
        if found[0] != said[0] or (found != said and not treated):
            raise RefusedError(
                f"{one.key} should have {said[0]} rows from {said[1]} to {said[2]}, but the rules it was made with give"
                f" {found[0]} from {found[1]} to {found[2]}. Nothing was changed: adapty-sink verify says what is wrong"
            )


def refuse_crossing(first: date, last: date, days: set[date]) -> None:
    """Raise RefusedError if rows would leave the days asked for, or come into them."""
    if not days:
        return
    low, high = min(first, *days), max(last, *days)
    raise RefusedError(
        f"the current rules move rows into or out of {first} to {last}: run replay --from {low} --to {high} instead."
        " Nothing was changed"
    )


def refuse_gone(days: Collection[date], *, skip: bool) -> None:
    """Raise RefusedError for days of which Kafka has lost records, unless they are to be left out."""
    if not skip:
        raise RefusedError(
            f"Kafka has lost records of {days_text(days)} to retention, so these days cannot be replayed: replay only"
            " the days after them, or use --skip-gone to skip them"
        )
