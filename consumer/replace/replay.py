"""Replay: the recorded offsets again, under today's rules, into the objects of their days."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from consumer.domain.batches import RawBatch, TransformedBatch, TransformOptions
from consumer.domain.days import ONE_DAY, days_between, midnight
from consumer.domain.errors import HaltError, HaltReason, RefusedError
from consumer.domain.offsets import LogEnds, Span
from consumer.replace.basis import Basis
from consumer.replace.bodies import Bodies, working_folder
from consumer.replace.partition_view import PartitionView, view_partition
from consumer.replace.plan import (
    ObjectPlan,
    Plan,
    Planner,
    Tally,
    batches_of,
    refuse_crossing,
    refuse_gone,
    refuse_other_rows,
)
from consumer.replace.protocol import finish, finished, former_of, record_new, refuse_overlap, stands
from consumer.replace.services import Scope, Services
from consumer.replace.treatments import Treat, erasing, rewriting, treat_batch
from consumer.replace.verdicts import Judge
from consumer.seal.chain import Chain
from consumer.seal.day_plan import PartitionState
from consumer.seal.folder_columns import claim_columns, folder_columns, merged
from consumer.seal.keys import manifest_key
from consumer.seal.log import put_rules
from consumer.seal.lossy import lossy_objects
from consumer.seal.manifest import manifest_from
from consumer.seal.objects import ObjectChecker
from consumer.seal.record import ObjectEntry, Record
from consumer.seal.replacements.log import Replacements
from consumer.seal.replacements.record import NewObject, Replacement, ReplacementKind
from consumer.shape.csv_text import line as csv_line
from consumer.shape.privacy import key_of
from consumer.store.compression import plain_blocks
from consumer.streams.rules import DayBy

KeepOld = Literal["auto", "always", "never"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Progress = Callable[[int], None]
"""Told of each batch's records."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition to be replayed: where its log lies, and from where on it is read."""

    view: PartitionView
    ends: LogEnds
    start: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Objects whose rows are other ones, by key, how many were compared, and the days that Kafka has lost."""

    other: Mapping[str, str]
    compared: int
    gone: tuple[date, ...]


class Replay:
    """One replay of one stream."""

    def __init__(
        self, services: Services, scope: Scope, *, keep_old: KeepOld, progress: Progress = lambda _: None
    ) -> None:
        self._services = services
        self._scope = scope
        self._keep_old = keep_old
        self._progress = progress
        self._replacements = Replacements()
        self._listed: dict[date, Mapping[str, str]] = {}
        self._treats: dict[tuple[int, tuple[str, ...]], Treat] = {}

    def resume(self) -> Replacement | None:
        """Finish what this very command left half done, by the record's own settings; None where nothing was."""
        services = self._services
        days = list(days_between(self._scope.first, self._scope.last))
        for record in services.ask(services.log.read).touching(days, self._scope.partitions):
            if finished(services, record):
                continue
            if record.kind is not ReplacementKind.REPLAY or not self._ours(record):
                refuse_overlap(services, services.ask(services.log.read), record.days, record.partitions)
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
        """What stands against what today's rules give. Raises RefusedError and HaltError; writes nothing."""
        services, scope = self._services, self._scope
        self._replacements = services.ask(services.log.read)
        days = list(days_between(scope.first, scope.last))
        refuse_overlap(services, self._replacements, days, scope.partitions)
        partitions = self._partitions(self._replacements)
        gone = sorted({day for one in partitions for day in self._gone(one)})
        if gone:
            refuse_gone(gone, skip=skip_gone)
            self._scope = replace(scope, without=frozenset(gone))
            partitions = self._partitions(self._replacements)
        columns = self._new_columns()
        planners = [Planner(one.view, self._judge(one.view, columns), columns) for one in partitions]
        for one, planner in zip(partitions, planners, strict=True):
            for batch, record in self._read(one):
                planner.take(batch, record)
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
            columns=columns,
        )

    def _new_columns(self) -> tuple[str, ...]:
        """The header of new bodies: the folder's columns, then what today's settings add, as a worker would write."""
        services = self._services
        listed = services.ask(lambda: folder_columns(services.store, services.stream)).names
        return merged(listed, services.columns(services.today.digest))

    def _look(self, one: ObjectPlan, columns: tuple[str, ...]) -> bool:
        """Look at the body that lies there; whether it would be another one."""
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
        services, listed = self._services, self._replacements.newest.get(one.key)
        said = {self._manifest(one.day).get(one.key), listed.new.sha256 if listed else None} - {None}
        facts = services.ask(lambda: services.store.head(one.key))
        rows = facts.metadata.get("rows", "") if facts and services.store.keeps_metadata else str(one.stored.entry.rows)
        if said - {one.former.sha256} or rows != str(one.stored.entry.rows):
            raise RefusedError(
                f"{one.key} is not the body that its records speak of. Nothing was changed: adapty-sink verify says"
                " what is wrong"
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

    def _partitions(self, replacements: Replacements) -> list[Partition]:
        services, scope = self._services, self._scope
        chains = {number: chain for number, chain in services.chains().items() if not chain.empty}
        wanted = sorted(chains if scope.partitions is None else set(scope.partitions) & set(chains))
        self._refuse_pending({number: chains[number] for number in wanted})
        ends = services.ask(lambda: services.admin.ends([chains[number].head.partition for number in wanted]))
        states = [PartitionState(number, chains[number], finished=True) for number in wanted]
        lossy = services.ask(lambda: lossy_objects(services.store, states))
        found = []
        for number in wanted:
            chain = chains[number]
            view = view_partition(
                chain,
                services.stream,
                scope,
                replacements,
                lossy=lossy,
                today=services.today.digest,
                compression=services.compression,
            )
            place = ends[chain.head.partition]
            if chain.head.topic_id != services.topic_id:
                raise HaltError(
                    HaltReason.TOPIC_RECREATED,
                    f"topic {services.topic} was made anew after its days were sealed: its log has other records",
                )
            if place.high < chain.head.through:
                raise HaltError(
                    HaltReason.LOG_TRUNCATED,
                    f"the log of {chain.head.partition} ends at {place.high}, and {chain.head.through} was sealed:"
                    " the days were made of another log",
                )
            found.append(Partition(view, place, self._start(chain, place)))
        return found

    def _refuse_pending(self, chains: Mapping[int, Chain]) -> None:
        checker = ObjectChecker(self._services.store)
        for chain in chains.values():
            seal = chain.last_seal
            if seal is None:
                continue
            if not self._services.ask(partial(checker.finished, seal, lossy=chain.lossy)):
                raise RefusedError(
                    f"seal {seal.n} of {seal.partition} is pending: start the worker, or let it end, then try again"
                )

    def _start(self, chain: Chain, ends: LogEnds) -> int:
        """The first offset that can have a row of the days asked for."""
        since = self._since(self._scope.first)
        found = self._services.ask(lambda: self._services.admin.offset_at(chain.head.partition, since))
        indexed = chain.head.through if found is None else found
        return max(chain.records[0].start, ends.low, min(indexed, chain.head.through))

    def _since(self, day: date) -> datetime:
        """Records stamped before this have no row of `day`: a row's day is its record's day + 1 at most."""
        return midnight(day if self._services.today.day_by is DayBy.RECORD else day - ONE_DAY)

    def _gone(self, one: Partition) -> Iterator[date]:
        """The days asked for of which the log has lost records."""
        view, admin = one.view, self._services.admin
        if one.ends.low <= view.chain.records[0].start:
            return
        first = self._services.ask(lambda: admin.offset_at(view.partition, EPOCH))
        for day in days_between(self._scope.first, self._scope.last):
            since = self._since(day)
            if self._services.ask(lambda: admin.offset_at(view.partition, since)) == first:  # noqa: B023 - at once
                yield day

    # -- comparing ---------------------------------------------------------------------------------------------------

    def compare(self) -> Comparison:
        """Every row of the stored days against what Kafka's records give by the rules that made them. Writes nothing.

        Raises RefusedError where a seal is pending, and HaltError.
        """
        self._replacements = self._services.ask(self._services.log.read)
        partitions = self._partitions(self._replacements)
        gone = sorted({day for one in partitions for day in self._gone(one)})
        if gone:
            self._scope = replace(self._scope, without=frozenset(gone))
            partitions = self._partitions(self._replacements)
        other: dict[str, str] = {}
        compared = 0
        for one in partitions:
            for columns, keys in self._by_columns(one.view).items():
                tallies = self._tallies(one, columns, keys)
                compared += len(tallies)
                for key, tally in tallies.items():
                    if what := self._unlike(key, tally):
                        other[key] = what
        return Comparison(other, compared, tuple(gone))

    def _by_columns(self, view: PartitionView) -> dict[tuple[str, ...], set[str]]:
        found: dict[tuple[str, ...], set[str]] = {}
        for key, stored in view.objects.items():
            found.setdefault(self._services.header(stored.settings, stored.columns), set()).add(key)
        return found

    def _tallies(self, one: Partition, columns: tuple[str, ...], keys: set[str]) -> dict[str, Tally]:
        tallies = {key: Tally() for key in keys}
        judge = self._judge(one.view, columns)
        for batch, record in self._read(one):
            for key, rows in judge.rows(batch, record, anew=False).items():
                if key in tallies:
                    tallies[key].add(rows)
        return tallies

    def _unlike(self, key: str, tally: Tally) -> str:
        """How the rows that are stored differ from these; "" where they do not."""
        services = self._services
        reader = services.ask(lambda: services.store.open(key))
        if reader is None:
            return ""  # missing objects are found without Kafka
        digest, header = hashlib.sha256(), False
        with reader:
            for block in plain_blocks(key, reader):
                rest = block if header else block.partition(b"\n")[2]
                header = header or b"\n" in block
                digest.update(rest)
        if digest.digest() == tally.digest.digest():
            return ""
        return f"its rows are not the {tally.rows} that Kafka's records from {tally.first} to {tally.last} give"

    # -- reading -----------------------------------------------------------------------------------------------------

    def _read(self, one: Partition, span: Span | None = None) -> Iterator[tuple[RawBatch, Record]]:
        """The records of the partition from its start on, cut where the covering record changes."""
        for wanted in one.view.spans(one.start):
            clipped = wanted if span is None else wanted.clip(span)
            if clipped.empty:
                continue
            with self._services.reader.read(one.view.partition, clipped) as records:
                while (batch := self._services.ask(lambda: next(records, None))) is not None:
                    self._progress(len(batch))
                    for segment, record in one.view.chain.segments(batch.span):
                        if record is not None and len(part := batch.clip(segment)):
                            yield part, record

    def _judge(self, view: PartitionView, columns: tuple[str, ...], settings: str | None = None) -> Judge:
        def anew(day: date) -> Basis:
            basis = view.basis_anew(day)
            return basis if settings is None else replace(basis, settings=settings)

        return Judge(view, columns, self._transform, anew)

    def _transform(self, basis: Basis, batch: RawBatch, record: Record, how: TransformOptions) -> TransformedBatch:
        transformer = self._services.transformer(basis.settings or record.settings)

        def make(part: RawBatch) -> TransformedBatch:
            return self._services.ask(lambda: transformer.transform(part, how))

        treats = [self._treat(n, how.columns) for n in basis.treatments]
        return treat_batch(batch, make, treats) if treats else make(batch)

    def _treat(self, n: int, columns: tuple[str, ...]) -> Treat:
        """What rewrite or erasure `n` does to rows."""
        if (n, columns) not in self._treats:
            services, record = self._services, self._replacements.records[n]
            if record.erasure is not None:
                treat = erasing(columns, record.erasure, services.keys)
            else:
                rules = services.rules(record.settings)
                treat = rewriting(columns, rules.privacy, key_of(rules, services.keys), services.key_names())
            self._treats[n, columns] = treat
        return self._treats[n, columns]

    # -- doing -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, folder: Path) -> list[Replacement]:
        """Do what was planned, in batches of whole days. Raises RefusedError where the world is not as it was."""
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
                f"a worker gave the folder of {services.stream} other columns since the plan was made: run the command"
                " again"
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
                self._replacements,
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
        self._replacements = services.ask(services.log.read)
        return record

    def _finish(self, record: Replacement) -> None:
        """Make the bodies of a half-done replay again, and finish it."""
        services = self._services
        columns = services.header(record.settings, next((one.columns for one in record.objects), None))
        left = [one for one in record.objects if not stands(services, record.n, one)]
        self._replacements = services.ask(services.log.read)
        before = self._replacements.before(record.n)
        entries = {one.entry.key: one.entry for one in left}
        numbers = {one.entry.key: one.partition for one in left}
        with (
            working_folder(services.folder) as folder,
            closing(self._bodies(entries, numbers, record.settings, columns, folder, before)) as bodies,
        ):
            finish(services, record, lambda one: bodies.body(one.entry))
        self._replacements = services.ask(services.log.read)

    def _bodies(
        self,
        entries: Mapping[str, ObjectEntry],
        numbers: Mapping[str, int],
        settings: str,
        columns: tuple[str, ...],
        folder: Path,
        replacements: Replacements | None = None,
    ) -> Bodies:
        """The rows of these objects by the rules of `settings`, on the local disk."""
        header = csv_line(columns)
        bodies = Bodies(folder, dict.fromkeys(entries, header))
        try:
            for one in self._partitions(replacements or self._replacements):
                number = one.view.partition.partition
                own = [entry for key, entry in entries.items() if numbers[key] == number]
                offsets = [(e.first_offset, e.last_offset) for e in own if e.first_offset is not None]
                if not offsets:
                    continue
                span = Span(min(first for first, _ in offsets), max(last or 0 for _, last in offsets) + 1)
                judge = self._judge(one.view, columns, settings)
                for batch, record in self._read(one, span):
                    for key, rows in judge.rows(batch, record, anew=True).items():
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
