"""What is known of the cluster's health: librdkafka's errors and statistics, reported as outages without chatter."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError

from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.source.faults import outage
from consumer.source.inbox import Inbox
from consumer.source.stats import SourceStats, read_stats

log = logging.getLogger(__name__)

REPEAT_SECONDS = 10.0
"""The same outage is reported again after that."""
_NO_OUTAGE = frozenset(
    {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._MAX_POLL_EXCEEDED}  # noqa: SLF001 - public constants
)
"""One connection, which is made again, and a process that slept: logged, no more."""
_UNREACHABLE = "Kafka: no broker is reachable"


class Health:
    """Used by the reader's thread alone, but for `stats`."""

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._reported: dict[str, float] = {}
        self.stats: SourceStats | None = None

    def failed(self, what: str, error: KafkaError) -> None:
        """An error that may pass by itself."""
        if error.code() in _NO_OUTAGE:
            log.warning("%s: %s", what, error.str())
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self.report(TransientError(_UNREACHABLE))
        else:
            self.report(outage(what, error))

    def report(self, trouble: TransientError) -> None:
        """Tell the worker, unless it was told so lately."""
        now, text = self._clock.monotonic(), str(trouble)
        if now - self._reported.get(text, float("-inf")) >= REPEAT_SECONDS:
            self._reported = {k: at for k, at in self._reported.items() if now - at < REPEAT_SECONDS} | {text: now}
            self._inbox.report(trouble)

    def on_error(self, error: KafkaError) -> None:
        """Librdkafka's `error_cb`."""
        self.failed("Kafka", error)

    def on_stats(self, document: str) -> None:
        """Librdkafka's `stats_cb`. Two looks without a broker are an outage: its own error comes only once."""
        before, self.stats = self.stats, read_stats(document)
        if before is not None and not before.brokers_up and not self.stats.brokers_up:
            self.report(TransientError(_UNREACHABLE))
