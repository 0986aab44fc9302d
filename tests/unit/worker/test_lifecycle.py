"""A partition's life: recovery, reading on, halts that are looked at again, outages that are waited out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Commit
from consumer.seal.keys import record_key
from consumer.seal.recover import commit_for
from consumer.spool.files import SpoolFullError
from consumer.store.port import Store
from consumer.worker.events import BatchTaken
from consumer.worker.lifecycle import HALT_SECONDS, LEASE_SECONDS, RETRY_SECONDS
from consumer.worker.loop import Intervals
from tests.builders.bench import Member, World, settled
from tests.builders.chains import ONE, day
from tests.builders.rough import RoughDisk, failing, fails
from tests.simulation import rows


@pytest.fixture
def world() -> World:
    return World()


def notes(member: Member) -> str:
    return " | ".join(member.notes())


# Beginning


def test_a_new_partition_commits_where_it_begins_before_it_reads(world: World) -> None:
    """Else a worker with start = "latest" that comes back would begin somewhere else."""
    for _ in range(5):
        world.write(0)
    order: list[str] = []
    member = Member(world, begin="latest")
    member.hooks.on_before = lambda call: order.append(call) if call in {"commit", "start"} else None
    member.start()
    member.calm()
    assert order[:2] == ["commit", "start"]
    assert member.partition.intake.position == 5
    world.write(0)
    member.crash()
    world.store.delete(*world.store.names())
    world.group.committed[ONE] = Commit(5)
    again = Member(world, begin="latest").start()
    again.calm()
    assert again.partition.spool.files[0].rows == 1


def test_a_new_folder_under_an_old_group_goes_on_at_the_commit(world: World) -> None:
    for _ in range(5):
        world.write(0)
    world.group.committed[ONE] = Commit(3, '{"chain":"of another folder","seal":9}')
    member = settled(world)
    assert world.objects() == {"0/5": ["x,2026-03-01"] * 2}
    assert member.sealed()[0].start == 3


def test_reading_goes_on_from_the_spool(world: World) -> None:
    disk = RoughDisk()
    first = settled(world, -1, disk=disk)
    for number in (0, 1, 0):
        world.write(number, f"r{number}")
    first.calm()
    first.worker.stop()
    world.write(0, "more")
    again = Member(world, disk=disk).start()
    again.calm()
    assert "spool kept" in notes(again)
    assert len(again.heard(BatchTaken)) == 1
    assert [file.rows for file in again.partition.spool.files] == [3, 1]
    world.due(0)
    again.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/4": ["r0,2026-03-01", "r0,2026-03-01", "more,2026-03-01"]}
    assert again.sealed()[-1].counts.read == 4, "those of the first worker included"


def test_a_spool_of_other_settings_is_read_anew(world: World) -> None:
    disk = RoughDisk()
    first = settled(world, -1, disk=disk)
    world.write(0, "r0", kind="b")
    first.calm()
    first.worker.stop()
    again = Member(world, disk=disk, rules=rows.rules("t", keep=("a",))).start()
    again.calm()
    assert "spool kept" not in notes(again)
    assert again.partition.spool.files == []


def test_days_dropped_from_a_spool_are_read_again_after_a_restart(world: World) -> None:
    disk = RoughDisk()
    first = settled(world, -1, disk=disk)
    world.write(0)
    world.write(1)
    first.calm()
    first.partition.intake.make_room(day(0))
    first.worker.stop()
    again = Member(world, disk=disk).start()
    again.calm()
    assert [file.day for file in again.partition.spool.files] == [day(0), day(1)]
    assert again.partition.spool.progress.dropped == {}


def test_a_spool_that_cannot_be_emptied_is_an_outage(world: World) -> None:
    disk = RoughDisk()
    disk.append("t-0/2026-01-01.1.csv", b"left over")
    disk.at = fails("before remove")
    member = Member(world, disk=disk).start()
    member.turn(4, seconds=RETRY_SECONDS)
    assert isinstance(member.partition.phase.outage, SpoolFullError)
    disk.at = lambda call: None
    member.until(lambda: member.partition.phase.recovered)
    assert member.partition.phase.outage is None or member.outages()[-1] is None
    assert disk.names("t-0") == []


def test_a_spool_that_covers_a_hole_is_kept_though_days_were_dropped_from_it(world: World) -> None:
    """What lies below the log's start is nowhere else any more."""
    disk = RoughDisk()
    first = settled(world, -1, disk=disk)
    for number in range(5):
        world.write(0, f"r{number}")
    world.write(1, "tomorrow")
    first.calm()
    first.partition.intake.make_room(day(0))
    first.worker.stop()
    world.log().delete_below(4)
    again = Member(world, disk=disk).start()
    again.calm()
    assert again.halts() == []
    world.due(0)
    again.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/6": [f"r{number},2026-03-01" for number in range(5)]}
    world.due(1)
    again.until(lambda: world.published() == [-1, 0, 1])
    assert world.objects()["1/6"] == ["tomorrow,2026-03-02"]


def test_a_half_written_file_that_cannot_be_cut_back_does_not_end_the_worker(world: World) -> None:
    disk = RoughDisk()
    member = settled(world, -1, disk=disk)
    world.write(0, "r0")
    member.calm()
    disk.capacity = sum(map(len, disk.files.values())) + 3
    disk.at = fails("before truncate")
    world.write(0, "r1")
    world.write(0, "r2")
    member.calm()
    disk.at, disk.capacity = (lambda call: None), 1 << 20
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/3": ["r0,2026-03-01", "r1,2026-03-01", "r2,2026-03-01"]}


def test_a_disk_that_fails_while_the_spool_is_restored_is_waited_for(world: World) -> None:
    disk = RoughDisk()
    first = settled(world, -1, disk=disk, intervals=Intervals(1e9, 0.0))
    world.write(0, "r0")
    first.calm()
    first.partition.checkpoint()
    world.write(0, "r1")
    first.calm()
    first.crash()
    disk.at = fails("before truncate", "before remove", "before set_aside")
    again = Member(world, disk=disk).start()
    again.calm()
    assert not again.partition.phase.recovered
    disk.at = lambda call: None
    world.due(0)
    again.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/2": ["r0,2026-03-01", "r1,2026-03-01"]}


# Halts


def _missing_record(world: World) -> Callable[[], None]:
    key = record_key(ONE, 0)
    kept = world.store._objects[key]
    world.store.delete(key)
    return lambda: world.store._objects.update({key: kept})


def _retention(world: World) -> Callable[[], None]:
    log = world.log()
    low, kept = log.low, list(log._records)
    log.delete_below(log.high)

    def back() -> None:
        log.low, log._records[:] = low, kept

    return back


def _compacted(world: World) -> Callable[[], None]:
    topic = world.cluster.topic("t")
    assert topic is not None
    topic.settings["cleanup.policy"] = "compact"
    return lambda: topic.settings.update({"cleanup.policy": "delete"})


def _truncated(world: World) -> Callable[[], None]:
    log = world.log()
    high = log.high
    log.high = 1

    def back() -> None:
        log.high = high

    return back


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_missing_record, HaltReason.CHAIN_DAMAGED),
        (_retention, HaltReason.RETENTION_HOLE),
        (_compacted, HaltReason.COMPACTED_TOPIC),
        (_truncated, HaltReason.LOG_TRUNCATED),
    ],
)
def test_a_halted_partition_goes_on_when_the_cause_is_gone(
    world: World, harm: Callable[[World], Callable[[], None]], reason: HaltReason
) -> None:
    world.write(1, "open")
    world.write(0, "r0")
    first = settled(world)
    first.crash()
    mend = harm(world)
    member = Member(world).start()
    member.until(lambda: member.halts() == [reason])
    member.turn(4, seconds=HALT_SECONDS / 2)
    assert member.halts() == [reason], "told once while the reason stays"
    assert not member.partition.phase.recovered
    mend()
    member.until(lambda: member.partition.phase.recovered, seconds=2 * HALT_SECONDS)
    assert member.halts() == [reason, None]
    assert member.partition.phase.halt is None
    world.due(1)
    member.until(lambda: world.published() == [-1, 0, 1])
    assert world.objects() == {"0/2": ["r0,2026-03-01"], "1/2": ["open,2026-03-02"]}


def test_a_halted_partition_is_looked_at_once_a_minute(world: World) -> None:
    _compacted(world)
    asked = 0

    def count(call: str) -> None:
        nonlocal asked
        asked += call == "topic"

    member = Member(world)
    member.view_hooks.on_before = count
    member.start()
    member.turn(601, seconds=1)
    looks = 600 / HALT_SECONDS + 1
    assert member.halts() == [HaltReason.COMPACTED_TOPIC]
    assert asked == 2 * looks, "by the partition, and by its stream's publishing"


def _unsafe(store: Store) -> None:
    raise HaltError(HaltReason.UNSAFE_STORE, "two of 32 writers won: use another store")


def test_an_unsafe_store_halts_before_anything_is_read_or_written(world: World) -> None:
    world.write(0)
    member = Member(world)
    member.contexts["s"].prove = _unsafe
    member.start()
    member.calm()
    assert member.halts() == [HaltReason.UNSAFE_STORE]
    assert world.store.names() == []
    assert world.committed() is None
    assert member.heard(BatchTaken) == []


def test_another_reason_is_told_anew(world: World) -> None:
    world.write(1)
    first = settled(world)
    first.crash()
    member = Member(world)
    member.contexts["s"].prove = _unsafe
    member.start()
    member.calm()
    member.contexts["s"].prove = lambda store: None
    world.cluster.delete_topic("t")
    member.until(lambda: len(member.halts()) == 2 or not member.worker.partitions)
    assert member.halts()[0] is HaltReason.UNSAFE_STORE


def test_one_halted_partition_does_not_stop_the_others(world: World) -> None:
    world.cluster.create_topic("u", settings={"cleanup.policy": "compact"})
    member = Member(world, streams={"s": "t", "z": "u"}).start()
    world.write(0)
    member.calm()
    assert member.halts() == [HaltReason.COMPACTED_TOPIC]
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])


# Outages


def test_an_outage_at_the_start_is_waited_out(world: World) -> None:
    member = Member(world)
    left = 5

    def down(call: str) -> None:
        nonlocal left
        if left:
            left -= 1
            raise TransientError(f"{call}: no broker")

    member.view_hooks.on_before = down
    member.start()
    member.until(lambda: member.worker.partitions and member.partition.phase.recovered, pause=5)
    assert member.partition.phase.outage is None
    assert member.outages()[-1] is None
    assert member.halts() == []


def test_a_lost_lease_waits_a_moment_and_looks_anew(world: World) -> None:
    """Refused, though the lease is ours still: the broker gives a new one."""
    member = settled(world)
    world.group.committed.clear()
    member.crash()
    again = Member(world)
    again.broker.refuse_commits(1)
    again.start()
    again.until(lambda: again.worker.partitions and again.partition.phase.recovered, seconds=10 * LEASE_SECONDS)
    assert world.committed() == commit_for(world.chain())


def test_a_position_that_left_the_log_is_looked_at_anew(world: World) -> None:
    """Retention overtakes a reader that waits for room: nothing is skipped."""
    member = settled(world, -1)
    for _ in range(10):
        world.write(0)
    member.partition.intake.hold(held=True)
    member.worker._relieve_at = member.world.clock.monotonic() + 10_000
    member.calm()
    world.log().delete_below(5)
    member.partition.intake.hold(held=False)
    member.until(lambda: member.halts() == [HaltReason.RETENTION_HOLE])
    assert member.partition.phase.halt is not None
    assert "accept-gap t:0 0 5" in member.partition.phase.halt.message


def test_a_position_that_left_the_log_while_a_day_is_due(world: World) -> None:
    member = settled(world, -1)
    for _ in range(10):
        world.write(0)
    member.partition.intake.hold(held=True)
    member.worker._relieve_at = world.clock.monotonic() + 1_000_000
    world.due(0)
    member.calm()
    assert member.sealed()[-1].cutoff == day(-1)
    world.log().delete_below(5)
    member.partition.intake.hold(held=False)
    member.until(lambda: member.halts() == [HaltReason.RETENTION_HOLE])
    assert world.objects() == {}


def test_an_outage_of_the_store_while_waiting_does_not_stop_reading(world: World) -> None:
    member = settled(world, -1)
    world.store.before = failing(TransientError("down"), times=10_000)
    world.write(0)
    member.calm()
    assert member.partition.intake.position == 1


def test_the_end_of_a_lease_leaves_a_checkpoint(world: World) -> None:
    disk = RoughDisk()
    member = settled(world, -1, disk=disk, intervals=Intervals(1e9, 0.0))
    world.write(0)
    member.calm()
    assert b'"position":0' in disk.documents["t-0"]
    member.worker.stop()
    assert b'"position":1' in disk.documents["t-0"]
