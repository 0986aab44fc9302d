"""The result of each record under old and new rules: rows of a batch by key, and where the two differ.

If two bases give a batch the same text for each object, they agree on every record that matters. Otherwise the batch is
halved until the difference is in a single record, whose two verdicts are then known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import orjson

from consumer.domain.batches import DayRows, RawBatch, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span
from consumer.replace.basis import Basis
from consumer.replace.partition_view import PartitionView
from consumer.replace.shortcuts import Change, cells_alone, comings_and_goings, dated_alike, one_filter, other_cells
from consumer.seal.record import Record
from consumer.streams.rules import RowRules

SMALL = 32
"""Records of a batch that is not halved further: each is processed by itself."""
TOMBSTONE = "tombstone"
OTHER_RULES = "other_rules"
"""Why a record has no row: each day that it would belong to was made by other rules, which give it another day."""

Transform = Callable[[Basis, RawBatch, Record, TransformOptions], TransformedBatch]
"""Rows of a batch whose offsets are all covered by this record, made and treated according to the basis."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one record: a row of `day` with its text, or no row because of `reason`."""

    day: date | None
    reason: str = ""
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Difference:
    """One record whose row is another one by the other rules."""

    offset: int
    before: Verdict
    after: Verdict


@dataclass(frozen=True, slots=True)
class AtOnce:
    """All that differs in a batch: by key, and the reason for which rows come and go."""

    changes: Mapping[str, Change]
    reason: str = ""


class Judge:
    """Processes batches of one partition twice: by the current basis, and by the one that `anew` gives for a day.

    `rules` gives the rules of a digest.
    """

    def __init__(
        self,
        view: PartitionView,
        columns: tuple[str, ...],
        transform: Transform,
        anew: Callable[[date], Basis],
        rules: Callable[[str], RowRules],
    ) -> None:
        self._view, self._columns, self._transform, self._anew, self._rules = view, columns, transform, anew, rules
        self._known: dict[tuple[int, bool], list[Basis]] = {}

    def rows(self, batch: RawBatch, record: Record, *, anew: bool) -> dict[str, DayRows]:
        """The rows of the batch by the key of their object, current or new."""
        return self._rows(_Batch(self, batch, record), anew=anew)

    def pair(self, batch: RawBatch, record: Record) -> Pair:
        """Both at once: what is made alike is made once."""
        work = _Batch(self, batch, record)
        return Pair(self._rows(work, anew=False), self._rows(work, anew=True), work)

    def at_once(self, pair: Pair) -> AtOnce | None:
        """All differences between the two if their rules differ in only one way; None if they differ in more."""
        work = pair.work
        before, after = self._bases(work, anew=False), self._bases(work, anew=True)
        if len(before) != 1 or len(after) != 1 or before[0].treatments != after[0].treatments:
            return None
        if work.made(before[0]).counts.quarantined != work.made(after[0]).counts.quarantined:
            return None  # a schema id that the registry did not know, and now does
        own = work.record.settings
        old, new = self._rules(before[0].settings or own), self._rules(after[0].settings or own)
        reason, found = one_filter(old, new), dict[str, Change]()
        if reason is None and not cells_alone(old, new):
            return None
        if reason and not all(dated_alike(self._rules(one or own), new) for one in self._view.settings_beyond):
            return None  # a row that comes may be in another day now
        for key in pair.before.keys() | pair.after.keys():
            one, other = (rows[key].body if key in rows else b"" for rows in (pair.before, pair.after))
            change = comings_and_goings(one, other) if reason else other_cells(one, other, self._columns)
            if change is None:
                return None
            found[key] = change
        return AtOnce(found, reason or "")

    def differences(self, batch: RawBatch, record: Record) -> Iterator[Difference]:
        """Each record of the batch whose row differs, in order of offset."""
        if len(batch) > SMALL:
            for half in batch.halves():
                pair = self.pair(half, record)
                if pair.before != pair.after:
                    yield from self.differences(half, record)
            return
        for index, offset in enumerate(batch.offsets):
            end = batch.offsets[index + 1] if index + 1 < len(batch) else batch.span.end
            single = batch.clip(Span(offset, end))
            work = _Batch(self, single, record)
            before, after = self._rows(work, anew=False), self._rows(work, anew=True)
            if before != after:
                yield Difference(offset, self._verdict(work, before, anew=False), self._verdict(work, after, anew=True))

    def _rows(self, work: _Batch, *, anew: bool) -> dict[str, DayRows]:
        found: dict[str, DayRows] = {}
        for basis in self._bases(work, anew=anew):
            for rows in work.made(basis).days:
                key = None if rows.quarantine else self._view.key(rows.first_offset, rows.day)
                if key is not None and basis == self._basis(key, rows.day, anew=anew):
                    found[key] = rows
        return found

    def _bases(self, work: _Batch, *, anew: bool) -> list[Basis]:
        """Every basis that some day in scope has in the offsets that the record covers."""
        view, record = self._view, work.record
        if (record.n, anew) not in self._known:
            found: dict[Basis, None] = {}
            for day in view_days(view, record):
                key = view.key(record.through - 1, day)
                if key is not None:
                    found[self._basis(key, day, anew=anew)] = None
            self._known[record.n, anew] = list(found) or [self._anew(view.scope.first) if anew else Basis()]
        return self._known[record.n, anew]

    def _basis(self, key: str, day: date, *, anew: bool) -> Basis:
        return self._anew(day) if anew else self._view.basis(key)

    def _verdict(self, work: _Batch, rows: Mapping[str, DayRows], *, anew: bool) -> Verdict:
        for one in rows.values():
            return Verdict(one.day, "", one.body)
        if not anew and (day := self._beyond(work)) is not None:
            return Verdict(day)
        for basis in self._bases(work, anew=anew):
            found = _no_row(work.made(basis))
            key = self._view.key(work.batch.span.start, found.day) if found.day is not None else None
            if key is None:
                return found  # else it is a row by rules that its day does not follow
        return Verdict(None, OTHER_RULES)

    def _beyond(self, work: _Batch) -> date | None:
        """The day out of scope that has the record's row by its own rules, which a replay may have changed."""
        for settings in self._view.settings_beyond:
            for rows in work.made(Basis(settings)).days:
                if not rows.quarantine and self._view.stands_beyond(work.batch.span.start, rows.day, settings):
                    return rows.day
        return None


def view_days(view: PartitionView, record: Record) -> Iterator[date]:
    """The days in scope that records which this one covers can have rows of in different objects."""
    days = {view.scope.first, view.scope.last}
    days.update(entry.day for one in view.chain.records[record.n :] for entry in one.objects if entry.day in view.scope)
    days.update(day for _, day in view.keys if day in view.scope)
    for one in view.replacements.records:
        days.update(day for day in (*one.days, one.first, one.last) if day in view.scope)
    yield from sorted(days)


@dataclass(frozen=True, slots=True)
class Pair:
    """The rows of a batch by the key of their object: current and new ones."""

    before: Mapping[str, DayRows]
    after: Mapping[str, DayRows]
    work: _Batch


class _Batch:
    """A batch being compared: what was made of it, by basis."""

    def __init__(self, judge: Judge, batch: RawBatch, record: Record) -> None:
        self.batch, self.record = batch, record
        self._judge = judge
        self._made: dict[Basis, TransformedBatch] = {}

    def made(self, basis: Basis) -> TransformedBatch:
        judge = self._judge
        basis = Basis(basis.settings or self.record.settings, basis.treatments)
        if basis not in self._made:
            scope = judge._view.scope  # noqa: SLF001 - one piece with it
            how = TransformOptions(
                judge._columns,  # noqa: SLF001
                wanted=lambda day, quarantine: day in scope or (quarantine and len(self.batch) <= 1),
                schemas=self.record.schemas if basis.settings == self.record.settings else None,
            )
            self._made[basis] = judge._transform(basis, self.batch, self.record, how)  # noqa: SLF001
        return self._made[basis]


def _no_row(made: TransformedBatch) -> Verdict:
    """Why a single record has no row in scope: a row elsewhere, a filter, quarantine, a tombstone."""
    for rows in made.days:
        if not rows.quarantine:
            return Verdict(rows.day, "other_day")
        reason = orjson.loads(rows.body)["reason"] if rows.body else "quarantined"
        return Verdict(None, f"quarantine {reason}")
    return Verdict(None, next(iter(made.filtered), TOMBSTONE))
