"""What each object should be: its rows by the newest replay or its seal, its header, its digest in the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from consumer.domain.offsets import TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.keys import seal_of
from consumer.seal.record import ObjectEntry, Record, RecordKind
from consumer.seal.replacements.log import Listed
from consumer.verify.chain import ChainLook
from consumer.verify.findings import RESTORE, Finding, Problem
from consumer.verify.replays import ReplayLook


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object as it should be.

    `replay` is the newest replacement that lists it, `sealed` its seal's entry in that case, `former` the sha256 of the
    body before that replacement. `size` and `sha256` are the replacement's, otherwise those of the manifest that lists
    it. `floor`: a gap may have taken the rows below this offset. `pending`: its seal is in progress. `columns` are as
    many of the folder's as its record says, the seal's or the replacement's; None: those of its settings.
    """

    entry: ObjectEntry
    partition: TopicPartition
    seal: int
    settings: str
    replay: int | None = None
    sealed: ObjectEntry | None = None
    former: str = ""
    size: int | None = None
    sha256: str = ""
    floor: int | None = None
    pending: bool = False
    columns: int | None = None

    def allows(self, rows: int) -> bool:
        """Whether an object with this many rows is as it should be."""
        return rows == self.entry.rows or (self.floor is not None and rows < self.entry.rows)


def wanted_objects(
    chains: Iterable[ChainLook],
    replays: ReplayLook,
    facts: Mapping[str, tuple[int | None, str]],
    unfinished: Mapping[int, Record],
) -> list[Wanted]:
    """Every object that records and replays name, partition by partition."""
    found: list[Wanted] = []
    for look in chains:
        own = [*_of_seals(look, replays.objects, unfinished), *_added(look, replays.objects)]
        found.extend(_with_facts(wanted, facts.get(wanted.entry.key)) for wanted in own)
    return found


def _with_facts(wanted: Wanted, facts: tuple[int | None, str] | None) -> Wanted:
    if facts is None or wanted.replay is not None:
        return wanted
    return replace(wanted, size=facts[0], sha256=facts[1])


def _of_seals(look: ChainLook, replaced: Mapping[str, Listed], unfinished: Mapping[int, Record]) -> Iterator[Wanted]:
    pending = unfinished.get(look.partition.partition)
    for record in look.records:
        for entry in record.objects:
            newer = None if entry.quarantine else replaced.get(entry.key)
            if newer is not None:
                yield _replaced(look, record.n, newer, entry)
            else:
                yield Wanted(
                    entry=entry,
                    partition=look.partition,
                    seal=record.n,
                    settings=record.settings,
                    floor=floor_of(look.chain, record),
                    pending=record is pending,
                    columns=record.columns,
                )


def _replaced(look: ChainLook, seal: int, listed: Listed, sealed: ObjectEntry | None) -> Wanted:
    new = listed.new
    return Wanted(
        entry=new.entry,
        partition=look.partition,
        seal=seal,
        settings=new.settings,
        replay=listed.n,
        sealed=sealed,
        former=new.former.sha256 if new.former else "",
        size=new.size,
        sha256=new.sha256,
        columns=new.columns,
    )


def _added(look: ChainLook, replaced: Mapping[str, Listed]) -> Iterator[Wanted]:
    """Objects that no seal has: a replay brought back rows that an old filter dropped."""
    named = {entry.key for record in look.records for entry in record.objects}
    for key, one in replaced.items():
        partition, through = seal_of(key.rpartition("/")[2]) or (None, 0)
        if key not in named and partition == look.partition:
            seal = next((record.n for record in look.records if record.through == through), -1)
            yield _replaced(look, seal, one, None)


def floor_of(chain: Chain, record: Record) -> int | None:
    """The end of the gap under which this seal was pending: it is finished with the rows from there on. Else None."""
    if record.kind is RecordKind.GAP:
        return None
    under = [gap.start for gap in chain.records[record.n + 1 :] if gap.unfinished == record.n]
    return under[-1] if under else None


def range_problems(wanted: Iterable[Wanted]) -> Iterator[Finding]:
    """Objects of one partition and day whose offsets overlap, and replays of objects that belong to no seal."""
    last: dict[tuple[TopicPartition, date, bool], tuple[int, str]] = {}
    for one in sorted(wanted, key=lambda one: (one.partition, one.seal)):
        entry = one.entry
        if one.seal < 0:
            yield Finding(entry.key, Problem.INCONSISTENT, "a replay added it, but no seal reached its offset", RESTORE)
        if entry.first_offset is None or entry.last_offset is None:
            if entry.rows:
                yield Finding(entry.key, Problem.INCONSISTENT, "it has rows and no offsets", RESTORE)
            continue
        place = (one.partition, entry.day, entry.quarantine)
        before, key = last.get(place, (-1, ""))
        if entry.first_offset <= before:
            what = f"its offsets from {entry.first_offset} on overlap with those of {key}, which end at {before}"
            yield Finding(entry.key, Problem.INCONSISTENT, what, RESTORE)
        last[place] = (entry.last_offset, entry.key)
