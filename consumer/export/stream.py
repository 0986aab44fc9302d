"""Exporting one stream: survey, announce the plan, read and write, write the facts last."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, Protocol

from consumer.domain.clock import Clock
from consumer.domain.compression import Compression
from consumer.domain.errors import HaltError, HaltReason, UsageError
from consumer.export import plan as plans
from consumer.export.content import Content, DayChangedError, ProgressListener, Source, Tries, known_columns
from consumer.export.open_days import OpenDays, OpenRows
from consumer.export.plan import DayKind, Identity, PlannedDay, WrittenFile
from consumer.export.survey import OpenPartition, Survey, Surveyor
from consumer.export.targets import Sidecar, TakenError, Target
from consumer.seal.folder_columns import folder_columns
from consumer.seal.inspection import Outside
from consumer.shape.csv_rows import CellRule
from consumer.store.compression import CODECS
from consumer.streams.rules import RowRules

OVERTAKEN_TRIES = 3
"""How often an export starts over because another one wrote the same name."""
UNPACKED_TIMES = 12
"""Upper estimate of how much a compressed object expands: for the part size of an upload."""


@dataclass(frozen=True, slots=True)
class Order:
    """The request. `columns` None: all of the folder."""

    days: tuple[date, ...]
    columns: tuple[str, ...] | None
    compression: Compression
    force: bool
    hold: bool


class Watcher(ProgressListener, Protocol):
    """Gets the progress of an export."""

    def planned(self, stream: str, survey: Survey) -> None: ...


class Judges(Protocol):
    """The transformers and cell rules of an export."""

    def columns(self, digest: str, part: OpenPartition) -> Sequence[str]:
        """The columns of objects sealed under these settings."""

    def cell_rules(self, columns: Sequence[str]) -> Mapping[int, CellRule]:
        """Today's privacy rules for an object with these columns, by place."""

    def open_days(self, columns: tuple[str, ...], read: Callable[[int], None]) -> OpenDays:
        """What reads days that are not sealed."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """How the export of a stream ended. `wrote` False: the same stood there already."""

    location: str
    facts: Sidecar
    wrote: bool


@dataclass(frozen=True, slots=True)
class StreamExport:
    """One stream's export. `today` are the columns of today's rules."""

    outside: Outside
    rules: RowRules
    today: Sequence[str]
    judges: Judges
    target: Target
    clock: Clock
    writer: str
    watcher: Watcher
    rest: Callable[[], None]

    def run(self, order: Order) -> ExportResult:
        """Export, unless the same export already exists.

        Raises UsageError if other content has the name and may not be replaced, HaltError if no day is known or a day
        keeps changing.
        """
        surveyor, tries = Surveyor(self.outside, order.days), Tries(self.rest)
        survey = surveyor.survey()
        if all(day.kind is DayKind.UNKNOWN for day in survey.days):
            raise self._unknown(order)
        self.watcher.planned(self.outside.stream.name, survey)
        overtaken = 0
        while overtaken < OVERTAKEN_TRIES:
            try:
                return self._asked(order, partial(self._attempt, order, surveyor, survey, tries))
            except TakenError:
                overtaken += 1
            except DayChangedError as changed:
                tries.again(changed.day, "changed while it was read")
            survey = surveyor.survey()
        raise UsageError("another export is writing the same name: run this again once it has ended")

    def _asked(self, order: Order, attempt: Callable[[], ExportResult]) -> ExportResult:
        """The attempt, and over again while an outage lasts; what went into a pipe cannot be taken back."""
        return attempt() if order.hold else self.outside.ask(attempt)

    def _attempt(self, order: Order, surveyor: Surveyor, survey: Survey, tries: Tries) -> ExportResult:
        columns = self._columns(order, survey)
        base = plans.base_name(survey.days)
        file = plans.file_name(base, order.compression)
        identity = plans.identity_of(file, columns, self.rules.digest, survey.days, survey.kafka)
        standing = self.outside.ask(lambda: self.target.standing(base))
        if standing is not None:
            differences = identity.differences(standing.file, standing.facts)
            if not differences:
                return ExportResult(self.target.where(file), standing.facts, wrote=False)
            if not order.force:
                raise UsageError(
                    f"{self.target.where(standing.file)} is another export: {', '.join(differences)}."
                    " Use --force to replace it"
                )
        return self._write(order, surveyor, survey, identity, tries)

    def _write(
        self, order: Order, surveyor: Surveyor, survey: Survey, identity: Identity, tries: Tries
    ) -> ExportResult:
        content = Content(self._source(order, surveyor, survey, identity.columns, tries), survey, identity.columns)
        packed = Packed(order.compression)
        blocks = packed.blocks(_as_planned(content, survey.days))
        self.target.write(identity.file, blocks, _expected(survey.days))
        written = WrittenFile(sum(day.rows for day in content.done), packed.size, packed.sha256)
        facts = plans.sidecar(
            self.outside.stream.name,
            _as_read(identity, content),
            content.done,
            written,
            written_at=self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            writer=self.writer,
        )
        base = plans.base_name(survey.days)
        self.outside.ask(lambda: self.target.conclude(plans.sidecar_name(base), facts))
        return ExportResult(self.target.where(identity.file), facts, wrote=True)

    def _columns(self, order: Order, survey: Survey) -> tuple[str, ...]:
        store, stream = self.outside.store, self.outside.stream.name
        listed = self.outside.ask(lambda: folder_columns(store, stream).names)
        folder = plans.folder_columns([listed, *known_columns(survey, self.judges.columns)], self.today)
        return plans.chosen_columns(folder, order.columns)

    def _source(
        self, order: Order, surveyor: Surveyor, survey: Survey, columns: tuple[str, ...], tries: Tries
    ) -> Source:
        def open_rows() -> OpenRows:
            reading = self.judges.open_days(columns, lambda offsets: self.watcher.advanced(offsets, 0))
            return reading.rows(survey.open_partitions, survey.open_days)

        return Source(
            store=self.outside.store,
            ask=self.outside.ask,
            manifest=surveyor.manifest,
            open_rows=open_rows,
            cell_rules=self.judges.cell_rules,
            progress=self.watcher,
            tries=tries,
            hold=order.hold,
        )

    def _unknown(self, order: Order) -> HaltError:
        return HaltError(
            HaltReason.RETENTION_HOLE,
            f"no day from {order.days[0]} to {order.days[-1]} is known: {self.outside.store.location} has no manifest"
            f" of them, and topic {self.outside.stream.topic} does not reach back that far. Nothing was written",
        )


def _as_planned(content: Content, planned: Sequence[PlannedDay]) -> Iterator[bytes]:
    """The content's blocks. The file's name says whether all days are complete: if that changes, it is repeated."""
    yield from content.blocks()
    for day, read in zip(planned, content.done, strict=True):
        if day.complete != read.complete:
            raise DayChangedError(day.day)


def _as_read(identity: Identity, content: Content) -> Identity:
    """The identity with the revisions that were read: a day may have changed since the plan, before its turn."""
    revisions = {day.day.isoformat(): day.revision for day in content.done}
    return Identity(identity.file, identity.columns, identity.settings, revisions, identity.kafka)


def _expected(days: Iterable[PlannedDay]) -> int:
    """About how many bytes the file can have."""
    total = 0
    for day in days:
        for item in day.manifest.get("objects", ()):
            total += int(item["bytes"]) * (1 if item["key"].endswith(".csv") else UNPACKED_TIMES)
    return total * 2


@dataclass(slots=True)
class Packed:
    """The file's bytes, and their size and digest once all of them were given."""

    compression: Compression
    size: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes given so far."""
        return str(self._digest.hexdigest())

    def blocks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """The blocks as they are stored."""
        make = CODECS[self.compression].packer
        if make is None:
            for block in plain:
                yield self._counted(block)
            return
        packer = make(-1)  # the size of open days is unknown
        for block in plain:
            yield self._counted(packer.compress(block))
        yield self._counted(packer.flush())

    def _counted(self, block: bytes) -> bytes:
        self._digest.update(block)
        self.size += len(block)
        return block
