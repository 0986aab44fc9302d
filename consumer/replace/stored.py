"""Rewrite and erase: stored rows changed cell by cell, from the bucket alone, and put back into their objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from functools import cached_property
from pathlib import Path

from consumer.domain.days import DayRange
from consumer.domain.errors import RefusedError
from consumer.replace.basis import erasures
from consumer.replace.bodies import Bodies, remove_abandoned, working_folder
from consumer.replace.partition_view import views_of
from consumer.replace.plan import ObjectPlan, Plan, batches_of
from consumer.replace.protocol import finish, finished, former_of, record_new, refuse_overlap, stands
from consumer.replace.services import Scope, Services
from consumer.replace.treatments import ERASED, Treat, chained, erasing, rewriting
from consumer.seal.log import put_rules
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.log import Replacements
from consumer.seal.replacements.record import Erasure, NewObject, Replacement, ReplacementKind
from consumer.shape.csv_rows import Row, parsed
from consumer.shape.csv_text import line
from consumer.shape.privacy import key_of
from consumer.store.compression import plain_blocks


class Restatement:
    """One rewrite of one stream, by the privacy rules of today; with `erasure`, one erase."""

    def __init__(self, services: Services, scope: Scope, erasure: Erasure | None = None) -> None:
        self._services = services
        self._scope = scope
        self._erasure = erasure
        self._kind = ReplacementKind.ERASE if erasure else ReplacementKind.REWRITE
        self._rules = services.today
        self._replacements = Replacements()
        self._again: dict[str, tuple[int, ...]] = {}

    def resume(self) -> Replacement | None:
        """Finish what this command left half done, with the record's own settings; None if nothing was."""
        services = self._services
        remove_abandoned(services.folder)
        found = services.ask(services.log.read)
        days = DayRange(self._scope.first, self._scope.last)
        for record in found.touching(days, self._scope.partitions):
            if finished(services, record):
                continue
            if (record.kind, record.erasure) != (self._kind, self._erasure):
                refuse_overlap(services, found, frozenset(record.days), record.partitions)
            self._rules = services.rules(record.settings)
            self._replacements = before = found.before(record.n)
            for one in record.objects:
                self._again[one.entry.key] = erasures(before.records, one.entry.day, one.partition)
            left = {one.entry.key: one for one in record.objects if not stands(services, record.n, one)}
            with working_folder(services.folder) as folder, closing(self._bodies(list(left), folder)) as bodies:
                finish(services, record, lambda one: bodies.body(one.entry))
            self._rules = services.today
            return record
        return None

    def plan(self) -> Plan:
        """What would become of each object. Raises RefusedError and HaltError; writes nothing."""
        services, scope = self._services, self._scope
        self._replacements = services.ask(services.log.read)
        refuse_overlap(services, self._replacements, DayRange(scope.first, scope.last), scope.partitions)
        chains = services.chains_in(scope)
        found: list[ObjectPlan] = []
        for view in views_of(services, scope, self._replacements, chains):
            number = view.partition.partition
            for key, one in view.objects.items():
                self._again[key] = erasures(self._replacements.records, one.entry.day, number)
            found += [ObjectPlan(key, one.entry.day, number, one) for key, one in view.objects.items()]
        changed = [one for one in found if self._look(one)]
        return Plan(
            stream=services.stream,
            first=scope.first,
            last=scope.last,
            settings=services.today.digest,
            objects=tuple(sorted(changed, key=lambda one: (one.day, one.key))),
            unchanged=len(found) - len(changed),
            heads={chain.head.partition.partition: chain.head.n for chain in chains},
            kept_old=False,
        )

    def _look(self, one: ObjectPlan) -> bool:
        """Read an object and count what would become of its rows; whether it would be another one."""
        found = former_of(self._services, one.key)
        if found is None or one.stored is None:
            return False
        one.former, one.size = found
        columns, rows = self._read(one.key)
        treat = self._treat(one.key, columns)
        for row in rows:
            one.before.rows += 1
            new = treat(row)
            if new is None:
                one.removed[ERASED] += 1
                continue
            one.after.rows += 1
            one.after.size += sum(len(cell or "") + 1 for cell in new)
            if new != row:
                one.changed.update(name or "" for name, a, b in zip(columns, row, new, strict=True) if a != b)
        if one.before.rows != one.stored.entry.rows:
            raise RefusedError(
                f"{one.key} has {one.before.rows} rows, its records say {one.stored.entry.rows}. Nothing was changed:"
                " adapty-sink verify says what is wrong"
            )
        return bool(one.changed or one.removed)

    def _treat(self, key: str, columns: Row) -> Treat:
        """The treatment of an object's rows. A rewrite applies recorded erasures again, as late rows may have come."""
        names, services = [name or "" for name in columns], self._services
        if self._erasure is not None:
            return erasing(names, self._erasure, services.keys)
        again = [
            erasing(names, record.erasure, services.keys)
            for record in self._replacements.records
            if record.erasure is not None and record.n in self._again[key]
        ]
        own = rewriting(names, self._rules.privacy, key_of(self._rules, services.keys), self._key_names)
        return chained([*again, own])

    @cached_property
    def _key_names(self) -> set[str]:
        return self._services.key_names()

    def _read(self, key: str) -> tuple[Row, Iterator[Row]]:
        """The header and the rows of a stored object."""
        rows = self._rows(key)
        return next(rows), rows

    def _rows(self, key: str) -> Iterator[Row]:
        services = self._services
        reader = services.ask(lambda: services.store.open(key))
        if reader is None:
            raise RefusedError(f"{key} is missing: adapty-sink verify says what is wrong")
        with reader:
            yield from parsed(plain_blocks(key, reader))

    def apply(self, plan: Plan, folder: Path) -> list[Replacement]:
        """Apply the plan, in batches of whole days. Raises RefusedError if its basis has changed."""
        services = self._services
        services.ask(lambda: put_rules(services.store, services.today))
        return [self._apply(plan, days, folder) for days in batches_of(plan, services.most_bytes)]

    def _apply(self, plan: Plan, days: tuple[date, ...], folder: Path) -> Replacement:
        services = self._services
        wanted = [one for one in plan.objects if one.day in days]
        with closing(self._bodies([one.key for one in wanted], folder)) as bodies:
            objects = []
            for one in wanted:
                assert one.stored is not None
                entry = self._entry(one)
                body = bodies.body(entry)
                settings, columns = one.stored.settings, one.stored.columns
                objects.append(NewObject(entry, one.partition, settings, body.size, body.sha256, one.former, columns))
            record = record_new(
                services,
                self._replacements,
                Replacement(
                    kind=self._kind,
                    n=0,
                    stream=plan.stream,
                    first=plan.first,
                    last=plan.last,
                    days=days,
                    partitions=self._scope.partitions,
                    settings=plan.settings,
                    previous_sha256=None,
                    objects=tuple(objects),
                    unchanged=plan.unchanged,
                    kept_old=False,
                    replaced_at=services.clock.now(),
                    writer=services.writer,
                    heads=plan.heads,
                    erasure=self._erasure,
                ),
            )
            finish(services, record, lambda one: bodies.body(one.entry))
        return record

    @staticmethod
    def _entry(one: ObjectPlan) -> ObjectEntry:
        """The remaining rows. The bucket does not have their offsets: the old ones are their bounds."""
        assert one.stored is not None
        old = one.stored.entry
        empty = one.after.rows == 0
        first, last = (None, None) if empty else (old.first_offset, old.last_offset)
        return ObjectEntry(one.key, old.stream, old.day, one.after.rows, first, last)

    def _bodies(self, keys: Sequence[str], folder: Path) -> Bodies:
        """The treated rows of these objects, on the local disk, under their own headers."""
        read = {key: self._read(key) for key in keys}
        bodies = Bodies(folder, {key: line(columns) for key, (columns, _) in read.items()})
        try:
            for key, (columns, rows) in read.items():
                treat = self._treat(key, columns)
                lines: list[bytes] = []
                for row in rows:
                    new = treat(row)
                    if new is not None:
                        lines.append(line(new))
                    if len(lines) >= LINES:
                        bodies.append(key, b"".join(lines))
                        lines.clear()
                bodies.append(key, b"".join(lines))
        except BaseException:
            bodies.close()
            raise
        return bodies


LINES = 10_000
"""Rows that are written at once."""
