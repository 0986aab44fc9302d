"""The contents of one stream's bucket except object bodies: read once, in an order that is safe against races.

`_days.json` is read before the manifests, and all of these before the chains: nothing that is read early can refer to a
record that is read later. So a worker at work makes things look unfinished, but never unfounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import date

from consumer.domain.backoff import Ask
from consumer.domain.offsets import TopicPartition
from consumer.seal.keys import (
    chains_prefix,
    day_of,
    days_key,
    manifest_key,
    quarantine_folder,
    record_key,
    record_of,
    replacement_prefix,
    schema_key,
    settings_key,
    stream_folder,
)
from consumer.store.port import ObjectInfo, Store, Stored
from consumer.verify.chain import ChainLook, check_chain
from consumer.verify.columns import ColumnsLook, check_columns
from consumer.verify.findings import Finding, Problem
from consumer.verify.replays import ReplayLook, check_replays, replacement_number
from consumer.verify.settings import SettingsLook, check_settings


@dataclass(frozen=True, slots=True)
class Days:
    """The days to examine, inclusive; None: no bound."""

    first: date | None = None
    last: date | None = None

    def __contains__(self, day: date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)

    @property
    def all(self) -> bool:
        """No bound at all."""
        return self.first is None and self.last is None


@dataclass(frozen=True, slots=True)
class Folder:
    """Keys of one stream below its own folder or below `_quarantine/`: those of its days, and the others."""

    by_day: Mapping[date, Mapping[str, ObjectInfo]]
    elsewhere: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """Everything of one stream but bodies."""

    listing: Stored | None
    data: Folder
    quarantine: Folder
    manifests: Mapping[date, Stored]
    replays: ReplayLook
    chains: tuple[ChainLook, ...]
    settings: SettingsLook
    columns: ColumnsLook
    keeps_metadata: bool
    strangers: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with chains, settings and the replay log by themselves."""
        of_chains = [finding for look in self.chains for finding in look.findings]
        of_columns = self.columns.findings
        return (*of_chains, *self.settings.findings, *of_columns, *self.replays.findings, *self.strangers)


@dataclass(slots=True)
class SnapshotReader:
    """Reads one stream's part of a store. What never changes is remembered from one look to the next."""

    store: Store
    stream: str
    topic: str
    days: Days
    ask: Ask
    pool: Executor
    _known: dict[tuple[str, str], Stored] = field(default_factory=dict)

    def look(self) -> StreamSnapshot:
        """Read everything but bodies."""
        listing = self.ask(lambda: self.store.get(days_key(self.stream)))
        data, quarantine = self._folder(stream_folder(self.stream)), self._folder(quarantine_folder(self.stream))
        manifests = self._manifests(data)
        replays = check_replays(self.stream, self._fixed(self._replacements()))
        chains, strangers = self._chains()
        schema = self.ask(lambda: self.store.get(schema_key(self.stream)))  # it has all that these chains name
        named = {record.settings for look in chains for record in look.records} | replays.settings
        settings = check_settings(dict(zip(sorted(named), self._get(map(settings_key, sorted(named))), strict=True)))
        sealed = {(record.settings, record.columns) for look in chains for record in look.records if record.objects}
        return StreamSnapshot(
            listing=listing,
            data=data,
            quarantine=quarantine,
            manifests=manifests,
            replays=replays,
            chains=chains,
            settings=settings,
            columns=check_columns(
                self.stream,
                schema,
                sealed | replays.headers,
                settings.columns,
                keeps_metadata=self.store.keeps_metadata,
            ),
            keeps_metadata=self.store.keeps_metadata,
            strangers=strangers,
        )

    def _list(self, prefix: str) -> list[ObjectInfo]:
        return self.ask(lambda: list(self.store.list(prefix)))

    def _get(self, keys: Iterable[str]) -> list[Stored | None]:
        return list(self.pool.map(lambda key: self.ask(lambda: self.store.get(key)), keys))

    def _fixed(self, listed: Iterable[ObjectInfo]) -> list[Stored]:
        """Documents that are written once; those that vanish between list and read are left out."""
        wanted = [facts for facts in listed if (facts.key, facts.etag) not in self._known]
        for facts, stored in zip(wanted, self._get(facts.key for facts in wanted), strict=True):
            if stored is not None:
                self._known[(facts.key, facts.etag)] = stored
        places = ((facts.key, facts.etag) for facts in listed)
        return [self._known[place] for place in places if place in self._known]

    def _folder(self, prefix: str) -> Folder:
        by_day: dict[date, dict[str, ObjectInfo]] = {}
        elsewhere = []
        for facts in self._list(prefix):
            day = day_of(facts.key.removeprefix(prefix))
            if day is None:
                elsewhere.append(facts.key)
            else:
                by_day.setdefault(day, {})[facts.key] = facts
        return Folder(by_day, tuple(elsewhere))

    def _manifests(self, data: Folder) -> dict[date, Stored]:
        there = [
            day for day, keys in data.by_day.items() if day in self.days and manifest_key(self.stream, day) in keys
        ]
        found = self._get(manifest_key(self.stream, day) for day in there)
        return {day: stored for day, stored in zip(there, found, strict=True) if stored is not None}

    def _replacements(self) -> list[ObjectInfo]:
        """The records, without the old bodies next to them."""
        listed = self._list(replacement_prefix(self.stream))
        return [facts for facts in listed if replacement_number(self.stream, facts.key) is not None]

    def _chains(self) -> tuple[tuple[ChainLook, ...], tuple[Finding, ...]]:
        records: dict[TopicPartition, list[int]] = {}
        strangers, listed = [], []
        for facts in self._list(chains_prefix(self.topic)):
            found = record_of(self.topic, facts.key)
            if found is None:
                todo = "move it out of the seal log: a worker halts at it"
                strangers.append(Finding(facts.key, Problem.STRAY, "it is not a record of the seal log", todo))
                continue
            partition, number = found
            records.setdefault(partition, []).append(number)
            listed.append(facts)
        stored = {one.facts.key: one for one in self._fixed(listed)}
        looks = [self._chain(partition, numbers, stored) for partition, numbers in sorted(records.items())]
        return tuple(looks), tuple(strangers)

    def _chain(self, partition: TopicPartition, numbers: list[int], stored: Mapping[str, Stored]) -> ChainLook:
        found = [(n, stored[key]) for n in numbers if (key := record_key(partition, n)) in stored]
        return check_chain(partition, self.stream, found, keeps_metadata=self.store.keeps_metadata)
