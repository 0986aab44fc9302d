"""`run --once`: done when every partition has sealed the cutoff, whoever did it; ended by halts and long outages."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.decide import Schedule
from consumer.seal.recover import commit_for
from consumer.store.port import Store
from consumer.worker.events import DaysPublished
from consumer.worker.one_shot import LOOK_SECONDS, Ended, OneShot
from tests.builders.bench import Member, World
from tests.builders.chains import ONE, SEAL_AT, TWO, day
from tests.fakes.disk import MemoryDisk

PATIENCE = timedelta(minutes=10)


class Shot:
    """A one-shot worker, due to seal day 0 unless the test says otherwise."""

    def __init__(self, world: World, cutoff: date | None = None, **how: Any) -> None:
        self.world = world
        self.cutoff = cutoff or day(0)
        self.member = Member(world, **how)
        self.once = OneShot(self.member.worker, world.clock, self.cutoff, PATIENCE)
        self.ended: Ended | None = None
        self.started = False

    def run(self, *, seconds: float = 120.0, pause: float = 0.5) -> Ended | None:
        """As the command does it; None where it has not ended in this time."""
        end = self.world.clock.monotonic() + seconds
        if not self.started:
            self.member.start()
            self.started = True
        while self.ended is None and self.world.clock.monotonic() < end:
            self.member.turn(seconds=pause)
            self.ended = self.once.look()
        return self.ended


@pytest.fixture
def world() -> World:
    """Two partitions with a row each; day 0 is due."""
    made = World(2)
    for partition in (ONE, TWO):
        made.write(0, str(partition), partition=partition)
    made.due(0)
    return made


def test_it_ends_when_all_is_sealed_and_published(world: World) -> None:
    shot = Shot(world)
    assert shot.run() == Ended()
    assert world.published() == [0]
    assert world.manifest(0)["rows"] == 2


def test_what_is_sealed_already_ends_it_at_once(world: World) -> None:
    Shot(world).run()
    world.clock.advance(3600)
    before = list(world.store.puts)
    again = Shot(world)
    assert again.run(seconds=20) == Ended()
    assert world.store.puts == before


def test_a_day_by_hand_that_is_sealed_already_is_nothing_to_do(world: World) -> None:
    Shot(world).run()
    by_hand = Shot(world, day(-3), schedule=Schedule(SEAL_AT, day(-3)))
    assert by_hand.run() == Ended()
    assert world.chain().head.n == 0


def test_a_day_by_hand_is_the_cutoff(world: World) -> None:
    shot = Shot(world, day(-2), schedule=Schedule(SEAL_AT, day(-2)))
    assert shot.run() == Ended()
    assert world.chain().head.cutoff == day(-2)


def test_what_another_worker_seals_counts(world: World) -> None:
    """It has one partition, we the other: neither ends before both have sealed."""
    other = Member(world).start()
    shot = Shot(world)
    shot.member.start()
    for _ in range(3):
        shot.member.turn()
        other.turn()
    assert {len(other.partitions()), len(shot.member.partitions())} == {1}
    ((left, _),) = other.partitions().items()
    world.clock.advance(86_400)
    shot.once = OneShot(shot.member.worker, world.clock, day(1), PATIENCE)
    for _ in range(40):
        shot.member.turn(seconds=0.5)
        assert shot.once.look() is None, f"{left} is not sealed yet"
    found = None
    for _ in range(40):
        other.turn(seconds=0.5)
        shot.member.turn(seconds=0.5)
        found = found or shot.once.look()
    assert found == Ended()


def test_it_waits_for_the_groups_offsets(world: World) -> None:
    """A member that died between its last upload and its commit keeps its partitions until its session runs out."""
    dead, commits = Member(world), 0

    def only_the_first(call: str) -> None:
        nonlocal commits
        commits += call == "commit"
        if call == "commit" and commits > 2:
            raise TransientError("coordinator moved")

    dead.hooks.on_before = only_the_first
    dead.start()
    dead.turn(10)
    assert [record.cutoff for place in (ONE, TWO) for record in world.chain(place).records] == [day(0)] * 2
    shot = Shot(world)
    assert shot.run(seconds=60) is None, "all is sealed, but the group's offsets do not say so"
    assert world.published() == [0]
    dead.broker.evict()
    assert shot.run() == Ended()
    assert world.committed(ONE) == commit_for(world.chain(ONE))
    assert world.committed(TWO) == commit_for(world.chain(TWO))


def test_the_bucket_is_looked_at_now_and_then_while_another_works(world: World) -> None:
    shot = Shot(world)
    shot.member.start()
    shot.member.calm()
    shot.once = OneShot(shot.member.worker, world.clock, day(9), PATIENCE)
    before = len(shot.member.heard(DaysPublished))
    for _ in range(100):
        shot.member.turn(seconds=LOOK_SECONDS / 10)
        assert shot.once.look() is None
    assert 9 <= len(shot.member.heard(DaysPublished)) - before <= 11


def test_a_worker_without_partitions_waits_for_the_others(world: World) -> None:
    others = [Member(world).start() for _ in range(2)]
    for _ in range(4):
        for other in others:
            other.turn()
    shot = Shot(world)
    shot.member.start()
    found = None
    for _ in range(40):
        for member in (*others, shot.member):
            member.turn(seconds=0.5)
        found = found or shot.once.look()
    assert shot.member.partitions() == {}
    assert found == Ended()


# Halts


def _unsafe(store: Store) -> None:
    raise HaltError(HaltReason.UNSAFE_STORE, "races")


def test_halts_end_it_once_nothing_else_is_left_to_do(world: World) -> None:
    shot = Shot(world)
    shot.member.contexts["s"].prove = _unsafe
    ended = shot.run()
    assert ended is not None
    assert {halt.reason for halt in ended.halts} == {HaltReason.UNSAFE_STORE}
    assert ended.outage is None


def test_a_halted_partition_lets_the_others_of_its_stream_seal_first(world: World) -> None:
    world.group.committed[TWO] = _far()
    shot = Shot(world)
    ended = shot.run()
    assert ended is not None
    assert [halt.reason for halt in ended.halts] == [HaltReason.LOG_TRUNCATED]
    assert world.chain(ONE).head.cutoff == day(0)
    assert world.committed(ONE) is not None
    assert world.published() == [], "not without the halted partition"


def _far() -> Any:
    from consumer.domain.offsets import Commit  # noqa: PLC0415 - only here

    return Commit(99)


def world_with_a_compacted_topic() -> World:
    """Topic `u` is refused; `t` has a day that is due."""
    world = World(topics=("t", "u"))
    topic = world.cluster.topic("u")
    assert topic is not None
    topic.settings["cleanup.policy"] = "compact"
    world.write(0)
    world.due(0)
    return world


def test_a_halted_stream_lets_the_others_finish() -> None:
    world = world_with_a_compacted_topic()
    shot = Shot(world, streams={"s": "t", "z": "u"})
    ended = shot.run()
    assert ended is not None
    assert {halt.reason for halt in ended.halts} == {HaltReason.COMPACTED_TOPIC}
    assert world.published() == [0]


def test_a_missing_topic_ends_it() -> None:
    world = World(topics=())
    ended = Shot(world).run()
    assert ended is not None
    assert [halt.reason for halt in ended.halts] == [HaltReason.MISSING_TOPIC]


def test_a_damaged_chain_that_is_not_ours_ends_it(world: World) -> None:
    Shot(world).run()
    other = TopicPartition("t", 2)
    world.cluster.add_partitions("t", 3)
    stray = world.store._objects[world.store.names("_seals/t/0/")[0]]
    world.store._objects["_seals/t/2/00000001.json"] = stray
    world.clock.advance(86_400)
    shot = Shot(world, day(1))
    ended = shot.run()
    assert ended is not None
    assert HaltReason.CHAIN_DAMAGED in {halt.reason for halt in ended.halts}
    assert other in shot.member.partitions()


# Outages


def test_an_outage_without_progress_ends_it(world: World) -> None:
    shot = Shot(world)

    def down(call: str, key: str) -> None:
        raise TransientError("store out of reach")

    world.store.before = down
    assert shot.run(seconds=PATIENCE.total_seconds() - 60, pause=5) is None
    assert shot.run(seconds=120, pause=5) is not None
    assert shot.ended is not None
    assert str(shot.ended.outage) == "store out of reach"
    assert shot.ended.halts == ()


def test_an_outage_that_ends_in_time_does_no_harm(world: World) -> None:
    shot = Shot(world)

    def down(call: str, key: str) -> None:
        raise TransientError("store out of reach")

    world.store.before = down
    assert shot.run(seconds=PATIENCE.total_seconds() - 60, pause=5) is None
    world.store.before = lambda call, key: None
    assert shot.run() == Ended()


def test_a_cluster_out_of_reach_from_the_start_ends_it(world: World) -> None:
    shot = Shot(world)

    def down(call: str) -> None:
        raise TransientError("no broker")

    shot.member.hooks.on_before = lambda call: down(call) if call == "poll" else None
    shot.member.view_hooks.on_before = down
    shot.run(seconds=PATIENCE.total_seconds() + 60, pause=5)
    assert shot.ended is not None
    assert str(shot.ended.outage) == "no broker"


def test_a_group_that_refuses_us_ends_it_though_the_cluster_answers(world: World) -> None:
    """No rights on the group: metadata and bucket are there, and looking at them is no progress."""
    shot = Shot(world)

    def refused(call: str) -> None:
        if call == "poll":
            raise TransientError("not authorized for the group")

    shot.member.hooks.on_before = refused
    assert shot.run(seconds=PATIENCE.total_seconds() - 30, pause=5) is None
    assert shot.run(seconds=60, pause=5) is not None
    assert shot.ended is not None
    assert str(shot.ended.outage) == "not authorized for the group"


def waiting_for_another(world: World) -> Shot:
    """A day is due, and the partition is another worker's, which does nothing."""
    other = Member(world).start()
    shot = Shot(world, day(1))
    shot.member.start()
    for _ in range(3):
        shot.member.turn()
        other.turn()
    world.clock.advance(86_400)
    return shot


def test_a_broker_that_answers_again_is_no_outage_though_it_has_nothing_to_say(world: World) -> None:
    """We wait for another worker's seal; one failed poll long ago must not end that."""
    shot = waiting_for_another(world)
    shot.member.calm()
    left = 1

    def once(call: str) -> None:
        nonlocal left
        if call == "poll" and left:
            left -= 1
            raise TransientError("no broker")

    shot.member.hooks.on_before = once
    shot.member.turn()
    assert shot.member.worker.broker_outage is not None
    for _ in range(int(2 * PATIENCE.total_seconds() / 5)):
        shot.member.turn(seconds=5)
        assert shot.once.look() is None
    assert shot.member.worker.broker_outage is None


def test_nothing_to_blame_is_no_reason_to_give_up(world: World) -> None:
    """No partition of ours, no word from anybody for hours: others are at work."""
    others = [Member(world).start() for _ in range(2)]
    for _ in range(4):
        for other in others:
            other.turn()
    shot = Shot(world, day(1))
    shot.member.start()
    shot.member.calm()
    world.clock.advance(2 * PATIENCE.total_seconds())
    assert shot.once.look() is None


def test_a_registry_out_of_reach_ends_it(world: World) -> None:
    shot = Shot(world)
    shot.member.moods.trouble = TransientError("no registry")
    shot.run(seconds=PATIENCE.total_seconds() + 60, pause=5)
    assert shot.ended is not None
    assert str(shot.ended.outage) == "no registry"
    assert world.published() == []


def test_a_disk_without_room_ends_it(world: World) -> None:
    shot = Shot(world, disk=MemoryDisk(capacity=3))
    shot.run(seconds=PATIENCE.total_seconds() + 60, pause=5)
    assert shot.ended is not None
    assert "rows cannot be written to the spool" in str(shot.ended.outage)


def test_waiting_for_others_is_no_outage(world: World) -> None:
    """The other worker is slow: without an outage there is no giving up."""
    shot = waiting_for_another(world)
    end = world.clock.monotonic() + 2 * PATIENCE.total_seconds()
    while world.clock.monotonic() < end:
        shot.member.turn(seconds=10)
        assert shot.once.look() is None


def test_a_halt_and_an_outage_are_both_told() -> None:
    world = world_with_a_compacted_topic()
    shot = Shot(world, streams={"s": "t", "z": "u"})

    def down(call: str, key: str) -> None:
        if key.startswith("s/dt="):
            raise TransientError("store out of reach")

    world.store.before = down
    shot.run(seconds=PATIENCE.total_seconds() + 120, pause=5)
    assert shot.ended is not None
    assert {halt.reason for halt in shot.ended.halts} == {HaltReason.COMPACTED_TOPIC}
    assert str(shot.ended.outage) == "store out of reach"
