"""What a replacement says on stderr while it reads Kafka: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from consumer.domain.clock import Clock
from consumer.replace.progress import Advance
from consumer.replace.progress import Progress as ReadingProgress

LINE_SECONDS = 10.0
"""Between two plain lines."""


def telling(out: TextIO, clock: Clock, stream: str) -> ReadingProgress:
    """Tell how far the reading of a stream has come, as `out` allows."""
    show = _bar if out.isatty() else _lines

    @contextmanager
    def told(what: str, offsets: int) -> Iterator[Advance]:
        begun, done = clock.monotonic(), 0
        with show(out, clock, f"{stream}: {what}", offsets) as tell:

            def advance(more: int) -> None:
                nonlocal done
                done += more
                tell(done, _text(done, offsets, clock.monotonic() - begun))

            yield advance

    return told


def _text(done: int, total: int, seconds: float) -> str:
    """How far, how fast, and the time left."""
    rate = done / max(seconds, 1e-3)
    left = f", {timedelta(seconds=round((total - done) / rate))} left" if rate else ""
    return f"{done:,} of {total:,} offsets, {rate:,.0f}/s{left}"


Tell = Callable[[int, str], None]


@contextmanager
def _lines(out: TextIO, clock: Clock, what: str, _total: int) -> Iterator[Tell]:
    told_at = clock.monotonic()

    def tell(_done: int, text: str) -> None:
        nonlocal told_at
        if clock.monotonic() - told_at >= LINE_SECONDS:
            told_at = clock.monotonic()
            print(f"{what}: {text}", file=out, flush=True)

    yield tell


@contextmanager
def _bar(out: TextIO, _clock: Clock, what: str, total: int) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=Console(file=out, highlight=False), transient=True) as shown:
        task = shown.add_task(what, total=max(total, 1), told="")
        yield lambda done, text: shown.update(task, completed=done, told=text)
