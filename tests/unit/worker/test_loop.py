"""The worker's loop: leases come and go, the disk is looked after, nobody waits."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Lease, TopicPartition
from consumer.source.port import EndReached, Event, OutOfRange
from consumer.spool.departure import SWEPT
from consumer.worker import backpressure
from consumer.worker.backpressure import Limits
from consumer.worker.events import DaysPublished, PartitionLeft, PublishingHalted, Rebalanced, SpoolMeasured
from consumer.worker.intake import PENDING_SECONDS, Intake
from consumer.worker.loop import UNOWNED_SECONDS, Intervals
from consumer.worker.phase import Activity
from tests.builders.bench import Member, World, settled
from tests.builders.chains import ONE, TWO, day
from tests.builders.rough import RoughDisk, fails
from tests.fakes.disk import MemoryDisk


@pytest.fixture
def world() -> World:
    return World(2)


# Leases


def test_partitions_live_while_they_are_assigned(world: World) -> None:
    one = Member(world).start()
    one.calm()
    assert sorted(one.partitions()) == [ONE, TWO]
    assert [event.assigned for event in one.heard(Rebalanced)] == [{"t": 2}]
    two = Member(world).start()
    for _ in range(20):
        one.turn(seconds=0.5)
        two.turn(seconds=0.5)
    assert sorted([*one.partitions(), *two.partitions()]) == [ONE, TWO]
    assert [event.assigned for event in one.heard(Rebalanced)][-1] == {"t": 1}
    assert [event.assigned for event in two.heard(Rebalanced)][-1] == {"t": 1}
    ((gone, reason),) = [(event.partition, event.reason) for event in one.heard(PartitionLeft)]
    assert [gone] == list(two.partitions())
    assert reason is None


def test_a_partition_that_moved_is_sealed_by_its_new_worker(world: World) -> None:
    one = Member(world).start()
    for partition in (ONE, TWO):
        world.write(0, str(partition), partition=partition)
    one.calm()
    two = Member(world).start()
    for _ in range(10):
        one.turn(seconds=0.5)
        two.turn(seconds=0.5)
    world.due(0)
    for _ in range(20):
        one.turn(seconds=0.5)
        two.turn(seconds=0.5)
    assert world.published() == [-1, 0]
    assert {key: world.lines(key) for key in world.store.names("s/dt=2026-03-01") if key.endswith("csv")} == {
        "s/dt=2026-03-01/t-0-00000000000000000001.csv": ["t:0,2026-03-01"],
        "s/dt=2026-03-01/t-1-00000000000000000001.csv": ["t:1,2026-03-01"],
    }
    assert world.manifest(0)["seals"] == {"0": 1, "1": 1}


@pytest.mark.parametrize(("pending", "timeout"), [(True, PENDING_SECONDS), (False, 5.0)])
def test_nobody_waits_long_for_events_while_an_answer_is_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch, pending: bool, timeout: float
) -> None:
    member = Member(world).start()
    member.calm()
    waited: list[float] = []

    def poll(seconds: float, *, records: bool) -> list[Event]:
        waited.append(seconds)
        return [] if records else pytest.fail("nothing waits here")

    monkeypatch.setattr(member.broker, "poll", poll)
    monkeypatch.setattr(Intake, "pending", pending)
    member.worker.step(5.0)
    assert waited == [timeout]


def test_a_halted_partition_that_leaves_takes_its_halt_along(world: World) -> None:
    topic = world.cluster.topic("t")
    assert topic is not None
    topic.settings["cleanup.policy"] = "compact"
    member = Member(world).start()
    member.calm()
    member.worker.stop()
    assert sorted([(event.partition, event.reason) for event in member.heard(PartitionLeft)]) == [
        (ONE, HaltReason.COMPACTED_TOPIC),
        (TWO, HaltReason.COMPACTED_TOPIC),
    ]
    assert member.worker.partitions == {}


def test_events_of_void_leases_are_nobodys(world: World) -> None:
    member = settled(world, -1)
    old = Lease(ONE, 0)
    for event in (EndReached(old, 99), OutOfRange(old, "?")):
        member.worker._on(event)
    assert member.partitions()[ONE].intake.position == 0
    assert member.partitions()[ONE].intake.lost == ""


def test_a_revoked_lease_that_is_not_known_is_no_matter(world: World) -> None:
    member = settled(world, -1)
    member.worker._end(Lease(ONE, 0), 0.0)
    assert len(member.partitions()) == 2


def test_stopping_leaves_the_group_and_closes_what_goes_on(world: World) -> None:
    member = settled(world, -1)
    member.worker.stop()
    assert world.group.members() == ()
    assert member.worker.partitions == {}
    assert all(runner.ended for runner in member.worker._side_runners)


def test_a_partition_that_was_added_is_taken_up(world: World) -> None:
    member = settled(world, -1)
    world.cluster.add_partitions("t", 3)
    third = TopicPartition("t", 2)
    member.calm()
    assert third in member.partitions()
    world.write(0, "new", partition=third)
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert world.manifest(0)["seals"] == {"0": 1, "1": 1, "2": 1}
    assert world.manifest(0)["rows"] == 1


# Brokers out of reach


def test_a_broker_out_of_reach_is_no_reason_to_stop(world: World) -> None:
    member = settled(world, -1)

    def down(call: str) -> None:
        if call == "poll":
            raise TransientError("no broker")

    member.hooks.on_before = down
    at = member.worker.progress_at
    member.turn(5, seconds=1)
    assert str(member.worker.broker_outage) == "no broker"
    assert member.worker.progress_at == at
    member.hooks.on_before = lambda call: None
    world.write(0)
    member.turn(2)
    assert member.worker.broker_outage is None
    assert member.worker.progress_at > at


def test_an_outage_is_no_progress_though_it_is_asked_again(world: World) -> None:
    member = settled(world, -1)

    def down(call: str, key: str) -> None:
        raise TransientError("down")

    world.store.before = down
    world.due(0)
    member.turn(2)
    at = member.worker.progress_at
    member.turn(100, seconds=1)
    assert member.worker.progress_at == at
    world.store.before = lambda call, key: None
    member.until(lambda: world.published() == [-1, 0])
    assert member.worker.progress_at > at


def test_a_batch_taken_in_after_an_outage_is_progress(world: World) -> None:
    member = settled(world, -1)
    member.moods.trouble = TransientError("no registry")
    world.write(0)
    member.turn(30, seconds=1)
    at = member.worker.progress_at
    member.turn(30, seconds=1)
    assert member.worker.progress_at == at
    member.moods.trouble = None
    member.turn()
    assert member.worker.progress_at == world.clock.monotonic()


# A static member without its new partitions


def test_partitions_that_stay_nobodys_force_a_rejoin(world: World) -> None:
    member = settled(world, -1)
    lost: set[TopicPartition] = set()
    member.contexts["s"].admin.unowned = lambda group, topics: set(lost)  # type: ignore[method-assign]
    rejoined: list[float] = []
    member.broker.rejoin = lambda: rejoined.append(world.clock.seconds)  # type: ignore[method-assign]
    member.turn(10, seconds=UNOWNED_SECONDS)
    assert rejoined == []
    lost.add(TWO)
    member.turn(1, seconds=UNOWNED_SECONDS)
    assert rejoined == [], "it may be on its way"
    member.turn(1, seconds=UNOWNED_SECONDS)
    assert len(rejoined) == 1
    member.turn(1, seconds=UNOWNED_SECONDS)
    assert len(rejoined) == 1, "a rejoin takes its time as well"


def test_other_partitions_each_time_are_a_group_at_work(world: World) -> None:
    member = settled(world, -1)
    answers = [{ONE}, {TWO}] * 5
    member.contexts["s"].admin.unowned = lambda group, topics: answers.pop()  # type: ignore[method-assign]
    member.broker.rejoin = lambda: pytest.fail("no need")  # type: ignore[method-assign]
    member.turn(6, seconds=UNOWNED_SECONDS)
    assert len(answers) <= 5


# Checkpoints


def test_checkpoints_are_made_at_their_pace(world: World) -> None:
    disk = RoughDisk()
    member = Member(world, disk=disk, intervals=Intervals(5.0, 0.0)).start()
    member.calm()
    saves: list[str] = []
    disk.at = lambda call: saves.append(call) if call == "after save" else None
    for _ in range(20):
        world.write(0)
        member.turn(seconds=1)
    assert len(saves) == 4


def test_a_checkpoint_that_finds_no_room_is_told_and_tried_again(world: World) -> None:
    disk = RoughDisk()
    member = settled(world, -1, disk=disk)
    disk.at = fails("before save", error=errno.ENOSPC)
    world.write(0)
    member.turn(2)
    assert "the checkpoint cannot be written" in str(member.outages()[-1])
    disk.at = lambda call: None
    member.turn(2)
    assert b'"position":1' in disk.documents["t-0"]


# Room


def backlog(**how: Any) -> tuple[World, Member]:
    """One partition with more rows than its spool takes, at 10:00 of day 1: day 0 is due."""
    world = World()
    world.due(0, minutes=360)
    member = Member(world, **{"limits": Limits(100, 0), **how})
    member.broker.batch = 3
    return world, member


def all_rows(world: World) -> list[str]:
    return sorted(line for lines in world.objects().values() for line in lines)


def test_a_backlog_larger_than_the_spool_goes_through_in_parts() -> None:
    world, member = backlog()
    wanted = []
    for number in range(40):
        world.write(0, f"r{number}")
        wanted.append(f"r{number},2026-03-01")
    member.start()
    member.until(lambda: world.published() == [0])
    assert all_rows(world) == sorted(wanted)
    assert world.manifest(0)["rows"] == 40
    assert [record.caught_up for record in world.chain().records[:-1]].count(False) >= 3
    assert max(member.partition.spool.size, 0) == 0
    assert True in [event.held for event in member.heard(SpoolMeasured)]
    assert [event.held for event in member.heard(SpoolMeasured)][-1] is False


def test_days_far_ahead_are_sealed_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes to its own day once, in seals whose records stay small."""
    monkeypatch.setattr(backpressure, "MOST_FILES", 10)
    world, member = backlog(limits=Limits(1 << 20, 0))
    for number in range(60):
        world.write(40 + number, f"r{number}", kind="f")
    world.write(0, "near")
    member.start()
    member.until(lambda: world.published() == [0])
    assert len(all_rows(world)) == 61
    assert max(len(record.objects) for record in world.chain().records) < 60
    assert [record.caught_up for record in world.chain().records].count(False) >= 1


@pytest.mark.parametrize("closing", [False, True], ids=["nothing is due", "a day is to be closed"])
def test_days_far_ahead_make_room_at_once_and_hold_up_nobody(world: World, *, closing: bool) -> None:
    """Whoever stamps records absurdly fills the spool with them: no day would ever free it, a spill does."""
    limits = Limits(100, 0)
    if closing:
        world.due(0)
        member = Member(world, limits=limits).start()
    else:
        member = settled(world, 0, limits=limits)
    member.broker.batch = 3
    for serial in range(40):
        world.write(40 + serial % 2, f"r{serial}", kind="f")
    for serial in range(3):
        world.write(1, f"s{serial}", partition=TWO)
    before = world.clock.now()
    member.until(
        lambda: (
            [one.intake.position for one in member.partitions().values()]
            == [world.log(name).high for name in member.partitions()]
            != []
        )
    )
    assert world.clock.now() - before < timedelta(minutes=5), "nobody waited for a day"
    assert sum(len(lines) for key, lines in world.objects().items() if key.startswith(("40/", "41/"))) >= 30


@pytest.mark.parametrize(("limit", "spilled"), [(100, True), (1 << 20, False)])
def test_a_spool_that_fills_faster_than_the_clock_looks_is_looked_after(*, limit: int, spilled: bool) -> None:
    world, member = backlog(limits=Limits(limit, 0), intervals=Intervals(5.0, 60.0))
    for number in range(40):
        world.write(0, f"r{number}")
    member.start()
    member.until(lambda: world.published() == [0])
    assert (False in [record.caught_up for record in world.chain().records]) is spilled


def test_open_days_make_room_for_the_day_to_be_closed_and_are_read_again() -> None:
    world, member = backlog()
    for number in range(20):
        world.write(1, f"s{number}")
    world.write(0, "last")
    member.start()
    member.until(lambda: world.published() == [0])
    assert all_rows(world) == ["last,2026-03-01"]
    member.calm()
    assert [file.day for file in member.partition.spool.files] == [day(1)]
    assert not member.worker.broker_outage
    world.due(1)
    member.until(lambda: world.published() == [0, 1])
    assert (
        len(world.objects()["1/21"])
        + sum(len(lines) for key, lines in world.objects().items() if key.startswith("1/") and key != "1/21")
        == 20
    )


def test_reading_waits_where_nothing_is_due() -> None:
    world, member = backlog()
    member.start()
    member.calm()
    for number in range(20):
        world.write(1, f"s{number}")
    member.calm()
    assert member.partition.intake.held
    assert 100 < member.partition.spool.size < 200
    position = member.partition.intake.position
    assert position < 20
    member.calm()
    assert member.partition.intake.position == position
    assert "spool" in member.pauses()
    world.due(1)
    member.until(lambda: world.published() == [0, 1])
    assert len(all_rows(world)) == 20


@pytest.mark.parametrize("number", [0, 1])
def test_a_disk_without_room_for_a_checkpoint_does_not_end_the_worker(number: int) -> None:
    """Open days are let go of, or due ones spilled, and the room is there again."""
    disk = RoughDisk()
    world, member = backlog(disk=disk)
    for serial in range(20):
        world.write(number, f"s{serial}")
    world.write(0, "last")
    member.start()
    member.until(lambda: member.worker.partitions and member.partition.phase.recovered)
    disk.at = fails("before save", error=errno.ENOSPC)
    member.calm(60)
    disk.at = lambda call: None
    member.until(lambda: world.published() == [0])
    assert "last,2026-03-01" in all_rows(world)


def test_a_disk_that_runs_full_is_gone_on_with_when_there_is_room() -> None:
    world = World()
    disk = RoughDisk(capacity=60)
    member = settled(world, -1, disk=disk)
    member.broker.batch = 3
    for number in range(10):
        world.write(0, f"r{number}")
    member.calm()
    assert member.partition.intake.full
    assert member.partition.intake.held
    assert member.partition.intake.position == 4, "of a batch it takes what fits"
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert all_rows(world) == [f"r{number},2026-03-01" for number in range(10)]


def test_spools_of_partitions_that_left_make_room_when_it_is_short() -> None:
    world, member = backlog()
    for folder in ("t-7", "gone-0"):
        member.disk.append(f"{folder}/2026-03-01.1.csv", b"x" * 50)
        member.disk.save(folder, b"document")
    member.start()
    member.calm()
    assert member.disk.folders() == ["gone-0", "t-7"], "they stay while there is room: their partition may come back"
    for number in range(20):
        world.write(1, f"s{number}")
    member.calm()
    assert member.disk.folders() == ["t-0"]
    assert member.disk.load("t-7") is None
    assert member.disk.load("gone-0") is None


class ManyFiles(MemoryDisk):
    """Knows the most files that one call removed."""

    most = 0

    def remove(self, names: Iterable[str]) -> None:
        gone = list(names)
        self.most = max(self.most, len(gone))
        super().remove(gone)


def test_strays_that_cannot_be_removed_do_not_end_the_worker() -> None:
    disk = RoughDisk()
    world, member = backlog(disk=disk)
    disk.append("gone-0/2026-01-01.1.csv", b"x")
    disk.save("gone-0", b"document")
    member.start()
    member.calm()
    for number in range(20):
        world.write(1, f"s{number}")
    disk.at = fails("before save", error=errno.ENOSPC)
    member.calm()
    assert disk.names("gone-0") == [], "the files go though the checkpoint does not: void it is without them"
    disk.at = fails("before remove")
    disk.append("gone-1/2026-01-01.1.csv", b"x")
    member.calm()
    disk.at = lambda call: None
    member.calm()
    assert disk.names("gone-1") == []


def test_thousands_of_strays_go_some_at_a_time() -> None:
    disk = ManyFiles()
    world, member = backlog(disk=disk)
    for number in range(200):
        disk.append(f"gone-0/2026-01-01.{number}.csv", b"x")
    member.start()
    for number in range(20):
        world.write(1, f"s{number}")
    member.calm()
    assert disk.folders() == ["t-0"]
    assert disk.most <= SWEPT


def test_strays_of_a_partition_that_comes_back_are_its_own_again() -> None:
    world = World()
    first = settled(world, -1)
    world.write(0, "r0")
    first.calm()
    first.crash()
    (name,) = first.disk.names("t-0")
    again = Member(world, disk=first.disk)
    again.worker._strays = ["u-0/2026-03-01.1.csv", name]
    again.start().calm()
    assert first.disk.names("t-0") == [name]


def test_room_is_looked_at_at_its_pace(world: World) -> None:
    member = Member(world, intervals=Intervals(1e9, 0.5)).start()
    member.turn(20, seconds=0.1)
    assert len(member.heard(SpoolMeasured)) == 4


# Several streams


def test_streams_live_side_by_side() -> None:
    world = World(topics=("t", "u"))
    member = Member(world, streams={"s": "t", "z": "u"}).start()
    world.write(0, "of t")
    world.write(0, "of u", partition=TopicPartition("u", 0))
    member.calm()
    assert [event.assigned for event in member.heard(Rebalanced)][-1] == {"t": 1, "u": 1}
    world.due(0)
    member.until(lambda: len(member.heard(DaysPublished)) >= 4)
    member.calm()
    assert world.lines("s/dt=2026-03-01/t-0-00000000000000000001.csv") == ["of t,2026-03-01"]
    assert world.lines("z/dt=2026-03-01/u-0-00000000000000000001.csv") == ["of u,2026-03-01"]
    assert world.store.names("z/dt=2026-03-01/_SUCCESS")


def test_one_stream_in_the_middle_of_a_seal_does_not_hold_the_others_days() -> None:
    world = World(topics=("t", "u"))
    member = Member(world, streams={"s": "t", "z": "u"}).start()
    world.write(0)
    member.calm()

    def down(call: str, key: str) -> None:
        if call == "put" and key.startswith("s/dt=") and key.endswith(".csv"):
            raise TransientError("down")

    world.store.before = down
    world.due(0)
    member.until(lambda: world.store.names("z/dt=2026-03-01/_SUCCESS"))
    assert not world.store.names("s/dt=2026-03-01/_SUCCESS")
    assert member.worker._sealing("s")
    assert not member.worker._sealing("z")


# Publishing


def test_a_damaged_chain_of_a_foreign_partition_delays_the_streams_days(world: World) -> None:
    member = settled(world, -1)
    publication = member.worker.publish_tasks["s"]
    key = world.store.names("_seals/t/1/")[0]
    kept = world.store._objects[key]
    world.store.delete(key)
    world.store._objects["_seals/t/1/00000007.json"] = kept
    world.due(0)
    member.turn(30, seconds=0.5)
    assert [event.halt.reason for event in member.heard(PublishingHalted)] == [HaltReason.CHAIN_DAMAGED]
    assert isinstance(publication.halted, HaltError)
    assert not publication.running
    assert world.published() == [-1]


def test_publishing_is_asked_for_at_the_start_so_that_a_missing_topic_shows() -> None:
    world = World(topics=())
    member = Member(world).start()
    member.turn(5)
    assert [event.halt.reason for event in member.heard(PublishingHalted)] == [HaltReason.MISSING_TOPIC]


def test_an_outage_of_publishing_is_told_and_over(world: World) -> None:
    member = settled(world, -1)
    publication = member.worker.publish_tasks["s"]

    def down(call: str, key: str) -> None:
        if "_days" in key:
            raise TransientError("down")

    world.store.before = down
    member.worker.request_publishing_everywhere()
    member.turn(3)
    assert str(publication.outage) == "down"
    assert not publication.idle
    world.store.before = lambda call, key: None
    member.until(lambda: publication.idle)
    assert publication.outage is None
    assert [str(error) for error in member.outages("publishing s")] == ["down", "None"]


def test_a_request_while_publishing_publishes_once_more(world: World) -> None:
    member = settled(world, -1)
    publication = member.worker.publish_tasks["s"]
    before = len(member.heard(DaysPublished))
    member.executor.held = True
    publication.request()
    member.turn()
    assert publication.running
    for _ in range(3):
        publication.request()
    member.executor.held = False
    member.executor.run()
    member.calm()
    assert len(member.heard(DaysPublished)) == before + 2
    assert publication.idle


def test_publishing_waits_until_no_partition_of_the_stream_is_sealing(world: World) -> None:
    member = settled(world, -1)
    partition = member.partitions()[ONE]
    before = len(member.heard(DaysPublished))
    partition.enter(Activity.CATCHING_UP)
    partition.enter(Activity.SEALING)
    member.worker.request_publishing_everywhere()
    member.calm()
    assert len(member.heard(DaysPublished)) == before
    partition.enter(Activity.READING)
    member.calm()
    assert len(member.heard(DaysPublished)) == before + 1
