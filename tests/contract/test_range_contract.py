"""What every `RangeReader` promises, over the one in memory and over Kafka with both group protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.domain.batches import RawBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span, TopicPartition
from consumer.source.port import RangeReader
from tests.contract.worlds import KafkaWorld, MemoryWorld, World, texts


@pytest.fixture(params=["memory", "classic", "consumer"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World
    if request.param == "memory":
        made = MemoryWorld()
    else:
        made = KafkaWorld(request.getfixturevalue("kafka"), request.getfixturevalue("topic"), request.param)
    yield made
    made.close()


def first(topic: str) -> TopicPartition:
    return TopicPartition(topic, 0)


def read(reader: RangeReader, partition: TopicPartition, low: int, high: int) -> list[RawBatch]:
    """The whole range, held to what is promised of its batches."""
    with reader.read(partition, Span(low, high)) as batches:
        found = list(batches)
    at = low
    for batch in found:
        assert batch.partition == partition
        assert batch.span.start == at, "spans must tile"
        assert list(batch.offsets) == sorted(set(batch.offsets))
        assert all(offset in batch.span for offset in batch.offsets)
        assert len(batch) == len(batch.timestamps) == len(batch.values) == len(batch.keys)
        at = batch.span.end
    assert at == max(low, high)
    return found


def values(batches: list[RawBatch]) -> list[bytes | None]:
    return [value for batch in batches for value in batch.values]


def test_a_range_and_nothing_else_is_read(world: World) -> None:
    topic = world.topic(2)
    world.send(first(topic), *texts(0, 5000))
    world.send(TopicPartition(topic, 1), *texts(9000, 9003))
    reader = world.range_reader()
    assert values(read(reader, first(topic), 7, 4321)) == texts(7, 4321)
    assert values(read(reader, first(topic), 0, 5000)) == texts(0, 5000)
    assert values(read(reader, TopicPartition(topic, 1), 1, 3)) == texts(9001, 9003)


def test_an_empty_range_asks_nobody(world: World) -> None:
    assert read(world.range_reader(), TopicPartition("there-is-no-such-topic", 0), 5, 5) == []


def test_keys_timestamps_and_tombstones_are_read(world: World) -> None:
    topic = world.topic(settings={"retention.ms": "-1"})  # the broker's own would delete what is so old
    world.send(first(topic), b"v", timestamp=1_700_000_000_000, key=b"k")
    world.send(first(topic), None, timestamp=1_700_000_000_005)
    found = read(world.range_reader(), first(topic), 0, 2)
    assert values(found) == [b"v", None]
    assert [key for batch in found for key in batch.keys] == [b"k", None]
    assert [stamp for batch in found for stamp in batch.timestamps] == [1_700_000_000_000, 1_700_000_000_005]


def test_aborted_records_and_markers_are_passed_over(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), b"a")
    aborted = world.transaction()
    aborted.send(first(topic), b"never", b"never")
    aborted.abort()
    committed = world.transaction()
    committed.send(first(topic), b"b")
    committed.commit()
    end = world.admin().ends([first(topic)])[first(topic)].lso
    assert end == 6
    reader = world.range_reader()
    assert values(read(reader, first(topic), 0, end)) == [b"a", b"b"]
    assert values(read(reader, first(topic), 1, 4)) == []  # nothing but holes
    assert values(read(reader, first(topic), 5, 6)) == []  # a marker at the log's end


def test_what_lies_behind_an_open_transaction_stays_unread(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 3))
    writer = world.transaction()
    writer.send(first(topic), b"open")
    world.send(first(topic), b"behind")
    assert values(read(world.range_reader(), first(topic), 0, 3)) == texts(0, 3)
    writer.abort()


def test_a_range_below_the_logs_start_is_a_hole(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    world.delete_below(first(topic), 4)
    reader = world.range_reader()
    with reader.read(first(topic), Span(2, 10)) as batches, pytest.raises(HaltError) as caught:
        list(batches)
    assert caught.value.reason is HaltReason.RETENTION_HOLE
    assert values(read(reader, first(topic), 4, 10)) == texts(4, 10)


def test_a_range_beyond_the_end_is_an_outage_that_may_pass(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 3))
    with world.range_reader(silence_seconds=1).read(first(topic), Span(0, 5)) as batches:
        assert values([next(batches)]) == texts(0, 3)
        with pytest.raises(TransientError):
            next(batches)
        world.send(first(topic), *texts(3, 6))
        assert values([next(batches)]) == texts(3, 5)
        assert list(batches) == []


def test_the_group_stays_as_it_is(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 3))
    read(world.range_reader(), first(topic), 0, 3)
    assert world.admin().committed(world.group, [first(topic)]) == {first(topic): None}
    assert world.admin().unowned(world.group, [topic]) == set()  # of a group without members


def test_two_ranges_side_by_side(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 2500))
    reader = world.range_reader()
    with reader.read(first(topic), Span(0, 2500)) as one, reader.read(first(topic), Span(1200, 2500)) as other:
        begun = next(one)
        assert values(list(other)) == texts(1200, 2500)
        assert values([begun, *one]) == texts(0, 2500)
