"""Where the writers of a race wait for each other: just before a conditional write takes effect.

A race is only a test if its requests are in progress at the same time. A request that waits with its last bytes has
passed all checks that come first: so a store that checks and then writes lets all writers win in each race, whereas
with writers that merely start at the same time it does so in one race of ten.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextvars import ContextVar

TAIL = 16
"""Bytes held back."""


class _Line:
    """One writer's place at the line; it waits once."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait: Callable[[], None] | None = wait
        self.leaving = False

    def cross(self) -> None:
        wait, self._wait = self._wait, None
        if wait:
            wait()


_line: ContextVar[_Line | None] = ContextVar("line", default=None)


@contextlib.contextmanager
def lined_up(wait: Callable[[], None]) -> Iterator[None]:
    """Within it, the first write of this thread calls `wait` before it takes effect."""
    token = _line.set(_Line(wait))
    try:
        yield
    finally:
        _line.reset(token)


def cross() -> None:
    """Called by a store at the line; returns at once outside a race."""
    line = _line.get()
    if line is not None:
        line.cross()


def leave() -> bool:
    """Called by a store when all is signed and only sending is left: from now on the tail is held back.

    Whether there is a race at all.
    """
    line = _line.get()
    if line is not None:
        line.leaving = True
    return line is not None


def held_back(data: bytes) -> bytes | io.BytesIO:
    """The data, in a race as a reader that crosses the line before its last bytes."""
    line = _line.get()
    return data if line is None else _HeldBack(data, line)


class _HeldBack(io.BytesIO):
    def __init__(self, data: bytes, line: _Line) -> None:
        super().__init__(data)
        self._line = line
        self._tail = len(data) - TAIL

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._line.leaving:
            return super().read(size)
        before = self._tail - self.tell()
        if before <= 0:
            self._line.cross()
            return super().read(size)
        return super().read(before if size is None or size < 0 else min(size, before))
