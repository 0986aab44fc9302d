"""What all partitions of one stream share: settings, store, cluster, rules, clock, and the listener."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from consumer.domain.backoff import Jitter
from consumer.domain.batches import RowTransformer
from consumer.domain.clock import Clock
from consumer.domain.compression import Compression
from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import LogEnds, TopicPartition
from consumer.seal.decide import QUARANTINE_FLOOR, Schedule
from consumer.seal.folder_columns import header_of
from consumer.seal.inspection import topic_facts
from consumer.seal.keys import settings_key
from consumer.seal.log import SealLog, get_rules
from consumer.seal.objects import ObjectChecker
from consumer.seal.record import Record
from consumer.source.port import Broker, ClusterAdmin, TopicFacts, begin_at
from consumer.spool.disk import Disk
from consumer.store.port import Store
from consumer.streams.rules import RowRules
from consumer.worker.events import Listener
from consumer.worker.object_bodies import ObjectBodies
from consumer.worker.shared_call import SharedCall

TransformerFactory = Callable[[RowRules], RowTransformer]


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """One stream as the worker runs it. `begin` is "earliest", "latest" or an instant."""

    name: str
    rules: RowRules
    group: str
    begin: str | datetime = "earliest"
    compression: Compression = "none"
    max_ratio: float = 0.05
    min_records: int = QUARANTINE_FLOOR


@dataclass(slots=True)
class StreamContext:
    """What the partitions of one stream work with. Methods named `ask_*` may wait: call them on the executor.

    `jitter` spreads what is tried again, `share` makes one call of those that threads make at the same time.
    """

    config: StreamConfig
    store: Store
    admin: ClusterAdmin
    broker: Broker
    disk: Disk
    clock: Clock
    schedule: Schedule
    writer: str
    make_transformer: TransformerFactory
    listener: Listener
    bodies: ObjectBodies
    prove: Callable[[Store], None] = lambda _: None
    jitter: Jitter = random.random
    share: Callable[[Callable[[], TopicFacts]], Callable[[], TopicFacts]] = SharedCall
    today: str = field(init=False)
    """The digest of today's row rules."""
    _proven: bool = False
    _proving: Lock = field(default_factory=Lock)
    _topic: Callable[[], TopicFacts] = field(init=False)
    _rules: dict[str, RowRules] = field(default_factory=dict)
    _transformers: dict[str, RowTransformer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.today = self.config.rules.digest
        self._rules[self.today] = self.config.rules
        # the answer names every partition of the topic: asked by each for itself its cost would grow with their square
        self._topic = self.share(lambda: topic_facts(self.admin, self.config.rules.topic, self.config.name))

    def log(self, partition: TopicPartition) -> SealLog:
        """The seal log of one partition."""
        return SealLog(self.store, partition)

    def object_checker(self) -> ObjectChecker:
        """Says which objects are in the bucket, by checking it again."""
        return ObjectChecker(self.store)

    def ask_safe(self) -> None:
        """Have the store tested once. Raises HaltError `unsafe_store` if its conditional writes do not hold."""
        with self._proving:
            if not self._proven:
                self.prove(self.store)
                self._proven = True

    def ask_topic(self) -> TopicFacts:
        """The topic's facts. Raises HaltError if it is missing or compacted."""
        return self._topic()

    def ask_ends(self, partition: TopicPartition) -> LogEnds:
        """Where the partition's log begins and ends now."""
        return self.admin.ends([partition])[partition]

    def ask_rules(self, digest: str, partition: TopicPartition) -> RowRules:
        """The row rules of this digest, from the bucket once and from memory after that."""
        if digest not in self._rules:
            self._rules[digest] = get_rules(self.store, digest, partition)
        return self._rules[digest]

    def ask_transformer(self, digest: str, partition: TopicPartition) -> RowTransformer:
        """The transformer for these row rules. Raises HaltError where today's settings lack what they need."""
        if digest not in self._transformers:
            rules = self.ask_rules(digest, partition)
            try:
                self._transformers[digest] = self.make_transformer(rules)
            except ValueError as error:
                raise HaltError(
                    HaltReason.SETTINGS_CONFLICT,
                    f"records of {partition} were sealed with the settings {settings_key(digest)}, which cannot be "
                    f"used now: {error}",
                ) from error
        return self._transformers[digest]

    def ask_header(self, seal: Record) -> tuple[str, ...]:
        """The columns of this seal's objects: as many of the folder's as the record says, or those of its settings."""
        if seal.columns is None:
            return self.ask_transformer(seal.settings, seal.partition).columns
        return header_of(self.store, self.config.name, seal.columns)

    def ask_begin(self, partition: TopicPartition, ends: LogEnds) -> int:
        """Where a partition starts of which nothing was sealed or committed."""
        return begin_at(self.admin, partition, ends, self.config.begin)
