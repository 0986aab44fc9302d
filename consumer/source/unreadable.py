"""Offsets that the client cannot read: a corrupt batch, or one that it does not decompress.

An error only says where its batch starts. Its end is found by trying later offsets: each one inside the batch gives the
error again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as Place

from consumer.domain.clock import Clock
from consumer.domain.errors import TransientError
from consumer.domain.offsets import Span, TopicPartition
from consumer.source.errors import END, outage

SLICE_SECONDS = 0.2
SILENCE_SECONDS = 15.0
"""Neither a record, nor an error, nor the end of the log for that long is an outage."""
TRIES = 3
"""Errors at the first offset that it takes to believe them."""

UNREADABLE = frozenset(
    {
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - public constants of librdkafka
        KafkaError._BAD_MSG,  # noqa: SLF001
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
        KafkaError._UNDERFLOW,  # noqa: SLF001
        KafkaError.INVALID_MSG,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
"""Errors about the contents of the log, not about access to it."""


def unreadable_span(consumer: Consumer, partition: TopicPartition, offset: int, high: int, clock: Clock) -> Span | None:
    """The offsets from `offset` on that this client cannot read, up to the first that it can; None if it can read it.

    `consumer` belongs to no group and is closed by the caller; `high` is the log's end. Raises TransientError for other
    trouble.
    """

    def readable(place: int, tries: int) -> bool:
        return place >= high or _is_readable(consumer, partition, place, tries, clock)

    if readable(offset, TRIES):
        return None
    return Span(offset, first_readable(offset, high, lambda place: readable(place, 1)))


def first_readable(offset: int, high: int, readable: Callable[[int], bool]) -> int:
    """The first offset after `offset`, which is not readable, that is; `high` at most. Asks few times of a long run."""
    low, step = offset, 1
    while not readable(min(low + step, high)):
        low += step
        step *= 2
    end = min(low + step, high)
    while end - low > 1:
        middle = (low + end) // 2
        if readable(middle):
            end = middle
        else:
            low = middle
    return end


def _is_readable(consumer: Consumer, partition: TopicPartition, place: int, tries: int, clock: Clock) -> bool:
    consumer.assign([Place(partition.topic, partition.partition, place)])
    began, failed = clock.monotonic(), 0
    while clock.monotonic() - began < SILENCE_SECONDS:
        message: Any = consumer.poll(SLICE_SECONDS)
        if message is None:
            continue
        error = message.error()
        if error is None or error.code() == END:
            return True
        if error.code() not in UNREADABLE:
            raise outage(str(partition), error)
        failed += 1
        if failed >= tries:
            return False
    raise TransientError(f"{partition}: nothing at or after offset {place} arrived for {SILENCE_SECONDS:.0f} s")
