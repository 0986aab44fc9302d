"""The row rules named in records: present, unaltered, and consistent along a chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consumer.seal.chain import Chain
from consumer.seal.keys import settings_key
from consumer.store.port import Stored
from consumer.streams.avro_schema import SchemaError
from consumer.streams.columns import columns_of
from consumer.streams.rules import ROWS_VERSION, RowRules, rules_from_document
from consumer.verify.documents import parsed, unlike_written
from consumer.verify.findings import RESTORE, Finding, Problem


@dataclass(frozen=True, slots=True)
class SettingsLook:
    """Row rules by digest, their columns where these are known, and what is wrong."""

    rules: Mapping[str, RowRules]
    columns: Mapping[str, tuple[str, ...]]
    findings: tuple[Finding, ...] = ()


def check_settings(stored: Mapping[str, Stored | None]) -> SettingsLook:
    """Check the documents, given by the digests that records name them with."""
    rules: dict[str, RowRules] = {}
    columns: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    for digest, one in sorted(stored.items()):
        key = settings_key(digest)
        if one is None:
            findings.append(Finding(key, Problem.MISSING, "the settings that seal records name are missing", RESTORE))
            continue
        try:
            if parsed(one.data)["version"] > ROWS_VERSION:
                findings.append(Finding(key, Problem.NEWER, "a newer release wrote it", "verify with that release"))
                continue
            rules[digest] = found = rules_from_document(one.data)
            columns[digest] = tuple(column.name for column in columns_of(found))
        except (KeyError, TypeError, ValueError, SchemaError) as error:
            findings.append(Finding(key, Problem.UNREADABLE, f"it cannot be read: {error}", RESTORE))
            continue
        what = unlike_written(one) or ("" if found.document() == one.data else "it was altered")
        if what or found.digest != digest:
            findings.append(Finding(key, Problem.ALTERED, what or f"it was altered: it is {found.digest}", RESTORE))
    return SettingsLook(rules, columns, tuple(findings))


def conflicts(chain: Chain, rules: Mapping[str, RowRules]) -> Iterable[tuple[int, str]]:
    """Records whose settings change what never changes in a chain, with the reason."""
    first: RowRules | None = None
    for record in chain.records:
        now = rules.get(record.settings)
        if now is None:
            continue
        first = first or now
        for name in ("topic", "day_by", "time_field"):
            if getattr(first, name) != getattr(now, name):
                yield record.n, f"its settings have {name} {getattr(now, name)}, the chain began with another"
        if now.topic != record.partition.topic:
            yield record.n, f"its settings are those of topic {now.topic}"
