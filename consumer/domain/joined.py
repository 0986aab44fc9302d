"""Consecutive batches of rows joined into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import reduce
from operator import add

from consumer.domain.batches import Counts, DayRows, TransformedBatch
from consumer.domain.offsets import Span


def joined(parts: Sequence[TransformedBatch]) -> TransformedBatch:
    """What the parts of a batch, in their order, make together."""
    known: dict[int, int] = {}
    unknown: dict[int, int] = {}
    for part in parts:
        known = {**part.known_schemas, **known}
        unknown |= part.unknown_schemas
    return TransformedBatch(
        partition=parts[0].partition,
        span=Span(parts[0].span.start, parts[-1].span.end),
        days=_days(parts),
        counts=reduce(add, (part.counts for part in parts), Counts()),
        filtered=_sum(part.filtered for part in parts),
        oddities=_sum(part.oddities for part in parts),
        unknown_fields=_sum(part.unknown_fields for part in parts),
        known_schemas=known,
        unknown_schemas=unknown,
        exact_path=_sum(part.exact_path for part in parts),
        first_timestamp=parts[0].first_timestamp,
    )


def _sum(parts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for part in parts:
        found.update(part)
    return found


def _days(parts: Sequence[TransformedBatch]) -> tuple[DayRows, ...]:
    pieces: dict[tuple[date, bool], list[DayRows]] = {}
    for part in parts:
        for rows in part.days:
            pieces.setdefault((rows.day, rows.quarantine), []).append(rows)
    return tuple(
        replace(
            found[0],
            rows=sum(rows.rows for rows in found),
            last_offset=found[-1].last_offset,
            body=b"".join(rows.body for rows in found),
        )
        for _, found in sorted(pieces.items())
    )
