"""Messages by runs and by columns."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.batches import sizes_of
from consumer.domain.offsets import Lease, Span, TopicPartition
from consumer.source.partition_queue import PartitionQueue
from consumer.source.port import Records
from consumer.source.record_columns import RECORD_OVERHEAD, Columns, Trouble, runs


def message(topic: str, partition: int, offset: int, value: bytes | None = b"v", **more: Any) -> Message[Any, Any]:
    return Message(topic=topic, partition=partition, offset=offset, value=value, **more)


def failure(topic: str | None, partition: int, offset: int, code: int) -> Message[Any, Any]:
    return Message(topic=topic, partition=partition, offset=offset, error=KafkaError(code))


def test_runs_split_by_topic_and_partition_in_order() -> None:
    found = list(
        runs([message("a", 0, 1), message("a", 0, 2), message("b", 0, 7), message("b", 1, 3), message("a", 0, 3)])
    )
    assert [(str(run[0]), list(run[1].offsets)) for run in found if not isinstance(run, Trouble)] == [
        ("a:0", [1, 2]),
        ("b:0", [7]),
        ("b:1", [3]),
        ("a:0", [3]),
    ]


def test_columns_keep_keys_tombstones_and_missing_timestamps() -> None:
    stamped = message("a", 0, 1, b"v", key=b"k", timestamp=(TIMESTAMP_CREATE_TIME, 17))
    bare = message("a", 0, 2, None, timestamp=(TIMESTAMP_NOT_AVAILABLE, 0))
    ((_, found),) = [run for run in runs([stamped, bare]) if not isinstance(run, Trouble)]
    assert found == Columns([1, 2], [17, -1], [b"v", None], [b"k", None])
    assert found.size == 2 + 2 * RECORD_OVERHEAD


def test_events_stand_where_they_came() -> None:
    end = failure("a", 0, 3, KafkaError._PARTITION_EOF)
    general = failure("a", -1, 0, KafkaError.UNKNOWN_TOPIC_OR_PART)
    found = list(runs([message("a", 0, 1), end, message("a", 0, 4), general]))
    assert [type(run) for run in found] == [tuple, Trouble, tuple, Trouble]
    troubles = [run for run in found if isinstance(run, Trouble)]
    assert (troubles[0].partition, troubles[0].offset) == (TopicPartition("a", 0), 3)
    assert troubles[0].error.code() == KafkaError._PARTITION_EOF
    assert troubles[1].partition is None


def test_offsets_that_fall_back_are_put_right() -> None:
    again = [message("a", 0, offset, str(n).encode()) for n, offset in enumerate([5, 6, 5, 6, 7])]
    ((_, found),) = [run for run in runs(again) if not isinstance(run, Trouble)]
    assert list(found.offsets) == [5, 6, 7]
    assert list(found.values) == [b"0", b"1", b"4"]


@given(st.lists(st.integers(0, 30)), st.integers(0, 30))
def test_from_offset_keeps_each_offset_once_in_order(offsets: list[int], low: int) -> None:
    size = len(offsets)
    found = Columns(offsets, [-1] * size, [None] * size, [None] * size).from_offset(low)
    expected: list[int] = []
    for offset in offsets:
        if offset >= low and (not expected or offset > expected[-1]):
            expected.append(offset)
    assert list(found.offsets) == expected
    assert len(found.values) == len(found.keys) == len(found.timestamps) == len(expected)


def test_a_record_is_no_trouble() -> None:
    from consumer.source.record_columns import _trouble  # noqa: PLC0415 - a guard that nothing reaches

    with pytest.raises(TypeError):
        _trouble(message("a", 0, 1))


def test_headers_are_measured_and_let_go_of() -> None:
    bare, rich = message("a", 0, 1), message("a", 0, 2, headers=[("né", b"1234"), ("n", None)])
    ((_, found),) = [run for run in runs([bare, rich]) if not isinstance(run, Trouble)]
    assert found.headers == [0, len("né") + 4 + 1]
    assert (found.size, found.fetched) == (2 + 2 * RECORD_OVERHEAD, 2 + 2 * RECORD_OVERHEAD + 7)
    assert found.from_offset(2).headers == [7]
    ((_, plain),) = [run for run in runs([bare]) if not isinstance(run, Trouble)]
    assert plain.headers == ()


VALUES = st.one_of(st.none(), st.binary(max_size=12))
FETCHED = st.lists(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4), min_size=1, max_size=5)


@given(FETCHED, st.integers(0, 20))
def test_what_is_handed_out_has_the_sizes_of_its_records(
    fetched: list[list[tuple[bytes | None, bytes | None]]], cut: int
) -> None:
    queue, offset = PartitionQueue(Lease(TopicPartition("a", 0), 1)), 0
    queue.start(0)
    for records in fetched:
        offsets = list(range(offset, offset + len(records)))
        queue.put_records(Columns(offsets, offsets, [value for value, _ in records], [key for _, key in records]))
        offset += len(records)
    (event,) = queue.take()
    assert isinstance(event, Records)
    whole = event.batch
    assert whole.sizes == sizes_of(whole.values, whole.keys)
    assert whole.sizes.bare == sum(not value for value in whole.values)
    assert whole.sizes.largest_key == max(len(key or b"") for key in whole.keys)
    part = whole.clip(Span(0, cut))
    assert part.sizes == sizes_of(part.values, part.keys)
