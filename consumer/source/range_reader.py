"""Reads given ranges of offsets outside the group: assigned, never subscribed, nothing committed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.batches import RawBatch
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import HaltError, HaltReason, TransientError, UsageError
from consumer.domain.offsets import Span, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source import errors as kafka_errors
from consumer.source.client_config import consumer_config, token_trouble
from consumer.source.errors import LastError
from consumer.source.health import CalmLog
from consumer.source.partition_queue import MERGE_BYTES, MERGE_RECORDS, merged, next_call
from consumer.source.record_columns import Columns, Trouble, runs

SLICE_SECONDS = 0.2
"""How long one `consume` call waits: signals are handled after it."""
SILENCE_SECONDS = 30.0
"""Neither a record nor an end of partition for that long is an outage."""
FIRST_CALL = 64
"""Messages of the first `consume` call; later ones take what fits into `MERGE_BYTES`, by the size of those seen."""


class KafkaRangeReader:
    """The port `RangeReader` over confluent-kafka.

    Each range has its own client, so that nothing fetched for another place can be on its way to it. Wrong options
    raise UsageError when the first range is read.
    """

    def __init__(
        self, settings: KafkaSettings, *, silence_seconds: float = SILENCE_SECONDS, clock: Clock | None = None
    ) -> None:
        self._config = consumer_config(settings, static=False)
        self._cause = partial(token_trouble, settings)
        self._silence_seconds = silence_seconds
        self._clock = clock or SystemClock()

    def read(self, partition: TopicPartition, span: Span) -> KafkaRange:
        """The committed records of these offsets."""
        return KafkaRange(self._config, partition, span, self._silence_seconds, self._clock, self._cause)


class KafkaRange:
    """One range under way. Connects when first asked for a batch, and again after an error."""

    def __init__(
        self,
        config: dict[str, Any],
        partition: TopicPartition,
        span: Span,
        silence_seconds: float,
        clock: Clock,
        cause: Callable[[], str],
    ) -> None:
        self._met = LastError(cause)
        self._config = {**config, "error_cb": self._met, "logger": CalmLog(clock)}
        self._partition = partition
        self._end = span.end
        self._position = span.start
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._number = FIRST_CALL
        self._consumer: Consumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RawBatch:
        """The next batch. After a TransientError the same place is read again."""
        if self._position >= self._end:
            self.close()
            raise StopIteration
        try:
            batch = self._batch(self._connected())
        except KafkaException as error:
            self.close()
            raise kafka_errors.outage(str(self._partition), kafka_errors.cause(error)) from error
        except BaseException:
            self.close()
            raise
        self._position = batch.span.end
        return batch

    def close(self) -> None:
        """Let go of the connection."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _connected(self) -> Consumer:
        if self._consumer is None:
            try:
                self._consumer = Consumer(self._config)
            except KafkaException as error:
                raise UsageError(f"kafka.options: {kafka_errors.cause(error).str()}") from error
            self._consumer.assign([Place(self._partition.topic, self._partition.partition, self._position)])
        return self._consumer

    def _batch(self, consumer: Consumer) -> RawBatch:
        """Records until there are enough for one batch, none is available, or the range ends."""
        parts: list[RawBatch] = []
        records = size = 0
        position, heard_at = self._position, self._clock.monotonic()
        while position < self._end and records < MERGE_RECORDS and size < MERGE_BYTES:
            messages = consumer.consume(self._number, SLICE_SECONDS)
            if not messages and parts:
                break
            if not messages and self._clock.monotonic() - heard_at >= self._silence_seconds:
                raise TransientError(
                    f"{self._partition}: no record at or after offset {position} arrived for"
                    f" {self._silence_seconds:.0f} s{self._met.lately()}"
                )
            for run in runs(messages):
                part = self._part(run, position)
                heard_at = self._clock.monotonic()
                if not part.span.empty:
                    parts.append(part)
                    position, records = part.span.end, records + len(part)
                    size += 0 if isinstance(run, Trouble) else run[1].size
        return merged(parts)

    def _part(self, run: tuple[TopicPartition, Columns] | Trouble, position: int) -> RawBatch:
        """What continues the range from `position` on; an end of the log does so without records."""
        if isinstance(run, Trouble):
            span = Span(position, self._end_of_log(run, position))
            return RawBatch(self._partition, span, (), (), (), ()).clip(Span(position, self._end))
        found = run[1]
        self._number = next_call(len(found.offsets), found.fetched)
        span = Span(position, found.offsets[-1] + 1)
        return found.batch(self._partition, span).clip(Span(position, self._end))

    def _end_of_log(self, trouble: Trouble, position: int) -> int:
        """The stable end of the log. Raises for any other trouble."""
        code = trouble.error.code()
        if code == kafka_errors.END:
            return trouble.offset
        if code in kafka_errors.LOST_PLACE:
            raise HaltError(
                HaltReason.RETENTION_HOLE,
                f"{self._partition}: offset {position} is not in the log any more ({trouble.error.str()}): retention"
                " deleted it, or the log was truncated",
            )
        raise kafka_errors.outage(str(self._partition), trouble.error)
