"""`python -m benchmarks.replay`: the plan of a replay beside plain reading of the same records, in one process.

Plain reading is what one judgement costs: the records from Kafka, made into rows by the rules that sealed them. A plan
judges each record twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks import sink
from benchmarks.backlog import fill
from benchmarks.beside import Beside, replay_beside
from benchmarks.events import TYPES, Plan
from benchmarks.measure import measure
from benchmarks.servers import servers
from benchmarks.task import Task
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import replace_services_of
from consumer.domain.clock import SystemClock
from consumer.replace.recorded import RecordedOffsets
from consumer.replace.replay import Replay
from consumer.replace.services import Scope, Services
from consumer.settings.load import load_settings
from consumer.settings.model import Settings
from consumer.streams.rules import Method, Privacy, RowRules
from tests.services.s3 import unique_bucket

MIB = 1 << 20
KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Took:
    """One way through all records."""

    cpu: float
    wall: float


def timed(call: Callable[[], object]) -> Took:
    """What a call takes of this process, all threads."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Took(time.process_time() - cpu, time.perf_counter() - wall)


def read_all(services: Services, scope: Scope, *, judged: bool) -> None:
    """Plain reading: the records, and their rows where `judged`."""
    recorded = RecordedOffsets(services, services.ask(services.log.read))
    partitions = recorded.partitions(scope)
    judges = {
        one.view.partition: recorded.judge(one.view, services.columns(services.today.digest)) for one in partitions
    }
    for one, batch, record in recorded.read("reading", [(one, one.spans()) for one in partitions]):
        if judged:
            judges[one.view.partition].rows(batch, record, anew=False)


def ways(services: Services, scope: Scope) -> Mapping[str, Callable[[], object]]:
    """What is compared, by title; each plan under other rules of today."""
    plain = services.today
    dropped = replace(plain, filter=replace(plain.filter, event_types={TYPES[0]: False, TYPES[1]: False}))
    private = replace(plain, privacy=Privacy({"ip_address": Method.TRUNCATE_IP}))

    def planned(rules: RowRules) -> Callable[[], object]:
        def run() -> object:
            under = replace(services, today=rules)
            return Replay(under, scope, keep_old="auto").plan()

        return run

    return {
        "read, everything dropped": lambda: read_all(services, scope, judged=False),
        "read and judged once": lambda: read_all(services, scope, judged=True),
        "plan, the same settings": planned(plain),
        "plan, two event types fewer": planned(dropped),
        "plan, another privacy rule": planned(private),
    }


def main() -> None:
    """Fill a topic, seal it, then compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3, help="how often, in turn; the table has the medians")
    parser.add_argument("--beside", action="store_true", help="a whole replay beside a worker, and nothing compared")
    parser.add_argument("--spool", default="256MiB", help="spool.max_bytes of --beside")
    parser.add_argument("--rate", type=int, default=500, help="records a second that come in meanwhile, with --beside")
    given = parser.parse_args()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    with servers() as found, tempfile.TemporaryDirectory(prefix="adapty-sink-bench-") as folder:
        bucket = unique_bucket("replay")
        found.store.make_bucket(bucket)
        topic = fill(found.kafka, Plan(given.records, given.days))
        task = Task(
            brokers=found.kafka.bootstrap_servers,
            topic=topic,
            records=given.records,
            endpoint_url=found.store.endpoint_url,
            access_key=found.store.access_key,
            secret_key=found.store.secret_key,
            bucket=bucket,
            prefix="replay",
            folder=folder,
            through=yesterday.isoformat(),
        )
        sink.prove_store(task)
        measure(sink.command(task), Path(folder) / "log", os.environ)
        if given.beside:
            first = yesterday - timedelta(days=given.days - 1)
            show(given.records, replay_beside(task, first, yesterday, limit=given.spool, rate=given.rate))
        else:
            compare(load_settings(Path(folder) / "sink.toml", {}), yesterday, given.records, given.days, given.rounds)
        found.store.remove_bucket(bucket)


def show(records: int, found: Beside) -> None:
    """Print what a replay beside a worker took."""
    cost = found.replay
    print(f"a replay of {records:,} events beside a worker that was sent {found.produced:,} records meanwhile\n")
    print(f"replay: {cost.wall:.0f} s, {cost.cpu:.1f} CPU s, peak {cost.peak / MIB:.0f} MiB")
    print(f"its working folder: {found.disk / MIB:.0f} MiB at most\nworker: peak {found.worker / MIB:.0f} MiB")


def compare(settings: Settings, last: date, records: int, days: int, rounds: int) -> None:
    """Print the table."""
    scope = Scope(last - timedelta(days=days - 1), last)
    patience = RetryBudget(settings.schedule.give_up_after, SystemClock())
    took: dict[str, list[Took]] = {}
    with ThreadPoolExecutor(1) as pool:
        services = replace_services_of(settings, settings.streams[0], patience.ask, pool)
        for _ in range(rounds):
            for title, way in ways(services, scope).items():
                took.setdefault(title, []).append(timed(way))
                print(f"{title}: {took[title][-1]}", file=sys.stderr, flush=True)
    print(f"{records:,} events of {days} days\n\n| | CPU s | s | CPU to one judgement | s to one judgement |")
    print("|---|--:|--:|--:|--:|")
    cpu, wall = (
        {title: median(getattr(one, name) for one in runs) for title, runs in took.items()} for name in ("cpu", "wall")
    )
    once = "read and judged once"
    for title in took:
        ratios = f"{cpu[title] / cpu[once]:.2f} | {wall[title] / wall[once]:.2f}"
        print(f"| {title} | {cpu[title]:.2f} | {wall[title]:.2f} | {ratios} |")
    print(f"\npeak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
