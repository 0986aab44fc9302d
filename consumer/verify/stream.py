"""Verifying one stream: read the small documents until they are stable, then every body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from consumer.domain.backoff import Ask
from consumer.domain.clock import Clock
from consumer.domain.offsets import TopicPartition
from consumer.seal.day_plan import PartitionState, StoredContent, plan_days
from consumer.seal.keys import record_key
from consumer.seal.record import Record
from consumer.store.port import Store
from consumer.verify.days import PUBLISHED_AFTER, check_days, strays
from consumer.verify.findings import RESTORE, START_WORKER, Finding, Problem, Report, once
from consumer.verify.manifests import ChainClaims, ManifestLook, check_manifest
from consumer.verify.objects import Inspected, Progress, inspect, missing
from consumer.verify.settings import conflicts
from consumer.verify.snapshot import Days, SnapshotReader, StreamSnapshot
from consumer.verify.wanted import Wanted, floor_of, range_problems, wanted_objects

LOOKS = 5
"""How often a mismatch is checked again, as a worker may be in the middle of something."""
FINISHED_AFTER = timedelta(days=1)
"""So long after its decision a seal may wait for its objects."""


@dataclass(frozen=True, slots=True)
class VerifyTarget:
    """One stream to verify. `today` are the columns of its settings as they are now."""

    stream: str
    topic: str
    today: tuple[str, ...]
    store: Store


@dataclass(frozen=True, slots=True)
class VerifyContext:
    """How to verify: outages, threads, time, and who gets the progress in bytes."""

    ask: Ask
    pool: Executor
    clock: Clock
    rest: Callable[[], object]
    total: Progress = lambda _: None
    told: Progress = lambda _: None


@dataclass(frozen=True, slots=True)
class Assessment:
    """The claims of everything except the bodies."""

    snapshot: StreamSnapshot
    wanted: tuple[Wanted, ...]
    findings: tuple[Finding, ...]
    waiting: tuple[Finding, ...]
    unfinished: Mapping[int, Record]
    days: int
    newest: datetime | None


def verify_stream(subject: VerifyTarget, days: Days, ways: VerifyContext) -> Report:
    """Verify one stream. Raises HaltError if its destination is missing."""
    reader = SnapshotReader(subject.store, subject.stream, subject.topic, days, ways.ask, ways.pool)
    found = settled(lambda: assess(subject, reader.look(), days), ways.rest)
    bodies = _read_bodies(subject, found, ways)
    return _report(subject, found, bodies, ways.clock.now())


def settled(look: Callable[[], Assessment], rest: Callable[[], object]) -> Assessment:
    """Look until nothing is wrong, or the same is wrong twice in a row: what a worker is just writing passes by."""
    found = look()
    for _ in range(LOOKS):
        if not found.findings and not found.waiting:
            break
        rest()
        before, found = found, look()
        if (before.findings, before.waiting) == (found.findings, found.waiting):
            break
    return found


def assess(subject: VerifyTarget, snapshot: StreamSnapshot, days: Days) -> Assessment:
    """Hold chains, settings, replays, manifests and the listing against each other."""
    looks = {
        day: check_manifest(subject.stream, day, stored, keeps_metadata=snapshot.keeps_metadata)
        for day, stored in snapshot.manifests.items()
    }
    unfinished = _unfinished(snapshot, looks)
    facts: dict[str, tuple[int | None, str]] = {}
    for day in sorted(looks):  # a day's own list after the pins of days before it
        facts.update(looks[day].facts)
    wanted = wanted_objects(snapshot.chains, snapshot.replays, facts, unfinished)
    claims = _claims(subject, snapshot, unfinished, wanted)
    published = check_days(subject.stream, snapshot, looks, claims, days)
    known = {one.entry.key for one in wanted}
    findings = [
        *snapshot.findings,
        *_conflicts(snapshot),
        *range_problems(wanted),
        *published.findings,
        *strays(subject.stream, snapshot, known, days),
    ]
    heads = [look.chain.head.sealed_at for look in snapshot.chains if not look.chain.empty]
    return Assessment(
        snapshot=snapshot,
        wanted=tuple(one for one in wanted if one.entry.day in days),
        findings=once(findings),
        waiting=published.waiting,
        unfinished=unfinished,
        days=len(looks),
        newest=max(heads, default=None),
    )


def _unfinished(snapshot: StreamSnapshot, looks: Mapping[date, ManifestLook]) -> dict[int, Record]:
    """The newest seal of each partition if some of its objects are missing and no manifest includes it."""
    there = {key for folder in (snapshot.data, snapshot.quarantine) for keys in folder.by_day.values() for key in keys}
    taken: dict[int, int] = {}
    for manifest in looks.values():
        for partition, n in manifest.seals.items():
            taken[partition] = max(n, taken.get(partition, -1))
    found = {}
    for look in snapshot.chains:
        seal, number = look.chain.last_seal, look.partition.partition
        if look.loose or seal is None or taken.get(number, -1) >= seal.n:
            continue
        if any(entry.key not in there for entry in seal.objects):
            found[number] = seal
    return found


def _claims(
    subject: VerifyTarget, snapshot: StreamSnapshot, unfinished: Mapping[int, Record], wanted: Iterable[Wanted]
) -> ChainClaims | None:
    """What the chains say about the days; None if one of them is broken and says nothing reliable."""
    if not all(look.whole for look in snapshot.chains) or not snapshot.chains:
        return None
    states = [
        PartitionState(look.partition.partition, look.chain, finished=look.partition.partition not in unfinished)
        for look in snapshot.chains
    ]
    replaced = {
        one.entry.key: StoredContent(one.entry, one.replay, one.settings, one.columns)
        for one in wanted
        if one.replay is not None and _sealed(one, unfinished)
    }
    lossy = {
        entry.key
        for look in snapshot.chains
        for record in look.records
        if floor_of(look.chain, record) is not None
        for entry in record.objects
    }
    started = [state for state in states if not state.published.empty]
    plans = plan_days(started, replaced) if len(started) == len(states) else []
    return ChainClaims(
        states=states,
        plans={plan.day: plan for plan in plans},
        replaced=replaced,
        replays=snapshot.replays,
        columns=snapshot.columns,
        today=subject.today,
        lossy=frozenset(lossy),
    )


def _sealed(one: Wanted, unfinished: Mapping[int, Record]) -> bool:
    """Its seal exists and is finished: otherwise no day can have it yet."""
    pending = unfinished.get(one.partition.partition)
    return one.seal >= 0 and (pending is None or one.seal < pending.n)


def _conflicts(snapshot: StreamSnapshot) -> list[Finding]:
    return [
        Finding(
            record_key(look.partition, n),
            Problem.INCONSISTENT,
            what,
            RESTORE,
        )
        for look in snapshot.chains
        for n, what in conflicts(look.chain, snapshot.settings.rules)
    ]


# -- bodies ----------------------------------------------------------------------------------------------------------


def _read_bodies(subject: VerifyTarget, found: Assessment, ways: VerifyContext) -> list[Inspected]:
    data, bad = found.snapshot.data.by_day, found.snapshot.quarantine.by_day
    sizes = {facts.key: facts.size for folder in (data, bad) for keys in folder.values() for facts in keys.values()}
    ways.total(sum(sizes.get(one.entry.key, 0) for one in found.wanted))
    columns = found.snapshot.columns

    def read(wanted: Wanted) -> Inspected:
        return ways.ask(lambda: inspect(subject.store, wanted, columns, ways.told))

    return list(ways.pool.map(read, found.wanted))


@dataclass(slots=True)
class _Tally:
    """Bodies counted."""

    objects: int = 0
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, one: Inspected) -> None:
        if one.measured is None:
            return
        self.objects += 1
        self.bytes += one.measured.size
        if one.wanted.entry.quarantine:
            self.quarantined += max(0, one.measured.rows)
        else:
            self.rows += max(0, one.measured.rows)


def _report(subject: VerifyTarget, found: Assessment, bodies: list[Inspected], now: datetime) -> Report:
    tally, pending = _Tally(findings=list(found.findings)), []
    for one in bodies:
        tally.add(one)
        tally.findings.extend(one.findings)
        # a pending seal puts its objects side by side, in no order: what is absent is said of the seal
        if one.measured is None and not one.wanted.pending:
            tally.findings.append(missing(one.wanted))
    for number, seal in sorted(found.unfinished.items()):
        what = (
            f"seal {seal.n} of {TopicPartition(subject.topic, number)}, decided at {seal.sealed_at:%Y-%m-%d %H:%M} UTC"
        )
        if now - seal.sealed_at < FINISHED_AFTER:
            pending.append(f"{what}, is under way")
        else:
            key = record_key(TopicPartition(subject.topic, number), seal.n)
            tally.findings.append(Finding(key, Problem.UNFINISHED, f"{what}, is not finished", START_WORKER))
    under_way = bool(pending) or (found.newest is not None and now - found.newest < PUBLISHED_AFTER)
    if under_way:
        pending.extend(f"{finding.key}: {finding.what}" for finding in found.waiting)
    else:
        tally.findings.extend(found.waiting)
    chains = found.snapshot.chains
    return Report(
        stream=subject.stream,
        location=subject.store.location,
        partitions=len(chains),
        records=sum(len(look.records) for look in chains),
        settings=len(found.snapshot.settings.rules),
        days=found.days,
        objects=tally.objects,
        rows=tally.rows,
        quarantined=tally.quarantined,
        bytes=tally.bytes,
        pending=tuple(pending),
        findings=once(tally.findings),
    )
