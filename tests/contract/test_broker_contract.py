"""What every `Broker` promises, over the one in memory and over Kafka with both group protocols."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from threading import Timer

import pytest

from consumer.domain.batches import RawBatch
from consumer.domain.errors import LeaseLostError
from consumer.domain.offsets import Commit, TopicPartition
from consumer.source.port import EndReached, Records
from tests.contract.worlds import KafkaWorld, MemoryWorld, Watcher, World, poll_all, texts, watching


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


def share(watchers: list[Watcher], partitions: int) -> None:
    """Wait until every partition has one owner, and no owner has none."""
    poll_all(
        watchers,
        lambda: all(w.live for w in watchers) and sum(len(w.live) for w in watchers) == partitions,
    )


# Delivery


def test_nothing_is_delivered_before_start(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 5))
    with watching(world, topic) as member:
        member.until_assigned(1)
        assert member.quiet() == []


def test_records_come_in_order_with_spans_that_tile(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 2500))
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until_end(lease, 2500)
        assert member.values(lease) == texts(0, 2500)
        world.send(first(topic), *texts(2500, 2503))
        member.until_end(lease, 2503)
        assert member.values(lease) == texts(0, 2503)


def test_a_poll_without_records_leaves_them_for_the_next_one(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 300))
    with watching(world, topic) as member:
        lease = member.start_first(0)
        member.until(lambda: bool(member.records[lease]))  # they flow
        for _ in range(8):
            found = member.broker.poll(0.05, records=False)
            assert not [event for event in found if isinstance(event, Records | EndReached)]
        member.until_end(lease, 300)
        assert member.values(lease) == texts(0, 300)


def test_key_timestamp_and_tombstone_arrive(world: World) -> None:
    topic = world.topic()
    now = int(time.time() * 1000)
    world.send(first(topic), b"v", timestamp=now, key=b"k")
    world.send(first(topic), None, timestamp=now + 5)
    with watching(world, topic) as member:
        member.start_first()
        batches: list[RawBatch] = []
        while sum(len(batch) for batch in batches) < 2:
            batches += [event.batch for event in member.poll() if isinstance(event, Records)]
        assert [v for b in batches for v in b.values] == [b"v", None]
        assert [k for b in batches for k in b.keys] == [b"k", None]
        assert [t for b in batches for t in b.timestamps] == [now, now + 5]


def test_an_empty_partition_is_at_its_end(world: World) -> None:
    topic = world.topic()
    with watching(world, topic) as member:
        member.until_end(member.start_first(), 0)


def test_start_in_the_middle_and_at_the_end(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    with watching(world, topic) as member:
        lease = member.start_first(7)
        member.until_end(lease, 10)
        assert member.values(lease) == texts(7, 10)
        member.start(lease, 10)
        member.until_end(lease, 10)
        assert member.values(lease) == []


def test_start_again_moves_back_and_forth(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 100))
    with watching(world, topic) as member:
        lease = member.start_first(50)
        for offset in (10, 90, 0, 99):
            member.start(lease, offset)
            member.until_end(lease, 100)
            assert member.values(lease) == texts(offset, 100)


def test_a_start_overtakes_what_was_on_its_way(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 3000))
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until(lambda: bool(member.records[lease]))
        member.start(lease, 5)
        member.start(lease, 2000)
        member.until_end(lease, 3000)
        assert member.values(lease) == texts(2000, 3000)


def test_jumps_under_load_lose_and_repeat_nothing(world: World) -> None:
    """Records flow, and positions jump at random: the first record after a jump is the one asked for."""
    topic = world.topic(3)
    size = 4000
    for number in range(3):
        world.send(TopicPartition(topic, number), *texts(0, size))
    choose = random.Random(20261122)
    with watching(world, topic) as member:
        member.until_assigned(3)
        leases = list(member.live.values())
        asked = dict.fromkeys(leases, 0)
        for lease in leases:
            member.start(lease, 0)
        for _ in range(150):
            for _ in range(choose.randrange(3)):
                member.poll(choose.choice([0, 0.001, 0.02]))
            lease = choose.choice(leases)
            for each in leases:
                got = [offset for offset, _value in member.records[each]]
                assert got == list(range(asked[each], asked[each] + len(got)))
            asked[lease] = choose.randrange(size)
            member.start(lease, asked[lease])
        for lease in leases:
            member.until_end(lease, size)
            assert member.values(lease) == texts(asked[lease], size)


# Pause


def test_pause_holds_the_place_and_resume_goes_on(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 3000))
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until(lambda: bool(member.records[lease]))
        member.broker.pause(lease)
        stood = member.position[lease]
        assert member.quiet() == []
        world.send(first(topic), *texts(3000, 3010))
        assert member.quiet() == []
        assert member.position[lease] == stood
        member.broker.resume(lease)
        member.until_end(lease, 3010)
        assert member.values(lease) == texts(0, 3010)


def test_pause_outlasts_a_start(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until_end(lease, 10)
        member.broker.pause(lease)
        member.start(lease, 4)
        assert member.quiet() == []
        member.broker.resume(lease)
        member.until_end(lease, 10)
        assert member.values(lease) == texts(4, 10)


def test_pausing_one_partition_leaves_the_others(world: World) -> None:
    topic = world.topic(2)
    with watching(world, topic) as member:
        member.until_assigned(2)
        one, other = (member.start(lease) for lease in sorted(member.live.values(), key=lambda x: x.partition))
        member.until_end(one, 0)
        member.until_end(other, 0)
        member.broker.pause(one)
        world.send(one.partition, b"held")
        world.send(other.partition, b"free")
        member.until_end(other, 1)
        assert member.values(one) == []


# Transactions


def test_aborted_records_are_not_delivered_and_the_position_passes_them(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), b"before")
    writer = world.transaction()
    writer.send(first(topic), b"never", b"ever")
    writer.abort()
    world.send(first(topic), b"after")
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until_end(lease, 5)
        assert member.records[lease] == [(0, b"before"), (4, b"after")]


def test_the_end_lies_behind_the_last_control_record(world: World) -> None:
    topic = world.topic()
    writer = world.transaction()
    writer.send(first(topic), b"one")
    writer.commit()
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until_end(lease, 2)
        assert member.values(lease) == [b"one"]
        world.send(first(topic), b"two")
        member.until_end(lease, 3)
        assert member.records[lease] == [(0, b"one"), (2, b"two")]


def test_an_open_transaction_is_the_end(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), b"stable")
    writer = world.transaction()
    writer.send(first(topic), b"open")
    world.send(first(topic), b"behind")
    with watching(world, topic) as member:
        lease = member.start_first()
        member.until_end(lease, 1)
        assert not any(isinstance(event, Records) for event in member.quiet())
        writer.commit()
        member.until_end(lease, 4)
        assert member.values(lease) == [b"stable", b"open", b"behind"]


# Out of range


@pytest.mark.parametrize("offset", [3, 11])
def test_a_place_outside_the_log_is_told_and_nothing_follows(world: World, offset: int) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    world.delete_below(first(topic), 5)
    with watching(world, topic) as member:
        lease = member.start_first(offset)
        member.until(lambda: lease in member.out_of_range)
        world.send(first(topic), *texts(10, 15))
        assert member.quiet() == []
        member.start(lease, 5)
        member.until_end(lease, 15)
        assert member.values(lease) == texts(5, 15)


def test_out_of_range_comes_again_for_the_same_place(world: World) -> None:
    topic = world.topic()
    with watching(world, topic) as member:
        lease = member.start_first(7)
        for _ in range(2):
            member.until(lambda: lease in member.out_of_range)
            member.start(lease, 7)
        member.until(lambda: lease in member.out_of_range)
        member.start(lease, 0)
        member.until_end(lease, 0)


def test_a_partition_whose_log_starts_late_is_parked_all_the_same(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    world.delete_below(first(topic), 6)
    with watching(world, topic) as member:
        member.until_assigned(1)
        assert member.quiet() == []
        lease = member.start_first(6)
        member.until_end(lease, 10)
        assert member.values(lease) == texts(6, 10)


# Commits


def test_a_commit_comes_back_with_its_metadata(world: World) -> None:
    topic = world.topic(2)
    admin = world.admin()
    with watching(world, topic) as member:
        member.until_assigned(2)
        lease = member.live[first(topic)]
        partitions = list(member.live)
        assert admin.committed(world.group, partitions) == dict.fromkeys(partitions)
        for commit in (Commit(0), Commit(7, '{"chain":"0123456789abcdef","seal":12}'), Commit(3, "back")):
            member.broker.commit(lease, commit)
            assert admin.committed(world.group, partitions) == {**dict.fromkeys(partitions), first(topic): commit}


def test_leaving_commits_nothing(world: World) -> None:
    topic = world.topic()
    world.send(first(topic), *texts(0, 10))
    with watching(world, topic) as member:
        member.until_end(member.start_first(), 10)
    assert world.admin().committed(world.group, [first(topic)]) == {first(topic): None}


# The group


def test_a_second_member_gets_its_share_and_the_first_keeps_the_rest(world: World) -> None:
    topic = world.topic(4)
    for number in range(4):
        world.send(TopicPartition(topic, number), *texts(0, 20))
    with watching(world, topic) as one:
        one.auto_start = 0
        one.until_assigned(4)
        before = set(one.live.values())
        with watching(world, topic) as two:
            two.auto_start = 0
            share([one, two], 4)
            kept, given = set(one.live.values()), one.void
            assert kept | given == before
            assert len(kept) == len(given) == 2
            assert not one.lost
            assert {lease.partition for lease in given} == set(two.live)
            for watcher in (one, two):
                for lease in watcher.live.values():
                    world.send(lease.partition, b"more")
                    watcher.until_end(lease, 21)
                    assert watcher.values(lease) == [*texts(0, 20), b"more"]
            for lease in given:
                with pytest.raises(LeaseLostError):
                    one.broker.commit(lease, Commit(1))
            assert set(world.admin().committed(world.group, list(two.live)).values()) == {None}
        one.until_assigned(4)
        assert not set(one.live.values()) & given


def test_calls_with_a_void_lease_do_nothing(world: World) -> None:
    topic = world.topic(2)
    with watching(world, topic) as one:
        one.until_assigned(2)
        with watching(world, topic) as two:
            share([one, two], 2)
            (void,) = one.void
            world.send(void.partition, b"theirs")
            one.broker.start(void, 0)
            one.broker.pause(void)
            one.broker.resume(void)
            assert one.quiet() == []


def test_a_member_that_closes_hands_over_at_once(world: World) -> None:
    topic = world.topic(2)
    with watching(world, topic) as one, watching(world, topic) as two:
        share([one, two], 2)
        began = time.monotonic()
        two.broker.close()
        one.until_assigned(2)
        assert time.monotonic() - began < 2.5, "shorter than a session"


def test_new_partitions_are_noticed(world: World) -> None:
    topic = world.topic(1)
    with watching(world, topic) as member:
        lease = member.start_first()
        world.grow(topic, 3)
        member.until_assigned(3)
        assert member.live[first(topic)] == lease
        world.send(first(topic), b"still here")
        member.until_end(lease, 1)
        new = member.start(member.live[TopicPartition(topic, 2)])
        world.send(new.partition, b"new")
        member.until_end(new, 1)


def test_rejoin_ends_all_leases_and_brings_new_ones(world: World) -> None:
    topic = world.topic(2)
    with watching(world, topic) as member:
        member.until_assigned(2)
        old = set(member.live.values())
        member.broker.rejoin()
        member.until(lambda: old <= member.void)
        member.until_assigned(2)
        lease = member.start(member.live[first(topic)])
        world.send(first(topic), b"after")
        member.until_end(lease, 1)


def test_a_static_member_comes_back_to_what_it_had(world: World) -> None:
    topic = world.topic(4)
    with watching(world, topic, instance_id="b") as other:
        with watching(world, topic, instance_id="a") as member:
            share([member, other], 4)
            had, rest = set(member.live), set(other.live.values())
        with watching(world, topic, instance_id="a") as again:
            poll_all([again, other], lambda: set(again.live) == had)
            assert other.quiet(4) == []
            assert set(other.live.values()) == rest


def test_rejoin_takes_in_what_was_nobodys(world: World) -> None:
    """A static member that comes back to a grown topic may get its old share alone (Kafka 4.1.1, classic)."""
    topic = world.topic(1)
    admin = world.admin()
    with watching(world, topic, instance_id="a") as member:
        member.until_assigned(1)
    world.grow(topic, 3)
    with watching(world, topic, instance_id="a") as again:
        again.until(lambda: len(again.live) > 0)
        if missing := admin.unowned(world.group, [topic]):
            assert missing == {TopicPartition(topic, 1), TopicPartition(topic, 2)}
            again.broker.rejoin()
        again.until_assigned(3)
        again.until(lambda: not admin.unowned(world.group, [topic]))


# Odds and ends


def test_wake_ends_a_poll(world: World) -> None:
    topic = world.topic()
    with watching(world, topic) as member:
        member.until_end(member.start_first(), 0)
        timer = Timer(0.1, member.broker.wake)
        timer.start()
        began = time.monotonic()
        assert not [event for event in member.broker.poll(20) if not isinstance(event, EndReached)]
        assert time.monotonic() - began < 10
        timer.join()


def test_it_is_alive_while_it_polls(world: World) -> None:
    topic = world.topic()
    with watching(world, topic) as member:
        before = member.broker.alive_at()
        member.until(lambda: member.broker.alive_at() > before)
        assert member.broker.alive_at() <= time.monotonic()
