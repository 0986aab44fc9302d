"""The demo's two mornings: records reach Kafka, it becomes 04:00, a worker seals what is due and exits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from consumer.commands.demo.cluster import MockAdmin, MockCluster
from consumer.commands.demo.data import MORNINGS, STREAMS, Sent, all_records, registry_schemas
from consumer.commands.wiring import Ports, store_of, worker_of
from consumer.decode.registry import MemoryRegistry
from consumer.domain.errors import GaveUpError, HaltError, UsageError
from consumer.monitor.listener import TelemetryListener
from consumer.observe.metrics import Metrics, declare
from consumer.settings.load import settings_from
from consumer.settings.model import Settings
from consumer.source.broker import KafkaBroker
from consumer.spool.local import LocalDisk
from consumer.store.conditional_writes.probe import require_safe
from consumer.store.port import Store
from consumer.worker.loop import Worker
from consumer.worker.one_shot import OneShot

POLL_SECONDS = 0.1
PATIENCE = timedelta(minutes=1)
"""An outage of the demo's own broker or folder this long ends it."""


@dataclass(frozen=True, slots=True)
class DemoClock:
    """A clock that is set by hand, so that every run is the same. Intervals are real."""

    instant: datetime

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did: the records it sent, the worker's counts, and the folder.

    `began` is a moment of the monotonic clock.
    """

    records: list[Sent]
    metrics: Metrics
    settings: Settings
    folder: Path
    store: Store
    began: float


def run_demo(output: Path | None) -> DemoResult:
    """Run both mornings. Raises HaltError or GaveUpError if they do not end well, UsageError for a bad folder."""
    began = time.monotonic()
    folder = _folder(output)
    records, metrics = all_records(), declare()
    with _cluster() as cluster, tempfile.TemporaryDirectory(prefix="adapty-sink-spool-") as spool:
        settings = _settings(cluster.servers, folder, Path(spool))
        store = store_of(settings.streams[0].destination)
        require_safe(store)  # once for all four streams: they share the folder
        before = datetime.min.replace(tzinfo=MORNINGS[0].tzinfo)
        for morning in MORNINGS:
            _send(cluster, settings, [record for record in records if before <= record.at < morning])
            _seal(cluster, settings, metrics, morning)
            before = morning
    return DemoResult(records, metrics, settings, folder, store, began)


def _folder(output: Path | None) -> Path:
    if output is None:
        return Path(tempfile.mkdtemp(prefix="adapty-sink-demo-"))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be created ({error.strerror})") from error
    return output.resolve()


@contextmanager
def _cluster() -> Iterator[MockCluster]:
    cluster = MockCluster()
    try:
        yield cluster
    finally:
        cluster.close()


def _settings(servers: str, folder: Path, spool: Path) -> Settings:
    """The settings as a file would give them."""
    written = {
        # the newer group protocol: the mock cluster lets nobody wait for other members
        "kafka": {"bootstrap_servers": servers, "options": {"group.protocol": "consumer"}},
        "schema_registry": {"url": "http://localhost"},  # never asked: the demo's registry is in memory
        "destination": {"url": folder.as_uri()},
        "spool": {"directory": str(spool).replace("${", "$${"), "min_free_bytes": 0},
        "http": {"listen": ""},
        "streams": {name: dict(table) for name, table in STREAMS.items()},
    }
    return settings_from(written, spool, {}, "the demo's settings")


def _send(cluster: MockCluster, settings: Settings, records: list[Sent]) -> None:
    for stream in settings.streams:
        cluster.send(stream.topic, [record for record in records if record.stream == stream.name])


def _seal(cluster: MockCluster, settings: Settings, metrics: Metrics, morning: datetime) -> None:
    """What `run --once` does, at this hour."""
    clock = DemoClock(morning)
    ports = Ports(
        broker=KafkaBroker(settings.kafka, static=False),
        admin=MockAdmin(cluster, settings.kafka),
        disk=LocalDisk(settings.spool.directory),
        clock=clock,
        stores={stream.name: store_of(stream.destination) for stream in settings.streams},
        registry=MemoryRegistry(registry_schemas()),
        scratch=settings.spool.directory,
    )
    listener = TelemetryListener(metrics, {stream.topic: stream.name for stream in settings.streams})
    worker = worker_of(settings, ports, listener)
    try:
        _work(worker, OneShot(worker, clock, morning.date() - timedelta(days=1), PATIENCE))
    finally:
        worker.stop()
        ports.close()


def _work(worker: Worker, watch: OneShot) -> None:
    for name, publication in worker.publish_tasks.items():
        publication.busy = partial(_unsealed, worker, name)
    worker.start()
    while (ended := watch.look()) is None:
        worker.step(POLL_SECONDS)
    for halt in ended.halts:
        raise HaltError(halt.reason, halt.message)
    if ended.unexpected is not None:
        raise ended.unexpected
    if ended.outage is not None:
        raise GaveUpError(str(ended.outage))


def _unsealed(worker: Worker, stream: str) -> bool:
    """Whether a partition has still to seal: published all at once, days have the same revisions in every run."""
    partitions = worker.partitions_of(stream)
    return not partitions or any(
        partition.phase.in_a_seal or partition.cutoff_due() is not None for partition in partitions
    )
