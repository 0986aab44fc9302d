"""A replay of everything beside a worker that reads, seals and holds its spool: what both take of memory and disk."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from confluent_kafka import Producer

from benchmarks import sink
from benchmarks.events import Event, Plan, events
from benchmarks.measure import Cost, measure, peak_of
from benchmarks.task import Task

PRIVACY = """
[streams.events.privacy]
columns = { ip_address = "truncate_ip" }
"""
"""What the settings say by now: another privacy rule, which changes every row that has an address."""
LOOK_SECONDS = 0.05
TURN = 0.1
"""Seconds between two handfuls of new records."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What the replay took, and meanwhile: bytes of its working folder at most, the worker's peak, records it read."""

    replay: Cost
    disk: int
    worker: int
    produced: int


def replay_beside(task: Task, first: date, last: date, *, limit: str, rate: int) -> Beside:
    """Replay these days under another privacy rule beside a worker, while so many records a second come in."""
    program = sink.command(task, spool=f'max_bytes = "{limit}"\n', more=PRIVACY)[:3]
    words = ["replay", "--from", str(first), "--to", str(last), "--yes"]
    with _worker([*program, "run"], task.home / "worker.log") as worker, _producing(task, rate) as produced:
        with _watching(task.home / "spool") as sizes:
            cost = measure([*program, *words], task.home / "replay.log", os.environ)
        return Beside(cost, max(sizes), peak_of(worker.pid), len(produced))


@contextmanager
def _worker(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker; raises RuntimeError where it does not last."""
    with log.open("wb") as out:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield worker
            if worker.poll() is not None:
                raise RuntimeError(f"the worker ended with {worker.returncode}:\n{log.read_text()[-3000:]}")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


@contextmanager
def _running(work: threading.Thread, stop: threading.Event) -> Iterator[None]:
    work.start()
    try:
        yield
    finally:
        stop.set()
        work.join()


@contextmanager
def _producing(task: Task, rate: int) -> Iterator[list[Event]]:
    """Records of today, for as long as this lasts; those that were sent."""
    sent, stop, producer = list[Event](), threading.Event(), Producer({"bootstrap.servers": task.brokers})
    plan = Plan(1_000_000, 1)
    source = events(plan)

    def produce() -> None:
        while not stop.wait(TURN):
            now = int(datetime.now(UTC).timestamp() * 1000)
            for _ in range(round(rate * TURN)):
                event = replace(next(source), timestamp=now)
                producer.produce(task.topic, event.value, event.key, len(sent) % plan.partitions, timestamp=now)
                sent.append(event)
            producer.poll(0)

    with _running(threading.Thread(target=produce), stop):
        yield sent
    producer.flush(30)


@contextmanager
def _watching(spool: Path) -> Iterator[list[int]]:
    """The bytes of the working folders of replacements below the spool directory, again and again."""
    sizes, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(LOOK_SECONDS):
            sizes.append(sum(_size(path) for path in spool.glob("replacement-*/*")))

    with _running(threading.Thread(target=watch), stop):
        yield sizes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
