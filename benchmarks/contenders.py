"""Who reads the log, how each is started, and what a run of it costs and leaves."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import sink
from benchmarks.contents import Contents, contents
from benchmarks.events import Plan, yesterday
from benchmarks.measure import Cost, measure
from benchmarks.servers import Servers
from benchmarks.task import Task
from consumer.streams.rules import Format
from tests.services.s3 import unique_bucket

MODULES = (
    "benchmarks.floor",
    "benchmarks.usual",
    "consumer.commands.main",
    "consumer.commands.telemetry",
    "consumer.settings.load",
    "consumer.worker.one_shot",
)
"""What the contenders import."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to read the log. `writes` says whether it leaves files to count."""

    title: str
    command: Callable[[Task], list[str]]
    read_seconds: Callable[[list[dict[str, Any]]], float]
    writes: bool = True


def _module(name: str, task: Task) -> list[str]:
    return [sys.executable, "-m", name, task.as_argument()]


def _told(lines: list[dict[str, Any]]) -> float:
    """A script says itself how long it read."""
    return float(lines[-1]["read_seconds"])


CONTENDERS: Mapping[str, Contender] = {
    "floor": Contender(
        "bare consume(10000), dropped", lambda task: _module("benchmarks.floor", task), _told, writes=False
    ),
    "usual": Contender("poll, decode, csv.writer, upload", lambda task: _module("benchmarks.usual", task), _told),
    "sink": Contender("adapty-sink run --once", sink.command, sink.read_seconds),
    "exact": Contender("the same on the exact engine", sink.exact_command, sink.read_seconds),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what it cost, how long it read from the first record to the last, and what it wrote."""

    cost: Cost
    read_seconds: float
    found: Contents | None


def run(
    name: str, found: Servers, topic: str, plan: Plan, environment: Mapping[str, str], keep: Path | None = None
) -> Result:
    """Start the contender on the log and wait for its end. `keep` gets its log and settings."""
    contender = CONTENDERS[name]
    with new_task(name, found, topic, plan) as task:
        if contender.writes:
            sink.prove_store(task)
        log = task.home / f"{name}.log"
        try:
            cost = measure(contender.command(task), log, environment)
        finally:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                for path in (log, *task.home.glob("*.toml")):
                    shutil.copy(path, keep)
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return Result(cost, contender.read_seconds(lines), contents(task) if contender.writes else None)


@contextmanager
def new_task(name: str, found: Servers, topic: str, plan: Plan) -> Iterator[Task]:
    """A bucket and a folder that are gone afterwards."""
    bucket = unique_bucket("bench")
    found.store.make_bucket(bucket)
    try:
        with tempfile.TemporaryDirectory(prefix="adapty-sink-bench-") as folder:
            store = found.store
            yield Task(
                brokers=found.kafka.bootstrap_servers,
                topic=topic,
                records=plan.records,
                format=plan.format,
                registry=found.registry if plan.format is Format.AVRO_REGISTRY else "",
                endpoint_url=store.endpoint_url,
                access_key=store.access_key,
                secret_key=store.secret_key,
                bucket=bucket,
                prefix=name,
                folder=folder,
                through=yesterday().isoformat(),
            )
    finally:
        found.store.remove_bucket(bucket)
