"""Hostile input against a worker of its own process, held to so much memory: does it end, how long, with what peak?

    .venv/bin/python -m benchmarks.hostile [CASE ...] [--limit MIB]

Kafka is librdkafka's mock cluster, in this process; the worker reads it with the real client, and seals into a folder.
`peak` is the most memory that the worker's process held (VmHWM), `turn` the most processor time of one turn of its
loop, `held by` what would have ended it above the limit: where that is nothing, peaks above it are marked OVER.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from benchmarks.hostile_cases import CASES, STAMP, TOPIC, Case, lay, registry, strangers
from benchmarks.memory_limit import Held, held, peak_mib
from consumer.commands.demo.cluster import MockAdmin, MockCluster
from consumer.commands.wiring import Ports, registry_of, store_of, worker_of
from consumer.observe.http import HttpServer
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotHolder
from consumer.settings.load import settings_from
from consumer.settings.model import Settings
from consumer.source.broker import KafkaBroker
from consumer.spool.local import LocalDisk
from consumer.worker.events import BatchTaken, WorkerEvent
from consumer.worker.one_shot import OneShot

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)
YESTERDAY = date(2026, 3, 1)
LIMIT_MIB = 512
MOST_SECONDS = 300
"""A worker that has not ended by then hangs."""


def main(arguments: list[str]) -> None:
    """Every case, or those named."""
    limit = LIMIT_MIB
    if "--limit" in arguments:
        at = arguments.index("--limit")
        limit = int(arguments[at + 1])
        del arguments[at : at + 2]
    print(f"{'case':<14} {'limit':>5} {'held by':<9} {'peak MiB':>8} {'seconds':>7} {'turn s':>6}  ended")
    for name in arguments or CASES:
        found = run(name, limit)
        print(
            f"{name:<14} {limit:>5} {found['by']:<9} {found.get('peak', '-'):>8} {found.get('seconds', '-'):>7}"
            f" {found.get('turn', '-'):>6}  {found['ended']}",
            flush=True,
        )


def run(name: str, limit: int) -> dict[str, Any]:
    """One case, with a cluster of its own."""
    case = CASES[name]
    with ExitStack() as stack:
        producer, servers = _filled(case)
        stack.callback(producer.purge)
        asked = stack.enter_context(registry(case.registry(), packed=case.packed)) if case.registry else ""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lay(case.documents(), folder / "out")
        group = stack.enter_context(held(limit))
        return {"by": group.by, **_outcome(name, [servers, str(folder), asked], group, limit)}


def _filled(case: Case) -> tuple[Producer, str]:
    """A cluster with the case's records: it lives as long as the producer. And its address."""
    config: dict[str, Any] = (
        {"test.mock.num.brokers": 1, "log_level": 0, "message.max.bytes": 1_000_000_000, "linger.ms": 20}
        | {"batch.size": 1_000_000, "queue.buffering.max.kbytes": 1 << 20}
        | case.producer
    )
    producer = Producer(config)
    (broker,) = producer.list_topics(TOPIC, timeout=10).brokers.values()
    for record in case.records():
        while True:
            try:
                producer.produce(TOPIC, partition=0, **{"timestamp": STAMP, **record})
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)
    return producer, f"{broker.host}:{broker.port}"


def _outcome(name: str, arguments: list[str], group: Held, limit: int) -> dict[str, Any]:
    """What the worker's process says of itself at its end, or how it was ended."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--worker", name, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            group.enter(child.pid)
            with suppress(BrokenPipeError):
                child.stdin.write("\n")  # it waits for that before it takes any memory
                child.stdin.flush()
            port = int(child.stdout.readline() or 0)
            with strangers(port) if port else ExitStack():
                said, _ = child.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return {"ended": f"not within {MOST_SECONDS} s"}
    if child.returncode:
        return {"ended": f"killed by signal {-child.returncode}" if child.returncode < 0 else "by an error"}
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    if told["peak"] > limit:
        told["ended"] += " OVER"
    return told


@dataclass(frozen=True, slots=True)
class _Clock:
    """It is five in the morning. Intervals are real."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()


class _Cluster(MockCluster):
    """The parent's, as a client sees it."""

    def __init__(self, servers: str) -> None:
        self._producer = Producer({"bootstrap.servers": servers, "log_level": 0})
        self._failed = []


def work(name: str, servers: str, folder: Path, asked: str) -> None:
    """The worker's process: read, seal, publish; then what it took."""
    logging.disable(logging.CRITICAL)
    case, counted = CASES[name], {"kept": 0, "quarantined": 0}
    settings = _settings(case, servers, folder, asked)

    def hear(event: WorkerEvent) -> None:
        if isinstance(event, BatchTaken):
            counted["kept"] += event.batch.counts.kept
            counted["quarantined"] += event.batch.counts.quarantined

    clock = _Clock()
    ports = Ports(
        broker=KafkaBroker(settings.kafka, static=False),
        admin=MockAdmin(_Cluster(servers), settings.kafka),
        disk=LocalDisk(settings.spool.directory),
        clock=clock,
        stores={one.name: store_of(one.destination) for one in settings.streams},
        registry=registry_of(settings),
        scratch=settings.spool.directory,
    )
    worker = worker_of(settings, ports, hear)
    watch = OneShot(worker, clock, YESTERDAY, timedelta(minutes=2))
    worker.start()
    with _pages(ports) if case.strangers else ExitStack():
        began, turn = time.monotonic(), 0.0
        while (ended := watch.look()) is None:
            before = time.thread_time()
            worker.step(0.1)
            turn = max(turn, time.thread_time() - before)
    told = str(ended.halts[0].reason) if ended.halts else str(ended.unexpected or ended.outage or "sealed")
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"peak": peak_mib(), "seconds": seconds, "turn": round(turn, 2), "ended": f"{told} {counted}"}))
    worker.stop()
    ports.close()


def _settings(case: Case, servers: str, folder: Path, asked: str) -> Settings:
    (folder / "s.avsc").write_text(schema(case.fields))
    stream: dict[str, Any] = {"topic": TOPIC, "schema": "s.avsc", "time_field": "at", "format": case.format}
    if case.writer is not None:
        (folder / "w.avsc").write_text(schema(case.writer))
        stream["writer_schema"] = "w.avsc"
    written = {
        "kafka": {"bootstrap_servers": servers, "options": {"group.protocol": "consumer"}},
        "schema_registry": {"url": asked or "http://localhost", "grace": "1s"},
        "destination": {"url": (folder / "out").as_uri()},
        "spool": {"directory": str(folder / "spool"), "min_free_bytes": 0},
        "http": {"listen": ""},
        "quarantine": {"max_ratio": 1.0},
        "streams": {"s": stream},
    }
    return settings_from(written, folder, {}, "the benchmark's settings")


@contextmanager
def _pages(ports: Ports) -> Iterator[None]:
    """The worker's pages, before strangers: their port is said first."""
    site = Site(SnapshotHolder(ports.clock.monotonic()), CollectorRegistry(), ports.clock, ports.broker.alive_at)
    server = HttpServer(("127.0.0.1", 0), site)
    server.start()
    print(server.port, flush=True)
    try:
        yield
    finally:
        server.close()


def schema(fields: list[dict[str, Any]]) -> str:
    """A record schema of these fields."""
    return json.dumps({"type": "record", "name": "R", "fields": fields})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.stdin.readline()  # until it is under the limit
        if not CASES[sys.argv[2]].strangers:
            print(0, flush=True)
        work(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])
    else:
        main(sys.argv[1:])
