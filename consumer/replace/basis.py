"""The rules that made the rows of an object: those that cover its offsets, or those of a replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from consumer.seal.replacements.log import Listed, Replacements
from consumer.seal.replacements.record import Replacement, ReplacementKind


@dataclass(frozen=True, slots=True)
class Basis:
    """Rows are made by the settings of this digest (None: by the covering record's), then treated.

    `treatments` are the numbers of the replacements that did the latter, rewrites and erasures, in their order.
    """

    settings: str | None = None
    treatments: tuple[int, ...] = ()


def basis_of(listed: Sequence[Listed], replacements: Replacements) -> Basis:
    """The basis of an object's contents, from all entries of replacements for it, oldest first."""
    if not listed:
        return Basis()
    record = replacements.records[listed[-1].n]
    before = listed[:-1]
    match record.kind:
        case ReplacementKind.REPLAY:
            new = listed[-1].new
            return Basis(record.settings, erasures(replacements.records[: record.n], new.entry.day, new.partition))
        case ReplacementKind.UNDO:
            undone = record.undoes or 0
            return basis_of([one for one in before if one.n < undone], replacements)
        case ReplacementKind.REWRITE | ReplacementKind.ERASE:
            found, new = basis_of(before, replacements), listed[-1].new
            again: list[int] = []
            if record.kind is ReplacementKind.REWRITE:  # it applies recorded erasures again
                known = erasures(replacements.records[: record.n], new.entry.day, new.partition)
                again = [n for n in known if n not in found.treatments]
            return Basis(found.settings, (*found.treatments, *again, record.n))


def erasures(records: Sequence[Replacement], day: date, partition: int) -> tuple[int, ...]:
    """The numbers of the erasures that apply to rows of this day and partition, whoever makes them again."""
    return tuple(
        record.n
        for record in records
        if record.kind is ReplacementKind.ERASE and record.first <= day <= record.last and _covers(record, partition)
    )


def _covers(record: Replacement, partition: int) -> bool:
    return record.partitions is None or partition in record.partitions
