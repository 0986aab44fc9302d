"""Shared by commands that read for long: showing their progress."""

from __future__ import annotations

from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_SECONDS = 10.0
"""Seconds between two plain lines about the same thing, without a terminal."""


def bar(out: TextIO) -> Progress:
    """A bar on a terminal that disappears at the end. Each task has a field `told`, the text after it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    return Progress(*columns, console=Console(file=out, highlight=False), transient=True)


def rate_of(done: float, seconds: float) -> float:
    """So much in a second."""
    return done / max(seconds, 1e-3)


def time_left(done: float, total: float, rate: float) -> str:
    """The time left behind a comma; "" while nothing is done, and if more is done than was planned."""
    return f", {timedelta(seconds=round((total - done) / rate))} left" if rate and done <= total else ""
