"""The replacement log of a stream, for verification: which replacement last wrote an object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.keys import record_number, replacement_prefix
from consumer.seal.replacements.log import Listed, parse_replacement
from consumer.seal.replacements.record import Replacement
from consumer.store.port import Stored
from consumer.verify.documents import unlike_written
from consumer.verify.findings import RESTORE, Finding, Problem

RUN_AGAIN = "let it finish where it runs, or run the same command again, which finishes it"


@dataclass(frozen=True, slots=True)
class ReplayLook:
    """All replacements of a stream: the newest that lists an object by its key, and what is wrong with the log."""

    objects: dict[str, Listed] = field(default_factory=dict)
    records: dict[int, Replacement] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def settings(self) -> frozenset[str]:
        """The digests of all settings that records name."""
        of_objects = {one.settings for record in self.records.values() for one in record.objects}
        return frozenset({record.settings for record in self.records.values()} | of_objects)

    @property
    def headers(self) -> frozenset[tuple[str, int | None]]:
        """Settings of all objects that were ever put, and how much of the folder's list they have."""
        return frozenset((one.settings, one.columns) for record in self.records.values() for one in record.objects)


def replacement_number(stream: str, key: str) -> int | None:
    """The number of the record under this key; None for the old bodies next to the records."""
    return record_number(key.removeprefix(replacement_prefix(stream)))


def check_replays(stream: str, stored: Iterable[Stored]) -> ReplayLook:
    """Read the replacement log; its records come in the order of their keys."""
    objects: dict[str, Listed] = {}
    records: dict[int, Replacement] = {}
    findings: list[Finding] = []
    expected, before = 0, None
    for one in stored:
        key, number = one.facts.key, replacement_number(stream, one.facts.key)
        if number is None:
            continue
        if number != expected:
            findings.append(Finding(key, Problem.MISSING, f"replay {expected} is missing before it", RESTORE))
            before = None
        expected = number + 1
        if what := unlike_written(one):
            findings.append(Finding(key, Problem.ALTERED, what, RESTORE))
        try:
            record = parse_replacement(stream, number, one.data)
        except HaltError as error:
            newer = error.reason is HaltReason.CHAIN_NEWER
            problem = Problem.NEWER if newer else Problem.UNREADABLE
            findings.append(Finding(key, problem, error.message, "verify with that release" if newer else RESTORE))
            before = None
            continue
        if before is not None and record.previous_sha256 != before:
            what = f"record {number - 1} was altered, or this one: the digest that links them does not match"
            findings.append(Finding(key, Problem.INCONSISTENT, what, RESTORE))
        before = sha256(one.data).hexdigest()
        records[number] = record
        objects.update({new.entry.key: Listed(number, new) for new in record.objects})
    return ReplayLook(objects, records, tuple(findings))
