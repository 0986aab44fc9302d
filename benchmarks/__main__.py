"""`python -m benchmarks`: the floor, the usual script and the sink on the same log, one after the other, as a table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks import sink
from benchmarks.backlog import PARTITIONS, fill
from benchmarks.contents import Contents, contents
from benchmarks.events import Plan
from benchmarks.measure import Cost, compiled, measure
from benchmarks.servers import Servers, servers
from benchmarks.task import Task
from tests.services.s3 import unique_bucket

MIB = 1 << 20
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
    writes: bool = True


CONTENDERS: Mapping[str, Contender] = {
    "floor": Contender("bare consume(10000), dropped", lambda task: _module("benchmarks.floor", task), writes=False),
    "usual": Contender("poll, fastavro, csv.writer, upload", lambda task: _module("benchmarks.usual", task)),
    "sink": Contender("adapty-sink run --once", sink.command),
    "exact": Contender("the same on the exact engine", sink.exact_command),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what it cost, and what it wrote."""

    cost: Cost
    found: Contents | None


def _module(name: str, task: Task) -> list[str]:
    return [sys.executable, "-m", name, task.as_argument()]


def main() -> int:
    """0 unless a row is missing or came twice."""
    given = _arguments()
    plan = Plan(given.records, given.days, given.mixed, given.large_every, given.large_mib * MIB)
    results: dict[str, list[Result]] = {name: [] for name in given.only or CONTENDERS}
    with servers() as found, compiled([*MODULES]) as environment:
        topic = given.topic or fill(found.kafka, plan)
        print(f"{plan.records:,} events on {PARTITIONS} partitions over {plan.days} days, topic {topic}", flush=True)
        for number in range(given.rounds):
            for name, runs in results.items():
                runs.append(_run(name, found, topic, plan, environment, given.keep))
                print(f"round {number + 1}: {_line(name, [runs[-1]], plan)}", flush=True)
    _print_table(results, plan)
    return 0 if all(_right(run, plan) for runs in results.values() for run in runs) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often; the table has the medians")
    parser.add_argument("--days", type=int, default=3, help="how many event days")
    parser.add_argument("--mixed", action="store_true", help="the days come in no order")
    parser.add_argument("--large-every", type=int, default=0, metavar="N", help="each N-th event is a large one")
    parser.add_argument("--large-mib", type=int, default=5, metavar="MIB", help="how large")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="leave the others out")
    parser.add_argument("--topic", help="read what an earlier run filled with the same numbers")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep each run's log and settings there")
    return parser.parse_args()


def _run(
    name: str, found: Servers, topic: str, plan: Plan, environment: Mapping[str, str], keep: Path | None
) -> Result:
    contender = CONTENDERS[name]
    with _task(name, found, topic, plan) as task:
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
        return Result(cost, contents(task) if contender.writes else None)


@contextmanager
def _task(name: str, found: Servers, topic: str, plan: Plan) -> Iterator[Task]:
    """A bucket and a folder that are gone afterwards."""
    bucket = unique_bucket("bench")
    found.store.make_bucket(bucket)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    try:
        with tempfile.TemporaryDirectory(prefix="adapty-sink-bench-") as folder:
            store = found.store
            yield Task(
                brokers=found.kafka.bootstrap_servers,
                topic=topic,
                records=plan.records,
                endpoint_url=store.endpoint_url,
                access_key=store.access_key,
                secret_key=store.secret_key,
                bucket=bucket,
                prefix=name,
                folder=folder,
                through=yesterday.isoformat(),
            )
    finally:
        found.store.remove_bucket(bucket)


def _right(run: Result, plan: Plan) -> bool:
    return run.found is None or (run.found.rows, run.found.distinct) == (plan.records, plan.records)


def _line(name: str, runs: Sequence[Result], plan: Plan) -> str:
    cpu, wall, peak = _medians(runs)
    text = f"{name:6} {cpu:7.2f} CPU s {wall:7.2f} s {plan.records / wall:10,.0f} rows/s {peak / MIB:6.0f} MiB"
    found = runs[-1].found
    return text if found is None else f"{text}  {found.files} files, {found.rows:,} rows, {found.distinct:,} distinct"


def _medians(runs: Sequence[Result]) -> tuple[float, float, float]:
    costs = [run.cost for run in runs]
    return median(one.cpu for one in costs), median(one.wall for one in costs), max(one.peak for one in costs)


def _print_table(results: Mapping[str, Sequence[Result]], plan: Plan) -> None:
    measured = {name: _medians(runs) for name, runs in results.items()}
    print("\n| what | CPU s | s | rows/s | peak MiB | CPU to the floor | CPU to the usual | rows/s to the usual |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, (cpu, wall, peak) in measured.items():
        floor, usual = measured.get("floor"), measured.get("usual")
        ratios = (
            f"{cpu / floor[0]:.1f}" if floor else "",
            f"1/{usual[0] / cpu:.1f}" if usual else "",
            f"{usual[1] / wall:.1f}" if usual else "",
        )
        cells = (CONTENDERS[name].title, f"{cpu:.2f}", f"{wall:.2f}", f"{plan.records / wall:,.0f}")
        print(f"| {' | '.join((*cells, f'{peak / MIB:.0f}', *ratios))} |")
    found = {name: runs[-1].found for name, runs in results.items() if runs[-1].found is not None}
    for name, what in found.items():
        print(f"\n{name}: {what.rows:,} rows, {what.distinct:,} distinct, {what.files} files, {what.size / 1e6:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
