"""How a long catch-up goes: what is left, how fast it goes, how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.source.port import Lease

LOOK_SECONDS = 15.0
"""How long a rate is measured, and how often it is told."""
LONG_SECONDS = 30.0
"""A catch-up that takes no longer is not worth a line."""
THERE_SECONDS = 2.0
"""Nearer to an end that moves on it hardly gets."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Records left, records read per second, and the seconds left at this rate: None where nothing is read."""

    left: int
    per_second: float
    seconds_left: float | None


@dataclass(slots=True)
class CatchUp:
    """Fed with every lease's position and lag; says now and then what is worth telling."""

    looked_at: float
    telling: bool = False
    _before: Mapping[Lease, int] = field(default_factory=dict)

    def look(self, now: float, positions: Mapping[Lease, int], left: int) -> Pace | None:
        """The pace, once it has been measured for a while and as long as the end is far; at its end once more."""
        seconds = now - self.looked_at
        if seconds < LOOK_SECONDS:
            return None
        read = sum(max(0, at - self._before[lease]) for lease, at in positions.items() if lease in self._before)
        measured = bool(self._before)
        self.looked_at, self._before = now, dict(positions)
        pace = Pace(left, read / seconds, left * seconds / read if read else None)
        least = THERE_SECONDS if self.telling else LONG_SECONDS
        far = measured and left > 0 and (pace.seconds_left is None or pace.seconds_left > least)
        told, self.telling = self.telling, far
        return pace if far or told else None
