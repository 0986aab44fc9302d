"""Undo: the old bodies of a replacement restored under their keys, as a replacement of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

from consumer.domain.compression import compression_of
from consumer.domain.errors import RefusedError, UsageError
from consumer.replace.bodies import remove_abandoned
from consumer.replace.protocol import finish, finished, former_of, record_new, refuse_overlap
from consumer.replace.services import Services
from consumer.seal.keys import kept_key
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.log import Replacements
from consumer.seal.replacements.record import NewObject, Replacement, ReplacementKind
from consumer.shape.csv_text import line as csv_line
from consumer.store.body import BLOCK, FileBody, freeze
from consumer.store.port import Body

_Before = tuple[ObjectEntry, str, int | None]
"""An object before a replacement: its rows, and what its header is by: settings, columns of the folder's list."""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undoing would put: the objects as they were, and how many become empty because they were added."""

    undone: Replacement
    seen: Replacements
    objects: tuple[NewObject, ...]
    emptied: int

    @property
    def rows(self) -> tuple[int, int]:
        """Rows now, and after it."""
        return sum(one.entry.rows for one in self.undone.objects), sum(one.entry.rows for one in self.objects)


class Undo:
    """Undoes replacement `n` of one stream."""

    def __init__(self, services: Services, n: int) -> None:
        self._services = services
        self._n = n

    def resume(self) -> Replacement | None:
        """Finish an undo of this replacement that is half done; the newest that is done is returned as it is.

        None if there is none, or where another replacement has replaced it since.
        """
        services = self._services
        remove_abandoned(services.folder)
        found = services.ask(services.log.read)
        undone = found.records[self._n] if self._n < len(found.records) else None
        for record in reversed(found.records):
            if undone is None:
                break
            if record.undoes == self._n:
                if not finished(services, record):
                    finish(services, record, lambda one: self._body(undone, one))
                return None if _over(found, record) else record
        return None

    def plan(self) -> UndoPlan:
        """What it would write. Raises UsageError for an unknown replacement, RefusedError if it cannot be undone."""
        services = self._services
        found = services.ask(services.log.read)
        if self._n >= len(found.records):
            raise UsageError(
                f"stream {services.stream} has {len(found.records)} replacements, none with number {self._n}"
            )
        undone = found.records[self._n]
        self._refuse(found, undone)
        objects = tuple(self._before(found, undone, one) for one in undone.objects)
        emptied = sum(one.former is None for one in undone.objects)
        return UndoPlan(undone, found, objects, emptied)

    def apply(self, plan: UndoPlan) -> Replacement:
        """Restore them. Raises RefusedError if another replacement came first."""
        services, undone = self._services, plan.undone
        self._refuse_late_rows(undone)
        record = record_new(
            services,
            plan.seen,
            replace(
                undone,
                kind=ReplacementKind.UNDO,
                undoes=undone.n,
                objects=plan.objects,
                unchanged=0,
                kept_old=False,
                erasure=None,
                replaced_at=services.clock.now(),
                writer=services.writer,
                heads={number: chain.head.n for number, chain in services.chains().items() if not chain.empty},
            ),
        )
        finish(services, record, lambda one: self._body(undone, one))
        return record

    def _refuse(self, found: Replacements, undone: Replacement) -> None:
        name = f"{undone.kind} {undone.n} of {self._services.stream}"
        if undone.kind is ReplacementKind.UNDO:
            raise RefusedError(f"{name} is itself an undo: run the command that it undid again instead")
        if undone.kind is ReplacementKind.ERASE:
            raise RefusedError(f"{name} cannot be undone, even if the bucket keeps versions")
        refuse_overlap(self._services, found, frozenset(undone.days), undone.partitions)
        for later in _over(found, undone):
            if later.erases(undone.days, undone.partitions):
                raise RefusedError(
                    f"{later.kind} {later.n} replaced objects of {name}, whose old bodies may contain persons that it"
                    " removed: replay these days instead"
                )
            raise RefusedError(f"{later.kind} {later.n} replaced objects of {name}: undo that first, if possible")
        self._refuse_late_rows(undone)

    def _refuse_late_rows(self, undone: Replacement) -> None:
        """Rows that came to these days since were made by newer rules than those that would come back."""
        for number, chain in self._services.chains().items():
            for record in chain.records[undone.heads.get(number, len(chain.records)) + 1 :]:
                late = [entry for entry in record.objects if entry.day in undone.days and not entry.quarantine]
                if late:
                    raise RefusedError(
                        f"late rows were added after {undone.kind} {undone.n}: seal {record.n} of {record.partition}"
                        f" has {late[0].rows} of {late[0].day}. Replay these days instead"
                    )

    def _before(self, found: Replacements, undone: Replacement, one: NewObject) -> NewObject:
        """The object as it was before; an added one with only its header."""
        current = former_of(self._services, one.entry.key)
        if current is None or current[0].sha256 != one.sha256:
            raise RefusedError(
                f"{one.entry.key} is not the body that {undone.kind} {undone.n} wrote: adapty-sink verify says what is"
                " wrong"
            )
        if one.former is None:
            body = self._empty(one)
            empty = replace(one.entry, rows=0, first_offset=None, last_offset=None)
            return replace(one, entry=empty, size=body.size, sha256=body.sha256, former=current[0])
        source = self._source(undone, one)
        entry, settings, columns = self._held_before(found, undone, one)
        size, sha256 = self._size(*source), one.former.sha256
        return NewObject(entry, one.partition, settings, size, sha256, current[0], columns)

    def _held_before(self, found: Replacements, undone: Replacement, one: NewObject) -> _Before:
        earlier = [listed.new for listed in found.listed[one.entry.key] if listed.n < undone.n]
        if earlier:
            return earlier[-1].entry, earlier[-1].settings, earlier[-1].columns
        for chain in self._services.chains().values():
            for record in chain.records:
                for entry in record.objects:
                    if entry.key == one.entry.key:
                        return entry, record.settings, record.columns
        raise RefusedError(f"no seal record has {one.entry.key}: adapty-sink verify says what is wrong")

    def _source(self, undone: Replacement, one: NewObject) -> tuple[str, str]:
        """Key and version of the old body."""
        assert one.former is not None
        if undone.kept_old:
            return kept_key(self._services.stream, undone.n, one.entry.key), ""
        if one.former.version_id:
            return one.entry.key, one.former.version_id
        raise RefusedError(f"{undone.kind} {undone.n} of {self._services.stream} kept no old bodies (--keep-old never)")

    def _size(self, key: str, version: str) -> int:
        with self._opened(key, version) as reader:
            return sum(len(block) for block in iter(lambda: reader.read(BLOCK), b""))

    def _opened(self, key: str, version: str) -> BinaryIO:
        reader = self._services.ask(lambda: self._services.store.open(key, version_id=version))
        if reader is None:
            raise RefusedError(f"{key} was kept, but is missing: its replacement cannot be undone")
        return reader

    def _body(self, undone: Replacement, one: NewObject) -> Body:
        """The body of an object of the undo: read from the store as it is sent there, or only a header."""
        new = next(new for new in undone.objects if new.entry.key == one.entry.key)
        if new.former is None:
            return self._empty(new)
        key, version = self._source(undone, new)
        return FileBody(one.size, one.sha256, lambda: self._opened(key, version))

    def _empty(self, one: NewObject) -> Body:
        header = csv_line(self._services.header(one.settings, one.columns))
        packing = compression_of(one.entry.key)
        return freeze([], header=header, compression=packing, folder=self._services.folder)


def _over(found: Replacements, record: Replacement) -> list[Replacement]:
    """What came over a replacement's objects, the newest first; not what was undone since."""
    keys, later = {one.entry.key for one in record.objects}, found.records[record.n + 1 :]
    undone = {one.undoes for one in later if one.undoes is not None and one.undoes > record.n}
    return [
        one
        for one in reversed(later)
        if one.n not in undone
        and one.undoes not in undone
        and (keys & {other.entry.key for other in one.objects} or one.erases(record.days, record.partitions))
    ]
