"""What an export consists of, as pure functions: each day's source, the file's name, the sidecar's contents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from consumer.domain.compression import SUFFIXES, Compression
from consumer.domain.days import DayRange
from consumer.domain.errors import UsageError
from consumer.domain.offsets import Span
from consumer.seal.day_plan import PartitionState, plan_days, sealed_everywhere, started_in_mid_log

SIDECAR_VERSION = 1
NOT_SEALED = "not_sealed"
UNKNOWN = "unknown"
INCOMPLETE = "-incomplete"


class DayKind(StrEnum):
    """The source of a day's rows."""

    SEALED = "sealed"
    """From the objects of its manifest."""
    EMPTY = "empty"
    """From nowhere: every partition has sealed it, and it has no rows."""
    OPEN = "open"
    """From Kafka, and from objects that some of its partitions have sealed already."""
    UNKNOWN = "unknown"
    """No source: neither the bucket nor Kafka has it."""


@dataclass(frozen=True, slots=True)
class PlannedDay:
    """One day of the plan. `manifest` is that of a sealed day, as it stood when the plan was made."""

    day: date
    kind: DayKind
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> int | None:
        """The revision of its manifest; 0 for an empty day without one, None if it is not sealed."""
        if self.kind is DayKind.SEALED:
            return int(self.manifest["revision"])
        return 0 if self.kind is DayKind.EMPTY else None

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        return bool(self.manifest["complete"]) if self.kind is DayKind.SEALED else self.kind is DayKind.EMPTY


@dataclass(frozen=True, slots=True)
class ExportedDay:
    """One day as the sidecar states it."""

    day: date
    revision: int | None
    rows: int
    complete: bool
    why: tuple[str, ...]
    source: str | None

    def document(self) -> dict[str, Any]:
        """The entry in the sidecar."""
        return {
            "day": self.day.isoformat(),
            "revision": self.revision,
            "rows": self.rows,
            "complete": self.complete,
            "why": list(self.why),
            "source": self.source,
        }


def checked_days(first: date, last: date, today: date) -> tuple[date, ...]:
    """Every day from `first` to `last`. Raises UsageError if that is not a range of days that can have rows."""
    if first > last:
        raise UsageError(f"--from {first} is after --to {last}")
    if last > today:
        raise UsageError(f"{last} is in the future: today is {today} (UTC)")
    return tuple(DayRange(first, last))


def plan_export(
    days: Iterable[date], manifests: Mapping[date, Mapping[str, Any]], states: Sequence[PartitionState] | None
) -> tuple[PlannedDay, ...]:
    """Each day's kind. `states` are those of all partitions; None where Kafka does not know the topic."""
    if not states:
        return tuple(
            PlannedDay(day, DayKind.SEALED, manifests[day]) if day in manifests else PlannedDay(day, DayKind.UNKNOWN)
            for day in days
        )
    sealed = sealed_everywhere(states)
    unpublished = {plan.day for plan in plan_days(states, {}) if plan.parts} - manifests.keys() if sealed else set()
    return tuple(_planned(day, manifests, sealed, unpublished, states) for day in days)


def _planned(
    day: date,
    manifests: Mapping[date, Mapping[str, Any]],
    sealed: date | None,
    unpublished: Collection[date],
    states: Sequence[PartitionState],
) -> PlannedDay:
    if day in manifests:
        return PlannedDay(day, DayKind.SEALED, manifests[day])
    if sealed is None or day > sealed or day in unpublished:
        return PlannedDay(day, DayKind.OPEN)
    return PlannedDay(day, DayKind.UNKNOWN if started_in_mid_log(states, day) else DayKind.EMPTY)


def base_name(days: Sequence[PlannedDay]) -> str:
    """The export's name without its endings; the name itself says if a day in it is not complete."""
    whole = all(day.complete for day in days)
    return f"{days[0].day}_{days[-1].day}{'' if whole else INCOMPLETE}"


def file_name(base: str, compression: Compression) -> str:
    """The name of the rows."""
    return f"{base}.csv{SUFFIXES[compression]}"


def file_names(base: str) -> tuple[str, ...]:
    """The names that the rows may have."""
    return tuple(file_name(base, compression) for compression in SUFFIXES)


def sidecar_name(base: str) -> str:
    """The name of the facts."""
    return f"{base}.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two exports of one name the same: the same identity has the same bytes."""

    file: str
    columns: tuple[str, ...]
    settings: str
    revisions: Mapping[str, int | None]
    kafka: Mapping[str, tuple[int, int]]

    def differences(self, file: str, sidecar: Mapping[str, Any]) -> list[str]:
        """How the export of this file and sidecar differs; empty if it is the same."""
        there = {item["day"]: item["revision"] for item in sidecar["days"]}
        kafka = {number: (span["from"], span["to"]) for number, span in sidecar["kafka"].items()}
        open_days = [day for day, revision in self.revisions.items() if revision is None]
        changed = [day for day, revision in self.revisions.items() if there.get(day, -1) != revision]
        if kafka != dict(self.kafka):
            changed += [day for day in open_days if day not in changed]
        found = [_day_change(day, there.get(day), self.revisions[day]) for day in sorted(changed)]
        for what, old, new in (
            ("columns", tuple(sidecar["columns"]), self.columns),
            ("settings", sidecar["settings"], self.settings),
            ("compression", file, self.file),
        ):
            if old != new:
                found.append(f"different {what}")
        return found


def _day_change(day: str, there: int | None, here: int | None) -> str:
    old, new = (("not sealed" if one is None else f"revision {one}") for one in (there, here))
    return f"{day} (has {old}, now {new})" if old != new else f"{day} (not sealed: Kafka has moved on)"


def identity_of(
    file: str, columns: Sequence[str], settings: str, days: Iterable[PlannedDay], kafka: Mapping[int, Span]
) -> Identity:
    """The identity of a planned export."""
    return Identity(
        file=file,
        columns=tuple(columns),
        settings=settings,
        revisions={day.day.isoformat(): day.revision for day in days},
        kafka={str(number): (span.start, span.end) for number, span in sorted(kafka.items()) if not span.empty},
    )


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """The sidecar's facts about the file as written."""

    rows: int
    bytes: int
    sha256: str


def sidecar(
    stream: str, identity: Identity, days: Sequence[ExportedDay], written: WrittenFile, *, written_at: str, writer: str
) -> dict[str, Any]:
    """The sidecar's document."""
    return {
        "version": SIDECAR_VERSION,
        "stream": stream,
        "from": days[0].day.isoformat(),
        "to": days[-1].day.isoformat(),
        "complete": all(day.complete for day in days),
        "days": [day.document() for day in days],
        "kafka": {number: {"from": start, "to": end} for number, (start, end) in identity.kafka.items()},
        "rows": written.rows,
        "bytes": written.bytes,
        "sha256": written.sha256,
        "columns": list(identity.columns),
        "settings": identity.settings,
        "written_at": written_at,
        "writer": writer,
    }


def folder_columns(known: Iterable[Sequence[str]], today: Sequence[str]) -> tuple[str, ...]:
    """The columns of all days, older ones first, then today's: each once."""
    found: dict[str, None] = {}
    for columns in (*known, today):
        found.update(dict.fromkeys(columns))
    return tuple(found)


def chosen_columns(folder: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The export's columns. Raises UsageError for one that the folder does not have, or that is given twice."""
    if wanted is None:
        return tuple(folder)
    if unknown := [name for name in wanted if name not in folder]:
        raise UsageError(f"--columns: unknown: {', '.join(unknown)}; the stream has {', '.join(folder)}")
    if len(set(wanted)) < len(wanted):
        raise UsageError("--columns names a column twice")
    return tuple(wanted)
