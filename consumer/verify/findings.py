"""The findings of verification: one thing that is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Problem(StrEnum):
    """What is wrong, as a word for programs."""

    UNREADABLE = "unreadable"
    NEWER = "newer"
    ALTERED = "altered"
    MISSING = "missing"
    INCONSISTENT = "inconsistent"
    OBJECT = "object"
    UNFINISHED = "unfinished"
    MANIFEST = "manifest"
    NOT_PUBLISHED = "not_published"
    STRAY = "stray"
    REPLAY = "half_done_replay"
    UNREACHABLE = "destination"
    ROWS = "rows"


RESTORE = (
    "restore it from a backup or an older object version. The rows of a record that cannot be restored are safe in"
    " its objects; continue in a new folder with a new group"
)
RESTORE_OBJECT = "restore it from a backup or an older object version; the day of this object is {day}"
REPLAY_DAY = (
    "if a downstream job moved it, bring it back; otherwise restore it from a backup or an older object version. Or,"
    " while Kafka has its records, rebuild it with the current settings: adapty-sink replay --from {day} --to {day}"
    " --stream {stream}"
)
RESTORE_QUARANTINE = "restore it from a backup or an older object version; its records are in Kafka until retention"
START_WORKER = "start the worker: it finishes what is pending and publishes on every assignment"
REPUBLISH = (
    "restore it from a backup or an older object version. Or move it away and start the worker, which writes it again"
    " as revision 1"
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding about the object `key`. A `note` is worth reading, and no reason to end with 1."""

    key: str
    problem: Problem
    what: str
    todo: str
    note: bool = False

    def to_json(self) -> dict[str, Any]:
        """The entry under `findings`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Report:
    """What was examined of one stream, and the findings. `pending` is what a running worker is still working on."""

    stream: str
    location: str
    partitions: int = 0
    records: int = 0
    settings: int = 0
    days: int = 0
    objects: int = 0
    rows: int = 0
    quarantined: int = 0
    bytes: int = 0
    pending: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return all(finding.note for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The entry under `streams`."""
        raw = asdict(self)
        raw["findings"] = [finding.to_json() for finding in self.findings]
        raw["pending"] = list(self.pending)
        return raw


def once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in order of their keys, none twice, errors before notes."""
    return tuple(sorted(set(findings), key=lambda finding: (finding.note, finding)))
