"""Publishing as pure functions: which days are closed, their objects, and what is known to be missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from consumer.domain.days import ONE_DAY, DayRange, day_of_millis
from consumer.domain.json_fields import number_in
from consumer.seal.chain import Chain
from consumer.seal.record import ObjectEntry, Record, RecordKind

DAYS_LISTED = 400
STARTED_IN_MID_LOG = "started_in_mid_log"
GAP = "gap"
OPEN_TRANSACTION = "open_transaction"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition for publishing: its chain, and whether every object of its last seal exists."""

    partition: int
    chain: Chain
    finished: bool

    @property
    def published(self) -> Chain:
        """The chain up to its last finished seal."""
        seal = self.chain.last_seal
        return self.chain if self.finished or seal is None else self.chain.before(seal.n)

    @property
    def sealed(self) -> date | None:
        """The last day of which this partition has all rows in the bucket."""
        records = reversed(self.published.records)
        return next((record.cutoff for record in records if record.caught_up and record.cutoff is not None), None)


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The contents of an object that its seal did not write: `replay` is the replacement that did.

    `settings` and `columns` give its header, as in a seal record; "" for those of its seal.
    """

    entry: ObjectEntry
    replay: int | None = None
    settings: str = ""
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One data object of a day: which seal's, and what gives its columns: `columns` of the folder, or the settings.

    `replay` is the replacement that wrote it; None if its seal did.
    """

    partition: int
    seal: int
    sealed_at: datetime
    settings: str
    entry: ObjectEntry
    replay: int | None = None
    columns: int | None = None


@dataclass(frozen=True, slots=True)
class DayPlan:
    """What a published day consists of. `digests` are those of the records in `seals`.

    `unlisted` are the keys of objects that these seals put and that no manifest lists (yet): quarantine, later days.
    """

    day: date
    parts: tuple[Part, ...]
    why: tuple[str, ...]
    seals: Mapping[str, int]
    digests: Mapping[str, str]
    unlisted: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows over all objects."""
        return sum(part.entry.rows for part in self.parts)

    @property
    def complete(self) -> bool:
        """Nothing is known to be missing."""
        return not self.why

    @property
    def replay(self) -> int | None:
        """The newest replacement that wrote one of its objects."""
        return max((part.replay for part in self.parts if part.replay is not None), default=None)

    @property
    def newest(self) -> Part | None:
        """The object sealed last: its columns are the day's."""
        return max(self.parts, key=lambda part: (part.sealed_at, part.partition, part.seal), default=None)


def sealed_everywhere(states: Sequence[PartitionState]) -> date | None:
    """The last day that every partition has sealed, or None."""
    sealed = [state.sealed for state in states]
    reached = [day for day in sealed if day is not None]
    return min(reached) if reached and len(reached) == len(sealed) else None


def plan_days(states: Sequence[PartitionState], held: Mapping[str, StoredContent]) -> list[DayPlan]:
    """Every day to be published, oldest first. `held` are objects that are not as their seals put them, by key."""
    last = sealed_everywhere(states)
    if last is None:
        return []
    parts: dict[date, list[Part]] = {}
    for state in states:
        for part in _parts(state, held):
            parts.setdefault(part.entry.day, []).append(part)
    first = min(_first_cutoff(state.published) for state in states)
    days = {day for day in parts if day <= last} | set(DayRange(first, last))
    reasons = _reasons(states)
    seals = {str(state.partition): state.published.head.n for state in states}
    digests = {str(state.partition): state.published.digests[-1] for state in states}
    unlisted = _unlisted(states)
    return [
        DayPlan(day, _ordered(parts.get(day, ())), _why(day, reasons), seals, digests, tuple(unlisted.get(day, ())))
        for day in sorted(days)
    ]


def _unlisted(states: Sequence[PartitionState]) -> dict[date, list[str]]:
    """Keys of quarantine objects and of objects of later days, by the day that their seal or the next one closed."""
    found: dict[date, list[str]] = {}
    for state in states:
        closed: date | None = None
        for record in reversed(state.published.records):
            closed = record.cutoff if record.caught_up and record.cutoff is not None else closed
            if closed is not None:
                keys = (entry.key for entry in record.objects if entry.quarantine or entry.day > closed)
                found.setdefault(closed, []).extend(keys)
    return found


def _ordered(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: (part.partition, part.seal)))


def _parts(state: PartitionState, held: Mapping[str, StoredContent]) -> Iterable[Part]:
    seen = set()
    for record in state.published.records:
        for entry in record.objects:
            seen.add(entry.key)
            if not entry.quarantine:
                yield _part(state, record, held.get(entry.key) or StoredContent(entry))
    topic = state.chain.head.partition
    for key, one in held.items():
        added = key not in seen and f"/{topic.topic}-{topic.partition}-" in key
        if added and (seal := _seal_of(state.published, key)) is not None:
            yield _part(state, seal, one)


def _part(state: PartitionState, record: Record, held: StoredContent) -> Part:
    settings, columns = (held.settings, held.columns) if held.settings else (record.settings, record.columns)
    return Part(state.partition, record.n, record.sealed_at, settings, held.entry, held.replay, columns)


def _seal_of(chain: Chain, key: str) -> Record | None:
    """The seal under whose `through` a replacement added an object; None if it is none of this chain's."""
    through = number_in(key.rsplit("-", 1)[1].split(".", 1)[0].lstrip("0") or "0")
    return next((record for record in chain.records if record.through == through), None)


def _first_cutoff(chain: Chain) -> date:
    return next(record.cutoff for record in chain.records if record.cutoff is not None)


@dataclass(frozen=True, slots=True)
class _Reason:
    """`word` applies to the days after `after` (None: all) up to `last`, and to `days` in addition."""

    word: str
    after: date | None
    last: date | None
    days: frozenset[date] = frozenset()

    def holds(self, day: date) -> bool:
        if day in self.days:
            return True
        return self.last is not None and day <= self.last and (self.after is None or day > self.after)


def started_in_mid_log(states: Sequence[PartitionState], day: date) -> bool:
    """Whether a partition's chain starts too late in its log to know all rows of `day`."""
    return any(reason.holds(day) for state in states if not state.chain.empty for reason in _mid_log(state.chain))


def _why(day: date, reasons: Sequence[_Reason]) -> tuple[str, ...]:
    return tuple(sorted({reason.word for reason in reasons if reason.holds(day)}))


def _reasons(states: Sequence[PartitionState]) -> list[_Reason]:
    return [
        reason
        for state in states
        for reason in (*_mid_log(state.chain), *_gaps(state.chain), *_open_transactions(state.chain))
    ]


def _mid_log(chain: Chain) -> Iterable[_Reason]:
    first = chain.records[0]
    if first.start > 0:
        day = first.sealed_at.date() if first.first_timestamp is None else day_of_millis(first.first_timestamp)
        yield _Reason(STARTED_IN_MID_LOG, None, min(day, date.max - ONE_DAY) + ONE_DAY)


def _gaps(chain: Chain) -> Iterable[_Reason]:
    for gap in (record for record in chain.records if record.kind is RecordKind.GAP):
        closed = _closed_before(chain, gap.n)
        after = chain.records[gap.n + 1 :]
        closing = next((record for record in after if _closes_past(record, closed)), None)
        seals = [record for record in after if closing is None or record.n <= closing.n]
        if gap.unfinished is not None:
            seals.append(chain.records[gap.unfinished])  # finished with the rows that were left
        days = frozenset(entry.day for record in seals for entry in record.objects)
        # what was lost had been written by then: rows of a day that the next seal does not close yet may be among it
        last = max(closing.cutoff, gap.sealed_at.date()) if closing and closing.cutoff else None
        yield _Reason(GAP, closed, last, days)


def _closed_before(chain: Chain, n: int) -> date | None:
    return max((record.cutoff for record in chain.records[:n] if record.caught_up and record.cutoff), default=None)


def _closes_past(record: Record, closed: date | None) -> bool:
    return record.caught_up and record.cutoff is not None and (closed is None or record.cutoff > closed)


def _open_transactions(chain: Chain) -> Iterable[_Reason]:
    closed: date | None = None
    for record in chain.records:
        if record.open_transaction:
            yield _Reason(OPEN_TRANSACTION, closed, record.cutoff)
        if record.caught_up and record.cutoff is not None:
            closed = record.cutoff


def list_days(old: Sequence[Mapping[str, Any]], news: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`_days.json`'s list with the news worked in: per day the higher revision, newest last, at most 400."""
    merged: dict[str, dict[str, Any]] = {item["day"]: dict(item) for item in old}
    for item in news:
        known = merged.get(item["day"])
        if known is None or known["revision"] <= item["revision"]:
            merged[item["day"]] = dict(item)
    return [merged[day] for day in sorted(merged)[-DAYS_LISTED:]]


def manifest_digest(document: Mapping[str, Any]) -> str:
    """The `sha256` field of a manifest: the digest of the rest of it, as written."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_INDENT_2)).hexdigest()
