"""The clock as a port: the wall clock decides when a day is due, never which day a row belongs to."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is. Implemented by `SystemClock` and by the simulation."""

    def now(self) -> datetime:
        """The present instant, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for intervals only."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
