"""A bucket, a cluster in memory, and the view that one-shot commands have of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from consumer.domain.clock import Clock
from consumer.domain.offsets import Commit, TopicPartition
from consumer.seal.inspection import Outside
from consumer.settings.load import settings_from
from tests.builders.sealed import GROUP, RULES, STREAM, TOPIC, Bucket
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.store import MemoryStore

P0 = TopicPartition(TOPIC, 0)
T = TypeVar("T")


def at_once(call: Callable[[], T]) -> T:
    """No patience at all."""
    return call()


@dataclass(slots=True)
class BucketClock:
    """A store's clock that shows what the bucket takes for now."""

    bucket: Bucket | None = None

    def now(self) -> datetime:
        assert self.bucket is not None
        return self.bucket.now

    def monotonic(self) -> float:
        return 0.0


@dataclass(slots=True)
class Scene:
    """One stream with one partition or more."""

    bucket: Bucket
    cluster: MemoryCluster
    outside: Outside

    def fill(self, count: int, *, low: int = 0, place: TopicPartition = P0, timestamp: int = 0) -> None:
        """Records in Kafka, those below `low` deleted again."""
        for _ in range(count):
            self.cluster.produce(place, b"{}", timestamp=timestamp)
        self.cluster.existing(place).delete_below(low)

    def commit(self, commit: Commit | None, place: TopicPartition = P0) -> None:
        """What the group has committed."""
        committed = self.cluster.group(GROUP).committed
        committed.pop(place, None)
        if commit is not None:
            committed[place] = commit


@contextmanager
def scene(
    folder: Path,
    *,
    partitions: int = 1,
    config: dict[str, str] | None = None,
    store: Callable[[Clock], MemoryStore] = MemoryStore,
) -> Iterator[Scene]:
    """A scene whose settings have the rules of the bucket."""
    (folder / "click.avsc").write_text(RULES.schema)
    tables = {
        "kafka": {"bootstrap_servers": "localhost:1", "group_id": GROUP},
        "destination": {"url": (folder / "out").as_uri()},
        "spool": {"directory": str(folder / "spool")},
        "streams": {STREAM: {"topic": TOPIC, "schema": "click.avsc", "time_field": "at", "format": "json"}},
    }
    settings = settings_from(tables, folder, {}, "test")
    cluster = MemoryCluster()
    cluster.create_topic(TOPIC, partitions, config)
    clock = BucketClock()
    bucket = clock.bucket = Bucket(store(clock), partitions=partitions, rules=settings.streams[0].rules)
    with ThreadPoolExecutor(2) as pool:
        admin = MemoryAdmin(cluster)
        yield Scene(bucket, cluster, Outside(settings, settings.streams[0], admin, bucket.store, at_once, pool))
