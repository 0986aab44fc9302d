"""Changes to stored rows: privacy rules added later, and persons to erase.

A treatment gets a row's cells and returns the new ones, or None if the row is removed. The same treatments apply to
stored rows (rewrite, erase) and to rows that a later replay makes again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from consumer.domain.batches import DayRows, RawBatch, TransformedBatch
from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.remembered import remembering
from consumer.seal.replacements.record import ROWS, Erasure
from consumer.shape.csv_rows import Row, parsed
from consumer.shape.csv_text import line
from consumer.shape.privacy import hashed, treated
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Privacy

ERASED = "erased"
"""Why a row is removed: it is one of a person who was erased."""
DIGEST_DIGITS = 32
_PURPOSE = b"adapty-sink: erased value\0"

MOST_KNOWN = 1 << 16
"""Cells whose digest is remembered: ids come back in many rows."""

Treat = Callable[[Row], Row | None]


def digest_of_value(value: str, key: bytes) -> str:
    """What a record stores in place of a value: useless for finding the value without the key."""
    return hmac.digest(key, _PURPOSE + value.encode(), "sha256").hex()[:DIGEST_DIGITS]


def erasure_of(
    column: str, mode: str, values: Iterable[str], personal: Sequence[str], name: str, keys: Mapping[str, bytes]
) -> Erasure:
    """Whom to erase. A value also stands for its hashes under every key: columns may have been hashed with any."""
    key = keys[name]
    forms = {form for value in values for form in (value, *(hashed(value, other, keys[other]) for other in keys))}
    digests = frozenset(digest_of_value(form, key) for form in forms)
    return Erasure(column, mode, name, fingerprint(key), digests, tuple(personal))


def erasing(columns: Sequence[str], erasure: Erasure, keys: Mapping[str, bytes]) -> Treat:
    """Removes the rows of these persons, or empties their personal cells.

    Raises HaltError `missing_key` without the key that the digests were made with.
    """
    key = keys.get(erasure.key)
    if key is None or fingerprint(key) != erasure.fingerprint:
        raise HaltError(
            HaltReason.MISSING_KEY,
            f"an erasure of column {erasure.column} needs the key {erasure.key!r} (fingerprint {erasure.fingerprint}):"
            " put it back into [privacy.keys] under its name",
        )
    if erasure.column not in columns:
        return lambda row: row  # an object from before the column
    place = list(columns).index(erasure.column)
    emptied = {index for index, name in enumerate(columns) if name in erasure.personal}

    def is_meant(cell: str) -> bool:
        return digest_of_value(cell, key) in erasure.digests

    meant = remembering(is_meant, MOST_KNOWN)

    def treat(row: Row) -> Row | None:
        cell = row[place]
        if not cell or not meant(cell):
            return row
        if erasure.mode == ROWS:
            return None
        return tuple(None if index in emptied else value for index, value in enumerate(row))

    return treat


def rewriting(columns: Sequence[str], privacy: Privacy, key: bytes, names: Collection[str]) -> Treat:
    """Applies privacy rules. A cell that is a hash under a key of one of these `names` stays as it is."""
    rules = [(place, privacy.columns[name]) for place, name in enumerate(columns) if name in privacy.columns]

    def treat(row: Row) -> Row:
        cells = list(row)
        for place, method in rules:
            cells[place] = treated(cells[place], method, privacy.key or "", key, names)[0]
        return tuple(cells)

    return treat


def treat_batch(
    batch: RawBatch, transform: Callable[[RawBatch], TransformedBatch], treats: Sequence[Treat]
) -> TransformedBatch:
    """A batch's rows, treated.

    A batch that loses rows is halved until each loses all of its rows or none: so offsets are those of rows that stay.
    """
    made, treat = transform(batch), chained(treats)
    found, removed = [], 0
    for rows in made.days:
        if rows.quarantine or not rows.body:
            found.append(rows)
            continue
        kept = [row for row in map(treat, parsed([rows.body])) if row is not None]
        lost = rows.rows - len(kept)
        if lost and kept:
            one, other = batch.halves()
            return _joined(treat_batch(one, transform, treats), treat_batch(other, transform, treats))
        removed += lost
        if kept:
            found.append(replace(rows, body=b"".join(map(line, kept))))
    filtered = {**made.filtered, **({ERASED: removed} if removed else {})}
    return replace(made, days=tuple(found), filtered=filtered)


def chained(treats: Sequence[Treat]) -> Treat:
    """One treatment after the other, until the row is removed."""

    def treat(row: Row) -> Row | None:
        made: Row | None = row
        for one in treats:
            made = one(made) if made is not None else None
        return made

    return treat


def _joined(one: TransformedBatch, other: TransformedBatch) -> TransformedBatch:
    """Two neighbours as one; of counts only what a plan reads."""
    days: dict[tuple[object, bool], DayRows] = {(rows.day, rows.quarantine): rows for rows in one.days}
    for rows in other.days:
        before = days.get((rows.day, rows.quarantine))
        days[rows.day, rows.quarantine] = (
            rows
            if before is None
            else replace(
                before, rows=before.rows + rows.rows, last_offset=rows.last_offset, body=before.body + rows.body
            )
        )
    names = {**one.filtered, **other.filtered}
    filtered = {name: one.filtered.get(name, 0) + other.filtered.get(name, 0) for name in names}
    return replace(
        one,
        days=tuple(sorted(days.values(), key=lambda rows: (rows.day, rows.quarantine))),
        filtered=filtered,
        counts=one.counts + other.counts,
    )
