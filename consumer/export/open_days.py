"""Days that are not sealed: rows from Kafka, processed as in the worker, in a temporary file until their turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import BinaryIO, cast

from consumer.domain.backoff import Ask
from consumer.domain.batches import RawBatch, RowTransformer
from consumer.domain.days import ONE_DAY, day_of_millis
from consumer.domain.offsets import Span
from consumer.export.survey import OpenPartition, stamp_margin
from consumer.seal.chain import Chain
from consumer.seal.record import ObjectEntry, Record
from consumer.shape.csv_rows import CellRule, picked
from consumer.source.port import RangeReader
from consumer.store.body import local_disk
from consumer.streams.rules import RowRules
from consumer.worker.offset_rules import OffsetRules

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class OpenRules(OffsetRules):
    """Selects the rows that are in no object of `published`; the whole chain says which rules apply to each offset."""

    published: Chain = field(default_factory=Chain)

    def wants(self, day: date, covering: Record | None) -> bool:
        """Whether rows of `day` under this covering record come from Kafka."""
        sealed = covering is not None and covering.n < len(self.published.records)
        return not (sealed and self.published.took(day, covering))


@dataclass(slots=True)
class OpenRows:
    """Rows read from Kafka: pieces of a temporary file without a name, by day and partition, in offset order.

    `suspect` is the last day that may lack rows, as Kafka deleted records that no seal had taken (None: none may).
    """

    file: BinaryIO
    pieces: dict[tuple[date, int], list[Span]] = field(default_factory=dict)
    rows: dict[date, int] = field(default_factory=dict)
    suspect: date | None = None

    def add(self, day: date, partition: int, rows: int, body: bytes) -> None:
        """Keep the next rows of one day of one partition."""
        with local_disk("write a temporary file"):
            start = self.file.tell()
            self.file.write(body)
        self.pieces.setdefault((day, partition), []).append(Span(start, start + len(body)))
        self.rows[day] = self.rows.get(day, 0) + rows

    def blocks(self, day: date, partition: int) -> Iterator[bytes]:
        """The rows of one day of one partition."""
        for piece in self.pieces.get((day, partition), ()):
            with local_disk("read a temporary file"):
                self.file.seek(piece.start)
                left = piece.end - piece.start
            while left:
                with local_disk("read a temporary file"):
                    data = self.file.read(min(left, BLOCK))
                left -= len(data)
                yield data


@dataclass(frozen=True, slots=True)
class OpenDays:
    """Reads what no seal has taken yet.

    `transformer` gives the transformer for a settings' digest. `cell_rules` are the current privacy rules by place in
    `columns`, for rows made with older settings.
    """

    reader: RangeReader
    ask: Ask
    rules: RowRules
    columns: tuple[str, ...]
    transformer: Callable[[str, OpenPartition], RowTransformer]
    cell_rules: Mapping[int, CellRule]
    read: Callable[[int], None]

    def rows(self, partitions: Collection[OpenPartition], days: Collection[date]) -> OpenRows:
        """The rows of these days, one partition after the other. The caller closes its file."""
        with local_disk("make a temporary file"):
            found = OpenRows(cast("BinaryIO", tempfile.TemporaryFile()))  # noqa: SIM115 - handed on
        try:
            for part in partitions:
                self._read(part, frozenset(days), found)
        except BaseException:
            found.file.close()
            raise
        return found

    def _read(self, part: OpenPartition, days: frozenset[date], found: OpenRows) -> None:
        rules = self._offset_rules(part)
        first = True
        for span in part.chain.outside_gaps(part.span):
            with self.reader.read(part.partition, span) as batches:
                while (batch := self.ask(partial(next, batches, None))) is not None:
                    if first:
                        self._suspect(part, batch, found)
                    first = False
                    self._take(rules, batch, days, found)
                    self.read(batch.span.end - batch.span.start)
        if first:
            self._suspect(part, None, found)

    def _take(self, rules: OpenRules, batch: RawBatch, days: frozenset[date], found: OpenRows) -> None:
        transformed = self.ask(lambda: list(rules.transform(batch, lambda day: day not in days)))
        for made, covering in transformed:
            for rows in made.days:
                if not rows.quarantine and rows.day in days and rules.wants(rows.day, covering):
                    found.add(rows.day, batch.partition.partition, rows.rows, self._treated(rows.body, covering))

    def _treated(self, body: bytes, covering: Record | None) -> bytes:
        """Rows as today's privacy rules want them."""
        if not self.cell_rules or covering is None or covering.settings == self.rules.digest:
            return body
        width = len(self.columns)
        return b"".join(picked((body,), range(width), self.cell_rules, width))

    def _offset_rules(self, part: OpenPartition) -> OpenRules:
        today = self.rules.digest
        covering = [record for _, record in part.chain.segments(part.span) if record is not None]
        digests = {today, *(record.settings for record in covering)}
        transformers = {digest: self.transformer(digest, part) for digest in digests}
        return OpenRules(part.chain, transformers, today, self.columns, published=part.published)

    def _suspect(self, part: OpenPartition, batch: RawBatch | None, found: OpenRows) -> None:
        """Which days may lack rows: those that a record stamped before the first one left can have had."""
        if part.low is None or part.span.start > part.low:
            return
        stamps = batch.timestamps if batch is not None else ()
        last = min(day_of_millis(stamps[0]), date.max - ONE_DAY) + stamp_margin(self.rules) if stamps else date.max
        found.suspect = max(found.suspect or last, last)


def stored_objects(part: OpenPartition, day: date) -> list[ObjectEntry]:
    """The objects with what seals have taken of a day, in offset order."""
    return [
        entry
        for record in part.published.records
        for entry in record.objects
        if entry.day == day and not entry.quarantine
    ]


def lacks_rows(rows: OpenRows, day: date) -> bool:
    """Whether Kafka deleted records that may have had rows of this day."""
    return rows.suspect is not None and day <= rows.suspect
