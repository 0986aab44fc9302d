"""Replay: the recorded offsets again, with the current rules, into the objects of their days."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

from consumer.domain.days import DayRange
from consumer.domain.errors import RefusedError
from consumer.domain.offsets import Span
from consumer.replace.bodies import Bodies, remove_abandoned, working_folder
from consumer.replace.plan import (
    ObjectPlan,
    Plan,
    Planner,
    batches_of,
    refuse_crossing,
    refuse_gone,
    refuse_other_rows,
)
from consumer.replace.progress import Progress, untold
from consumer.replace.protocol import finish, finished, former_of, record_new, refuse_overlap, stands
from consumer.replace.recorded import RecordedOffsets
from consumer.replace.services import Scope, Services
from consumer.seal.folder_columns import claim_columns, folder_columns, merged
from consumer.seal.keys import manifest_key
from consumer.seal.log import put_rules
from consumer.seal.manifest import manifest_from
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.log import Replacements
from consumer.seal.replacements.record import NewObject, Replacement, ReplacementKind
from consumer.shape.csv_text import line as csv_line

KeepOld = Literal["auto", "always", "never"]


class Replay:
    """One replay of one stream."""

    def __init__(self, services: Services, scope: Scope, *, keep_old: KeepOld, progress: Progress = untold) -> None:
        self._services = services
        self._scope = scope
        self._keep_old = keep_old
        self._progress = progress
        self._recorded = RecordedOffsets(services, Replacements(), progress)
        self._listed: dict[date, Mapping[str, str]] = {}

    def _read_log(self) -> Replacements:
        """What follows is by the replacement log as it is now."""
        found = self._services.ask(self._services.log.read)
        self._recorded = RecordedOffsets(self._services, found, self._progress)
        return found

    def resume(self) -> Replacement | None:
        """Finish what this command left half done, with the record's own settings; None if nothing was."""
        services = self._services
        remove_abandoned(services.folder)
        days = DayRange(self._scope.first, self._scope.last)
        for record in services.ask(services.log.read).touching(days, self._scope.partitions):
            if finished(services, record):
                continue
            if record.kind is not ReplacementKind.REPLAY or not self._ours(record):
                refuse_overlap(services, services.ask(services.log.read), frozenset(record.days), record.partitions)
            self._finish(record)
            return record
        return None

    def _ours(self, record: Replacement) -> bool:
        return (
            self._scope.first <= record.first
            and record.last <= self._scope.last
            and (record.partitions == self._scope.partitions)
        )

    # -- planning ----------------------------------------------------------------------------------------------------

    def plan(self, *, skip_gone: bool = False) -> Plan:
        """The current rows against those of the current rules. Raises RefusedError and HaltError; writes nothing."""
        services, scope = self._services, self._scope
        days = DayRange(scope.first, scope.last)
        refuse_overlap(services, self._read_log(), days, scope.partitions)
        recorded = self._recorded
        partitions = recorded.partitions(scope)
        gone = recorded.gone(partitions)
        if gone:
            refuse_gone(gone, skip=skip_gone)
            self._scope = replace(scope, without=frozenset(gone))
            partitions = recorded.partitions(self._scope)
        columns = self._new_columns()
        planners = [Planner(one.view, recorded.judge(one.view, columns), columns) for one in partitions]
        by_number = {planner.view.partition: planner for planner in planners}
        for one, batch, record in recorded.read("planning", [(one, one.spans()) for one in partitions]):
            by_number[one.view.partition].take(batch, record)
        objects = [found for planner in planners for found in planner.objects.values()]
        refuse_other_rows(objects)
        refuse_crossing(scope.first, scope.last, {day for planner in planners for day in planner.crossing})
        changed = [one for one in objects if self._look(one, columns)]
        return Plan(
            stream=services.stream,
            first=scope.first,
            last=scope.last,
            settings=services.today.digest,
            objects=tuple(sorted(changed, key=lambda one: (one.day, one.key))),
            unchanged=sum(one.stored is not None for one in objects) - sum(one.stored is not None for one in changed),
            heads={one.view.partition.partition: one.view.chain.head.n for one in partitions},
            skipped=tuple(gone),
            kept_old=self._keeps(changed),
            exchanged=frozenset(pair for planner in planners for pair in planner.exchanged),
            columns=columns,
        )

    def _new_columns(self) -> tuple[str, ...]:
        """The header of new bodies: the folder's columns, then what today's settings add, as a worker would write."""
        services = self._services
        listed = services.ask(lambda: folder_columns(services.store, services.stream)).names
        return merged(listed, services.columns(services.today.digest))

    def _look(self, one: ObjectPlan, columns: tuple[str, ...]) -> bool:
        """Check the current body; returns whether the new one would differ."""
        found = former_of(self._services, one.key)
        one.former, one.size = found or (None, 0)
        if one.stored is not None and found is not None:
            self._refuse_other_body(one)
        header = self._services.header(one.stored.settings, one.stored.columns) if one.stored else ()
        return not one.same(columns, header)

    def _refuse_other_body(self, one: ObjectPlan) -> None:
        """The stored body must be the one that its day's manifest, the newest replacement and its seal speak of."""
        assert one.former is not None
        assert one.stored is not None
        services, listed = self._services, self._recorded.replacements.newest.get(one.key)
        said = {self._manifest(one.day).get(one.key), listed.new.sha256 if listed else None} - {None}
        facts = services.ask(lambda: services.store.head(one.key))
        rows = facts.metadata.get("rows", "") if facts and services.store.keeps_metadata else str(one.stored.entry.rows)
        if said - {one.former.sha256} or rows != str(one.stored.entry.rows):
            raise RefusedError(
                f"{one.key} is not the body in its records. Nothing was changed: adapty-sink verify says what is wrong"
            )

    def _manifest(self, day: date) -> Mapping[str, str]:
        """The sha256 of the objects that the day's manifest lists."""
        if day not in self._listed:
            services = self._services
            stored = services.ask(lambda: services.store.get(manifest_key(services.stream, day)))
            items = manifest_from(stored)["objects"] if stored else []
            self._listed[day] = {item["key"]: item["sha256"] for item in items}
        return self._listed[day]

    def _keeps(self, changed: list[ObjectPlan]) -> bool:
        formers = [one.former for one in changed if one.former is not None]
        versioned = bool(formers) and all(former.version_id for former in formers)
        return self._keep_old == "always" or (self._keep_old == "auto" and not versioned)

    # -- doing -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, folder: Path) -> list[Replacement]:
        """Apply the plan, in batches of whole days. Raises RefusedError if its basis has changed."""
        services = self._services
        self._claim(plan)  # before the settings: a folder without a list would get them into its first one otherwise
        services.ask(lambda: put_rules(services.store, services.today))
        done = []
        for days in batches_of(plan, services.most_bytes):
            self._refuse_moved(plan, days)
            done.append(self._apply(plan, days, folder))
        return done

    def _claim(self, plan: Plan) -> None:
        """See to it that the folder's list begins with the new header: from then on it always does."""
        services, first = self._services, plan.days[0]
        if not services.ask(lambda: claim_columns(services.store, services.stream, plan.columns, first, first)):
            raise RefusedError(
                f"a worker changed the columns of the folder of {services.stream} after the plan was made: run the"
                " command again"
            )

    def _apply(self, plan: Plan, days: tuple[date, ...], folder: Path) -> Replacement:
        services = self._services
        wanted = [one for one in plan.objects if one.day in days]
        entries = {one.key: one.after.entry(one.key, plan.stream, one.day) for one in wanted}
        numbers = {one.key: one.partition for one in wanted}
        with closing(self._bodies(entries, numbers, plan.settings, plan.columns, folder)) as bodies:
            objects = []
            for one in wanted:
                entry = entries[one.key]
                body, count = bodies.body(entry), len(plan.columns)
                objects.append(
                    NewObject(entry, one.partition, plan.settings, body.size, body.sha256, one.former, count)
                )
            self._refuse_moved(plan, days)
            record = record_new(
                services,
                self._recorded.replacements,
                Replacement(
                    kind=ReplacementKind.REPLAY,
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
                    kept_old=plan.kept_old,
                    replaced_at=services.clock.now(),
                    writer=services.writer,
                    heads=plan.heads,
                ),
            )
            finish(services, record, lambda one: bodies.body(one.entry))
        return record

    def _finish(self, record: Replacement) -> None:
        """Make the bodies of a half-done replay again, from what was there before it, and finish it."""
        services = self._services
        columns = services.header(record.settings, next((one.columns for one in record.objects), None))
        left = [one for one in record.objects if not stands(services, record.n, one)]
        before = services.ask(services.log.read).before(record.n)
        self._recorded = RecordedOffsets(services, before, self._progress)
        entries = {one.entry.key: one.entry for one in left}
        numbers = {one.entry.key: one.partition for one in left}
        with (
            working_folder(services.folder) as folder,
            closing(self._bodies(entries, numbers, record.settings, columns, folder)) as bodies,
        ):
            finish(services, record, lambda one: bodies.body(one.entry))

    def _bodies(
        self,
        entries: Mapping[str, ObjectEntry],
        numbers: Mapping[str, int],
        settings: str,
        columns: tuple[str, ...],
        folder: Path,
    ) -> Bodies:
        """The rows of these objects by the rules of `settings`, on the local disk."""
        recorded, bodies = self._recorded, Bodies(folder, dict.fromkeys(entries, csv_line(columns)))
        try:
            spans = []
            for one in recorded.partitions(self._scope):
                number = one.view.partition.partition
                own = [entry for key, entry in entries.items() if numbers[key] == number]
                offsets = [(e.first_offset, e.last_offset) for e in own if e.first_offset is not None]
                if offsets:
                    low, high = min(first for first, _ in offsets), max(last or 0 for _, last in offsets)
                    spans.append((one, one.spans(Span(low, high + 1))))
            judges = {one.view.partition: recorded.judge(one.view, columns, settings) for one, _ in spans}
            for one, batch, record in recorded.read("making objects", spans):
                for key, rows in judges[one.view.partition].rows(batch, record, anew=True).items():
                    if key in entries:
                        bodies.append(key, rows.body)
        except BaseException:
            bodies.close()
            raise
        return bodies

    def _refuse_moved(self, plan: Plan, days: tuple[date, ...]) -> None:
        """A seal that came since the plan and closed or added to one of these days makes it another plan."""
        for number, chain in self._services.chains().items():
            if chain.empty or number not in plan.heads:
                continue
            closed = chain.before(plan.heads[number] + 1).reach.cutoff
            for record in chain.records[plan.heads[number] + 1 :]:
                adds = any(entry.day in days and not entry.quarantine for entry in record.objects)
                closes = record.cutoff is not None and any(
                    (closed is None or day > closed) and day <= record.cutoff for day in days
                )
                if adds or closes:
                    raise RefusedError(
                        f"seal {record.n} of {record.partition} took rows of {days[0]} to {days[-1]} since the plan was"
                        " made: run the command again"
                    )
