"""Several workers of one group: frozen beyond their session and woken, replaced one by one, joined in mid-seal."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.harness.gate import Asked, Gate, Stop, Where, nth, puts, puts_data, puts_record
from tests.harness.oracle import today
from tests.harness.sink import Sink, await_true
from tests.harness.world import Stream, World

ONE_DAY = timedelta(days=1)
OUTAGE = 4
"""The exit code of a run that gave up."""
DAYS = [today() - n * ONE_DAY for n in (5, 4, 3, 2, 1, 0)]
FIRST, SECOND, YESTERDAY = DAYS[1], DAYS[3], DAYS[4]


@pytest.fixture(params=["classic", "consumer"])
def group(request: pytest.FixtureRequest, world: World) -> World:
    """A world of either group protocol."""
    world.protocol = request.param
    return world


FROZEN: dict[str, tuple[Callable[[], Asked], Where]] = {
    "before its record": (lambda: puts_record(0), "before"),
    "after its record": (lambda: puts_record(0), "after"),
    "before its second object": (lambda: nth(puts_data("events"), 2), "before"),
    "after its last object": (lambda: nth(puts_data("events"), 2), "after"),
    "before a manifest": (lambda: puts("_manifest.json"), "before"),
}


def frozen_at(group: World, store_gate: Gate, moment: str) -> tuple[Stream, Sink, Stop]:
    """A stream, and a worker that was frozen there; its request is held."""
    stream = group.add("events")
    group.ledger.send(stream.topic, 0, [stream.maker.row(day) for day in DAYS * 40])
    asked, where = FROZEN[moment]
    stop = store_gate.stop(asked(), where)
    frozen = group.once(FIRST, worker="frozen")
    stop.wait()
    frozen.freeze()
    return stream, frozen, stop


@pytest.mark.parametrize("moment", FROZEN)
def test_one_frozen_beyond_its_session_and_woken_long_after(group: World, store_gate: Gate, moment: str) -> None:
    """The others finished its seal and made another. It must neither overwrite nor commit, and ends in good order.

    Asleep for longer than an answer of the store is waited for, it may give up: on a slow machine the others take that.
    """
    stream, frozen, stop = frozen_at(group, store_gate, moment)
    group.once(FIRST, worker="b").done()
    group.ledger.send(stream.topic, 0, [stream.maker.row(day) for day in DAYS * 10])
    group.once(SECOND, worker="b").done()
    group.judge(SECOND)
    before, committed = group.folder.listing(), group.committed()
    frozen.wake()
    stop.forward()
    assert frozen.wait() in {0, OUTAGE}
    assert group.folder.listing() == before
    assert group.committed()[(stream.topic, 0)].offset == committed[(stream.topic, 0)].offset
    assert group.lagging() == []
    group.judge(SECOND)


@pytest.mark.parametrize("moment", ["before its record", "before its second object"])
def test_one_frozen_and_woken_during_the_upload_of_the_other(group: World, store_gate: Gate, moment: str) -> None:
    """Both upload the same seal at once."""
    _, frozen, stop = frozen_at(group, store_gate, moment)
    theirs = store_gate.stop(puts_data("events"))
    other = group.once(FIRST, worker="b")
    theirs.wait()
    frozen.wake()
    stop.forward()
    stop.done.wait(10)
    theirs.forward()
    other.done()
    frozen.done()
    group.judge(FIRST)


def test_a_frozen_one_that_waits_for_its_day(group: World) -> None:
    """It wakes with a spool that others have sealed, and goes on with what is left."""
    stream = group.add("events", partitions=2)
    group.fill(stream, DAYS, 300)
    frozen = group.waiting("frozen")
    frozen.until_said("day_published")
    group.fill(stream, DAYS, 300)
    group.await_read(frozen)
    frozen.freeze()
    group.once(YESTERDAY, worker="b").done()
    frozen.wake()
    group.fill(stream, DAYS, 300)
    group.await_read(frozen)
    frozen.terminate()
    frozen.done()
    held = group.judge()["events"].held
    assert {sent.made.day for sent in held} == set(DAYS)


def busy(world: World, stream: Stream) -> None:
    """More records, some late."""
    world.fill(stream, DAYS, 200)


def test_a_rolling_restart_loses_no_row(group: World) -> None:
    """Three workers are replaced one after another while records arrive; then the day is sealed."""
    stream = group.add("events", partitions=4)
    busy(group, stream)
    workers = [group.waiting(name) for name in "abc"]
    for worker in workers:
        worker.until_said("rebalanced")
    for turn, name in enumerate("abc"):
        busy(group, stream)
        workers[turn].terminate()
        workers[turn].done(seconds=20)
        workers[turn] = group.waiting(name)
        busy(group, stream)
        workers[turn].until_said("partition_recovered")
    group.await_read(*workers)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.done(seconds=20)
    group.once(YESTERDAY).done()
    group.judge(YESTERDAY)


@pytest.mark.parametrize("leaver", ["a", "b"], ids=["who gives", "who takes"])
@pytest.mark.parametrize("moment", [0.1, 0.5, 1.5])
def test_told_to_end_in_the_middle_of_a_rebalance(group: World, moment: float, leaver: str) -> None:
    """Partitions move from one to the other when one of them has to go, a moment after the second appeared."""
    stream = group.add("events", partitions=4)
    busy(group, stream)
    workers = {"a": group.waiting("a")}
    workers["a"].until_said("partition_recovered")
    workers["b"] = group.waiting("b")
    workers["b"].until_said("starting")
    time.sleep(moment)  # no log line says how far a rebalance is
    workers[leaver].terminate()
    workers.pop(leaver).done(seconds=20)
    busy(group, stream)
    group.await_read(*workers.values())
    for worker in workers.values():
        worker.terminate()
        worker.done(seconds=20)
    group.once(YESTERDAY).done()
    group.judge(YESTERDAY)


@pytest.mark.parametrize("asked", [puts("/_seals/events"), puts_data("events")], ids=["record", "object"])
def test_a_worker_that_joins_and_leaves_in_the_middle_of_a_seal(group: World, store_gate: Gate, asked: Asked) -> None:
    """The lease of a partition goes while its request is under way: its result is dropped, the other makes it good."""
    stream = group.add("events", partitions=4)
    group.fill(stream, DAYS, 800)
    stop = store_gate.stop(asked)
    first = group.start("run")
    stop.wait()
    second = group.start("run", worker="b")
    second.until_said("partition_recovered")
    stop.forward()
    await_true(lambda: has_closed(group, stream), 60, "yesterday is sealed everywhere")
    second.terminate()
    second.done(seconds=20)
    busy(group, stream)
    group.await_read(first)
    first.terminate()
    first.done(seconds=20)
    group.once(YESTERDAY).done()
    group.judge()


def has_closed(world: World, stream: Stream) -> bool:
    """Yesterday's mark stands."""
    return f"{stream.name}/dt={YESTERDAY}/_SUCCESS" in world.folder.listing(f"{stream.name}/dt={YESTERDAY}/")


def test_a_second_worker_on_the_same_spool_is_refused(world: World) -> None:
    world.add("events")
    first = world.start("run")
    first.until_said("rebalanced")
    second = world.start("run")
    second.done(2, 20)
    assert "in use by another worker" in second.tail()
