"""`replay`: stored days rebuilt with the current rules, in place, plan first; `replay --undo`: old bodies restored."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from typing import Any

import typer

from consumer.commands.arguments import day_of
from consumer.commands.output import print_json, print_table, say, size_text
from consumer.commands.reading import telling
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import replace_services_of
from consumer.domain.clock import SystemClock
from consumer.domain.days import days_text
from consumer.domain.errors import UsageError
from consumer.replace.bodies import working_folder
from consumer.replace.plan import ObjectPlan, Plan
from consumer.replace.replay import KeepOld, Replay
from consumer.replace.services import Scope, Services
from consumer.replace.undo import Undo, UndoPlan
from consumer.seal.replacements.record import Replacement, ReplacementKind
from consumer.settings.model import Settings, StreamSettings

HEADS = ("day", "partition", "before", "after", "added", "removed", "changed cells", "objects", "new", "to keep")


def replay(
    settings: Settings,
    first: str | None,
    last: str | None,
    *,
    streams: Sequence[str],
    partitions: Sequence[int],
    keep_old: KeepOld,
    skip_gone: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan, ask, do. Raises UsageError, RefusedError, HaltError, GaveUpError."""
    scope = scope_of(first, last, partitions)
    require_answer(dry_run=dry_run, yes=yes)
    found = []
    for stream in chosen(settings, streams):
        with services_of(settings, stream) as services:
            work = Replay(services, scope, keep_old=keep_old, progress=telling(sys.stderr, SystemClock(), stream.name))
            resumed = None if dry_run else work.resume()
            plan = work.plan(skip_gone=skip_gone)
            done: list[Replacement] = []
            if not as_json:
                show_plan(plan, resumed)
            agreed = plan.objects and not dry_run and (yes or confirmed(f"Replace {len(plan.objects)} objects?"))
            if agreed:
                with working_folder(services.folder) as folder:
                    done = work.apply(plan, folder)
            found.append(plan_document(plan, resumed, done))
            if not as_json:
                show_done(plan, done)
    if as_json:
        print_json({"streams": found})


def undo_replacement(
    settings: Settings, n: int, *, streams: Sequence[str], dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Put back what replacement `n` of one stream replaced. Raises as `replay` does."""
    if len(streams) != 1:
        raise UsageError("--undo takes the number of a replacement of one stream: add --stream S")
    require_answer(dry_run=dry_run, yes=yes)
    (stream,) = chosen(settings, streams)
    with services_of(settings, stream) as services:
        work = Undo(services, n)
        done = None if dry_run else work.resume()
        plan = None if done else work.plan()
        if plan is not None and not as_json:
            show_undo(plan)
        if plan is not None and not dry_run and (yes or confirmed(f"Restore {len(plan.objects)} objects?")):
            done = work.apply(plan)
    if as_json:
        print_json(undo_document(stream.name, n, plan, done))
    elif done is not None:
        say(f"done: undo {done.n} of {stream.name} restored {len(done.objects)} objects")


# -- what is asked for -----------------------------------------------------------------------------------------------


def scope_of(first: str | None, last: str | None, partitions: Sequence[int]) -> Scope:
    """The days and partitions that the options name. Raises UsageError."""
    low, high = day_of("--from", first), day_of("--to", last)
    if low is None or high is None:
        raise UsageError("--from and --to, or --day, are required")
    if low > high:
        raise UsageError(f"--from {low} is after --to {high}")
    return Scope(low, high, tuple(sorted(set(partitions))) or None)


def chosen(settings: Settings, names: Sequence[str]) -> list[StreamSettings]:
    """The streams of these names; all without any. Raises UsageError."""
    known = {stream.name: stream for stream in settings.streams}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--stream {unknown[0]}: not in the settings, which have {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def require_answer(*, dry_run: bool, yes: bool) -> None:
    """Raise UsageError if nobody could answer the question, before anything is read."""
    if not dry_run and not yes and not sys.stdin.isatty():
        raise UsageError("no terminal to confirm on: look at the plan with --dry-run, then run it with --yes")


def confirmed(question: str) -> bool:
    """Ask on the terminal."""
    return typer.confirm(question, default=False, err=True)


@contextmanager
def services_of(settings: Settings, stream: StreamSettings) -> Iterator[Services]:
    """What a replacement of this stream works with."""
    patience = RetryBudget(settings.schedule.give_up_after, SystemClock())
    with ThreadPoolExecutor(1) as pool:
        try:
            yield replace_services_of(settings, stream, patience.ask, pool)
        except BaseException:
            patience.stop()
            raise


# -- telling ---------------------------------------------------------------------------------------------------------


def _groups(plan: Plan) -> dict[tuple[date, int], list[ObjectPlan]]:
    found: dict[tuple[date, int], list[ObjectPlan]] = {}
    for one in plan.objects:
        found.setdefault((one.day, one.partition), []).append(one)
    return found


def _total(objects: Sequence[ObjectPlan], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in objects:
        total.update(getattr(one, name))
    return total


def group_document(day: date, partition: int, objects: Sequence[ObjectPlan]) -> dict[str, Any]:
    """One day of one partition, in numbers."""
    return {
        "day": day.isoformat(),
        "partition": partition,
        "rows_before": sum(one.before.rows for one in objects),
        "rows_after": sum(one.after.rows for one in objects),
        "added": dict(_total(objects, "added")),
        "removed": dict(_total(objects, "removed")),
        "changed_cells": dict(_total(objects, "changed")),
        "objects_replaced": sum(one.former is not None for one in objects),
        "objects_added": sum(one.former is None for one in objects),
    }


def plan_document(plan: Plan, resumed: Replacement | None, done: Sequence[Replacement]) -> dict[str, Any]:
    """The plan of one stream, and what was done, for programs."""
    return {
        "stream": plan.stream,
        "from": plan.first.isoformat(),
        "to": plan.last.isoformat(),
        "settings": plan.settings,
        "days": [group_document(day, number, objects) for (day, number), objects in _groups(plan).items()],
        "unchanged": plan.unchanged,
        "bytes_to_keep": plan.kept_bytes,
        "gone": [day.isoformat() for day in plan.skipped],
        "resumed": None if resumed is None else resumed.n,
        "replacements": [record.n for record in done],
    }


def show_plan(plan: Plan, resumed: Replacement | None) -> None:
    """The plan for people. Shows no cell."""
    if resumed is not None:
        say(f"finished {resumed.kind} {resumed.n} of {plan.stream}, which was half done")
    days = f"{plan.stream}: {plan.first} to {plan.last}, with settings {plan.settings}"
    if not plan.objects:
        say(f"{days}: nothing would change, {plan.unchanged} objects unchanged")
    else:
        say(f"{days}: {len(plan.objects)} objects to write, {plan.unchanged} unchanged")
        print_table(
            HEADS,
            [_line(*group, kept=plan.kept_old) for group in _groups(plan).items()],
            ("partition", "before", "after"),
        )
        say(f"old bodies to keep: {size_text(plan.kept_bytes)}")
    if plan.skipped:
        say(f"skipped, because Kafka has lost records of them: {days_text(plan.skipped)}")


def _line(place: tuple[date, int], objects: Sequence[ObjectPlan], *, kept: bool) -> tuple[object, ...]:
    raw = group_document(*place, objects)
    return (
        raw["day"],
        raw["partition"],
        raw["rows_before"],
        raw["rows_after"],
        _counted(raw["added"]),
        _counted(raw["removed"]),
        _counted(raw["changed_cells"]),
        raw["objects_replaced"],
        raw["objects_added"],
        size_text(sum(one.size for one in objects) if kept else 0),
    )


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(numbers.items())) or "-"


def show_done(plan: Plan, done: Sequence[Replacement]) -> None:
    """What was done, for people."""
    for record in done:
        undo = f"; adapty-sink replay --undo {record.n} --stream {plan.stream} restores the old bodies"
        undo = undo if record.kind is ReplacementKind.REPLAY else ""
        say(f"done: {record.kind} {record.n}, {len(record.objects)} objects of {len(record.days)} days{undo}")


def show_undo(plan: UndoPlan) -> None:
    """The plan of an undo for people."""
    before, after = plan.rows
    undone = plan.undone
    say(
        f"{undone.kind} {undone.n} of {undone.stream}, days {undone.days[0]} to {undone.days[-1]}: {len(plan.objects)}"
        f" objects to restore ({plan.emptied} of them were added and become empty), {before:,} -> {after:,} rows"
    )


def undo_document(stream: str, n: int, plan: UndoPlan | None, done: Replacement | None) -> dict[str, Any]:
    """An undo for programs."""
    objects = done.objects if done else plan.objects if plan else ()
    return {
        "stream": stream,
        "undoes": n,
        "objects": len(objects),
        "rows_after": sum(one.entry.rows for one in objects),
        "replacement": None if done is None else done.n,
    }
