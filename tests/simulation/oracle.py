"""What must hold after, and during, any schedule: told from the log, the chains and the bucket alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from consumer.domain.offsets import Commit, TopicPartition
from consumer.seal.record import Record, RecordKind, record_from
from consumer.streams.rules import RowRules, rules_from_document
from tests.fakes.store import MemoryStore
from tests.simulation.cluster import Cluster, Entry
from tests.simulation.rows import Verdict, private, verdict

SKEW = timedelta(seconds=60)
"""How far a worker's clock may be ahead of the store's."""
ABSURD = timedelta(days=2)


class Violation(AssertionError):  # noqa: N818 - the field's word
    """An invariant does not hold."""


# The oracle looks at the same documents again at every write.
_parsed = lru_cache(2_000)(record_from)
_rules = lru_cache(200)(rules_from_document)


@lru_cache(2_000)
def _record_key(partition: TopicPartition, n: int) -> str:
    return f"_seals/{partition.topic}/{partition.partition}/{n:08d}.json"


@lru_cache(200)
def _column_names(schema: str) -> frozenset[str]:
    return frozenset(item["name"] for item in json.loads(schema)["fields"])


def records_of(bucket: MemoryStore, partition: TopicPartition) -> list[Record]:
    """The chain, read without the code under test: as far as no number is missing."""
    records: list[Record] = []
    while (stored := bucket.get(_record_key(partition, len(records)))) is not None:
        records.append(_parsed(stored.data))
    return records


def rules_of(bucket: MemoryStore, digest: str) -> RowRules:
    stored = bucket.get(f"_seals/_settings/{digest}.json")
    if stored is None:
        raise Violation(f"settings {digest} are missing")
    return _rules(stored.data)


def replacements_of(bucket: MemoryStore) -> list[dict[str, Any]]:
    """The replacement log, read without the code under test."""
    found = [bucket.get(facts.key) for facts in bucket.list("_replays/sim/") if "/old/" not in facts.key]
    return [json.loads(stored.data) for stored in found if stored is not None]


def replaced_keys(bucket: MemoryStore) -> dict[str, date]:
    """Every object that some replacement lists, and its day."""
    objects = (one for record in replacements_of(bucket) for one in record["objects"])
    return {one["key"]: date.fromisoformat(one["day"]) for one in objects}


@dataclass(frozen=True, slots=True)
class Expected:
    """A row that the log and the chain together put into the bucket, by which seal."""

    offset: int
    day: date
    quarantine: bool
    cells: Mapping[str, str]
    seal: int
    gap: int | None = None
    """The end of the gap in which it was lost after this seal had been decided: it may be there or not."""


def covering(records: list[Record], offset: int) -> Record | None:
    return next((record for record in records if record.through > offset), None)


def due(day: date, cutoff: date | None, cover: Record) -> bool:
    return (cutoff is not None and day <= cutoff) or day > cover.sealed_at.date() + ABSURD


def expected_rows(bucket: MemoryStore, records: list[Record], entries: list[Entry]) -> Iterator[Expected]:
    """Each row below the chain's reach that some seal takes, with the first seal that does."""
    rules = {digest: rules_of(bucket, digest) for digest in {record.settings for record in records}}
    for entry in entries:
        cover = covering(records, entry.offset)
        gap = gap_of(records, entry.offset)
        if cover is None or entry.hidden or (entry.offset < records[0].start and gap is None):
            continue
        found = verdict(rules[cover.settings], entry.value, entry.timestamp, unknown_by(cover, entry.offset))
        if isinstance(found, Verdict):
            seal = first_taker(records, entry.offset, found.day, cover)
            if gap is not None and (seal is None or seal > gap.n):
                continue  # lost before any seal took it
            if seal is not None:
                columns = _column_names(rules[cover.settings].schema)
                cells = cells_by(rules[cover.settings], found.cells or {}, columns)
                end = gap.lost.end if gap is not None and gap.lost and gap.unfinished == seal else None
                yield Expected(entry.offset, found.day, found.cells is None, cells, seal, end)


def cells_by(by: RowRules, raw: Mapping[str, Any], columns: Collection[str]) -> dict[str, str]:
    """The cells of these columns, private ones as the rules have it."""
    privacy = by.privacy
    return {n: private(str(cell), privacy.columns.get(n), privacy.key) for n, cell in raw.items() if n in columns}


def columns_of(bucket: MemoryStore) -> list[str]:
    """The folder's list of columns, read without the code under test."""
    stored = bucket.get("sim/_schema.json")
    return [] if stored is None else [item["name"] for item in json.loads(stored.data)["columns"]]


def header_of(bucket: MemoryStore, record: Record) -> list[str]:
    """The header of a seal's objects: a prefix of the folder's list with all that the seal's settings name."""
    listed, own = columns_of(bucket), _column_names(rules_of(bucket, record.settings).schema)
    header = listed[: record.columns]
    if record.columns != len(header) or not own <= set(header):
        raise Violation(f"seal {record.n} says {record.columns} columns of {listed}, its settings name {sorted(own)}")
    return header


def gap_of(records: list[Record], offset: int) -> Record | None:
    """The gap in which this offset was lost."""
    return next((record for record in records if record.lost is not None and offset in record.lost), None)


def unknown_by(cover: Record, offset: int) -> Callable[[int], bool]:
    """Whether the covering record says that the registry did not know a schema yet at this offset."""
    return lambda schema: not cover.schemas.knows(schema, offset)


def first_taker(records: list[Record], offset: int, day: date, cover: Record) -> int | None:
    for record in records:
        if record.kind is RecordKind.SEAL and record.through > offset and due(day, record.cutoff, cover):
            return record.n
    return None


def check_folder(bucket: MemoryStore, cluster: Cluster) -> int:
    """The bucket holds exactly the rows that log and chains say, each once, in order. Returns their number."""
    total = 0
    for partition in cluster.partitions():
        records = records_of(bucket, partition)
        check_chain(records)
        if records:
            total += _check_partition(bucket, partition, records, cluster.history(partition).entries)
    _check_strays(bucket, cluster)
    _check_manifests(bucket, cluster)
    return total


def check_chain(records: list[Record]) -> None:
    """One successor per record; cutoff and through never shrink, and one grows or a spill is closed."""
    for n, record in enumerate(records):
        if record.n != n:
            raise Violation(f"record {n} says {record.n}")
        if n == 0:
            continue
        before = records[n - 1]
        if record.previous != before.reach:
            raise Violation(f"record {n} does not follow")
        shrinks = record.through < before.through or (before.cutoff and (record.cutoff or date.min) < before.cutoff)
        grows = record.through > before.through or record.cutoff != before.cutoff
        closes = record.caught_up and not before.caught_up
        if shrinks or not (grows or closes or record.kind is RecordKind.GAP):
            raise Violation(f"record {n} shrinks or stands still: {before.reach} -> {record.reach}")


def _check_partition(
    bucket: MemoryStore, partition: TopicPartition, records: list[Record], entries: list[Entry]
) -> int:
    wanted: dict[tuple[int, date, bool], list[Expected]] = {}
    expected = list(expected_rows(bucket, records, entries))
    for row in expected:
        wanted.setdefault((row.seal, row.day, row.quarantine), []).append(row)
    _check_resume(partition, records, expected)
    named = {(record.n, entry.day, entry.quarantine): entry for record in records for entry in record.objects}
    replaced = replaced_keys(bucket)  # what these hold is looked at elsewhere
    for place, rows in wanted.items():
        if place not in named:
            raise Violation(f"{partition}: rows {[row.offset for row in rows]} are in no object {place}")
    for (n, day, quarantine), entry in named.items():
        rows = wanted.get((n, day, quarantine), [])
        stored = bucket.get(entry.key)
        if stored is None:
            raise Violation(f"{partition}: {entry.key} of seal {n} is missing")
        if entry.key in replaced:
            continue
        columns = header_of(bucket, records[n])
        left = [[row for row in rows if row.offset >= end] for end in {row.gap for row in rows if row.gap}]
        if stored.data.decode() not in {_text(some, columns, quarantine=quarantine) for some in (rows, *left)}:
            raise Violation(
                f"{partition}: {entry.key} of seal {n} holds other rows:\n{stored.data.decode()}\nexpected offsets"
                f" {[row.offset for row in rows]}\n{_text(rows, columns, quarantine=quarantine)}"
            )
    return len(expected)


def _check_resume(partition: TopicPartition, records: list[Record], expected: list[Expected]) -> None:
    """No row below the resume offset waits for a later seal: else the commit would lose it."""
    for row in expected:
        for record in records[: row.seal]:
            if record.kind is RecordKind.SEAL and record.through > row.offset and record.resume > row.offset:
                raise Violation(f"{partition}: seal {record.n} resumes beyond {row.offset}, taken by seal {row.seal}")


def _text(rows: list[Expected], columns: list[str], *, quarantine: bool) -> str:
    if quarantine:
        return "".join(json.dumps({"reason": "undecodable", "offset": row.offset}) + "\n" for row in rows)
    lines = [",".join(columns)]
    lines.extend(",".join(row.cells.get(name, "") for name in columns) for row in rows)
    return "\n".join(lines) + "\n"


def _check_strays(bucket: MemoryStore, cluster: Cluster) -> None:
    """No object without a record."""
    named = set(replaced_keys(bucket)) | {
        entry.key
        for partition in cluster.partitions()
        for record in records_of(bucket, partition)
        for entry in record.objects
    }
    for facts in bucket.list(""):
        key = facts.key
        if key.endswith((".csv", ".jsonl")) and not key.startswith("_replays/") and key not in named:
            raise Violation(f"{key} belongs to no record")


def _check_manifests(bucket: MemoryStore, cluster: Cluster) -> None:
    """After all is quiet each day up to the smallest cutoff is published with just its objects."""
    partitions = cluster.partitions()
    chains = [records_of(bucket, partition) for partition in partitions]
    if not all(chains):
        return
    objects = _data_keys(bucket, chains)
    last = min(max((r.cutoff for r in chain if r.caught_up and r.cutoff), default=date.min) for chain in chains)
    first = min(next(record.cutoff for record in chain if record.cutoff) for chain in chains)
    days = {day for day in objects if day <= last}
    days.update(first + timedelta(days=n) for n in range((last - first).days + 1))
    for day in days:
        _check_published(bucket, day, objects.get(day, set()))
    taken = [_taken(bucket, cluster, partition, chain) for partition, chain in zip(partitions, chains, strict=True)]
    for day in days:
        _check_complete(bucket, cluster, chains, taken, day)
    for facts in bucket.list("sim/"):
        if facts.key.endswith("_SUCCESS") and date.fromisoformat(facts.key.split("dt=")[1][:10]) not in days:
            raise Violation(f"{facts.key} was published too early")


def _data_keys(bucket: MemoryStore, chains: list[list[Record]]) -> dict[date, set[str]]:
    """The data objects of each day, by seals and replacements."""
    entries = (entry for chain in chains for record in chain for entry in record.objects if not entry.quarantine)
    objects: dict[date, set[str]] = {}
    for key, day in (*((entry.key, entry.day) for entry in entries), *replaced_keys(bucket).items()):
        objects.setdefault(day, set()).add(key)
    return objects


def _check_published(bucket: MemoryStore, day: date, objects: set[str]) -> None:
    stored = bucket.get(f"sim/dt={day}/_manifest.json")
    if stored is None or bucket.get(f"sim/dt={day}/_SUCCESS") is None:
        raise Violation(f"day {day} is not published though all partitions sealed it")
    listed = {item["key"] for item in json.loads(stored.data)["objects"]}
    if listed != objects:
        raise Violation(f"the manifest of {day} lists {listed}, not {objects}")


def _taken(bucket: MemoryStore, cluster: Cluster, partition: TopicPartition, records: list[Record]) -> set[int]:
    """The offsets of rows that are in the bucket."""
    entries = cluster.history(partition).entries
    return {row.offset for row in expected_rows(bucket, records, entries) if _stands(bucket, records, row)}


def _check_complete(
    bucket: MemoryStore, cluster: Cluster, chains: list[list[Record]], taken: list[set[int]], day: date
) -> None:
    """No day that lost a row in a gap calls itself complete."""
    stored = bucket.get(f"sim/dt={day}/_manifest.json")
    assert stored is not None
    said = json.loads(stored.data)
    if not said["complete"]:
        return
    for partition, records, there in zip(cluster.partitions(), chains, taken, strict=True):
        if all(record.lost is None for record in records):
            continue
        for entry in cluster.history(partition).entries:
            gap = gap_of(records, entry.offset)
            lost = gap is not None and _may_lack(gap, records, day) and not entry.hidden and _plain(entry) == day
            if lost and entry.offset not in there:
                raise Violation(f"{day} calls itself complete without {partition}@{entry.offset}, lost in a gap")


def _may_lack(gap: Record, records: list[Record], day: date) -> bool:
    """Whether the day was open when the gap was recorded: late rows, and such from tomorrow, are not known to miss."""
    closed = max((r.cutoff for r in records[: gap.n] if r.caught_up and r.cutoff), default=date.min)
    return closed < day <= gap.sealed_at.date()


def _stands(bucket: MemoryStore, records: list[Record], row: Expected) -> bool:
    """Whether the row is in its object: of rows in a gap that is not certain."""
    entry = next(e for e in records[row.seal].objects if (e.day, e.quarantine) == (row.day, row.quarantine))
    stored = bucket.get(entry.key)
    return row.gap is None or (stored is not None and f"\n{row.cells.get('id')},".encode() in stored.data)


class Watch:
    """Looks at each write when it takes effect."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._columns: dict[int, list[str]] = {}

    def wrote(self, bucket: MemoryStore, key: str) -> None:
        if key == "sim/_schema.json":
            self._grown(bucket)
        elif key.endswith("/_manifest.json"):
            self._told(bucket, key)
        elif key.endswith((".csv", ".jsonl")):
            self._object(bucket, key)
        elif key.endswith("_SUCCESS"):
            self._published(bucket, date.fromisoformat(key.split("dt=")[1][:10]))

    def _grown(self, bucket: MemoryStore) -> None:
        """The folder's list only grows at its end."""
        before, now = self._columns.get(id(bucket), []), columns_of(bucket)
        if now[: len(before)] != before:
            raise Violation(f"the folder's columns were {before} and are {now}")
        self._columns[id(bucket)] = now

    def _told(self, bucket: MemoryStore, key: str) -> None:
        """The headers that a manifest names are those of its objects."""
        stored = bucket.get(key)
        assert stored is not None
        said = json.loads(stored.data)
        for item in said["objects"] if "replaying" not in said else ():
            found, columns = bucket.get(item["key"]), item.get("columns", said["columns"])
            if found is not None and found.data.decode().split("\n", 1)[0] != ",".join(columns):
                raise Violation(f"{key} says {columns} of {item['key']}")

    def _object(self, bucket: MemoryStore, key: str) -> None:
        """Every object's header is a prefix of the folder's list. No object before its record."""
        stored, listed = bucket.get(key), columns_of(bucket)
        header = stored.data.decode().split("\n", 1)[0].split(",") if stored and key.endswith(".csv") else []
        if listed[: len(header)] != header:
            raise Violation(f"{key} has the header {header}, the folder's columns are {listed}")
        for partition in self._cluster.partitions():
            if any(entry.key == key for record in records_of(bucket, partition) for entry in record.objects):
                return
        if key in replaced_keys(bucket):
            return
        raise Violation(f"{key} was written before its record")

    def _published(self, bucket: MemoryStore, day: date) -> None:
        """No day published before all its rows up to E are in the bucket."""
        manifest = bucket.get(f"sim/dt={day}/_manifest.json")
        if manifest is None:
            raise Violation(f"{day}: _SUCCESS before the manifest")
        said = json.loads(manifest.data)
        if "open_transaction" in said["why"]:
            return  # its rows were given up, and the manifest says so
        decided_at = datetime.fromisoformat(said["written_at"]) - SKEW
        due_at = datetime.combine(day, datetime.min.time(), tzinfo=UTC) + timedelta(days=1, hours=4)
        for partition in self._cluster.partitions():
            made_at = self._cluster.history(partition).made_at
            if made_at is None or made_at <= decided_at:  # else it came later: a write may take effect late
                records = records_of(bucket, partition)
                self._closed(bucket, partition, records, day)
                self._rows_in(bucket, partition, records, day, due_at - SKEW)

    def _closed(self, bucket: MemoryStore, partition: TopicPartition, records: list[Record], day: date) -> None:
        closing = next((r for r in records if r.caught_up and r.cutoff is not None and r.cutoff >= day), None)
        if closing is None:
            raise Violation(f"{day} was published before {partition} sealed it")
        for record in records[: closing.n + 1]:
            for entry in record.objects:
                if bucket.get(entry.key) is None:
                    raise Violation(f"{day} was published before {entry.key} of seal {record.n}")

    def _rows_in(
        self, bucket: MemoryStore, partition: TopicPartition, records: list[Record], day: date, before: datetime
    ) -> None:
        lost = [record.lost for record in records if record.lost is not None]
        rules = {record.settings: rules_of(bucket, record.settings) for record in records}
        history = self._cluster.history(partition)
        for entry in history.entries:
            if (
                entry.offset >= history.log.lso
                or entry.hidden
                or entry.offset < records[0].start
                or entry.written_at >= before
            ):
                continue
            if any(entry.offset in span for span in lost):
                continue
            cover = covering(records, entry.offset)
            if cover is None:
                if _plain(entry) == day:
                    raise Violation(f"{day} was published before {partition}@{entry.offset} was sealed")
                continue
            said = verdict(rules[cover.settings], entry.value, entry.timestamp, unknown_by(cover, entry.offset))
            if isinstance(said, Verdict) and said.day == day and first_taker(records, entry.offset, day, cover) is None:
                raise Violation(f"{day} was published without {partition}@{entry.offset}")


def _plain(entry: Entry) -> date | None:
    """The day of a record that any settings keep."""
    try:
        raw = json.loads(entry.value or b"")
        return date.fromisoformat(raw["at"]) if raw["kind"] == "a" and raw["schema"] == 0 else None
    except (ValueError, KeyError):
        return None


def _identity(bucket: MemoryStore, partition: TopicPartition) -> str:
    first = bucket.get(_record_key(partition, 0))
    return hashlib.sha256(first.data).hexdigest()[:16] if first else ""


def check_commits(bucket: MemoryStore, cluster: Cluster) -> None:
    """The committed offset lies at or below every row that is not in the bucket."""
    for partition in cluster.partitions():
        commit = cluster.commits.get(partition)
        records = records_of(bucket, partition)
        if commit is None or not records or not commit.metadata:
            continue
        said = json.loads(commit.metadata)
        if said["chain"] == _identity(bucket, partition):  # else it was committed while another folder was sealed into
            _check_commit(bucket, partition, records, commit, int(said["seal"]))


def _check_commit(
    bucket: MemoryStore, partition: TopicPartition, records: list[Record], commit: Commit, n: int
) -> None:
    if n >= len(records):
        raise Violation(f"{partition}: the commit names seal {n}, which does not exist")
    for record in records[: n + 1]:
        for entry in record.objects:
            if bucket.get(entry.key) is None:
                raise Violation(f"{partition}: committed {commit} before {entry.key} of seal {record.n}")
    if commit.offset != records[n].resume:
        raise Violation(f"{partition}: committed {commit.offset}, seal {n} resumes at {records[n].resume}")
