"""One group, its topics, its folder in a bucket: what a test of the whole program plays in."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from consumer.source.errors import NO_COORDINATOR
from tests.harness import records
from tests.harness.bucket import Folder
from tests.harness.ledger import Ledger
from tests.harness.oracle import Findings, TransformedBatch, identity, judge, today, unsealed
from tests.harness.records import Form, Maker
from tests.harness.sink import STATUS_SECONDS, Sink, await_true
from tests.harness.toml import merged, toml
from tests.services import shared
from tests.services.kafka import KafkaAddress, unique_topic
from tests.services.s3 import S3Address

TOPIC_CONFIG = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**62)}
OPTIONS: Mapping[str, dict[str, Any]] = {
    "classic": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500, "fetch.wait.max.ms": 100},
    "consumer": {"group.protocol": "consumer", "fetch.wait.max.ms": 100},
}
"""So that a killed member is soon forgotten; the brokers say that themselves for the newer protocol."""
FILTERS: Mapping[str, dict[str, Any]] = {
    "events": {
        "event_types": {"default": True, "subscription_paused": False},
        "filter": {"exclude_historical": True, "environments": ["PRODUCTION"]},
    },
    "paywall_views": {"filter": {"exclude_historical": True}},
    "ua_events": {
        "event_types": {"subscription_paused": False},
        "filter": {"exclude_historical": True, "historical_before": "2020-01-01T00:00:00Z"},
    },
    "ua_campaign_metrics": {},
}


@dataclass(slots=True)
class Stream:
    """One stream of the world."""

    name: str
    kind: str
    form: Form
    topic: str
    partitions: int
    compression: str
    maker: Maker

    @property
    def judged(self) -> TransformedBatch:
        """As the oracle sees it."""
        return TransformedBatch(self.name, self.topic, self.partitions, self.maker.kind.columns, self.compression)

    @property
    def tables(self) -> dict[str, Any]:
        """Its settings."""
        destination = {"destination": {"compression": self.compression}}
        return {"kind": self.kind, "topic": self.topic, "format": self.form, **destination, **FILTERS[self.kind]}


@dataclass(slots=True)
class World:
    """Everything of one test. `endpoint` is what workers use of the store: mostly a proxy before it."""

    home: Path
    kafka: KafkaAddress
    store: S3Address
    bucket: str
    registry: str | None = None
    group: str = field(default_factory=lambda: f"group-{uuid4().hex[:8]}")
    prefix: str = "com.app/folder"
    endpoint: str = ""
    bootstrap: str = ""
    protocol: str = "classic"
    over: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    seed: int = 1
    ledger: Ledger = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)
    _started: int = 0
    spools: Path = field(init=False)
    """Where its spools lie: in memory if possible. They end with the world."""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        synced = shared.synced_folder()
        self.spools = self.home if synced is None else Path(tempfile.mkdtemp(prefix="spools-", dir=synced))
        self.ledger = Ledger(self.kafka.bootstrap_servers)
        self.endpoint = self.endpoint or self.store.endpoint_url
        self.bootstrap = self.bootstrap or self.kafka.bootstrap_servers
        self.prove()

    @property
    def folder(self) -> Folder:
        """The destination."""
        return Folder(self.store, self.bucket, self.prefix)

    def prove(self) -> None:
        """Say in the folder that the store's conditional writes were tried, so that no worker races for seconds."""
        self.folder.prove(self.endpoint)

    def add(
        self,
        name: str = "events",
        kind: str = "events",
        form: Form = "avro",
        *,
        partitions: int = 1,
        compression: str = "none",
        config: Mapping[str, str] | None = None,
    ) -> Stream:
        """Another stream with a topic of its own."""
        topic = unique_topic(name.replace("_", "-"))
        self.kafka.create_topic(topic, partitions, {**TOPIC_CONFIG, **(config or {})})
        ids = self._register(topic, kind) if form == "avro-registry" else ()
        stream = Stream(name, kind, form, topic, partitions, compression, Maker(kind, form, self.seed, ids))
        self.streams[name] = stream
        return stream

    def _register(self, topic: str, kind: str) -> list[int]:
        """Register the schemas of all producers, each as a subject of its own: they need not be compatible."""
        assert self.registry is not None
        found = records.writer_schemas(records.KINDS[kind])
        with SchemaRegistryClient({"url": self.registry}) as client:
            return [
                client.register_schema(f"{topic}-{n}-value", Schema(orjson.dumps(each).decode(), "AVRO"))
                for n, each in enumerate(found)
            ]

    # -- producing -----------------------------------------------------------------------------------------------------

    def fill(self, stream: Stream, days: Sequence[date], count: int) -> None:
        """Mixed records of these days, over all partitions."""
        made = stream.maker.mixture(days, count)
        self.ledger.send_all((stream.topic, n % stream.partitions, each) for n, each in enumerate(made))

    # -- running -------------------------------------------------------------------------------------------------------

    def spool(self, worker: str = "a") -> Path:
        """Where a worker keeps its rows."""
        return self.spools / f"spool-{worker}"

    def settings(self, worker: str = "a", over: Mapping[str, Any] | None = None) -> Path:
        """Write the settings file of a worker."""
        tables = {
            "kafka": {"bootstrap_servers": self.bootstrap, "group_id": self.group, "options": OPTIONS[self.protocol]},
            "destination": {
                "url": self.folder.url,
                "endpoint_url": self.endpoint,
                "region": self.store.region,
                "access_key_id": self.store.access_key,
                "secret_access_key": self.store.secret_key,
            },
            "spool": {"directory": str(self.spool(worker)), "checkpoint_seconds": 0.2, "min_free_bytes": 1000},
            "schedule": {"seal_at": "00:00", "give_up_after": "30s"},
            "http": {"listen": "127.0.0.1:0"},
            "streams": {stream.name: stream.tables for stream in self.streams.values()},
        }
        if self.registry:
            tables["schema_registry"] = {"url": self.registry, "grace": "2s"}
        path = self.home / f"{worker}-{self._started}.toml"
        path.write_text(toml(merged(merged(tables, self.over), over or {})))
        return path

    def start(
        self,
        *arguments: str,
        worker: str = "a",
        over: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Sink:
        """Start a process. It ends with the world."""
        self._started += 1
        path = self.settings(worker, over)
        sink = Sink(path, self.home / f"{worker}-{self._started}.log", *arguments, env=env)
        self._stack.callback(sink.close)
        return sink

    def once(self, through: date | None = None, **kwargs: Any) -> Sink:
        """Start `run --once`."""
        return self.start("run", "--once", *([] if through is None else ["--through", str(through)]), **kwargs)

    def waiting(self, worker: str = "a", **kwargs: Any) -> Sink:
        """Start `run` as it is just before a day is due: it seals the days up to the one before yesterday, and waits.

        (But in the last minute before midnight.)
        """
        over = merged({"schedule": {"seal_at": "23:59"}}, kwargs.pop("over", None) or {})
        return self.start("run", worker=worker, over=over, **kwargs)

    def await_read(self, *sinks: Sink, seconds: float = 60) -> None:
        """Wait until these workers together have read all that was sent."""

        def all_read() -> bool:
            at = {(p["topic"], p["partition"]): p["position"] or 0 for s in sinks for p in s.status()["partitions"]}
            ends = {place: max(sent.offset for sent in log) for place, log in self.ledger.sent.items() if log}
            return all(at.get(place, 0) > end for place, end in ends.items())

        await_true(all_read, seconds, "all is read", STATUS_SECONDS)

    def close(self) -> None:
        """End all processes."""
        self._stack.close()
        if self.spools != self.home:
            rmtree(self.spools, ignore_errors=True)

    # -- judging -------------------------------------------------------------------------------------------------------

    def judge(self, sealed: date | None = None, **changes: Any) -> dict[str, Findings]:
        """Judge every stream; all days up to `sealed` must be closed. `changes` go into each `TransformedBatch`."""
        why: Callable[[date], list[str]] = changes.pop("why", lambda _: [])
        found = {
            stream.name: judge(self.folder, self.ledger, replace(stream.judged, **changes), why=why)
            for stream in self.streams.values()
        }
        wrong = [f"{name}: {what}" for name, each in found.items() for what in each.wrong]
        if sealed is not None:
            for name, each in found.items():
                lost = list(unsealed(each, sealed))
                wrong += [f"{name}: {len(lost)} rows of closed days are missing, as {lost[0]}"] if lost else []
        wrong += self.wrong_commits(found)
        assert not wrong, "\n".join(wrong[:20])
        return found

    def committed(self) -> dict[tuple[str, int], TopicPartition]:
        """The group's offsets, with their metadata. Asked by a consumer that never joins: the admin call can crash."""
        places = [TopicPartition(stream.topic, p) for stream in self.streams.values() for p in range(stream.partitions)]
        reader = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.group})
        found: list[TopicPartition] = []

        def told() -> bool:
            try:
                found[:] = reader.committed(places, timeout=30)
            except KafkaException as error:
                if error.args[0].code() in NO_COORDINATOR:
                    return False  # a broker that was just restarted
                raise
            return True

        try:
            await_true(told, 60, "the group's coordinator")
        finally:
            reader.close()
        return {(place.topic, place.partition): place for place in found}

    def wrong_commits(self, found: Mapping[str, Findings]) -> Iterator[str]:
        """Commits that no record of the chain explains, or that lie beyond a row which stands nowhere."""
        for (topic, partition), place in self.committed().items():
            stream = next(each for each in self.streams.values() if each.topic == topic)
            chain = self.folder.records(topic, partition)
            if place.offset < 0 or not chain:
                continue
            said = orjson.loads(place.metadata or "null")
            if said is not None:
                known = said["chain"] == identity(self.folder, topic, partition) and said["seal"] < len(chain)
                if not known or place.offset != chain[said["seal"]]["resume"]:
                    yield f"{topic}:{partition}: committed {place.offset} {said}, which no record explains"
            waiting = [sent.offset for sent in found[stream.name].held if sent.partition == partition]
            if waiting and place.offset > min(waiting):
                yield f"{topic}:{partition}: committed {place.offset}, but {min(waiting)} stands nowhere"

    def lagging(self) -> list[str]:
        """Partitions whose commit is not the newest record's."""
        behind = []
        for (topic, partition), place in self.committed().items():
            chain = self.folder.records(topic, partition)
            said = orjson.loads(place.metadata or "null")
            if chain and said != {"chain": identity(self.folder, topic, partition), "seal": len(chain) - 1}:
                behind.append(f"{topic}:{partition}: {place.offset} {said}")
        return behind


@contextmanager
def closing(world: World) -> Iterator[World]:
    """End its processes at the end."""
    try:
        yield world
    finally:
        world.close()


__all__ = ["Stream", "World", "closing", "today"]
