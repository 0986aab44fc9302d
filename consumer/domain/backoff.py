"""Retries after an outage: the pauses between attempts, and the interface of whoever retries."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

_T = TypeVar("_T")

Jitter = Callable[[], float]
"""A number in [0, 1): `random.random`, or a seeded one where schedules must repeat."""


class Ask(Protocol):
    """Calls, and calls again while an outage lasts."""

    def __call__(self, call: Callable[[], _T], /) -> _T:
        """What the call returns."""


def ask_once(call: Callable[[], _T], /) -> _T:
    """The `Ask` of callers that are retried by their own caller: an outage is not handled here."""
    return call()


def pauses(first: float, longest: float, jitter: Jitter = random.random) -> Iterator[float]:
    """Seconds to wait, without end: doubled from `first` to `longest`, each cut by up to a half at random.

    Workers that one outage stopped would otherwise all come back at the same moment.
    """
    while True:
        yield first * (1 - jitter() / 2)
        first = min(2 * first, longest)
