"""How long to wait between the tries of something that an outage stopped: longer each time, and never all at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Jitter = Callable[[], float]
"""A number in [0, 1): `random.random`, or a seeded one where schedules must repeat."""


def pauses(first: float, longest: float, jitter: Jitter = random.random) -> Iterator[float]:
    """Seconds to wait, without end: doubled from `first` to `longest`, each cut by up to a half at random.

    Workers that one outage stopped would otherwise all come back at the same moment.
    """
    while True:
        yield first * (1 - jitter() / 2)
        first = min(2 * first, longest)
