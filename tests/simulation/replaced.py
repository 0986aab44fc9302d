"""What must hold of replacements: told from log, chains, replacement log and bucket, without the code under test.

`ReplacementWatch` looks at each write when it takes effect, `check_replaced` at what stands in the end: what each
replaced object holds, and that each row stands in one place.
"""

from __future__ import annotations

import difflib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from consumer.domain.offsets import TopicPartition
from consumer.store.port import Stored
from tests.fakes.store import MemoryStore
from tests.simulation.cluster import Cluster, Entry
from tests.simulation.oracle import (
    Violation,
    cells_by,
    columns_of,
    covering,
    first_taker,
    records_of,
    replacements_of,
    rules_of,
    unknown_by,
)
from tests.simulation.rows import KEYS, Verdict, private, verdict

_PURPOSE = b"adapty-sink: erased value\0"

Told = Mapping[str, Any]
"""A record, a manifest or an object's entry, as it stands in the bucket."""


def _manifest(bucket: MemoryStore, day: str) -> dict[str, Any] | None:
    stored = bucket.get(f"sim/dt={day}/_manifest.json")
    return json.loads(stored.data) if stored is not None else None


def words_in(bucket: MemoryStore) -> list[int]:
    """The replacements that are just putting objects of a day, as its manifest says."""
    days = {facts.key[7:17] for facts in bucket.list("sim/dt=")}
    manifests = (_manifest(bucket, day) for day in sorted(days))
    return [said["replaying"] for said in manifests if said is not None and "replaying" in said]


def _put_by(bucket: MemoryStore, key: str) -> int:
    """The replacement that wrote what lies there; -1 for a seal, or where nothing lies."""
    facts = bucket.head(key)
    return int(facts.metadata.get("replay", -1)) if facts is not None else -1


class ReplacementWatch:
    """Looks at each write of a replaced object, a replacement's record, a manifest."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[int, str], tuple[str, str]] = {}
        self._revisions: dict[tuple[int, str], int] = {}

    def wrote(self, bucket: MemoryStore, key: str) -> None:
        if key.startswith("_replays/") and key.endswith(".json"):
            self._recorded(bucket, key)
        elif key.startswith("sim/") and key.endswith(".csv"):
            self._put(bucket, key)
        elif key.endswith("_manifest.json"):
            self._told(bucket, key)

    def _recorded(self, bucket: MemoryStore, key: str) -> None:
        """It follows the one before, what it replaces lies there, and none that overlaps is half done."""
        records = replacements_of(bucket)
        record = records[-1]
        if [one["n"] for one in records] != list(range(len(records))) or f"/{record['n']:08d}.json" not in key:
            raise Violation(f"{key} does not follow: {[one['n'] for one in records]}")
        for one in record["objects"]:
            facts, replaced = bucket.head(one["key"]), one["replaced"]
            if (facts.etag if facts else None) != (replaced["etag"] if replaced else None):
                raise Violation(f"{key} replaces {replaced} under {one['key']}, and there lies {facts}")
        for other in records[:-1]:
            if _overlap(record, other) and (half := list(_unfinished(bucket, other))):
                raise Violation(f"{key} came over replacement {other['n']}, which is half done: {half}")

    def _put(self, bucket: MemoryStore, key: str) -> None:
        """After its record, as the record has it, under the word; what it replaces is kept where the record says so."""
        facts, place = bucket.head(key), (id(bucket), key)
        assert facts is not None
        n, former = _put_by(bucket, key), self._bodies.get(place)
        self._bodies[place] = facts.etag, facts.metadata["sha256"]
        if n < 0:
            if former is not None:
                raise Violation(f"{key} was written over by a seal")
            return
        record = next((one for one in replacements_of(bucket) if one["n"] == n), None)
        listed = next((one for one in record["objects"] if one["key"] == key), None) if record else None
        if record is None or listed is None:
            raise Violation(f"{key} was put by replacement {n} before its record")
        if listed["sha256"] != facts.metadata["sha256"]:
            raise Violation(f"{key} is not the body that replacement {n} recorded")
        manifest = _manifest(bucket, listed["day"])
        if manifest is not None and manifest.get("replaying") != n:
            raise Violation(f"{key} was put by replacement {n}, and the manifest of {listed['day']} does not say so")
        kept = bucket.head(f"_replays/sim/{n:08d}/old/{key}")
        lay = former[1] if former is not None else ""
        if record["kept_old"] and listed["replaced"] and (kept is None or kept.metadata["sha256"] != lay):
            raise Violation(f"{key} was put over a body that was not kept")

    def _told(self, bucket: MemoryStore, key: str) -> None:
        """The revision grows by one, or the word comes; without the word just what lies there is listed, whole."""
        day = _day_of(key)
        said, place = _manifest(bucket, day), (id(bucket), key)
        assert said is not None
        before = self._revisions.get(place, 0)
        self._revisions[place] = said["revision"]
        if not (said["revision"] == before + 1 or (said["revision"] == before and "replaying" in said)):
            raise Violation(f"{key} goes from revision {before} to {said['revision']}")
        if "replaying" in said:
            return
        for record in replacements_of(bucket):
            own = [one["key"] for one in record["objects"] if one["day"] == day]
            put = [_put_by(bucket, one) >= record["n"] for one in own]
            if any(put) and not all(put):
                raise Violation(f"{key} lost the word while replacement {record['n']} was putting objects")
        for item in said["objects"]:
            facts = bucket.head(item["key"])
            if facts is not None and facts.metadata["sha256"] != item["sha256"]:
                raise Violation(f"{key} lists a body of {item['key']} that does not lie there")


def _day_of(key: str) -> str:
    return key.split("dt=")[1][:10]


def _overlap(one: Told, other: Told) -> bool:
    partitions = (set(range(99)) if told["partitions"] is None else set(told["partitions"]) for told in (one, other))
    return bool(set(one["days"]) & set(other["days"]) and set.intersection(*partitions))


def _unfinished(bucket: MemoryStore, record: Told) -> Iterator[str]:
    """What a replacement has left to do."""
    for one in record["objects"]:
        if _put_by(bucket, one["key"]) < record["n"]:
            yield f"{one['key']} is not put"
    for day in record["days"]:
        manifest = _manifest(bucket, day)
        if manifest is not None and manifest.get("replaying") == record["n"]:
            yield f"the manifest of {day} still has the word"


# -- what stands in the end --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Basis:
    """How the rows of an object were made: by the rules of these settings (None: the covering ones), then treated."""

    settings: str | None = None
    treatments: tuple[int, ...] = ()


def _basis(records: list[dict[str, Any]], key: str, day: str, partition: int, below: int) -> Basis:
    """Of what lay under the key before replacement `below`."""
    found = Basis()
    for record in records[:below]:
        if all(one["key"] != key for one in record["objects"]):
            continue
        n = record["n"]
        erased = tuple(one["n"] for one in records[:n] if one["kind"] == "erase" and _about(one, day, partition))
        match record["kind"]:
            case "replay":
                found = Basis(record["settings"], erased)
            case "undo":
                found = _basis(records, key, day, partition, record["undoes"])
            case "rewrite":
                again = tuple(other for other in erased if other not in found.treatments)
                found = Basis(found.settings, (*found.treatments, *again, n))
            case _:
                found = Basis(found.settings, (*found.treatments, n))
    return found


def _about(record: Told, day: str, partition: int) -> bool:
    return record["from"] <= day <= record["to"] and (record["partitions"] is None or partition in record["partitions"])


class Folder:
    """All of one partition: its chain, its log, the objects of its days."""

    def __init__(self, bucket: MemoryStore, cluster: Cluster, partition: TopicPartition) -> None:
        self.bucket, self.partition = bucket, partition
        self.chain = records_of(bucket, partition)
        self.replacements = replacements_of(bucket)
        history = cluster.history(partition)
        self.entries = [entry for entry in history.entries if not entry.hidden and covering(self.chain, entry.offset)]
        objects = (one for record in self.replacements for one in record["objects"])
        self.listed = {one["key"]: one for one in objects if one["partition"] == partition.partition}
        self._bases: dict[str, Basis] = {}

    def basis(self, key: str) -> Basis:
        """How the rows of the object under this key were made, those included that are not there."""
        if key not in self.listed:
            return Basis()
        if key not in self._bases:
            day, number = self.listed[key]["day"], self.partition.partition
            self._bases[key] = _basis(self.replacements, key, day, number, len(self.replacements))
        return self._bases[key]

    def verdict(self, entry: Entry, settings: str | None) -> Verdict | str:
        """Under these settings, or the covering ones."""
        cover = covering(self.chain, entry.offset)
        assert cover is not None
        by = rules_of(self.bucket, settings or cover.settings)
        return verdict(by, entry.value, entry.timestamp, unknown_by(cover, entry.offset))

    def key(self, entry: Entry, day: date) -> str | None:
        """The object that a row of this day belongs to; None where no seal took the day yet."""
        cover = covering(self.chain, entry.offset)
        assert cover is not None
        n, place = first_taker(self.chain, entry.offset, day, cover), self.partition
        return None if n is None else f"sim/dt={day}/{place.topic}-{place.partition}-{self.chain[n].through:020d}.csv"

    def erased(self, said: Verdict, day: date) -> bool:
        """Whether an erasure of this day takes the row out, and with it a row that comes to the day later."""
        assert said.cells is not None
        erasures = [one for one in self.replacements if one["kind"] == "erase"]
        about = [one for one in erasures if _about(one, str(day), self.partition.partition)]
        columns, row = columns_of(self.bucket), {name: str(cell) for name, cell in said.cells.items()}
        return any(_treatment(self.bucket, one, columns)(row) is None for one in about)

    def text(self, key: str) -> str:
        """What a replaced object has to be, to the byte."""
        one, basis = self.listed[key], self.basis(key)
        day = date.fromisoformat(one["day"])
        columns = columns_of(self.bucket)[: one["columns"]]
        treats = [_treatment(self.bucket, self.replacements[n], columns) for n in basis.treatments]
        lines = [",".join(columns)]
        for entry in self.entries:
            said = self.verdict(entry, basis.settings)
            if not isinstance(said, Verdict) or said.cells is None or said.day != day or self.key(entry, day) != key:
                continue
            cover = covering(self.chain, entry.offset)
            assert cover is not None
            by = rules_of(self.bucket, basis.settings or cover.settings)
            own = {item["name"] for item in json.loads(by.schema)["fields"]}
            row: dict[str, str] | None = cells_by(by, said.cells, own)
            for treat in treats:
                row = treat(row) if row is not None else None
            if row is not None:
                lines.append(",".join(row.get(name, "") for name in columns))
        return "\n".join(lines) + "\n"


def _treatment(
    bucket: MemoryStore, record: Told, columns: list[str]
) -> Callable[[dict[str, str]], dict[str, str] | None]:
    """What a rewrite or an erasure makes of a row."""
    if record["kind"] == "rewrite":
        privacy = rules_of(bucket, record["settings"]).privacy
        return lambda row: {n: private(cell, privacy.columns.get(n), privacy.key) for n, cell in row.items()}
    erasure = record["erasure"]

    def erased(row: dict[str, str]) -> dict[str, str] | None:
        cell = row.get(erasure["column"], "") if erasure["column"] in columns else ""
        digest = hmac.digest(KEYS[erasure["key"]], _PURPOSE + cell.encode(), "sha256").hex()[:32]
        if not cell or digest not in erasure["digests"]:
            return row
        if erasure["mode"] == "rows":
            return None
        return {name: "" if name in erasure["personal"] else text for name, text in row.items()}

    return erased


def check_replaced(bucket: MemoryStore, cluster: Cluster) -> int:
    """Nothing is half done, each replaced object holds its rows, each row stands once. Returns how many objects."""
    for record in replacements_of(bucket):
        if half := list(_unfinished(bucket, record)):
            raise Violation(f"replacement {record['n']} is half done: {half}")
    for facts in bucket.list("sim/"):
        if facts.key.endswith("_manifest.json"):
            _check_manifest(bucket, _day_of(facts.key))
    return sum(_check_partition(Folder(bucket, cluster, partition)) for partition in cluster.partitions())


def _check_partition(folder: Folder) -> int:
    for key in folder.listed:
        stored, wanted = folder.bucket.get(key), folder.text(key)
        if stored is None or stored.data.decode() != wanted:
            raise Violation(f"{key} holds other rows: {_unlike(stored, wanted)}")
    for entry in folder.entries:
        _check_once(folder, entry)
    return len(folder.listed)


def _unlike(stored: Stored | None, wanted: str) -> str:
    """The lines in which they differ."""
    text = stored.data.decode() if stored else ""
    return "\n".join(line for line in difflib.ndiff(text.splitlines(), wanted.splitlines()) if line[0] in "+-")


def _check_manifest(bucket: MemoryStore, day: str) -> None:
    said = _manifest(bucket, day)
    assert said is not None
    if "replaying" in said:
        raise Violation(f"the manifest of {day} still says {said['replaying']}")
    for item in said["objects"]:
        stored = bucket.get(item["key"])
        if stored is not None and item["rows"] != stored.data.count(b"\n") - 1:
            raise Violation(f"the manifest of {day} says {item['rows']} rows of {item['key']}")


def _check_once(folder: Folder, entry: Entry) -> None:
    """No row stands in two places; none that its covering rules give is gone but by a filter or an erasure."""
    digests = {None, *(record["settings"] for record in folder.replacements)}
    said = {digest: folder.verdict(entry, digest) for digest in digests}
    days = {one.day for one in said.values() if isinstance(one, Verdict) and one.cells is not None}
    homes = []
    for day in days:
        key = folder.key(entry, day)
        if key is not None:
            now = said[folder.basis(key).settings]
            homes += [key] if isinstance(now, Verdict) and now.cells is not None and now.day == day else []
    if len(homes) > 1:
        raise Violation(f"{folder.partition}@{entry.offset} is a row of {homes}")
    first = said[None]
    if not homes and isinstance(first, Verdict) and first.cells is not None:
        _check_dropped(folder, entry, said, first.day)


def _check_dropped(folder: Folder, entry: Entry, said: Mapping[str | None, Verdict | str], day: date) -> None:
    seen: set[date] = set()
    while day not in seen:
        seen.add(day)
        key = folder.key(entry, day)
        now = said[folder.basis(key).settings] if key is not None else None
        if key is None and len(seen) == 1:
            return  # its day is not sealed yet
        if not isinstance(now, Verdict) or now.cells is None:
            if key is None:
                break
            return  # a filter dropped it
        if folder.erased(now, day):
            return
        day = now.day
    raise Violation(f"{folder.partition}@{entry.offset} is a row of no day: it left {sorted(seen)}")
