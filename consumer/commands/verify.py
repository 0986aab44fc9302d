"""`verify`: re-read bucket and seal logs, and report whether they are still as written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from consumer.commands.arguments import day_of
from consumer.commands.exit_codes import ExitCode
from consumer.commands.output import print_json, print_table, say, size_text
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import replace_services_of, store_of
from consumer.domain.clock import SystemClock
from consumer.domain.errors import HaltError, RefusedError, UsageError
from consumer.domain.location import object_url
from consumer.replace.compare import compare
from consumer.replace.services import Scope, Services
from consumer.seal.keys import day_within
from consumer.settings.model import Settings, StreamSettings
from consumer.streams.columns import column_names
from consumer.verify.findings import RESTORE_OBJECT, Finding, Problem, Report, once
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream

THREADS_REMOTE = 16
THREADS_LOCAL = 2
REST_SECONDS = 2.0
"""Seconds between two checks of a mismatch: a worker may be writing just now."""


def verify(settings: Settings, first: str | None, last: str | None, *, deep: bool, as_json: bool) -> None:
    """Verify every stream and print what was found. Raises UsageError, GaveUpError, and Exit where something is wrong.

    `first` and `last` are the days that were asked for, as they were written; `deep` reads Kafka, too.
    """
    days = _days(first, last)
    patience = RetryBudget(settings.schedule.give_up_after, SystemClock())
    with _progress() as advance:
        reports = [_verified(stream, days, patience, advance) for stream in settings.streams]
        if deep:
            pairs = zip(settings.streams, reports, strict=True)
            reports = [_compared(settings, stream, report, days, patience) for stream, report in pairs]
    _show(reports, as_json=as_json)
    if not all(report.sound for report in reports):
        raise typer.Exit(ExitCode.FOUND)


def _days(first: str | None, last: str | None) -> Days:
    days = Days(day_of("--from", first), day_of("--to", last))
    if days.first is not None and days.last is not None and days.first > days.last:
        raise UsageError(f"--from {days.first} is after --to {days.last}")
    return days


def _verified(stream: StreamSettings, days: Days, patience: RetryBudget, advance: _Advance) -> Report:
    """One stream. A destination that is missing is a finding of that stream, and the others continue."""
    store = store_of(stream.destination)

    def told(size: int) -> None:
        patience.keep_on()
        advance.read(size)

    pool = ThreadPoolExecutor(THREADS_REMOTE if store.keeps_metadata else THREADS_LOCAL)
    try:
        ways = VerifyContext(
            ask=patience.ask,
            pool=pool,
            clock=SystemClock(),
            rest=lambda: time.sleep(REST_SECONDS),
            total=lambda size: advance.begin(stream.name, size),
            told=told,
        )
        return verify_stream(VerifyTarget(stream.name, stream.topic, column_names(stream.rules), store), days, ways)
    except HaltError as error:
        finding = Finding("", Problem.UNREACHABLE, error.message, "fix the destination, then verify again")
        return Report(stream.name, store.location, findings=(finding,))
    except BaseException:
        patience.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _compared(settings: Settings, stream: StreamSettings, report: Report, days: Days, patience: RetryBudget) -> Report:
    """The report, and what comparing every row with Kafka's records finds."""
    if any(finding.problem is Problem.UNREACHABLE for finding in report.findings):
        return report
    with ThreadPoolExecutor(THREADS_LOCAL) as pool:
        try:
            return compare_rows(replace_services_of(settings, stream, patience.ask, pool), report, days)
        except BaseException:
            patience.stop()
            raise


def compare_rows(services: Services, report: Report, days: Days) -> Report:
    """The report with a finding for each object whose rows are not those that Kafka's records give."""
    try:
        stored = {entry.day for chain in services.chains().values() for one in chain.records for entry in one.objects}
        if not stored:
            return report
        scope = Scope(days.first or min(stored), days.last or max(stored))
        found = compare(services, scope)
    except RefusedError as error:
        return replace(report, pending=(*report.pending, f"rows were not compared with Kafka: {error}"))
    except HaltError as error:
        finding = Finding("", Problem.ROWS, error.message, "rows were not compared with Kafka: see the message")
        return replace(report, findings=once([*report.findings, finding]))
    findings = [
        Finding(key, Problem.ROWS, what, RESTORE_OBJECT.format(day=day_within(key)))
        for key, what in found.other.items()
    ]
    if found.gone:
        what = (
            f"{len(found.gone)} days from {found.gone[0]} to {found.gone[-1]} were not compared: Kafka has lost records"
        )
        findings.append(Finding("", Problem.ROWS, what, "nothing: retention deleted them first", note=True))
    return replace(report, findings=once([*report.findings, *findings]))


# -- telling ---------------------------------------------------------------------------------------------------------


class _Advance:
    """How far the reading has come; shown only on a terminal."""

    def __init__(
        self, begin: Callable[[str, int], None] = lambda *_: None, read: Callable[[int], None] = lambda _: None
    ) -> None:
        self.begin, self.read = begin, read


@contextmanager
def _progress() -> Iterator[_Advance]:
    if not sys.stderr.isatty():
        yield _Advance()
        return

    columns = ("{task.description}", BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        tasks = [shown.add_task("reading seal logs", total=None)]

        def begin(stream: str, size: int) -> None:
            shown.remove_task(tasks.pop())
            tasks.append(shown.add_task(stream, total=size))

        yield _Advance(begin, lambda size: shown.advance(tasks[-1], size))


def _show(reports: Sequence[Report], *, as_json: bool) -> None:
    sound = all(report.sound for report in reports)
    if as_json:
        print_json({"sound": sound, "streams": [report.to_json() for report in reports]})
        return
    heads = ("stream", "parts", "records", "days", "objects", "rows", "bad", "size", "pending", "found")
    rows = [
        (
            report.stream,
            report.partitions,
            report.records,
            report.days,
            report.objects,
            report.rows,
            report.quarantined,
            size_text(report.bytes),
            len(report.pending),
            sum(not finding.note for finding in report.findings),
        )
        for report in reports
    ]
    print_table(heads, rows, heads[1:])
    for report in reports:
        _tell(report)
    say("no problems found" if sound else "problems found: see above")


def _tell(report: Report) -> None:
    for finding in report.findings:
        word = "note" if finding.note else "FOUND"
        say(f"{word} {object_url(report.location, finding.key)}")
        say(f"  {finding.problem}: {finding.what}")
        say(f"  to do: {finding.todo}")
    for what in report.pending:
        say(f"pending {report.stream}: {what}")
