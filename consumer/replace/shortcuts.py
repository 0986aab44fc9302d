"""If two sets of rules differ in only one way, a batch's differences are known without processing each record.

The native engine compares texts if it is installed; what it leaves is compared here, row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from consumer.shape.csv_rows import cells_of, rows_of
from consumer.shape.filters import REASONS
from consumer.shape.native.extension import comparer
from consumer.streams.rules import Filter, LineBreaks, Privacy, RowRules


@dataclass(frozen=True, slots=True)
class Change:
    """The changes to an object's rows in a batch: how many are added, removed, or have another cell, by column."""

    added: int = 0
    removed: int = 0
    changed: Counter[str] = field(default_factory=Counter)


def one_filter(before: RowRules, after: RowRules) -> str | None:
    """The only filter in which the rules differ, as a reason: each added or removed row is due to it.

    None if they differ in anything else, or in something that drops rows without a single reason.
    """
    if replace(before, filter=after.filter) != after:
        return None
    names = [one.name for one in fields(Filter) if getattr(before.filter, one.name) != getattr(after.filter, one.name)]
    reasons = {REASONS.get(name) for name in names}
    return reasons.pop() if len(reasons) == 1 else None


def cells_alone(before: RowRules, after: RowRules) -> bool:
    """Whether the rules differ only in the text of cells, so that both give the same rows."""

    def without(rules: RowRules) -> RowRules:
        return replace(rules, event_names={}, privacy=Privacy(), line_breaks=LineBreaks.KEEP)

    return without(before) == without(after)


def dated_alike(before: RowRules, after: RowRules) -> bool:
    """Whether each record that has a row by both has it in the same day: they differ in filters and cells alone."""
    return cells_alone(replace(before, filter=after.filter), after)


def comings_and_goings(before: bytes, after: bytes) -> Change | None:
    """How many rows came and went between these texts, all others being as they were.

    None where equal rows make that uncertain.
    """
    native = comparer()
    if native is not None and (certain := native.comings_and_goings(before, after)) is not None:
        return Change(*certain)
    old, new = list(rows_of([before])), list(rows_of([after]))
    few, many = (old, new) if len(old) <= len(new) else (new, old)
    rest = iter(many)
    if all(row in rest for row in few):  # in order: nothing but comings, or nothing but goings
        return Change(added=max(0, len(new) - len(old)), removed=max(0, len(old) - len(new)))
    kept = set(old) & set(new)
    if len(set(old)) < len(old) or len(set(new)) < len(new):
        return None
    return Change(added=len(new) - len(kept), removed=len(old) - len(kept))


def other_cells(before: bytes, after: bytes, columns: Sequence[str]) -> Change | None:
    """Which cells differ between the same rows; None where these are not the same rows."""
    native = comparer()
    if native is not None and (certain := native.other_cells(before, after, len(columns))) is not None:
        return Change(changed=+Counter(dict(zip(columns, certain, strict=True))))
    old, new = list(rows_of([before])), list(rows_of([after]))
    if len(old) != len(new):
        return None
    changed: Counter[str] = Counter()
    for one, other in zip(old, new, strict=True):
        if one != other:
            pairs = zip(columns, cells_of(one), cells_of(other), strict=True)
            changed.update(name for name, left, right in pairs if left != right)
    return Change(changed=changed)
