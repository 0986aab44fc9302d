"""Hostile input against a worker of its own process, held to so much memory: does it end, how long, with what peak?

    .venv/bin/python -m benchmarks.hostile [CASE ...] [--limit MIB]

Kafka is librdkafka's mock cluster, in this process; the worker reads it with the real client, and seals into a folder.
Where the machine gives no memory cgroup the limit does not hold, and the table says so.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from consumer.commands.demo.cluster import MockAdmin, MockCluster
from consumer.commands.wiring import Ports, store_of, worker_of
from consumer.decode.registry import MemoryRegistry
from consumer.settings.load import settings_from
from consumer.source.broker import KafkaBroker
from consumer.spool.local import LocalDisk
from consumer.worker.events import BatchTaken, WorkerEvent
from consumer.worker.one_shot import OneShot

TOPIC = "hostile"
NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)
YESTERDAY = date(2026, 3, 1)
STAMP = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
LIMIT_MIB = 512
GROUPS = Path("/sys/fs/cgroup/memory")
AT = {"name": "at", "type": "string"}
NOON = "2026-03-01T12:00:00Z"
NOON_AVRO = bytes([len(NOON) * 2]) + NOON.encode()
JSON_ROW = json.dumps({"at": NOON}).encode()

Record = dict[str, Any]
"""What a producer is given."""


@dataclass(frozen=True, slots=True)
class Case:
    """Records, the columns, and what the producer is told."""

    records: Callable[[], Iterable[Record]]
    fields: list[dict[str, Any]] = field(default_factory=lambda: [AT])
    writer: list[dict[str, Any]] | None = None
    format: str = "json"
    producer: dict[str, Any] = field(default_factory=dict)


def _days() -> Iterator[Record]:
    for number in range(6_700):
        yield {"value": json.dumps({"at": f"{date(2008, 7, 10) + timedelta(days=number % 6_400)}T00:00:00Z"}).encode()}


SYMBOL = "x" * 1_000
LARGE_DOUBLE = bytes.fromhex("a0c8eb85f3cce17f")
ENUM = {"type": "enum", "name": "E", "symbols": [SYMBOL]}
REALS = [AT, *({"name": f"d{number}", "type": "double"} for number in range(100))]
CASES = {
    "rows": Case(lambda: ({"value": JSON_ROW} for _ in range(20_000))),
    "unknown-ids": Case(
        lambda: ({"value": b"\0" + number.to_bytes(4, "big") + b"\x02"} for number in range(2_000)),
        format="avro-registry",
    ),
    "days": Case(_days),
    "null-fields": Case(
        lambda: ({"value": NOON_AVRO} for _ in range(20_000)),
        writer=[AT, *({"name": f"n{number}", "type": "null"} for number in range(9_900))],
        format="avro",
    ),
    "symbols": Case(
        lambda: ({"value": NOON_AVRO + b"\0" * 4} for _ in range(20_000)),
        [AT, *({"name": f"e{n}", "type": "string"} for n in range(4))],
        [AT, {"name": "e0", "type": ENUM}, *({"name": f"e{n}", "type": "E"} for n in range(1, 4))],
        "avro",
    ),
    "doubles": Case(
        lambda: ({"value": NOON_AVRO + LARGE_DOUBLE * 100} for _ in range(20_000)),
        REALS,
        format="avro",
    ),
    "large-json": Case(
        lambda: ({"value": b'{"at":"%s","x":[%s1]}' % (NOON.encode(), b"1," * 4_000_000)} for _ in range(8)),
        producer={"compression.codec": "lz4"},
    ),
    "headers": Case(
        lambda: ({"value": JSON_ROW, "headers": [("h", b"\0" * 200_000)]} for _ in range(4_000)),
        producer={"compression.codec": "gzip"},
    ),
    "gzip-400MiB": Case(lambda: [{"value": b" " * 419_430_000}], producer={"compression.codec": "gzip"}),
}


def main(arguments: list[str]) -> None:
    """Every case, or those named."""
    limit = LIMIT_MIB
    if "--limit" in arguments:
        at = arguments.index("--limit")
        limit = int(arguments[at + 1])
        del arguments[at : at + 2]
    print(f"{'case':<12} {'peak MiB':>8} {'seconds':>8} {'turn s':>7}  ended")
    for name in arguments or CASES:
        found = run(name, limit)
        print(
            f"{name:<12} {found.get('peak', '-'):>8} {found.get('seconds', '-'):>8} {found.get('turn', '-'):>7}"
            f"  {found['ended']}",
            flush=True,
        )


def run(name: str, limit: int) -> dict[str, Any]:
    """One case, with a cluster of its own."""
    case = CASES[name]
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
                producer.produce(TOPIC, partition=0, timestamp=STAMP, **record)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)
    with tempfile.TemporaryDirectory() as folder, held(limit) as group:
        worker = [sys.executable, "-m", "benchmarks.hostile", "--worker", name, f"{broker.host}:{broker.port}", folder]
        child = subprocess.run([*worker, *map(str, group)], stdout=subprocess.PIPE, text=True, check=False)
    holds = bool(group)
    if child.returncode:
        return {"ended": f"with {child.returncode}{'' if holds else ' (no limit)'}"}
    told: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return {**told, "ended": told["ended"] + ("" if holds else " (no limit)")}


@contextmanager
def held(limit: int) -> Iterator[list[Path]]:
    """The file by which a process comes under the limit; none where this machine does not let us."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory"), None)
    group = GROUPS / (own or "").lstrip("/") / f"hostile-{uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit << 20))
    except OSError:
        yield []
        return
    try:
        yield [group / "cgroup.procs"]
    finally:
        with suppress(OSError):
            group.rmdir()


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


def work(name: str, servers: str, folder: Path) -> None:
    """The worker's process: read, seal, publish; then what it took."""
    logging.disable(logging.CRITICAL)
    case, counted = CASES[name], {"kept": 0, "quarantined": 0}
    (folder / "s.avsc").write_text(schema(case.fields))
    stream: dict[str, Any] = {"topic": TOPIC, "schema": "s.avsc", "time_field": "at", "format": case.format}
    if case.writer is not None:
        (folder / "w.avsc").write_text(schema(case.writer))
        stream["writer_schema"] = "w.avsc"
    written = {
        "kafka": {"bootstrap_servers": servers, "options": {"group.protocol": "consumer"}},
        "schema_registry": {"url": "http://localhost"},
        "destination": {"url": (folder / "out").as_uri()},
        "spool": {"directory": str(folder / "spool"), "min_free_bytes": 0},
        "http": {"listen": ""},
        "quarantine": {"max_ratio": 1.0},
        "streams": {"s": stream},
    }
    settings = settings_from(written, folder, {}, "the benchmark's settings")

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
        registry=MemoryRegistry(),
        scratch=settings.spool.directory,
    )
    worker = worker_of(settings, ports, hear)
    watch = OneShot(worker, clock, YESTERDAY, timedelta(minutes=2))
    worker.start()
    began, turn = time.monotonic(), 0.0
    while (ended := watch.look()) is None:
        before = time.thread_time()
        worker.step(0.1)
        turn = max(turn, time.thread_time() - before)
    told = str(ended.halts[0].reason) if ended.halts else str(ended.unexpected or ended.outage or "sealed")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"peak": peak, "seconds": seconds, "turn": round(turn, 2), "ended": f"{told} {counted}"}))
    worker.stop()
    ports.close()


def schema(fields: list[dict[str, Any]]) -> str:
    """A record schema of these fields."""
    return json.dumps({"type": "record", "name": "R", "fields": fields})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        for group in sys.argv[5:]:
            Path(group).write_text(str(os.getpid()))
        work(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main(sys.argv[1:])
