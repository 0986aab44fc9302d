"""Progress of `export` on stderr: a bar on a terminal, otherwise plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.progress import Progress, TaskID

from consumer.commands.output import size_text
from consumer.commands.progress import LINE_SECONDS, bar, rate_of, time_left
from consumer.domain.clock import Clock
from consumer.export.plan import DayKind, ExportedDay
from consumer.export.stream import Watcher
from consumer.export.survey import Survey


def plan_line(stream: str, survey: Survey) -> str:
    """What will be exported, before it is."""
    days = survey.days
    manifests = [day.manifest for day in days if day.kind is DayKind.SEALED]
    rows, size = sum(one["rows"] for one in manifests), sum(one["bytes"] for one in manifests)
    parts = [f"{len(manifests)} sealed ({rows:,} rows, {size_text(size)})"]
    for kind, word in ((DayKind.EMPTY, "without rows"), (DayKind.UNKNOWN, "unknown")):
        if number := sum(day.kind is kind for day in days):
            parts.append(f"{number} {word}")
    if number := len(survey.open_days):
        offsets = sum(span.end - span.start for span in survey.kafka.values())
        parts.append(f"{number} not sealed ({offsets:,} offsets from Kafka)")
    period = f"{days[0].day}" if len(days) == 1 else f"{days[0].day} to {days[-1].day}, {len(days)} days"
    return f"{stream}: {period}: {', '.join(parts)}"


class ReadRate:
    """Rows and bytes read so far, and what is left by the plan."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin(0)

    def begin(self, total: int) -> None:
        """A stream with this many rows begins."""
        self.total, self.rows, self.size = total, 0.0, 0
        self._since = self._clock.monotonic()

    def add(self, rows: float, size: int) -> None:
        """So much more was read."""
        self.rows += rows
        self.size += size

    @property
    def text(self) -> str:
        """Rows, rate, and the time left."""
        seconds = self._clock.monotonic() - self._since
        rate = rate_of(self.rows, seconds)
        return (
            f"{min(round(self.rows), self.total):,} of {self.total:,} rows, {rate:,.0f} rows/s,"
            f" {size_text(round(rate_of(self.size, seconds)))}/s{time_left(self.rows, self.total, rate)}"
        )


def _total(survey: Survey) -> int:
    rows = sum(int(day.manifest["rows"]) for day in survey.days if day.kind is DayKind.SEALED)
    return rows + sum(span.end - span.start for span in survey.kafka.values())


class Lines:
    """Plain lines: the plan, each day, and one every few seconds of a long one."""

    def __init__(self, tell: Callable[[str], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._rate = ReadRate(clock)
        self._told_at = clock.monotonic()
        self._stream = ""

    def planned(self, stream: str, survey: Survey) -> None:
        """The plan of a stream."""
        self._stream = stream
        self._rate.begin(_total(survey))
        self._line(plan_line(stream, survey))

    def advanced(self, rows: float, size: int) -> None:
        """More was read."""
        self._rate.add(rows, size)
        if self._clock.monotonic() - self._told_at >= LINE_SECONDS:
            self._line(f"{self._stream}: {self._rate.text}")

    def day_done(self, day: ExportedDay) -> None:
        """A day was read."""
        why = f" ({', '.join(day.why)})" if day.why else ""
        self._line(f"{self._stream} {day.day}: {day.rows:,} rows{why}")

    def _line(self, text: str) -> None:
        self._told_at = self._clock.monotonic()
        self._tell(text)


class Bar:
    """A bar with rows, rate and time left."""

    def __init__(self, shown: Progress, tell: Callable[[str], None], clock: Clock) -> None:
        self._shown = shown
        self._tell = tell
        self._rate = ReadRate(clock)
        self._stream = ""
        self._task: TaskID | None = None

    def planned(self, stream: str, survey: Survey) -> None:
        """The plan of a stream."""
        if self._task is not None:
            self._shown.remove_task(self._task)
        self._tell(plan_line(stream, survey))
        self._stream = stream
        self._rate.begin(_total(survey))
        self._task = self._shown.add_task(stream, total=max(self._rate.total, 1), told="")

    def advanced(self, rows: float, size: int) -> None:
        """More was read."""
        self._rate.add(rows, size)
        if self._task is not None:
            self._shown.update(self._task, completed=self._rate.rows, told=self._rate.text)

    def day_done(self, day: ExportedDay) -> None:
        """A day was read."""
        if self._task is not None:
            self._shown.update(self._task, description=f"{self._stream} {day.day}")


@contextmanager
def showing(out: TextIO, clock: Clock) -> Iterator[Watcher]:
    """Tell how an export goes, as `out` allows."""
    if not out.isatty():
        yield Lines(lambda text: print(text, file=out, flush=True), clock)
        return
    with bar(out) as shown:
        yield Bar(shown, lambda text: shown.console.print(text, markup=False), clock)
