"""The demo's report: what was read, its outcome, and the contents of the folder. For newcomers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from consumer.commands.demo.data import MORNINGS
from consumer.commands.demo.exported import FIRST_DAY, LAST_DAY, STREAM, Exported
from consumer.commands.demo.summary import Summary

WIDTH = 100
"""Columns if the output is not a terminal."""
SHOWN_ROWS = 3
MEANINGS = {
    "event_type": "subscription_paused, which the settings switch off",
    "profile": "no profile_id",
    "historical": "older than the profile's install_date",
    "environment": "Sandbox; the settings keep Production",
    "undecodable": "truncated",
    "no_time": "the time field has no instant",
    "day_out_of_range": "from a phone whose clock said 1970",
    "schema_unknown": "written with a schema that the registry does not know",
}


def show(summary: Summary) -> None:
    """Print it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    folder = Path(summary.folder)
    _story(console, summary)
    _outcome(console, summary)
    _reasons(console, summary)
    console.print(_tree(folder))
    day = folder / "events" / "dt=2024-07-16"
    _sample(console, folder, min(day.glob("*.csv")))
    _manifest(console, folder, day / "_manifest.json")
    _verified(console, summary)
    _exported(console, summary.exported)
    console.print(f"\nDone in {summary.seconds} s. The folder is kept: {escape(summary.folder)}")


def _story(console: Console, summary: Summary) -> None:
    late = sum(stream.late for stream in summary.streams)
    console.print(
        "\n[bold]adapty-sink demo[/]: one process with an embedded Kafka broker, a clock and a local folder\n"
    )
    first = (
        f"{summary.arrived[0]:,} records are in four topics. A worker reads them and seals 15 and 16 July: it writes"
        " each day's rows to CSV files, and a manifest that lists them."
    )
    second = (
        f"{summary.arrived[1]:,} more records, {late} of them late: rows of 16 July, which is sealed. The worker seals"
        " 17 July and adds the late rows to 16 July as additional files: its manifests get revision 2."
    )
    grid = Table.grid(padding=(0, 2))
    for morning, step in zip(MORNINGS, (first, second), strict=True):
        grid.add_row(f"[bold]{morning:%d} July, {morning:%H:%M} UTC[/]", step)
    console.print(grid)


def _table(title: str) -> Table:
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def _outcome(console: Console, summary: Summary) -> None:
    table = _table("Records by outcome")
    table.add_column("stream", no_wrap=True)
    table.add_column("format", no_wrap=True)
    for name in ("read", "sealed", "filtered", "quarantined", "not due"):
        table.add_column(name, justify="right")
    total = [0] * 5
    for stream in summary.streams:
        numbers = [
            stream.came_in,
            stream.in_bucket,
            sum(stream.filtered.values()),
            sum(stream.quarantined.values()),
            stream.waiting,
        ]
        total = [left + right for left, right in zip(total, numbers, strict=True)]
        table.add_row(stream.name, stream.format, *(f"{number:,}" for number in numbers))
    table.add_section()
    table.add_row("all", "", *(f"{number:,}" for number in total))
    console.print(table)
    console.print("Records that are not due are of 18 July: they wait in Kafka until 19 July, 04:00.")


def _reasons(console: Console, summary: Summary) -> None:
    table = _table("Why records have no row")
    for name in ("", "reason", "records", "meaning"):
        table.add_column(name, justify="right" if name == "records" else "left", no_wrap=name != "meaning")
    for outcome in ("filtered", "quarantined"):
        for reason, number in _by_reason(getattr(stream, outcome) for stream in summary.streams):
            table.add_row(outcome, reason, f"{number:,}", MEANINGS[reason])
    console.print(table)
    console.print("Filtered records are counted. Quarantined ones are kept below _quarantine/, with the reason.\n")


def _by_reason(found: Iterable[dict[str, int]]) -> list[tuple[str, int]]:
    total: dict[str, int] = {}
    for reasons in found:
        for reason, number in reasons.items():
            total[reason] = total.get(reason, 0) + number
    return sorted(total.items(), key=lambda item: -item[1])


def _tree(folder: Path) -> Tree:
    """The folder: one stream file by file, the rest in a line each."""
    tree = Tree(Text(f"{folder}/", style="bold"))
    events = tree.add("events/")
    for day in sorted(folder.glob("events/dt=*")):
        branch = events.add(f"{day.name}/")
        for path in sorted(day.iterdir()):
            branch.add(Text(f"{path.name}  {_size(path)}"))
    events.add("_days.json  [dim]the days of the stream, newest last[/]")
    for name in ("paywall_views", "ua_events", "ua_campaign_metrics"):
        days = sorted(folder.glob(f"{name}/dt=*"))
        files = sum(1 for day in days for _ in day.glob("*.csv"))
        tree.add(f"{name}/  [dim]{len(days)} days, {files} data files[/]")
    tree.add(f"_quarantine/  [dim]{_count(folder, '_quarantine/**/*.jsonl')} files, JSON Lines[/]")
    seals = _count(folder, "_seals/*/*/*.json")
    tree.add(f"_seals/  [dim]the seal log: {seals} records, one chain per partition; what was decided, and when[/]")
    tree.add("exports/  [dim]three days of events in one file, see below[/]")
    tree.add("_checks/  [dim]left by the test that two writers cannot overwrite each other here[/]")
    return tree


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1024:,.0f} KiB" if size >= 1024 else f"{size} B"  # noqa: PLR2004 - a kibibyte


def _sample(console: Console, folder: Path, path: Path) -> None:
    console.print(f"\n[bold]{escape(str(path.relative_to(folder)))}[/], its first lines (cut at the right):")
    with path.open(encoding="utf-8", newline="\n") as file:
        for _, line in zip(range(SHOWN_ROWS), file, strict=False):
            console.print(Text(line.rstrip("\n")), no_wrap=True, overflow="ellipsis")


def _manifest(console: Console, folder: Path, path: Path) -> None:
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    columns, objects = manifest["columns"], manifest["objects"]
    short = {
        **{name: manifest[name] for name in ("stream", "day", "revision", "complete", "rows")},
        "columns": [*columns[:3], f"... {len(columns) - 3} more"],
        "objects": [
            *({name: item[name] for name in ("key", "rows", "first_offset", "last_offset")} for item in objects[:2]),
            f"... {len(objects) - 2} more",
        ],
    }
    console.print(f"\n[bold]{escape(str(path.relative_to(folder)))}[/], shortened:")
    console.print(Text(orjson.dumps(short, option=orjson.OPT_INDENT_2).decode()))


def _verified(console: Console, summary: Summary) -> None:
    numbers = {
        name: sum(getattr(report, name) for report in summary.verified)
        for name in ("records", "days", "objects", "rows", "quarantined")
    }
    told = ", ".join(f"{number:,} {name}" for name, number in numbers.items())
    console.print(f"\n[bold]verify[/] re-read everything, byte by byte: {told.replace('records', 'seal records')}.")
    for report in summary.verified:
        for finding in report.findings:
            console.print(Text(f"  {finding.key}: {finding.problem}: {finding.what}. To do: {finding.todo}"))
    console.print("No problems found." if summary.sound else "Problems found.")


def _exported(console: Console, exported: Exported) -> None:
    console.print(
        f"\n[bold]export --from {FIRST_DAY} --to {LAST_DAY} --stream {STREAM}[/] wrote {exported.rows:,} rows"
        " of three days to one file, and its facts to a .json file. To load it into DuckDB:"
    )
    console.print(Text(exported.statements), soft_wrap=True)
    if exported.answer is None:
        console.print("(DuckDB is not installed here; pip install duckdb)")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(exported.heads):
        table.add_column(head, justify="right" if number else "left")
    for row in exported.answer:
        table.add_row(*row)
    console.print(table)
