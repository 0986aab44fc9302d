"""Progress of a long catch-up: what is left, the rate, the time left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.domain.offsets import Lease

LOOK_SECONDS = 15.0
"""How long a rate is measured, and how often it is logged."""
LONG_SECONDS = 30.0
"""A catch-up that takes no longer is not worth a line."""
THERE_SECONDS = 2.0
"""A catch-up this close to the end is over: the end moves on while records are read."""


@dataclass(frozen=True, slots=True)
class ReadingRate:
    """Records left, records read per second, and the seconds left at this rate (None if nothing is read)."""

    left: int
    per_second: float
    seconds_left: float | None


@dataclass(slots=True)
class CatchUp:
    """Gets every lease's position and lag; logs progress now and then."""

    looked_at: float
    catching_up: bool = False
    _before: Mapping[Lease, int] = field(default_factory=dict)

    def look(self, now: float, positions: Mapping[Lease, int], left: int) -> ReadingRate | None:
        """The rate, measured for a while, as long as the end is far; once more when the end is reached."""
        seconds = now - self.looked_at
        if seconds < LOOK_SECONDS:
            return None
        known = [lease for lease in positions if lease in self._before]
        read = sum(max(0, positions[lease] - self._before[lease]) for lease in known)
        measured = bool(self._before)
        self.looked_at, self._before = now, dict(positions)
        rate = ReadingRate(left, read / seconds, left * seconds / read if read else None)
        least = THERE_SECONDS if self.catching_up else LONG_SECONDS
        far = measured and left > 0 and (rate.seconds_left is None or rate.seconds_left > least)
        was_far, self.catching_up = self.catching_up, far
        return rate if far or was_far else None
