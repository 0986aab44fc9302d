"""An error that nobody foresaw stops the partition that met it, alone, and is tried again every minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from consumer.domain.errors import HaltReason
from consumer.domain.offsets import TopicPartition
from consumer.seal.keys import record_key
from consumer.seal.publisher import Publisher
from consumer.worker import lifecycle, recovery_input
from consumer.worker.events import UnexpectedErrorMet
from consumer.worker.intake import Intake
from consumer.worker.lifecycle import HALT_SECONDS
from consumer.worker.one_shot import Ended, OneShot
from consumer.worker.partition import Partition
from consumer.worker.phase import Activity
from tests.builders.bench import Member, World
from tests.builders.chains import ONE, day, put

TWO = TopicPartition("t", 1)
BUG = ZeroDivisionError("a bug of ours")

Break = Callable[[pytest.MonkeyPatch], None]


def _fails_of_two(call: Any, *, where: Callable[[Any], TopicPartition]) -> Any:
    def failing(subject: Any, *args: Any) -> Any:
        if where(subject) == TWO:
            raise BUG
        return call(subject, *args)

    return failing


def in_a_step(patch: pytest.MonkeyPatch) -> None:
    failing = _fails_of_two(lifecycle._read_on, where=lambda partition: partition.name)
    patch.setattr(lifecycle, "_read_on", failing)


def in_a_call_of_the_executor(patch: pytest.MonkeyPatch) -> None:
    read = recovery_input.read_recovery_input

    def failing(context: Any, partition: TopicPartition, spool: Any) -> Any:
        if partition == TWO:
            raise BUG
        return read(context, partition, spool)

    patch.setattr(lifecycle, "read_recovery_input", failing)


def in_the_intake(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "_take", _fails_of_two(Intake._take, where=lambda intake: intake._lease.partition))


def in_what_comes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "receive", _fails_of_two(Intake.receive, where=lambda intake: intake._lease.partition))


def in_the_checkpoint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partition, "checkpoint", _fails_of_two(Partition.checkpoint, where=lambda partition: partition.name))


@pytest.fixture
def world() -> World:
    made = World(2)
    made.write(0, "one")
    made.write(0, "two", partition=TWO)
    made.write(0, "three", partition=TWO)
    return made


@pytest.mark.parametrize(
    "broken", [in_a_step, in_a_call_of_the_executor, in_the_intake, in_what_comes, in_the_checkpoint]
)
def test_it_stops_one_partition_and_goes_on_once_the_cause_is_gone(world: World, broken: Break) -> None:
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        member = Member(world).start()
        member.until(lambda: member.heard(UnexpectedErrorMet))
        stopped, other = member.partitions()[TWO], member.partitions()[ONE]
        assert member.heard(UnexpectedErrorMet)[-1] == UnexpectedErrorMet("s", "t:1", BUG)
        assert (str(stopped.phase), stopped.phase.activity) == ("unexpected_error", Activity.WAITING)
        world.due(0)
        member.until(lambda: world.chain(ONE).reach.cutoff == day(0))
        assert other.phase.trouble is None
        assert world.published() == [], "the day lacks a partition"
    member.until(lambda: 0 in world.published(), seconds=3 * HALT_SECONDS)
    assert stopped.phase.trouble is None
    assert world.objects() == {"0/1": ["one,2026-03-01"], "0/2": ["two,2026-03-01", "three,2026-03-01"]}


def test_it_is_tried_again_every_minute_and_no_more_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_step(monkeypatch)
    member = Member(world).start()
    member.turn(int(4.5 * HALT_SECONDS), seconds=1.0)
    assert len(member.heard(UnexpectedErrorMet)) == 5


def test_the_end_of_a_lease_is_not_held_up_by_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(world).start()
    member.calm()
    in_the_checkpoint(monkeypatch)
    member.worker.stop()
    assert member.worker.partitions == {}
    assert member.heard(UnexpectedErrorMet)[-1].error is BUG


def _broken_publishing(self: Publisher, logs: Any) -> None:
    raise BUG


def test_publishing_meets_one_and_is_tried_again(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "publish", _broken_publishing)
        member = Member(world).start()
        world.due(0)
        member.until(lambda: all(world.chain(one).reach.cutoff == day(0) for one in (ONE, TWO)))
        assert member.heard(UnexpectedErrorMet)[-1] == UnexpectedErrorMet("s", "publishing s", BUG)
        assert member.worker.publish_tasks["s"].unexpected is BUG
        assert world.published() == []
    member.until(lambda: world.published() == [0], seconds=2 * HALT_SECONDS)
    assert member.worker.publish_tasks["s"].unexpected is None


def once(world: World) -> Ended:
    """What `run --once` ends with."""
    member = Member(world).start()
    world.due(0)
    shot = OneShot(member.worker, world.clock, day(0), timedelta(minutes=10))
    found: list[Ended] = []

    def look() -> bool:
        found.extend(filter(None, [shot.look()]))
        return bool(found)

    member.until(look)
    return found[0]


def test_a_one_shot_worker_does_the_rest_and_ends_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_step(monkeypatch)
    assert once(world) == Ended(unexpected=BUG)
    assert world.chain(ONE).reach.cutoff == day(0)


def test_a_halt_beside_it_is_told_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_step(monkeypatch)
    put(world.store, record_key(ONE, 0), b"no record")
    ended = once(world)
    assert {halt.reason for halt in ended.halts} == {HaltReason.CHAIN_DAMAGED}
    assert ended.unexpected is BUG
