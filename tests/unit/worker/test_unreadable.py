"""Records that the client cannot read: an outage, then a halt, then a gap of exactly those offsets."""

from __future__ import annotations

import pytest

from consumer.domain.errors import HaltReason, TransientError
from consumer.domain.offsets import Span
from consumer.seal.gap import gap_objection, gap_record, lowest_needed
from consumer.seal.record import Record
from consumer.verify.chain import record_problems
from consumer.worker.events import PartitionHalted
from consumer.worker.intake import UNREADABLE_SECONDS
from consumer.worker.recovery_input import read_recovery_input, spool_reach
from tests.builders.bench import Member, World
from tests.builders.chains import ONE, day
from tests.builders.rough import failing
from tests.fakes.disk import MemoryDisk

BAD = HaltReason.UNREADABLE_RECORD


def world_of(*unreadable: int) -> World:
    """Four rows of day 0; those at these offsets cannot be read."""
    world = World()
    for name in ("one", "two", "three", "four"):
        world.write(0, name)
    world.log().unreadable.update(unreadable)
    return world


def halted(world: World, disk: MemoryDisk | None = None) -> Member:
    member = Member(world, disk=disk).start()
    member.until(lambda: member.halts() == [BAD])
    return member


def accept(world: World, member: Member, lost: Span) -> Record:
    """What the command does."""
    context = member.partition.context
    found = read_recovery_input(context, ONE, spool_reach(member.partition.spool)).found
    unreadable = context.admin.unreadable(ONE, lost.start)
    assert gap_objection(lost, lowest_needed(found), found.ends, unreadable) == ""
    record = gap_record(found, lost, settings=context.today, now=world.clock.now(), writer="by hand")
    assert list(record_problems("s", found.chain, record)) == []
    assert context.log(ONE).append(record)
    return record


def test_it_is_an_outage_first_and_a_halt_after_a_minute() -> None:
    world = world_of(1)
    member = Member(world).start()
    member.turn(int(UNREADABLE_SECONDS) - 10, seconds=1.0)
    assert member.halts() == []
    assert "cannot read offset 1 (it is damaged)" in str(member.partition.phase.outage)
    member.turn(20, seconds=1.0)
    (told,) = member.heard(PartitionHalted)
    assert told.halt.message.endswith("adapty-sink accept-gap t:0 1 2")
    assert str(member.partition.phase) == "halted"
    member.turn(300, seconds=1.0)
    assert member.halts() == [BAD], "told once, and standing while it is tried again"
    assert str(member.partition.phase) == "halted"


def test_it_goes_on_by_itself_once_the_record_can_be_read() -> None:
    world = world_of(1)
    member = halted(world)
    world.log().unreadable.clear()
    member.until(lambda: member.halts() == [BAD, None])
    world.due(0)
    member.until(lambda: 0 in world.published())
    assert world.objects() == {"0/4": [f"{name},2026-03-01" for name in ("one", "two", "three", "four")]}
    assert world.manifest(0)["complete"] is True


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("restarted", [None, "spool", "bare"])
def test_a_gap_takes_its_own_offsets_and_no_others(first: int, restarted: str | None) -> None:
    world = world_of(first, first + 1)
    disk = MemoryDisk()
    member = halted(world, disk)
    record = accept(world, member, Span(first, first + 2))
    assert record.resume == record.start == (2 if first == 0 else 0)
    if restarted:
        member.crash()
        world.log().unreadable.clear()  # whoever could read them by now must not
        member = Member(world, disk=disk if restarted == "spool" else None).start()
    world.due(0)
    member.until(lambda: world.published() == [0])
    left = [name for at, name in enumerate(("one", "two", "three", "four")) if not first <= at < first + 2]
    assert world.objects() == {"0/4": [f"{name},2026-03-01" for name in left]}
    why = ["gap"] if first else ["gap", "started_in_mid_log"]
    assert (world.manifest(0)["complete"], sorted(world.manifest(0)["why"])) == (False, why)
    if restarted is None:
        assert member.halts() == [BAD, None]
    if restarted == "spool" and first > 0:
        assert "spool kept" in member.notes()[0]


def test_a_seal_that_was_pending_is_finished_with_the_rows_that_are_left() -> None:
    world = world_of()
    world.write(1, "five")
    member = Member(world).start()
    member.calm()
    world.store.before = failing(TransientError("down"), times=1000, call="put", key="s/dt=")
    world.due(0)
    member.until(lambda: world.chain().reach.cutoff == day(0))
    member.crash()
    world.store.before = lambda call, key: None
    world.log().unreadable.add(2)
    again = halted(world)
    record = accept(world, again, Span(2, 3))
    assert (record.start, record.resume, record.unfinished) == (0, 4, 1)
    again.until(lambda: 0 in world.published())
    assert world.objects() == {"0/5": ["one,2026-03-01", "two,2026-03-01", "four,2026-03-01"]}
    assert world.manifest(0)["why"] == ["gap"]
    world.due(1)
    again.until(lambda: 1 in world.published())
    assert world.objects()["1/5"] == ["five,2026-03-02"]


@pytest.mark.parametrize("lost", [Span(1, 3), Span(2, 3), Span(0, 1)])
def test_other_offsets_are_refused(lost: Span) -> None:
    admin = halted(world := world_of(1)).partition.context.admin
    said = gap_objection(lost, 0, world.log().ends, admin.unreadable(ONE, lost.start))
    assert said in {
        "the offsets that cannot be read are 1 to 2",
        "nothing is lost: offset 0 is the lowest still needed, and the log starts at 0",
    }
