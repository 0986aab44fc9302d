"""What every `ClusterAdmin` promises, over the one in memory and over Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from consumer.domain.errors import TransientError
from consumer.domain.offsets import LogEnds, TopicPartition
from tests.contract.worlds import KafkaWorld, MemoryWorld, World, poll_all, texts, until, watching
from tests.services.kafka import RELEASE

NOON = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(hours=12)


@pytest.fixture(params=["memory", "classic", "consumer"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World
    if request.param == "memory":
        made = MemoryWorld()
    else:
        made = KafkaWorld(request.getfixturevalue("kafka"), request.getfixturevalue("topic"), request.param)
    yield made
    made.close()


def millis(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


@pytest.mark.skipif(RELEASE < (3, 6), reason="message.timestamp.after.max.ms came with Kafka 3.6 (KIP-937)")
def test_facts_of_a_topic(world: World) -> None:
    topic = world.topic(3, {"retention.ms": "86400000", "message.timestamp.after.max.ms": "7200000"})
    facts = world.admin().topic(topic)
    assert facts is not None
    assert (facts.name, facts.partitions) == (topic, 3)
    assert facts.topic_id
    assert facts.settings["cleanup.policy"] == "delete"
    assert facts.settings["retention.ms"] == "86400000"
    assert facts.settings["message.timestamp.after.max.ms"] == "7200000"


def test_no_topic_no_facts(world: World) -> None:
    assert world.admin().topic("there-is-no-such-topic") is None


@pytest.mark.skipif(RELEASE < (3, 3), reason="beside ZooKeeper a topic's name is not free as soon as the topic is gone")
def test_a_topic_made_anew_has_another_id(world: World) -> None:
    topic = world.topic()
    admin = world.admin()
    before = admin.topic(topic)
    world.delete_topic(topic)
    until(lambda: admin.topic(topic) is None)
    world.create_topic(topic, 2)
    after = admin.topic(topic)
    assert before is not None
    assert after is not None
    assert before.topic_id != after.topic_id
    assert after.partitions == 2


def test_ends_follow_records_transactions_and_retention(world: World) -> None:
    topic = world.topic(2)
    one, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    admin = world.admin()
    assert admin.ends([one, other]) == {one: LogEnds(0, 0, 0), other: LogEnds(0, 0, 0)}
    world.send(one, *texts(0, 10))
    assert admin.ends([one, other]) == {one: LogEnds(0, 10, 10), other: LogEnds(0, 0, 0)}
    writer = world.transaction()
    writer.send(one, b"open")
    world.send(one, b"behind")
    assert admin.ends([one]) == {one: LogEnds(0, 10, 12)}
    assert admin.ends([one])[one].transaction_open
    writer.abort()
    world.delete_below(one, 4)
    assert admin.ends([one]) == {one: LogEnds(4, 13, 13)}
    assert admin.ends([]) == {}


def test_ends_of_what_is_not_there_are_an_outage(world: World) -> None:
    topic = world.topic(1)
    with pytest.raises(TransientError):
        world.admin().ends([TopicPartition(topic, 0), TopicPartition(topic, 5)])


def test_nothing_is_committed_in_a_new_group(world: World) -> None:
    topic = world.topic(2)
    partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    assert world.admin().committed(world.group, partitions) == dict.fromkeys(partitions)
    assert world.admin().committed(world.group, []) == {}


def test_offset_at_an_instant(world: World) -> None:
    topic = world.topic()
    place = TopicPartition(topic, 0)
    admin = world.admin()
    assert admin.offset_at(place, NOON) is None
    for minutes in (0, 10, 5, 20):
        world.send(place, b"v", timestamp=millis(NOON + timedelta(minutes=minutes)))
    for minutes, offset in ((-60, 0), (0, 0), (1, 1), (10, 1), (11, 3), (20, 3)):
        assert admin.offset_at(place, NOON + timedelta(minutes=minutes)) == offset
    assert admin.offset_at(place, datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert admin.offset_at(place, NOON + timedelta(minutes=10, microseconds=1)) == 3
    assert admin.offset_at(place, NOON + timedelta(minutes=20, microseconds=1)) is None


def test_an_open_transaction_counts_for_an_instant(world: World) -> None:
    topic = world.topic()
    place = TopicPartition(topic, 0)
    writer = world.transaction()
    writer.send(place, b"open")
    assert world.admin().offset_at(place, NOON) == 0
    writer.commit()


def test_nobody_owns_anything_in_a_group_without_members(world: World) -> None:
    topic = world.topic(2)
    assert world.admin().unowned(world.group, [topic]) == set()


def test_members_own_everything(world: World) -> None:
    topic, strange = world.topic(3), world.topic(1)
    admin = world.admin()
    with watching(world, topic) as one, watching(world, topic) as two:
        poll_all([one, two], lambda: len(one.live) + len(two.live) == 3 and bool(one.live) and bool(two.live))
        nobodys = set() if world.brokers_assign else {TopicPartition(strange, 0)}
        poll_all([one, two], lambda: admin.unowned(world.group, [topic, strange]) == nobodys)
        assert admin.unowned(world.group, [topic]) == set()
