"""The campaign's figures as a table."""

from collections.abc import Iterator

from tests.chaos.campaign import Figures
from tests.chaos.plan import Plan


def table(plan: Plan, figures: Figures) -> Iterator[str]:
    """Lines of Markdown."""
    counts = figures.counts
    yield "| figure | value |"
    yield "|---|---|"
    reached = sum(hit for name, (hit, _) in figures.by_moment.items())
    missed = sum(miss for _, miss in figures.by_moment.values())
    rows: list[tuple[str, object]] = [
        ("seed", plan.seed),
        ("workers, seasons, rounds", _sizes(plan)),
        ("processes killed with kill -9", counts["kills"]),
        ("of them at the chosen moment, elsewhere", f"{reached}, {missed}"),
        ("other faults", sum(figures.faults.values())),
        ("workers started", counts["starts"]),
        ("records sent", counts["records sent"]),
        ("rows in the bucket, records in quarantine", f"{counts['rows']}, {counts['quarantined']}"),
        ("seal records, of them spills; objects", f"{counts['seals']}, {counts['spills']}; {counts['objects']}"),
        ("rebalances, outages in the workers' logs", f"{counts['rebalances']}, {counts['outages']}"),
        ("partitions recovered; with a seal pending, with a wrong offset", _recoveries(figures)),
        ("checks of everything", counts["judgements"]),
        ("slowest exit after SIGTERM", f"{counts['slowest stop, ms'] / 1000:.1f} s"),
        ("time", f"{figures.seconds / 60:.1f} min"),
        ("**rows lost**", f"**{counts['lost']}**"),
        ("**rows duplicated**", f"**{counts['doubled']}**"),
        ("**objects overwritten or deleted**", f"**{counts['overwritten']}**"),
    ]
    yield from (f"| {name} | {value} |" for name, value in rows)


def details(figures: Figures) -> Iterator[str]:
    """The kills by moment, the spools, the faults, as lines of Markdown."""
    yield "| killed | at this moment | elsewhere |"
    yield "|---|---|---|"
    for name, (hit, miss) in sorted(figures.by_moment.items()):
        yield f"| {name} | {hit} | {miss} |"
    yield ""
    yield "| spool after the kill | times |"
    yield "|---|---|"
    for name, count in sorted(figures.counts.items()):
        if name.startswith("spool: "):
            yield f"| {name.removeprefix('spool: ')} | {count} |"
    yield ""
    yield "| other fault | times |"
    yield "|---|---|"
    for name, count in sorted(figures.faults.items()):
        yield f"| {name} | {count} |"


def _sizes(plan: Plan) -> str:
    rounds = sum(len(season.rounds) for season in plan.seasons)
    return f"{len(plan.slots)}, {len(plan.seasons)}, {rounds}"


def _recoveries(figures: Figures) -> str:
    counts = figures.counts
    return f"{counts['recoveries']}; {counts['pending']}, {counts['offsets put back']}"
