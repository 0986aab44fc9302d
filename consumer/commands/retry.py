"""One-shot commands during outages: retry, and give up if it lasts too long (exit 4)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import structlog

from consumer.domain.backoff import pauses
from consumer.domain.clock import Clock
from consumer.domain.errors import GaveUpError, PendingError, TransientError

FIRST_WAIT = 0.5
LONGEST_WAIT = 10.0
LEAST_TRIES = 3
"""Of a call that gets answers in between, but no result: an export that reads all and cannot write its file."""

log = structlog.get_logger("outage")

T = TypeVar("T")


class RetryBudget:
    """Repeats what an outage stopped. Any thread may ask; an answer that any of them gets counts as progress."""

    def __init__(self, give_up_after: timedelta, clock: Clock) -> None:
        self._limit = give_up_after.total_seconds()
        self._clock = clock
        self._stopped = threading.Event()
        self._answered_at = clock.monotonic()
        self._told = ""

    def ask(self, call: Callable[[], T]) -> T:
        """What `call` returns. Raises GaveUpError if no answer came for too long, and after `stop`.

        A call may ask itself, and get answers: it is given up as well if it failed several times for that long.
        """
        waits, failed_at = pauses(FIRST_WAIT, LONGEST_WAIT), list[float]()
        while True:
            self.keep_on()
            try:
                answer = call()
            except TransientError as error:
                now = self._clock.monotonic()
                failed_at.append(now)
                since = self._answered_at if len(failed_at) < LEAST_TRIES else min(self._answered_at, failed_at[0])
                self._wait(error, next(waits), now - since)
            else:
                self._answered_at = self._clock.monotonic()
                return answer

    def keep_on(self) -> None:
        """Raise GaveUpError if the command is ending: for loops with long pauses between requests."""
        if self._stopped.is_set():
            raise GaveUpError("the command was stopped")

    def stop(self) -> None:
        """End every wait: the command is ending."""
        self._stopped.set()

    def _wait(self, error: TransientError, seconds: float, silent: float) -> None:
        if silent >= self._limit:
            raise GaveUpError(f"{error} (for {silent:.0f} s, schedule.give_up_after)") from error
        if str(error) != self._told and not isinstance(error, PendingError):
            self._told = str(error)
            log.warning("outage", error=str(error), gives_up_in_seconds=round(self._limit - silent))
        self._stopped.wait(min(seconds, self._limit - silent))
