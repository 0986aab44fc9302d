"""A page that is rendered at most once a second, and a tenth of the time, however often it is asked for.

Rendering competes with the worker's loop for the interpreter, and anyone who reaches the port may ask without a pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from consumer.domain.clock import Clock

FRESH_SECONDS = 1.0
"""A page is shown for at least that long before it is rendered again."""
MOST_SHARE = 0.1
"""Of the time at most this is spent on rendering one page: what takes longer to render is shown for longer."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a request gets."""

    status: HTTPStatus
    kind: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class CachedPage:
    """One page in one form. Any thread may ask."""

    render: Callable[[], Response]
    clock: Clock
    _rendering: threading.Lock = field(default_factory=threading.Lock)
    _shown: Response | None = None
    _until: float = 0.0

    def get(self) -> Response:
        """The page, at most as old as the class says, plus the time that one rendering takes."""
        shown = self._current()
        if shown is not None:
            return shown
        # While one thread renders, the others show the previous page: if all of them waited, none would answer /livez.
        previous = self._shown
        if not self._rendering.acquire(blocking=previous is None) and previous is not None:
            return previous
        try:
            return self._current() or self._render()
        finally:
            self._rendering.release()

    def _current(self) -> Response | None:
        return self._shown if self.clock.monotonic() < self._until else None

    def _render(self) -> Response:
        started = self.clock.monotonic()
        self._shown = self.render()
        ended = self.clock.monotonic()
        self._until = ended + max(FRESH_SECONDS, (ended - started) / MOST_SHARE)
        return self._shown
