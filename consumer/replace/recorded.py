"""The recorded offsets of sealed days: where they are in Kafka, and the result of any rules on them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial

from consumer.domain.batches import RawBatch, TransformedBatch, TransformOptions
from consumer.domain.days import EPOCH, ONE_DAY, DayRange, midnight
from consumer.domain.errors import HaltError, HaltReason, RefusedError
from consumer.domain.offsets import LogEnds, Span
from consumer.replace.basis import Basis
from consumer.replace.partition_view import PartitionView, views_of
from consumer.replace.progress import Progress, untold
from consumer.replace.services import Scope, Services
from consumer.replace.treatments import Treat, erasing, rewriting, treat_batch
from consumer.replace.verdicts import Judge
from consumer.seal.chain import Chain
from consumer.seal.objects import ObjectChecker
from consumer.seal.record import Record
from consumer.seal.replacements.log import Replacements
from consumer.shape.privacy import key_of
from consumer.streams.rules import DayBy

_Recorded = tuple["RecordedPartition", RawBatch, Record]


@dataclass(frozen=True, slots=True)
class RecordedPartition:
    """A partition to read again: the bounds of its log, and where reading starts."""

    view: PartitionView
    ends: LogEnds
    start: int

    def spans(self, within: Span | None = None) -> list[Span]:
        """What there is to read, in order."""
        found = self.view.spans(self.start)
        return [span for one in found if not (span := one if within is None else one.clip(within)).empty]


class RecordedOffsets:
    """Reads the partitions of one stream again, as one state of the replacement log has them."""

    def __init__(self, services: Services, replacements: Replacements, progress: Progress = untold) -> None:
        self.replacements = replacements
        self._services = services
        self._progress = progress
        self._treats: dict[tuple[int, tuple[str, ...]], Treat] = {}

    # -- where they lie ----------------------------------------------------------------------------------------------

    def partitions(self, scope: Scope) -> list[RecordedPartition]:
        """Those of these days. Raises RefusedError if a seal is pending, HaltError if the log is another."""
        services = self._services
        chains = services.chains_in(scope)
        self._refuse_pending(chains)
        ends = services.ask(lambda: services.admin.ends([chain.head.partition for chain in chains]))
        found = []
        for view in views_of(services, scope, self.replacements, chains):
            chain, place = view.chain, ends[view.partition]
            if chain.head.topic_id != services.topic_id:
                raise HaltError(
                    HaltReason.TOPIC_RECREATED,
                    f"topic {services.topic} was deleted and created again after its days were sealed: its log has"
                    " other records",
                )
            if place.high < chain.head.through:
                raise HaltError(
                    HaltReason.LOG_TRUNCATED,
                    f"the log of {chain.head.partition} ends at {place.high}, but {chain.head.through} was sealed:"
                    " the days were made from another log",
                )
            found.append(RecordedPartition(view, place, self._start(chain, place, scope.first)))
        return found

    def _refuse_pending(self, chains: Sequence[Chain]) -> None:
        checker = ObjectChecker(self._services.store)
        for chain in chains:
            seal = chain.last_seal
            if seal is None:
                continue
            if not self._services.ask(partial(checker.finished, seal, lossy=chain.lossy)):
                raise RefusedError(
                    f"seal {seal.n} of {seal.partition} is pending: start the worker, or let it finish, then try again"
                )

    def _start(self, chain: Chain, ends: LogEnds, first: date) -> int:
        """The first offset that can have a row of the days asked for."""
        since = self._since(first)
        found = self._services.ask(lambda: self._services.admin.offset_at(chain.head.partition, since))
        indexed = chain.head.through if found is None else found
        return max(chain.records[0].start, ends.low, min(indexed, chain.head.through))

    def _since(self, day: date) -> datetime:
        """Records stamped before this have no row of `day`: a row's day is its record's day + 1 at most."""
        if self._services.today.day_by is DayBy.RECORD:
            return max(midnight(day), EPOCH)
        return max(midnight(day), EPOCH + ONE_DAY) - ONE_DAY

    def gone(self, partitions: list[RecordedPartition]) -> list[date]:
        """The days asked for of which the log has lost records."""
        return sorted({day for one in partitions for day in self._gone(one)})

    def _gone(self, one: RecordedPartition) -> Iterable[date]:
        view, admin = one.view, self._services.admin
        if one.ends.low <= view.chain.records[0].start:
            return ()
        oldest = self._services.ask(lambda: admin.offset_at(view.partition, EPOCH))

        def held(number: int) -> bool:
            since = self._since(view.scope.first + number * ONE_DAY)
            return self._services.ask(lambda: admin.offset_at(view.partition, since)) != oldest

        # Nor are days after one that is held: some questions will do for however many days are asked for.
        count = bisect_left(range(len(DayRange(view.scope.first, view.scope.last))), True, key=held)  # noqa: FBT003
        return (view.scope.first + number * ONE_DAY for number in range(count))

    # -- what becomes of them ----------------------------------------------------------------------------------------

    def read(
        self, what: str, spans: list[tuple[RecordedPartition, list[Span]]]
    ) -> Iterator[tuple[RecordedPartition, RawBatch, Record]]:
        """The records of these spans, split where the covering record changes. `what` gets the progress."""
        total = sum(span.end - span.start for _, own in spans for span in own)
        with self._progress(what, total) as advance:
            for one, own in spans:
                for span in own:
                    for batch in self._batches(one, span):
                        advance(batch.span.end - batch.span.start)
                        for segment, record in one.view.chain.segments(batch.span):
                            if record is not None and len(part := batch.clip(segment)):
                                yield one, part, record

    def _batches(self, one: RecordedPartition, span: Span) -> Iterator[RawBatch]:
        with self._services.reader.read(one.view.partition, span) as records:
            while (batch := self._services.ask(lambda: next(records, None))) is not None:
                yield batch

    def judge(self, view: PartitionView, columns: tuple[str, ...], settings: str | None = None) -> Judge:
        """Compares batches under the old rules with the current ones, or those of `settings`."""

        def anew(day: date) -> Basis:
            basis = view.basis_anew(day)
            return basis if settings is None else replace(basis, settings=settings)

        return Judge(view, columns, self._transform, anew, self._services.rules)

    def _transform(self, basis: Basis, batch: RawBatch, record: Record, how: TransformOptions) -> TransformedBatch:
        transformer = self._services.transformer(basis.settings or record.settings)

        def make(part: RawBatch) -> TransformedBatch:
            return self._services.ask(lambda: transformer.transform(part, how))

        treats = [self._treat(n, how.columns) for n in basis.treatments]
        return treat_batch(batch, make, treats) if treats else make(batch)

    def _treat(self, n: int, columns: tuple[str, ...]) -> Treat:
        """What rewrite or erasure `n` does to rows."""
        if (n, columns) not in self._treats:
            services, record = self._services, self.replacements.records[n]
            if record.erasure is not None:
                treat = erasing(columns, record.erasure, services.keys)
            else:
                rules = services.rules(record.settings)
                treat = rewriting(columns, rules.privacy, key_of(rules, services.keys), services.key_names())
            self._treats[n, columns] = treat
        return self._treats[n, columns]
