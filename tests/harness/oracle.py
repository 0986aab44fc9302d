"""The judge: from the list of what was produced and from the seal logs it says what each object must hold, to the byte.

It knows the contract and nothing of the program. Every row belongs to one seal: the first whose `through` lies beyond
its offset and that is due for its day. So each row is expected in exactly one object, and every object is expected.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.harness.bucket import Folder, Object
from tests.harness.ledger import Ledger, Sent
from tests.harness.records import Made

ONE_DAY = timedelta(days=1)
ABSURD = timedelta(days=2)
ENDINGS = {"none": "", "gzip": ".gz", "zstd": ".zst"}
Record = dict[str, Any]
Policy = Callable[[Made, Record], str | None]
"""Which filter drops a row whose offset this record covers; None: none does."""


def first_drop(made: Made, _covering: Record) -> str | None:
    """All filters are on."""
    return made.drops[0] if made.drops else None


Added = Callable[[Record], tuple[str, ...]]
"""Columns behind the stream's own in the objects of this record; no row has a value there."""


def none_added(_record: Record) -> tuple[str, ...]:
    """The schema is the shipped one."""
    return ()


@dataclass(frozen=True, slots=True)
class TransformedBatch:
    """A stream to be judged."""

    name: str
    topic: str
    partitions: int
    columns: tuple[str, ...]
    compression: str = "none"
    policy: Policy = first_drop
    added: Added = none_added

    def header(self, added: tuple[str, ...] = ()) -> bytes:
        """The first line of a data object."""
        return (",".join((*self.columns, *added)) + "\n").encode()


@dataclass(slots=True)
class Findings:
    """What is wrong, and what was seen."""

    wrong: list[str] = field(default_factory=list)
    rows: int = 0
    quarantined: int = 0
    objects: int = 0
    days: dict[date, int] = field(default_factory=dict)
    held: list[Sent] = field(default_factory=list)

    def check(self, holds: object, what: Callable[[], str]) -> bool:
        """Note it where it does not hold."""
        if not holds:
            self.wrong.append(what())
        return bool(holds)


@dataclass(frozen=True, slots=True)
class Expected:
    """An object that must stand, and the records in it."""

    key: str
    day: date
    quarantine: bool
    partition: int
    seal: int
    sent: tuple[Sent, ...]
    added: tuple[str, ...] = ()
    sealed_at: str = ""

    def lines(self) -> bytes:
        """The rows of a data object."""
        if not self.added:
            return b"".join(sent.made.line for sent in self.sent)
        return b"".join(sent.made.line[:-1] + b"," * len(self.added) + b"\n" for sent in self.sent)


def judge(
    folder: Folder, ledger: Ledger, stream: TransformedBatch, *, why: Callable[[date], list[str]] = lambda _: []
) -> Findings:
    """Judge all that stands of one stream. `why` says what is known to be missing of a day."""
    findings = Findings()
    chains = {p: folder.records(stream.topic, p) for p in range(stream.partitions)}
    expected: list[Expected] = []
    for partition, chain in chains.items():
        log = [s for s in ledger.in_order(stream.topic, partition) if s.visible]
        expected += _Chain(stream, partition, chain, log, findings).walk()
    stored = _objects(folder, stream, findings, expected)
    for each in expected:
        if each.key in stored:
            _compare(stream, each, stored[each.key], findings)
    _Publication(folder, stream, chains, expected, stored, why, findings).check()
    return findings


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


@dataclass(slots=True)
class _Chain:
    """Walks one partition's seal log beside its list of records."""

    stream: TransformedBatch
    partition: int
    records: list[Record]
    log: list[Sent]
    findings: Findings

    def walk(self) -> list[Expected]:
        left = [s for s in self.log if s.made.fate != "tombstone" and self._drop(s) is None]
        expected: list[Expected] = []
        previous: Record | None = None
        for n, record in enumerate(self.records):
            self._check_link(n, previous, record)
            if record["kind"] == "gap":
                left = [s for s in left if s.offset >= record["resume"]]
                self.log = [s for s in self.log if not record["lost"][0] <= s.offset < record["lost"][1]]
            else:
                taken = [s for s in left if s.offset < record["through"] and self._due(s, record)]
                gone = set(map(id, taken))
                left = [s for s in left if id(s) not in gone]
                expected += self._seal(record, taken)
                self._check_resume(record, left)
                self._check_counts(previous, record)
            previous = record
        self.findings.held += left
        return expected

    def _wrong(self, n: int, what: str) -> Callable[[], str]:
        return lambda: f"{self.stream.topic}:{self.partition} record {n}: {what}"

    def _covering(self, offset: int) -> Record | None:
        return next((record for record in self.records if record["through"] > offset), None)

    def _drop(self, sent: Sent) -> str | None:
        if sent.made.fate != "row":
            return None
        return self.stream.policy(sent.made, self._covering(sent.offset) or {})

    def _due(self, sent: Sent, record: Record) -> bool:
        covering = self._covering(sent.offset)
        assert covering is not None
        if record["cutoff"] is not None and sent.made.day <= date.fromisoformat(record["cutoff"]):
            return True
        return sent.made.day > _when(covering["sealed_at"]).date() + ABSURD

    def _check_link(self, n: int, previous: Record | None, record: Record) -> None:
        said = (record["n"], record["topic"], record["partition"], record["stream"], record["version"])
        wanted = (n, self.stream.topic, self.partition, self.stream.name, 1)
        self.findings.check(said == wanted, self._wrong(n, f"names {said}, not {wanted}"))
        link = previous and {"cutoff": previous["cutoff"], "through": previous["through"]}
        self.findings.check(record["previous"] == link, self._wrong(n, f"previous is {record['previous']}, not {link}"))
        if previous is None:
            return
        grows = record["through"] > previous["through"] or record["cutoff"] != previous["cutoff"]
        closes = record["caught_up"] and not previous["caught_up"]
        shrinks = record["through"] < previous["through"] or (record["cutoff"] or "") < (previous["cutoff"] or "")
        gap = record["kind"] == "gap"
        self.findings.check((grows or closes or gap) and not shrinks, self._wrong(n, "does not grow"))
        if not gap:
            fits = record["start"] == previous["resume"]
            self.findings.check(fits, self._wrong(n, f"starts at {record['start']}, not at {previous['resume']}"))

    def _check_resume(self, record: Record, left: list[Sent]) -> None:
        wanted = min((s.offset for s in left if s.offset < record["through"]), default=record["through"])
        what = f"resumes at {record['resume']}, not at {wanted}"
        self.findings.check(record["resume"] == wanted, self._wrong(record["n"], what))

    def _check_counts(self, previous: Record | None, record: Record) -> None:
        first = record["start"] if previous is None else previous["through"]
        new = [s for s in self.log if first <= s.offset < record["through"]]
        rows = [s for s in new if s.made.fate == "row"]
        filtered = sum(self._drop(s) is not None for s in rows)
        wanted = {
            "read": len(new),
            "kept": len(rows) - filtered,
            "filtered": filtered,
            "quarantined": sum(s.made.fate == "bad" for s in new),
            "tombstones": sum(s.made.fate == "tombstone" for s in new),
        }
        said = {name: record["counts"][name] for name in wanted}
        self.findings.check(said == wanted, self._wrong(record["n"], f"counts {said}, not {wanted}"))

    def _seal(self, record: Record, taken: Iterable[Sent]) -> list[Expected]:
        groups: dict[tuple[date, bool], list[Sent]] = {}
        for sent in taken:
            groups.setdefault((sent.made.day, sent.made.fate == "bad"), []).append(sent)
        made = [self._object(record, *place, tuple(group)) for place, group in sorted(groups.items())]
        wanted = [_entry(self.stream.name, each) for each in made]
        said = record["objects"]
        self.findings.check(said == wanted, self._wrong(record["n"], f"lists other objects: {_first(said, wanted)}"))
        return made

    def _object(self, record: Record, day: date, quarantine: bool, sent: tuple[Sent, ...]) -> Expected:
        name = f"dt={day}/{self.stream.topic}-{self.partition}-{record['through']:020d}"
        if quarantine:
            key = f"_quarantine/{self.stream.name}/{name}.jsonl"
        else:
            key = f"{self.stream.name}/{name}.csv{ENDINGS[self.stream.compression]}"
        added = () if quarantine else self.stream.added(record)
        return Expected(key, day, quarantine, self.partition, record["n"], sent, added, record["sealed_at"])


def _entry(stream: str, each: Expected) -> dict[str, Any]:
    entry = {
        "key": each.key,
        "stream": stream,
        "day": each.day.isoformat(),
        "rows": len(each.sent),
        "first_offset": each.sent[0].offset,
        "last_offset": each.sent[-1].offset,
    }
    return {**entry, "quarantine": True} if each.quarantine else entry


def _first(said: Iterable[object], wanted: Iterable[object]) -> str:
    """The first difference of two lists."""
    both = list(said), list(wanted)
    extra = [each for each in both[0] if each not in both[1]]
    missing = [each for each in both[1] if each not in both[0]]
    return f"{extra[:1]} instead of {missing[:1]} ({len(extra)} and {len(missing)})"


def _objects(
    folder: Folder, stream: TransformedBatch, findings: Findings, expected: list[Expected]
) -> dict[str, Object]:
    """The stream's objects; each that should not be there or is missing is noted."""
    data = [k for k in folder.keys(f"{stream.name}/") if not k.rsplit("/", 1)[1].startswith("_")]
    bad = folder.keys(f"_quarantine/{stream.name}/")
    wanted = {each.key for each in expected}
    findings.check(len(wanted) == len(expected), lambda: "two seals claim one object")
    for key in sorted(set(data + bad) - wanted):
        findings.wrong.append(f"{key} stands and no seal says so")
    for key in sorted(wanted - set(data + bad)):
        findings.wrong.append(f"{key} is missing")
    return folder.read_all(sorted(wanted & set(data + bad)))


def _compare(stream: TransformedBatch, each: Expected, stored: Object, findings: Findings) -> None:
    """One object, to the byte."""
    if each.quarantine:
        wanted = b"".join(_quarantine_line(stream.topic, each.partition, sent) for sent in each.sent)
        findings.quarantined += len(each.sent)
    else:
        wanted = stream.header(each.added) + each.lines()
        findings.rows += len(each.sent)
        findings.days[each.day] = findings.days.get(each.day, 0) + len(each.sent)
    findings.objects += 1
    findings.check(stored.content == wanted, lambda: f"{each.key}: {_line_difference(stored.content, wanted)}")
    facts = {
        "topic": stream.topic,
        "partition": str(each.partition),
        "rows": str(len(each.sent)),
        "first-offset": str(each.sent[0].offset),
        "last-offset": str(each.sent[-1].offset),
        "sha256": stored.sha256,
    }
    said = {name: stored.metadata.get(name) for name in facts}
    findings.check(said == facts, lambda: f"{each.key}: metadata {said}, not {facts}")


def _quarantine_line(topic: str, partition: int, sent: Sent) -> bytes:
    made = sent.made
    line = {
        "reason": made.reason,
        "topic": topic,
        "partition": partition,
        "offset": sent.offset,
        "timestamp": made.timestamp,
        "key": None if made.key is None else b64encode(made.key).decode(),
        "value": None if made.value is None else b64encode(made.value).decode(),
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _line_difference(said: bytes, wanted: bytes) -> str:
    ours, theirs = wanted.split(b"\n"), said.split(b"\n")
    for n, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            at = next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
            )
            low = max(0, at - 60)
            return f"line {n} at {at} is\n  {other[low : at + 120]!r}, not\n  {one[low : at + 120]!r}"
    return f"{len(theirs)} lines, not {len(ours)}"


@dataclass(slots=True)
class _Publication:
    """Manifests, marks and the list of days."""

    folder: Folder
    stream: TransformedBatch
    chains: Mapping[int, list[Record]]
    expected: list[Expected]
    stored: Mapping[str, Object]
    why: Callable[[date], list[str]]
    findings: Findings

    def check(self) -> None:
        days = self._published()
        listing = set(self.folder.keys(f"{self.stream.name}/"))
        places = {f"{self.stream.name}/dt={day}/" for day in days}
        found = {key.rsplit("/", 1)[0] + "/" for key in listing if key.endswith(("_manifest.json", "_SUCCESS"))}
        self.findings.check(found == places, lambda: f"published are other days: {sorted(found ^ places)[:5]}")
        manifests = {}
        for day in days:
            place = f"{self.stream.name}/dt={day}/"
            if {place + "_manifest.json", place + "_SUCCESS"} <= listing:
                manifests[day] = self.folder.document(place + "_manifest.json")
                self._check_manifest(day, manifests[day])
            else:
                self.findings.wrong.append(f"{place} lacks its manifest or its mark")
        if days:
            self._check_list(manifests)

    def _published(self) -> list[date]:
        seals = {p: [r for r in chain if r["kind"] == "seal"] for p, chain in self.chains.items()}
        closed = {p: [r["cutoff"] for r in chain if r["caught_up"]] for p, chain in seals.items()}
        if not all(closed.values()):
            return []
        last = min(date.fromisoformat(cutoffs[-1]) for cutoffs in closed.values())
        first = min(date.fromisoformat(chain[0]["cutoff"]) for chain in seals.values())
        days = {each.day for each in self.expected if not each.quarantine and each.day <= last}
        days |= {first + n * ONE_DAY for n in range((last - first).days + 1)}
        return sorted(days)

    def _check_manifest(self, day: date, manifest: Record) -> None:
        parts = sorted(
            (each for each in self.expected if each.day == day and not each.quarantine),
            key=lambda each: (each.partition, each.seal),
        )
        newest_part = max(parts, key=lambda each: (each.sealed_at, each.partition, each.seal), default=None)
        added = newest_part.added if newest_part else ()
        objects = [self._object(each, added) for each in parts]
        why = self.why(day)
        wanted: Record = {
            "version": 1,
            "stream": self.stream.name,
            "day": day.isoformat(),
            "complete": not why,
            "why": why,
            "columns": [*self.stream.columns, *added],
            "rows": sum(each["rows"] for each in objects),
            "bytes": sum(each["bytes"] for each in objects),
            "objects": objects,
        }
        said = {name: manifest[name] for name in wanted}
        said["objects"] = [self._without_etag(item) for item in manifest["objects"]]
        different = [name for name in wanted if said[name] != wanted[name]]
        self.findings.check(
            not different,
            lambda: (
                f"manifest of {self.stream.name} {day}: "
                + "; ".join(f"{name} is {str(said[name])[:600]}, not {str(wanted[name])[:600]}" for name in different)
            ),
        )
        newest = {str(each.partition): each.seal for each in parts}
        heads = {str(p): len(chain) - 1 for p, chain in self.chains.items()}
        fits = all(newest.get(p, 0) <= n <= heads.get(p, -1) for p, n in manifest["seals"].items())
        # a partition that was added to the topic later has nothing to say to this manifest until it has rows for it
        later = [p for p in heads.keys() - manifest["seals"].keys() if p not in newest]
        fits = fits and all(self.chains[int(p)][0]["sealed_at"] > manifest["written_at"] for p in later)
        fits = fits and manifest["seals"].keys() | set(later) == heads.keys()
        self.findings.check(fits, lambda: f"manifest of {day}: seals {manifest['seals']}, heads {heads}")
        self.findings.check(manifest["revision"] >= 1, lambda: f"manifest of {day}: revision {manifest['revision']}")

    def _object(self, each: Expected, newest: tuple[str, ...]) -> dict[str, Any]:
        stored = self.stored.get(each.key)
        own = {"columns": [*self.stream.columns, *each.added]} if each.added != newest else {}
        return {
            "key": each.key,
            "partition": each.partition,
            "rows": len(each.sent),
            "bytes": len(stored.body) if stored else -1,
            "sha256": stored.sha256 if stored else "",
            "first_offset": each.sent[0].offset,
            "last_offset": each.sent[-1].offset,
            "seal": each.seal,
            **own,
        }

    def _without_etag(self, item: Record) -> Record:
        """What the manifest says of an object, but for what only the store knows."""
        self.findings.check(bool(item["etag"]), lambda: f"{item['key']}: the manifest has no etag")
        return {name: value for name, value in item.items() if name not in {"etag", "version_id"}}

    def _check_list(self, manifests: Mapping[date, Record]) -> None:
        wanted: dict[str, Any] = {
            "version": 1,
            "stream": self.stream.name,
            "days": [
                {"day": day.isoformat(), **{name: manifests[day][name] for name in ("revision", "rows", "complete")}}
                for day in sorted(manifests)[-400:]
            ],
        }
        said = self.folder.document(f"{self.stream.name}/_days.json")
        for item in said["days"]:
            updated, replay = item.pop("updated_at"), item.pop("replay")
            self.findings.check(bool(updated) and replay is None, lambda: f"_days.json: {updated!r}, {replay!r}")  # noqa: B023 - called at once
        self.findings.check(said == wanted, lambda: f"_days.json: {_first(said['days'], wanted['days'])}")


def identity(folder: Folder, topic: str, partition: int) -> str:
    """What commits name a chain by."""
    return hashlib.sha256(folder.read(f"_seals/{topic}/{partition}/00000000.json").body).hexdigest()[:16]


def unsealed(findings: Findings, through: date) -> Iterator[Sent]:
    """Rows that stand nowhere although their day is closed."""
    return (sent for sent in findings.held if sent.made.day <= through)


def today() -> date:
    """The present UTC day."""
    return datetime.now(UTC).date()
