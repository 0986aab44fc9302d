"""What the client cannot read, on a mock cluster of librdkafka: damaged, packed too tightly, odd."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.domain.offsets import Span, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.admin import KafkaAdmin
from consumer.source.broker import KafkaBroker
from consumer.source.port import Assigned, EndReached, Event, Records, Unreadable
from consumer.source.unreadable import first_readable
from tests.harness.record_batches import batch, produce, record

LARGE = bytes(9 << 20)
"""More than `receive.message.max.bytes` below lets a zstd batch unpack to."""
OPTIONS: dict[str, Any] = {
    "receive.message.max.bytes": (8 << 20) + 512,
    "group.protocol": "consumer",
    "fetch.error.backoff.ms": 20,  # an error is met many times on the way
    "fetch.wait.max.ms": 20,
}


@pytest.fixture(scope="module")
def cluster() -> Producer:
    return Producer(
        {
            "bootstrap.servers": "made up",
            "test.mock.num.brokers": 1,
            "compression.codec": "zstd",
            "message.max.bytes": 100_000_000,
            "batch.size": 100_000_000,
            "linger.ms": 60_000,  # what one flush sends is one batch, however slow the machine: a flush does not linger
            "log_level": 0,
        }
    )


def address(cluster: Producer, topic: str) -> str:
    metadata = cluster.list_topics(topic, timeout=10)
    (broker,) = metadata.brokers.values()
    return f"{broker.host}:{broker.port}"


def settings(servers: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=servers, options=OPTIONS)


def events(broker: KafkaBroker, partition: TopicPartition, start: int, *, until: type[Event]) -> list[Event]:
    """What comes of the partition from `start` on, up to the first event of that kind."""
    found: list[Event] = []
    for _ in range(200):
        for event in broker.poll(0.2):
            if isinstance(event, Assigned):
                (lease,) = [lease for lease in event.leases if lease.partition == partition]
                broker.start(lease, start)
            else:
                found.append(event)
        if any(isinstance(event, until) for event in found):
            return found
    pytest.fail(f"no {until.__name__} came: {found}")


def test_what_unpacks_to_too_much_is_told_and_what_lies_around_it_is_read(
    cluster: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.source.reader.HOLD_SECONDS", 0.1)
    partition = TopicPartition("tight", 0)
    servers = address(cluster, "tight")
    for values in ([b"one"], [LARGE, b"beside it", b"beside it, too"], [b"two"]):
        for value in values:
            cluster.produce("tight", value, partition=0)
        assert cluster.flush(30) == 0
    admin = KafkaAdmin(settings(servers))
    assert admin.unreadable(partition, 0) is None
    assert admin.unreadable(partition, 1) == Span(1, 4)
    broker = KafkaBroker(settings(servers))
    broker.subscribe(["tight"])
    before = events(broker, partition, 0, until=Unreadable)
    (records, told) = before[0], before[-1]
    assert isinstance(records, Records)
    assert records.batch.values == [b"one"]
    assert isinstance(told, Unreadable)
    assert (told.offset, "compression" in told.detail) == (1, True)
    broker.start(told.lease, 4)
    (after,) = [event for event in events(broker, partition, 4, until=EndReached) if isinstance(event, Records)]
    assert after.batch.values == [b"two"]
    broker.close()


def test_a_batch_whose_checksum_is_wrong(cluster: Producer) -> None:
    partition = TopicPartition("damaged", 0)
    servers = address(cluster, "damaged")
    good = batch([record(b"good")])
    for data in (good, batch([record(b"bad"), record(b"worse", delta=1)], crc=7), good):
        produce(servers, "damaged", 0, data)
    admin = KafkaAdmin(settings(servers))
    assert admin.unreadable(partition, 1) == Span(1, 3)
    assert admin.unreadable(partition, 3) is None


def test_headers_whose_names_are_no_text_do_no_harm(cluster: Producer) -> None:
    partition = TopicPartition("headers", 0)
    servers = address(cluster, "headers")
    odd = [
        record(b"a"),
        record(b"b", delta=1, headers=[(b"\xff", b"12")]),
        record(b"c", delta=2, headers=[(b"n", b"1")]),
    ]
    produce(servers, "headers", 0, batch(odd))
    broker = KafkaBroker(settings(servers))
    broker.subscribe(["headers"])
    (read,) = [event for event in events(broker, partition, 0, until=EndReached) if isinstance(event, Records)]
    assert (read.batch.values, read.batch.headers) == ([b"a", b"b", b"c"], [0, 0, 2])
    broker.close()


@pytest.mark.parametrize("end", [1, 2, 3, 7, 8, 500, 1_000])
def test_the_end_of_what_cannot_be_read_is_found_in_few_steps(end: int) -> None:
    asked: list[int] = []

    def readable(place: int) -> bool:
        asked.append(place)
        return place >= end

    assert first_readable(0, 1_000, readable) == end
    assert len(asked) <= 21
