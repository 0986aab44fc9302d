"""The cluster's health: librdkafka's errors and statistics, reported as outages without repetition."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from confluent_kafka import KafkaError

from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.source.errors import NOTHING_SAID, outage
from consumer.source.inbox import Inbox
from consumer.source.stats import SourceStats, read_stats

_library_log = logging.getLogger("librdkafka")
_DIGITS = re.compile(r"[0-9]+")

REPEAT_SECONDS = 10.0
"""The same outage is reported again after that."""
_QUIET = frozenset(
    {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._MAX_POLL_EXCEEDED}  # noqa: SLF001 - public constants
)
"""One connection, which is made again, and a process that slept: librdkafka logs them, and that is enough."""
_ALL_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - a public constant


class CalmLog:
    """The logger that librdkafka writes to: lines that differ only in numbers are written once in a while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written: dict[str, float] = {}

    def log(self, level: int, text: str, *parts: object) -> None:
        """Write the line, unless the like of it was written lately."""
        now, key = self._clock.monotonic(), _DIGITS.sub("#", text % parts)
        if now - self._written.get(key, float("-inf")) >= REPEAT_SECONDS:
            self._written = {k: at for k, at in self._written.items() if now - at < REPEAT_SECONDS} | {key: now}
            _library_log.log(level, text, *parts)


class Health:
    """Used only by the reader's thread, except `stats`.

    `cause` adds what the client does not know: why there is no token for the brokers.
    """

    def __init__(self, inbox: Inbox, clock: Clock, cause: Callable[[], str] = str) -> None:
        self._cause = cause
        self._inbox = inbox
        self._clock = clock
        self._reported: dict[str, float] = {}
        self._last_cause = ""
        self.log = CalmLog(clock)
        self.stats: SourceStats | None = None

    def failed(self, what: str, error: KafkaError) -> None:
        """An error that may pass by itself."""
        if error.code() == _ALL_DOWN:
            self._no_broker()
            return
        self._last_cause = error.str()
        if error.code() not in _QUIET:
            trouble = outage(what, error)
            self.report(TransientError(f"{trouble}{self._cause()}"), str(trouble))

    def report(self, trouble: TransientError, key: str = "") -> None:
        """Report to the worker and the log, unless it was reported recently. `key` identifies a text that varies."""
        now, key = self._clock.monotonic(), key or str(trouble)
        if now - self._reported.get(key, float("-inf")) >= REPEAT_SECONDS:
            self._reported = {k: at for k, at in self._reported.items() if now - at < REPEAT_SECONDS} | {key: now}
            # the worker hears of it only when nothing better comes: where other partitions are busy, never
            _library_log.warning("%s", trouble)
            self._inbox.report(trouble)

    def on_error(self, error: KafkaError) -> None:
        """Librdkafka's `error_cb`."""
        self.failed("Kafka", error)

    def on_stats(self, document: str) -> None:
        """Librdkafka's `stats_cb`. Two looks without a broker are an outage: its own error comes only once."""
        before, self.stats = self.stats, read_stats(document)
        if before is not None and not before.brokers_up and not self.stats.brokers_up:
            self._no_broker()

    def _no_broker(self) -> None:
        why = self._cause() or (f"; last error: {self._last_cause}" if self._last_cause else NOTHING_SAID)
        self.report(TransientError(f"Kafka: no broker is reachable{why}"), "no broker")
