"""What replacements work with: one stream's settings, bucket and log in Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from consumer.domain.backoff import Ask
from consumer.domain.batches import RowTransformer
from consumer.domain.clock import Clock
from consumer.domain.compression import Compression
from consumer.domain.offsets import TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.folder_columns import header_of
from consumer.seal.keys import settings_key
from consumer.seal.log import SealLog, get_rules
from consumer.seal.publisher import Publisher
from consumer.seal.replacements.log import ReplacementLog
from consumer.source.port import ClusterAdmin, RangeReader
from consumer.store.port import Store
from consumer.streams.columns import column_names
from consumer.streams.rules import RowRules

SETTINGS_PREFIX = settings_key("").removesuffix(".json")


@dataclass(frozen=True, slots=True)
class Scope:
    """The days, both included, and the partitions (None: all) that a command is about; `without` are left out."""

    first: date
    last: date
    partitions: tuple[int, ...] | None = None
    without: frozenset[date] = frozenset()

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last and day not in self.without


@dataclass(slots=True)
class Services:
    """One stream, and its outside. `today` are the row rules of the current settings.

    `most_bytes` limits the new bodies in `folder` at a time, at least one day's; `keys` are those of [privacy.keys], by
    name.
    """

    stream: str
    topic: str
    topic_id: str
    today: RowRules
    compression: Compression
    store: Store
    admin: ClusterAdmin
    reader: RangeReader
    publisher: Publisher
    make_transformer: Callable[[RowRules], RowTransformer]
    clock: Clock
    writer: str
    ask: Ask
    folder: Path
    most_bytes: int
    keys: Mapping[str, bytes]
    logs: Mapping[int, SealLog]
    _rules: dict[str, RowRules] = field(default_factory=dict)
    _transformers: dict[str, RowTransformer] = field(default_factory=dict)
    _listed: tuple[str, ...] = ()
    log: ReplacementLog = field(init=False)

    def __post_init__(self) -> None:
        self._rules[self.today.digest] = self.today
        self.log = ReplacementLog(self.store, self.stream)

    def rules(self, digest: str) -> RowRules:
        """The row rules of this digest. Raises HaltError if the bucket lacks them."""
        if digest not in self._rules:
            first = TopicPartition(self.topic, 0)
            self._rules[digest] = self.ask(lambda: get_rules(self.store, digest, first))
        return self._rules[digest]

    def transformer(self, digest: str) -> RowTransformer:
        """What makes rows by the rules of this digest."""
        if digest not in self._transformers:
            self._transformers[digest] = self.make_transformer(self.rules(digest))
        return self._transformers[digest]

    def header(self, settings: str, columns: int | None) -> tuple[str, ...]:
        """The columns of an object with this record: as many of the folder's as it says, or those of its settings."""
        if columns is None:
            return self.columns(settings)
        if columns > len(self._listed):
            self._listed = self.ask(lambda: header_of(self.store, self.stream, columns))
        return self._listed[:columns]

    def columns(self, digest: str) -> tuple[str, ...]:
        """The CSV columns that the rules of this digest name, without regard to the folder's list."""
        return column_names(self.rules(digest))

    def key_names(self) -> set[str]:
        """The names of keys that cells of the folder may be hashed with: configured ones, and those in its settings."""
        digests = [key.removeprefix(SETTINGS_PREFIX).removesuffix(".json") for key in self.ask(self._settings_keys)]
        named = {self.rules(digest).privacy.key for digest in digests}
        return set(self.keys) | {name for name in named if name is not None}

    def _settings_keys(self) -> list[str]:
        return [facts.key for facts in self.store.list(SETTINGS_PREFIX)]

    def all_logs(self) -> list[SealLog]:
        """The seal logs of all partitions."""
        return [self.logs[number] for number in sorted(self.logs)]

    def chains(self) -> dict[int, Chain]:
        """The chains as the bucket has them now, by partition."""
        return {number: self.ask(log.read) for number, log in self.logs.items()}

    def chains_in(self, scope: Scope) -> list[Chain]:
        """Those of a command's partitions, in order, that have sealed anything."""
        found = sorted(self.chains().items())
        return [
            chain
            for number, chain in found
            if not chain.empty and (scope.partitions is None or number in scope.partitions)
        ]
