"""`python -m benchmarks.growth`: what each thing costs that can grow, at several sizes of it, as tables and plots.

Each point is a whole process, its start included, but for batches, which one process judges. `exponent` is the growth
of the CPU seconds above those of the smallest size: 1 is linear. Plots are Mermaid's, for docs/performance.md.
"""

from __future__ import annotations

import argparse
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from confluent_kafka import Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from benchmarks import sink
from benchmarks.backlog import fill
from benchmarks.contenders import MODULES, new_task, run
from benchmarks.events import Plan, events, yesterday
from benchmarks.measure import Cost, compiled, measure
from benchmarks.servers import Servers, servers
from benchmarks.task import Task
from consumer.domain.batches import RawBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.shape.transform import make_transformer
from consumer.store.factory import open_store
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format, RowRules
from tests.builders.sealed import GROUP, SCHEMA, STREAM, TOPIC, Bucket, at

MIB = 1 << 20
ROWS = 200_000
"""Of the axes on which the number of rows stays."""
JUDGED = 200_000


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a point is measured."""

    servers: Servers
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that grows. `per` names what the plot shows the cost of: one of it, or one of `number` at each size."""

    title: str
    per: str
    sizes: Sequence[int]
    cost: Callable[[Ground, int], Cost]
    number: int = 0


def of_plan(ground: Ground, plan: Plan) -> Cost:
    """The worker on a log of its own, from the first record to the last sealed day."""
    topic = fill(ground.servers.kafka, plan)
    try:
        result = run("sink", ground.servers, topic, plan, ground.environment)
    finally:
        ground.servers.kafka.delete_topic(topic)
    if result.found is None or (result.found.rows, result.found.distinct) != (plan.records, plan.records):
        raise RuntimeError(f"{plan}: {result.found}")
    return result.cost


def of_restart(ground: Ground, rows: int) -> Cost:
    """A start over a spool that holds the rows of today, which no seal takes yet."""
    plan = Plan(rows, 1, today=True)
    topic = fill(ground.servers.kafka, plan)
    try:
        with new_task("restart", ground.servers, topic, plan) as task:
            sink.prove_store(task)
            command = sink.command(task)
            _spooled(command[: command.index("--once")], task.home / "spool", rows, ground.environment)
            return measure(command, task.home / "second.log", ground.environment)
    finally:
        ground.servers.kafka.delete_topic(topic)


def _spooled(command: Sequence[str], spool: Path, rows: int, environment: Mapping[str, str]) -> None:
    """Run the worker until all rows lie in its spool, and end it."""
    worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.STDOUT)  # fmt: skip
    try:
        while (found := _rows(spool)) < rows:
            if worker.poll() is not None:
                raise RuntimeError(f"the worker ended with {worker.returncode} and {found} rows in its spool")
            time.sleep(0.5)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(120)
    if _rows(spool) != rows:
        raise RuntimeError(f"the spool was not kept: {_rows(spool)} rows")


def _rows(spool: Path) -> int:
    """The rows of all spool files, which have no header yet."""
    return sum(path.read_bytes().count(b"\n") for path in spool.rglob("*.csv"))


def of_batches(_: Ground, size: int) -> Cost:
    """The native engine alone, on batches of this size."""
    kind = KINDS["events"]
    rules = RowRules("events", "events", "events", Format.AVRO, kind.schema, kind.time_field)
    made = list(events(Plan(20_000)))
    batch = RawBatch(
        TopicPartition("events", 0), Span(0, len(made)), range(len(made)), [event.timestamp for event in made],
        [event.value for event in made], [event.key for event in made],
    )  # fmt: skip
    transformer = make_transformer(rules)
    parts = [batch.clip(Span(start, start + size)) for start in range(0, len(made), size)]
    options, cpu, wall = TransformOptions(transformer.columns), time.process_time(), time.monotonic()
    for _round in range(JUDGED // len(made)):
        for part in parts:
            transformer.transform(part, options)
    return Cost(time.process_time() - cpu, time.monotonic() - wall, 0)


def of_chain(arguments: Sequence[str]) -> Callable[[Ground, int], Cost]:
    """A command on a partition with this many seal records, one day each, and nothing new to read."""

    def cost(ground: Ground, records: int) -> Cost:
        kafka = ground.servers.kafka
        kafka.create_topic(TOPIC, 1, {"retention.ms": "-1"})
        try:
            with new_task("chain", ground.servers, TOPIC, Plan(records)) as task:
                sink.prove_store(task)
                _seal(task, records)
                command = [*sink.command(task)[:5], *arguments]
                (task.home / "sink.toml").write_text(_chain_settings(task))
                return measure(command, task.home / "chain.log", ground.environment)
        finally:
            kafka.delete_topic(TOPIC)

    return cost


def _seal(task: Task, records: int) -> None:
    """One record a day until yesterday, in the log and, sealed and published, in the bucket."""
    producer, first = Producer({"bootstrap.servers": task.brokers}), yesterday() - timedelta(days=records - 1)
    days = [first + timedelta(days=number) for number in range(records)]
    for number, day in enumerate(days):
        producer.produce(TOPIC, b'{"id":%d,"at":"%b"}' % (number, str(day).encode()), partition=0,
                         timestamp=int(at(day, 0).timestamp() * 1000))  # fmt: skip
    producer.flush(60)
    admin = AdminClient({"bootstrap.servers": task.brokers})
    found = admin.describe_topics(TopicCollection([TOPIC]))[TOPIC].result()
    bucket = Bucket(open_store(f"s3://{task.bucket}/{task.prefix}", sink.store_options(task)), now=at(first))
    for number, day in enumerate(days):
        bucket.seal({day: [number]}, cutoff=day, through=number + 1, topic_id=str(found.topic_id))
    bucket.publish()


def _chain_settings(task: Task) -> str:
    (task.home / "clicks.avsc").write_text(SCHEMA)
    common = sink.settings(task).partition("[streams.events]")[0]
    return f"""{re.sub("group_id = .*", f'group_id = "{GROUP}"', common)}
[streams.{STREAM}]
kind = "custom"
topic = "{TOPIC}"
format = "json"
schema = "clicks.avsc"
time_field = "at"
"""


AXES: Mapping[str, Axis] = {
    "rows": Axis("rows, 3 days, 4 partitions", "row", (10_000, 100_000, 1_000_000, 10_000_000),
                 lambda ground, size: of_plan(ground, Plan(size))),
    "partitions": Axis(f"partitions, {ROWS:,} rows, 3 days", "partition", (1, 4, 20, 50, 100, 200),
                       lambda ground, size: of_plan(ground, Plan(ROWS, partitions=size))),
    "days": Axis(f"days in no order, {ROWS:,} rows, 4 partitions", "day", (1, 10, 50, 100, 200, 400),
                 lambda ground, size: of_plan(ground, Plan(ROWS, size, mixed=True))),
    "batch": Axis(f"records in a batch, {JUDGED:,} records judged, engine alone", "record",
                  (10, 100, 1_000, 5_000, 20_000), of_batches, JUDGED),
    "chain": Axis("seal records of a partition, `run --once` with nothing new", "seal record",
                  (1, 10, 100, 500, 1_000, 2_000), of_chain(["run", "--once"])),
    "status": Axis("seal records of a partition, `status`", "seal record", (1, 100, 1_000, 2_000),
                   of_chain(["status"])),
    "verify": Axis("seal records of a partition, `verify`", "seal record", (1, 100, 1_000, 2_000),
                   of_chain(["verify"])),
    "restart": Axis("rows in the spool, a second start", "row", (10_000, 100_000, 1_000_000), of_restart),
}  # fmt: skip


def main() -> None:
    given = _arguments()
    with servers() as found, compiled([*MODULES]) as environment:
        ground = Ground(found, environment)
        for name in given.only or AXES:
            axis, costs = AXES[name], dict[int, Cost]()
            for size in axis.sizes:
                if size <= (given.most or size):
                    costs[size] = axis.cost(ground, size)
                    print(f"{name} {size:,}: {costs[size]}", file=sys.stderr, flush=True)
            print(table(axis, costs), plot(axis, costs), sep="\n", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", action="append", choices=AXES, help="leave the others out")
    parser.add_argument("--most", type=int, metavar="SIZE", help="leave larger sizes out")
    return parser.parse_args()


def table(axis: Axis, costs: Mapping[int, Cost]) -> str:
    """One line for each size."""
    lines = [f"| {axis.title} | CPU s | s | peak MiB | exponent |", "|--:|--:|--:|--:|--:|"]
    for size, cost in costs.items():
        lines.append(f"| {size:,} | {cost.cpu:.2f} | {cost.wall:.1f} | {_peak(cost)} | {_exponent(costs, size)} |")
    return "\n".join(lines) + "\n"


def _peak(cost: Cost) -> str:
    return f"{cost.peak / MIB:.0f}" if cost.peak else ""


def _exponent(costs: Mapping[int, Cost], size: int) -> str:
    """From the size before to this one, of the cost above that of the smallest size; empty where that is too little."""
    sizes = list(costs)
    place = sizes.index(size)
    if place < 2:
        return ""
    start, before, now = (costs[one].cpu for one in (sizes[0], sizes[place - 1], size))
    more, less = now - start, before - start
    return f"{math.log(more / less) / math.log(size / sizes[place - 1]):.2f}" if min(more, less) > 0.1 else ""


def plot(axis: Axis, costs: Mapping[int, Cost]) -> str:
    """CPU time for one of what grows: bars that do not rise mean that nothing is worse than linear."""
    each = [cost.cpu / (axis.number or size) * 1e3 for size, cost in costs.items()]
    return f"""```mermaid
xychart-beta
    title "CPU milliseconds per {axis.per}"
    x-axis [{", ".join(f'"{size:,}"' for size in costs)}]
    y-axis "ms" 0 --> {max(each):.4g}
    bar [{", ".join(f"{one:.4g}" for one in each)}]
```
"""


if __name__ == "__main__":
    main()
