"""Progress of a replacement on stderr while it reads Kafka: a bar on a terminal, otherwise plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from consumer.commands.progress import LINE_SECONDS, bar, rate_of, time_left
from consumer.domain.clock import Clock
from consumer.replace.progress import Advance, Progress


def telling(out: TextIO, clock: Clock, stream: str) -> Progress:
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
    rate = rate_of(done, seconds)
    return f"{done:,} of {total:,} offsets, {rate:,.0f}/s{time_left(done, total, rate)}"


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
    with bar(out) as shown:
        task = shown.add_task(what, total=max(total, 1), told="")
        yield lambda done, text: shown.update(task, completed=done, told=text)
