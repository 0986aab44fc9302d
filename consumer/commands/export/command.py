"""`export`: whole UTC days as one CSV per stream, sealed or not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Any

from consumer.commands.arguments import day_of, streams_of
from consumer.commands.export.progress import showing
from consumer.commands.output import print_json, say, size_text
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import patient_transformers, registry_of, store_of, writer_name
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.compression import Compression
from consumer.domain.errors import GaveUpError, HaltError, SinkError, UsageError
from consumer.export.judges import RuleJudges
from consumer.export.plan import checked_days
from consumer.export.stream import ExportResult, Order, StreamExport, Watcher
from consumer.export.targets import BucketTarget, FolderTarget, PipeTarget, Target
from consumer.seal.inspection import Outside
from consumer.settings.model import Settings, StreamSettings
from consumer.source.admin import KafkaAdmin
from consumer.source.range_reader import KafkaRangeReader
from consumer.streams.columns import column_names

THREADS = 16
REST_SECONDS = 2.0
"""Between two tries of a day that is being replaced."""
PIPE = "-"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What was written behind `export`."""

    first: str | None
    last: str | None
    day: str | None
    streams: Sequence[str]
    output: str | None
    columns: str | None
    compression: Compression | None
    force: bool
    as_json: bool


def export(settings: Settings, options: ExportOptions) -> None:
    """Export each stream, one after the other; one that fails does not keep the others from it."""
    clock = SystemClock()
    days = days_of(options, clock.now().astimezone(UTC).date())
    streams = streams_for(settings, options)
    budget = RetryBudget(settings.schedule.give_up_after, clock)
    ended: list[ExportResult] = []
    failed: list[tuple[str, SinkError]] = []
    with ThreadPoolExecutor(THREADS) as pool, showing(sys.stderr, clock) as watcher:
        try:
            for stream in streams:
                job = _job(settings, stream, options, budget, pool, clock, watcher)
                try:
                    ended.append(job.run(_order(stream, options, days)))
                except (UsageError, HaltError) as error:
                    failed.append((stream.name, error))
        except BaseException:
            budget.stop()
            raise
    _show(options, ended)
    _raise_worst(failed)


def days_of(options: ExportOptions, today: date) -> tuple[date, ...]:
    """The days asked for. Raises UsageError."""
    day, first, last = day_of("--day", options.day), day_of("--from", options.first), day_of("--to", options.last)
    if day is not None:
        if first is not None or last is not None:
            raise UsageError("use either --day, or --from and --to")
        first = last = day
    if first is None or last is None:
        raise UsageError("--from and --to, or --day, are required")
    return checked_days(first, last, today)


def streams_for(settings: Settings, options: ExportOptions) -> list[StreamSettings]:
    """The streams asked for. Raises UsageError if they do not fit the output."""
    found = streams_of(settings, options.streams)
    if options.output == PIPE and len(found) > 1:
        raise UsageError("--output - supports one stream: add --stream")
    if options.output == PIPE and options.as_json:
        raise UsageError("--output - and --json would both write to stdout")
    return found


def _order(stream: StreamSettings, options: ExportOptions, days: tuple[date, ...]) -> Order:
    columns = None if options.columns is None else tuple(name.strip() for name in options.columns.split(","))
    piped = options.output == PIPE
    compression: Compression = "none" if piped else stream.destination.compression
    return Order(days, columns, options.compression or compression, force=options.force, hold=piped)


def _job(
    settings: Settings,
    stream: StreamSettings,
    options: ExportOptions,
    budget: RetryBudget,
    pool: Executor,
    clock: Clock,
    watcher: Watcher,
) -> StreamExport:
    store = store_of(stream.destination)
    outside = Outside(settings, stream, KafkaAdmin(settings.kafka), store, budget.ask, pool)
    target: Target
    if options.output is None:
        target = BucketTarget(store, stream.name)
    elif options.output == PIPE:
        target = PipeTarget(sys.stdout.buffer.write)
    else:
        target = FolderTarget(Path(options.output) / stream.name)
    return StreamExport(
        outside=outside,
        rules=stream.rules,
        today=column_names(stream.rules),
        judges=RuleJudges(
            outside,
            make_transformer=patient_transformers(registry_of(settings), settings.privacy.key_bytes()),
            reader=lambda: KafkaRangeReader(settings.kafka),
        ),
        target=target,
        clock=clock,
        writer=writer_name(),
        watcher=watcher,
        rest=_rest(budget),
    )


def _rest(budget: RetryBudget) -> Callable[[], None]:
    def rest() -> None:
        budget.keep_on()
        time.sleep(REST_SECONDS)

    return rest


def _show(options: ExportOptions, ended: Sequence[ExportResult]) -> None:
    if options.output == PIPE:
        return
    if options.as_json:
        print_json({"streams": [_document(one) for one in ended]})
        return
    for one in ended:
        facts = one.facts
        partly = "" if facts["complete"] else f", not complete: {_incomplete(facts)}"
        done = "exported" if one.wrote else "nothing to do: the same export already exists"
        say(f"{facts['stream']}: {done}: {facts['rows']:,} rows, {size_text(facts['bytes'])}{partly}")
        say(f"  {one.location}")


def _document(one: ExportResult) -> dict[str, Any]:
    return {"location": one.location, "wrote": one.wrote, **one.facts}


def _incomplete(facts: Any) -> str:
    days = [f"{day['day']} ({', '.join(day['why'])})" for day in facts["days"] if not day["complete"]]
    return ", ".join(days)


def _raise_worst(failed: Sequence[tuple[str, SinkError]]) -> None:
    """Raise the error that decides the exit code, after reporting the others: a halt before bad usage."""
    order = (HaltError, GaveUpError, UsageError)
    ranked = sorted(failed, key=lambda item: next(n for n, kind in enumerate(order) if isinstance(item[1], kind)))
    for name, error in ranked[1:]:
        say(f"stream {name}: {error}", err=True)
    if ranked:
        raise ranked[0][1]
