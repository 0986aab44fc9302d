"""The result of `consume()` in columns, by runs of one partition. Runs for every record: C calls, no loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from operator import lt
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, Message

from consumer.domain.batches import RawBatch, Sizes, sizes_of
from consumer.domain.offsets import Span, TopicPartition

RECORD_OVERHEAD = 200
"""Bytes that Python needs for one record in addition to key and value, roughly."""


@dataclass(frozen=True)  # no slots: the sizes are kept
class Columns:
    """Records of one partition in offset order, offsets strictly growing. `headers` as in `RawBatch`."""

    offsets: Sequence[int]
    timestamps: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[int] = ()

    @cached_property
    def sizes(self) -> Sizes:
        """What they weigh."""
        return sizes_of(self.values, self.keys)

    @property
    def size(self) -> int:
        """Bytes of memory of these records, roughly. Their headers are released."""
        return self.sizes.values + self.sizes.keys + RECORD_OVERHEAD * len(self.offsets)

    @property
    def fetched(self) -> int:
        """Bytes of memory until their headers were released."""
        return self.size + sum(self.headers)

    def batch(self, partition: TopicPartition, span: Span) -> RawBatch:
        """These records as what was consumed of `span`."""
        return RawBatch(
            partition, span, self.offsets, self.timestamps, self.values, self.keys, self.headers, self.sizes
        )

    def parts(self, limit: int) -> Iterator[tuple[Columns, int]]:
        """The same in parts of at most `limit` bytes, with their sizes; a larger record is its own part."""
        middle, size = len(self.offsets) // 2, self.size
        if not middle or size <= limit:
            yield self, size
        else:
            yield from self._between(0, middle).parts(limit)
            yield from self._between(middle, len(self.offsets)).parts(limit)

    def _between(self, low: int, high: int) -> Columns:
        return Columns(
            self.offsets[low:high],
            self.timestamps[low:high],
            self.values[low:high],
            self.keys[low:high],
            self.headers[low:high],
        )

    def from_offset(self, low: int) -> Columns:
        """The records at or above `low`, each offset once and in order."""
        keep: list[int] = []
        for index, offset in enumerate(self.offsets):
            if offset >= low:
                keep.append(index)
                low = offset + 1
        return Columns(
            [self.offsets[i] for i in keep],
            [self.timestamps[i] for i in keep],
            [self.values[i] for i in keep],
            [self.keys[i] for i in keep],
            [self.headers[i] for i in keep] if self.headers else (),
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """An event in place of a record. `partition` is None if it is about no partition; `offset` may be negative."""

    partition: TopicPartition | None
    offset: int
    error: KafkaError


def runs(messages: Sequence[Message[Any, Any]]) -> Iterator[tuple[TopicPartition, Columns] | Trouble]:
    """Split by partition, in order; errors and end-of-partition events stay between the records where they came."""
    for number, same_number in groupby(messages, Message.partition):
        together = list(same_number)
        topic = together[0].topic()
        if _are_records_of(topic, together):
            yield TopicPartition(str(topic), int(number or 0)), columns(together)
        else:
            yield from _mixed(int(number or 0), together)


def _are_records_of(topic: str | None, together: Sequence[Message[Any, Any]]) -> bool:
    """What is so nearly always: no event among them, and one topic."""
    return not any(map(Message.error, together)) and set(map(Message.topic, together)) == {topic}


def _mixed(number: int, together: Iterable[Message[Any, Any]]) -> Iterator[tuple[TopicPartition, Columns] | Trouble]:
    """Messages with one partition number, of several topics or with events among them."""
    for (topic, failed), run in groupby(together, _topic_and_failure):
        if failed:
            yield from map(_trouble, run)
        else:
            yield TopicPartition(str(topic), number), columns(list(run))


def _topic_and_failure(message: Message[Any, Any]) -> tuple[str | None, bool]:
    return message.topic(), message.error() is not None


def columns(run: Sequence[Message[Any, Any]]) -> Columns:
    """The records of one partition by columns. A record without a timestamp has -1."""
    offsets: list[int] = list(map(Message.offset, run))  # type: ignore[arg-type]  # a record has one
    stamps = [-1 if kind == TIMESTAMP_NOT_AVAILABLE else stamp for kind, stamp in map(Message.timestamp, run)]
    found = Columns(offsets, stamps, list(map(Message.value, run)), list(map(Message.key, run)), header_sizes(run))
    return found if all(map(lt, offsets, offsets[1:])) else found.from_offset(0)


def header_sizes(run: Sequence[Message[Any, Any]]) -> Sequence[int]:
    """Bytes of each record's headers; nothing if none has any, as is nearly always so.

    A name that is not UTF-8 makes the client library fail (SystemError), and such a message must not be asked twice: it
    would hand out what it could not build. Its headers count as nothing.
    """
    found: list[list[tuple[str, bytes | None]] | None] = []
    while len(found) < len(run):
        try:
            found.extend(map(Message.headers, islice(run, len(found), None)))  # type: ignore[arg-type]  # or None
        except SystemError:
            found.append(None)
    if found.count(None) == len(run):
        return ()
    return [sum(len(name) + len(value or b"") for name, value in headers or ()) for headers in found]


def _trouble(message: Message[Any, Any]) -> Trouble:
    error, offset, topic, number = message.error(), message.offset(), message.topic(), message.partition()
    if error is None:
        raise TypeError("a record is no trouble")
    known = topic is not None and number is not None and number >= 0
    return Trouble(
        TopicPartition(str(topic), int(number or 0)) if known else None, -1 if offset is None else offset, error
    )
