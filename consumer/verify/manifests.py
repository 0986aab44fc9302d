"""A manifest by itself, and against what the chains say about its day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from consumer.seal.day_plan import DayPlan, Part, PartitionState, StoredContent, manifest_digest, plan_days
from consumer.seal.folder_columns import begins_with, merged
from consumer.seal.keys import manifest_key, record_key
from consumer.seal.manifest_builder import MANIFEST_VERSION, REPLAYING
from consumer.store.port import Stored
from consumer.verify.columns import ColumnsLook
from consumer.verify.documents import parsed, unlike_written, without_metadata
from consumer.verify.findings import REPUBLISH, Finding, Problem
from consumer.verify.replays import RUN_AGAIN, ReplayLook

ENTRY = ("key", "partition", "rows", "first_offset", "last_offset", "seal")
NUMBERS = ("partition", "rows", "bytes", "seal")


@dataclass(frozen=True, slots=True)
class ManifestLook:
    """A stored manifest; `raw` is None if it is not valid. `seals` are the records it includes."""

    day: date
    key: str
    raw: Mapping[str, Any] | None
    findings: tuple[Finding, ...] = ()
    seals: Mapping[int, int] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, tuple[int | None, str]]:
        """Size and sha256 of the objects that it lists, by key; of those that it only pins no size."""
        if self.raw is None:
            return {}
        listed: dict[str, tuple[int | None, str]] = {
            item["key"]: (item["bytes"], item["sha256"]) for item in self.raw["objects"]
        }
        pinned: dict[str, tuple[int | None, str]] = {
            key: (None, digest) for key, digest in self.raw["pins"]["objects"].items()
        }
        return pinned | listed


def check_manifest(stream: str, day: date, stored: Stored, *, keeps_metadata: bool) -> ManifestLook:
    """Read and check one manifest by itself."""
    key = manifest_key(stream, day)
    whats = [unlike_written(stored), without_metadata(stored, keeps_metadata=keeps_metadata)]
    try:
        raw = parsed(stored.data)
        if raw["version"] > MANIFEST_VERSION:
            return _broken(day, key, Problem.NEWER, "a newer release wrote it", "verify with that release")
        _require_whole(raw)
        seals = {int(partition): int(n) for partition, n in raw["seals"].items()}
        whats.extend(_own_problems(stream, day, raw))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _broken(
            day, key, Problem.UNREADABLE, f"it is not a manifest: {type(error).__name__}: {error}", REPUBLISH
        )
    findings = tuple(Finding(key, Problem.MANIFEST, what, REPUBLISH) for what in whats if what)
    return ManifestLook(day, key, raw, findings, seals)


def _broken(day: date, key: str, problem: Problem, what: str, todo: str) -> ManifestLook:
    return ManifestLook(day, key, None, (Finding(key, problem, what, todo),))


def _require_whole(raw: Mapping[str, Any]) -> None:
    """Raise ValueError, or KeyError, if what is compared later is missing or of another kind."""
    if raw["sha256"] != manifest_digest(raw):
        raise ValueError("its own sha256 does not match: it was altered")
    pins = (*raw["pins"]["seals"].values(), *raw["pins"]["objects"].values())
    texts = [
        *pins,
        *raw["columns"],
        *raw["why"],
        *(item[name] for item in raw["objects"] for name in ("key", "sha256")),
    ]
    numbers = [raw["revision"], raw["rows"], raw["bytes"], *(item[name] for item in raw["objects"] for name in NUMBERS)]
    offsets = [item[name] for item in raw["objects"] for name in ("first_offset", "last_offset")]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("it has text in place of a number, or a number in place of text")
    if not all(offset is None or isinstance(offset, int) for offset in offsets):
        raise ValueError("it has an offset that is not valid")


def _own_problems(stream: str, day: date, raw: Mapping[str, Any]) -> Iterator[str]:
    if (raw["stream"], raw["day"]) != (stream, day.isoformat()):
        yield f"it is for {raw['day']} of stream {raw['stream']}"
    if raw["complete"] is not (not raw["why"]):
        yield f"it says complete: {raw['complete']}, because of {raw['why']}"
    if raw["revision"] < 1 or datetime.fromisoformat(raw["written_at"]).tzinfo is None:
        yield "its revision or its time of writing is not valid"
    for name in ("rows", "bytes"):
        total = sum(item[name] for item in raw["objects"])
        if raw[name] != total:
            yield f"it says {raw[name]} {name}, its objects have {total}"


@dataclass(frozen=True, slots=True)
class ChainClaims:
    """What chains, replays and settings say, to compare manifests with. `lossy` are keys that may have fewer rows."""

    states: Sequence[PartitionState]
    plans: Mapping[date, DayPlan]
    replaced: Mapping[str, StoredContent]
    replays: ReplayLook
    columns: ColumnsLook
    today: tuple[str, ...]
    lossy: frozenset[str]

    def state(self, partition: int) -> PartitionState | None:
        """The state of a partition that has a seal log."""
        return next((state for state in self.states if state.partition == partition), None)


def against_chains(look: ManifestLook, claims: ChainClaims) -> Iterator[str]:
    """What a manifest says that differs from the records it includes."""
    if look.raw is None:
        return
    problems = list(_seal_problems(look, claims))
    yield from problems
    if problems or any(altered_records(look, claims)):
        return
    plan = claims.plans.get(look.day)
    if plan is None:
        yield f"it was published, though not every partition has sealed {look.day}"
        return
    parts = [part for part in plan.parts if part.seal <= look.seals.get(part.partition, -1)]
    yield from _object_problems(look, parts, claims)
    yield from _column_problems(look, parts, claims)
    if list(plan.why) != look.raw["why"] and list(_why_then(look, claims)) != look.raw["why"]:
        yield f"it says {look.raw['why']}, but the seal logs say {list(plan.why)}"


def half_done(look: ManifestLook, claims: ChainClaims) -> Iterator[Finding]:
    """The replacements that this manifest shows to be half done: by its mark, or by listing what they replace."""
    if look.raw is None:
        return
    open_ones = {} if REPLAYING not in look.raw else {look.raw[REPLAYING]: "its manifest still says replaying"}
    plan, items = claims.plans.get(look.day), {item["key"]: item for item in look.raw["objects"]}
    for part in plan.parts if plan else ():
        item = items.get(part.entry.key)
        if part.replay is not None and (item is None or item.get("replay") != part.replay):
            open_ones.setdefault(part.replay, "the manifest does not have its objects yet")
    for n, what in open_ones.items():
        record = claims.replays.records.get(n)
        if record is None:
            words = f"it says replaying: {n}, but no record has that number"
            yield Finding(look.key, Problem.MANIFEST, words, REPUBLISH)
        else:
            yield Finding(look.key, Problem.REPLAY, f"{record.kind} {n} is half done: {what}", RUN_AGAIN)


def altered_records(look: ManifestLook, claims: ChainClaims) -> Iterator[str]:
    """Keys of records that are not those which the manifest pins."""
    pins = look.raw["pins"]["seals"] if look.raw else {}
    for partition, n in sorted(look.seals.items()):
        state, pin = claims.state(partition), pins.get(str(partition))
        if state is not None and 0 <= n < len(state.chain.records) and pin not in {None, state.chain.digests[n]}:
            yield record_key(state.chain.head.partition, n)


def _seal_problems(look: ManifestLook, claims: ChainClaims) -> Iterator[str]:
    pins = look.raw["pins"]["seals"] if look.raw else {}
    if {str(partition) for partition in look.seals} != set(pins):
        yield "it does not pin the records that it includes"
    for partition, n in sorted(look.seals.items()):
        state = claims.state(partition)
        if state is None or not 0 <= n < len(state.chain.records):
            yield f"it includes record {n} of partition {partition}, which is missing from the seal log"
        else:
            sealed = PartitionState(partition, state.chain.before(n + 1), finished=True).sealed
            if sealed is None or sealed < look.day:
                yield f"with record {n} partition {partition} had not sealed {look.day} yet"


def _object_problems(look: ManifestLook, parts: Sequence[Part], claims: ChainClaims) -> Iterator[str]:
    assert look.raw is not None
    listed = {item["key"]: item for item in look.raw["objects"]}
    if len(listed) != len(look.raw["objects"]):
        yield "it lists an object twice"
    for part in parts:
        item = listed.pop(part.entry.key, None)
        if part.replay is not None and (item is None or item.get("replay") != part.replay):
            continue  # half done
        if item is None:
            yield f"it does not list {part.entry.key} of seal {part.seal}"
            continue
        said = tuple(item[name] for name in ENTRY)
        entry = part.entry
        wanted = (entry.key, part.partition, entry.rows, entry.first_offset, entry.last_offset, part.seal)
        if said != wanted and not (entry.key in claims.lossy and item["rows"] <= entry.rows):
            yield f"its facts of {entry.key} differ from record {part.seal} of partition {part.partition}"
    for key in sorted(listed):
        yield f"it lists {key}, which is in no record"


def _column_problems(look: ManifestLook, parts: Sequence[Part], claims: ChainClaims) -> Iterator[str]:
    assert look.raw is not None
    own = tuple(look.raw["columns"])
    if not parts:
        if own not in {claims.today, *(claims.columns.settings or {}).values()} and not _grown(own, claims):
            yield "its columns match no settings in the seal log"
        return
    items = {item["key"]: item for item in look.raw["objects"]}
    for part in parts:
        item = items.get(part.entry.key)
        known = _possible_columns(part, claims)
        if (
            item is not None
            and item.get("replay") == part.replay
            and known
            and (said := tuple(item.get("columns", own))) not in known
            and not (part.replay is not None and part.columns is None and _grown(said, claims))
        ):
            yield f"its columns of {part.entry.key} differ from its record"


def _possible_columns(part: Part, claims: ChainClaims) -> list[tuple[str, ...]]:
    columns = claims.columns.of_record(part.settings, part.columns)
    return [] if columns is None else [columns]


def _grown(own: tuple[str, ...], claims: ChainClaims) -> bool:
    """Whether these are the first columns of the folder, as it is or as a worker with today's settings makes it."""
    return begins_with(merged(claims.columns.listed or (), claims.today), own)


def _why_then(look: ManifestLook, claims: ChainClaims) -> tuple[str, ...]:
    """What was known to be missing with the records that the manifest took in."""
    states = [
        PartitionState(partition, state.chain.before(n + 1), finished=True)
        for partition, n in look.seals.items()
        if (state := claims.state(partition)) is not None
    ]
    plans = plan_days(states, claims.replaced)
    return next((plan.why for plan in plans if plan.day == look.day), ())


def outdated(look: ManifestLook, plan: DayPlan) -> str:
    """What the manifest lacks by now; "" if it is up to date."""
    if look.raw is None:
        return ""
    missing = [part.entry.key for part in plan.parts if part.seal > look.seals.get(part.partition, -1)]
    if missing:
        return f"it does not list {len(missing)} later objects yet, such as {missing[0]}"
    return "" if list(plan.why) == look.raw["why"] else f"it does not say {', '.join(plan.why) or 'complete'} yet"
