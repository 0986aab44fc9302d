"""The replay log of a stream, as verification sees it: which replay an object was last written by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumer.domain import json_fields
from consumer.seal.keys import replay_prefix
from consumer.seal.record import ObjectEntry, entry_from
from consumer.seal.replacements import REPLAY_VERSION
from consumer.store.port import Stored
from consumer.verify.documents import parsed, unlike_written
from consumer.verify.findings import RESTORE, Finding, Problem


@dataclass(frozen=True, slots=True)
class Replaced:
    """An object as the newest replay that lists it says: its rows, that replay's number and settings."""

    entry: ObjectEntry
    n: int
    settings: str


@dataclass(frozen=True, slots=True)
class ReplayLook:
    """All replays of a stream: objects by key, and what is wrong with the log."""

    objects: dict[str, Replaced] = field(default_factory=dict)
    settings: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def check_replays(stream: str, stored: Iterable[Stored]) -> ReplayLook:
    """Read the replay log; its records come in the order of their keys."""
    objects: dict[str, Replaced] = {}
    settings: set[str] = set()
    findings: list[Finding] = []
    expected = 0
    for one in stored:
        key = one.facts.key
        name = key.removeprefix(replay_prefix(stream))
        number = int(name.removesuffix(".json")) if name.removesuffix(".json").isdigit() else -1
        if number != expected:
            findings.append(Finding(key, Problem.MISSING, f"replay {expected} is missing before it", RESTORE))
        expected = number + 1
        if what := unlike_written(one):
            findings.append(Finding(key, Problem.ALTERED, what, RESTORE))
        try:
            raw = parsed(one.data)
            if json_fields.whole(raw, "version") > REPLAY_VERSION:
                findings.append(Finding(key, Problem.NEWER, "a newer release wrote it", "verify with that release"))
                continue
            if (raw["n"], raw["stream"]) != (number, stream):
                what = f"it says that it is replay {raw['n']} of {raw['stream']}"
                findings.append(Finding(key, Problem.INCONSISTENT, what, RESTORE))
            entries = [entry_from(entry) for entry in json_fields.tables(raw, "objects")]
            settings.add(json_fields.text(raw, "settings"))
            objects.update({entry.key: Replaced(entry, number, raw["settings"]) for entry in entries})
        except (KeyError, TypeError, ValueError) as error:
            findings.append(Finding(key, Problem.UNREADABLE, f"it is no replay record: {error}", RESTORE))
    return ReplayLook(objects, frozenset(settings), tuple(findings))
