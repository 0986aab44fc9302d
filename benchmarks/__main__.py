"""`python -m benchmarks`: the floor, the usual script and the sink on the same log, one after the other, as tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.backlog import fill, head_of
from benchmarks.contenders import CONTENDERS, MODULES, Result, run
from benchmarks.events import Plan
from benchmarks.measure import compiled
from benchmarks.servers import servers
from consumer.streams.rules import Format

MIB = 1 << 20


def main() -> int:
    """0 unless a row is missing or came twice."""
    given = _arguments()
    formats, right = given.format or list(Format), True
    with servers(registry=Format.AVRO_REGISTRY in formats) as found, compiled([*MODULES]) as environment:
        for form in formats:
            plan = Plan(
                given.records, given.days, given.mixed, given.large_every, given.large_mib * MIB, form,
                head_of(form, found.registry),
            )  # fmt: skip
            topic = given.topic or fill(found.kafka, plan)
            print(
                f"{plan.records:,} {form} events, {plan.partitions} partitions, {plan.days} days: {topic}", flush=True
            )
            results: dict[str, list[Result]] = {name: [] for name in given.only or CONTENDERS}
            for number in range(given.rounds):
                for name, runs in results.items():
                    runs.append(run(name, found, topic, plan, environment, given.keep))
                    print(f"round {number + 1}: {_line(name, runs[-1], plan)}", flush=True)
            if not given.topic:
                found.kafka.delete_topic(topic)
            _print_table(results, plan)
            right = right and all(_right(one, plan) for runs in results.values() for one in runs)
    return 0 if right else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often; the tables have the medians")
    parser.add_argument("--format", action="append", type=Format, choices=list(Format), help="leave the others out")
    parser.add_argument("--days", type=int, default=3, help="how many event days")
    parser.add_argument("--mixed", action="store_true", help="the days come in no order")
    parser.add_argument("--large-every", type=int, default=0, metavar="N", help="each N-th event is a large one")
    parser.add_argument("--large-mib", type=int, default=5, metavar="MIB", help="how large")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="leave the others out")
    parser.add_argument("--topic", help="read what an earlier run filled with the same numbers, in one format")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep each run's log and settings there")
    return parser.parse_args()


def _right(one: Result, plan: Plan) -> bool:
    return one.found is None or (one.found.rows, one.found.distinct) == (plan.records, plan.records)


@dataclass(frozen=True, slots=True)
class _Medians:
    """Of a contender's runs; the peak is the largest."""

    cpu: float
    wall: float
    read: float
    peak: int

    @classmethod
    def of(cls, runs: Sequence[Result]) -> _Medians:
        costs = [one.cost for one in runs]
        return cls(
            median(one.cpu for one in costs),
            median(one.wall for one in costs),
            median(one.read_seconds for one in runs),
            max(one.peak for one in costs),
        )


def _line(name: str, one: Result, plan: Plan) -> str:
    cost, found = one.cost, one.found
    text = (
        f"{name:6} {cost.cpu:7.2f} CPU s {cost.wall:7.2f} s {plan.records / cost.wall:10,.0f} rows/s"
        f" {plan.records / one.read_seconds:10,.0f} rows/s read {cost.peak / MIB:6.0f} MiB"
    )
    return text if found is None else f"{text}  {found.files} files, {found.rows:,} rows, {found.distinct:,} distinct"


def _print_table(results: Mapping[str, Sequence[Result]], plan: Plan) -> None:
    measured = {name: _Medians.of(runs) for name, runs in results.items()}
    floor, usual = measured.get("floor"), measured.get("usual")
    print(
        f"\n| {plan.format} | CPU s | s | rows/s | rows/s read | peak MiB | CPU to the floor | CPU to the usual"
        " | rows/s to the usual |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    for name, one in measured.items():
        cells = (
            CONTENDERS[name].title,
            f"{one.cpu:.2f}",
            f"{one.wall:.2f}",
            f"{plan.records / one.wall:,.0f}",
            f"{plan.records / one.read:,.0f}",
            f"{one.peak / MIB:.0f}",
            f"{one.cpu / floor.cpu:.1f}" if floor else "",
            f"1/{usual.cpu / one.cpu:.1f}" if usual else "",
            f"{usual.wall / one.wall:.1f}" if usual else "",
        )
        print(f"| {' | '.join(cells)} |")
    for name, runs in results.items():
        if (found := runs[-1].found) is not None:
            print(
                f"\n{name}: {found.rows:,} rows, {found.distinct:,} distinct, {found.files} files,"
                f" {found.size / 1e6:.0f} MB"
            )
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
