"""One seal by a whole worker: catch up, decide, record, upload, commit; and what may come between any two of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import orjson
import pytest

from consumer.domain.batches import Counts, SealedSchemas
from consumer.domain.errors import HaltReason, TransientError, UnknownOutcomeError
from consumer.domain.offsets import Commit
from consumer.seal.decide import Schedule
from consumer.seal.folder_columns import claim_columns, folder_columns
from consumer.seal.keys import record_key, schema_key, settings_key
from consumer.seal.recover import commit_for
from consumer.store import compression as packing
from consumer.worker.events import CommitOutcome, ObjectUploaded, SealObeyed, UploadFailed
from consumer.worker.lifecycle import HALT_SECONDS
from consumer.worker.phase import Activity
from tests.builders.bench import Member, World, settled
from tests.builders.chains import ONE, SEAL_AT, at, day, put
from tests.builders.rough import RoughDisk, failing
from tests.fakes.kafka.log import Transaction
from tests.simulation import rows


@pytest.fixture
def world() -> World:
    """A partition whose chain has closed the day before day 0."""
    return World()


# The order of things


def test_what_arrives_during_a_seal_waits_for_its_end(world: World) -> None:
    """The record names files and a position: neither moves until the seal is finished."""
    world.write(0, "r0")
    member = settled(world, -1)
    world.due(0)
    member.executor.held = True
    seen: list[tuple[int, int]] = []
    while len(member.sealed()) < 2:
        world.write(0, f"w{world.log().high}")
        member.turn(2)
        if member.partition.phase.in_a_seal:
            seen.append((member.partition.intake.position, sum(file.rows for file in member.partition.spool.files)))
        member.executor.run_one()
    through = member.sealed()[-1].through
    assert len(seen) > 3, "more than one turn passed in the middle of it"
    assert set(seen) == {(through, through)}
    assert len(world.objects()[f"0/{through}"]) == through
    member.executor.held = False
    member.executor.run()
    member.calm()
    assert member.partition.intake.position == world.log().high
    assert [file.rows for file in member.partition.spool.files] == [world.log().high - through]


def test_a_day_is_sealed_at_its_hour(world: World) -> None:
    for number in (0, 1, 0):
        world.write(number, f"r{number}")
    member = Member(world).start()
    member.calm()
    world.due(0, minutes=-1)
    member.turn(5)
    assert [record.cutoff for record in member.sealed()] == [day(-1)]
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    record = member.sealed()[-1]
    assert (record.n, record.cutoff, record.caught_up) == (1, day(0), True)
    assert (record.start, record.through, record.resume) == (0, 3, 1)
    assert world.objects() == {"0/3": ["r0,2026-03-01", "r0,2026-03-01"]}
    assert world.committed() == commit_for(world.chain())
    assert member.reasons() == ["caught up", "caught up"]


def test_settings_then_record_then_objects_then_commit_then_manifests(world: World) -> None:
    world.raw(b"junk")
    world.write(0)
    order: list[str] = []
    world.store.after = lambda call, key: order.append(key) if call == "put" else None
    member = Member(world)
    member.hooks.on_before = lambda call: order.append("commit") if call == "commit" else None
    member.start()
    member.calm()
    order.clear()
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert order == [
        record_key(ONE, 1),
        "s/dt=2026-03-01/t-0-00000000000000000002.csv",
        "_quarantine/s/dt=2026-03-01/t-0-00000000000000000002.jsonl",
        "commit",
        "s/dt=2026-03-01/_manifest.json",
        "s/dt=2026-03-01/_SUCCESS",
        "s/_days.json",
    ]


def test_columns_and_settings_stand_before_the_first_record_that_names_them(world: World) -> None:
    order: list[str] = []
    world.store.after = lambda call, key: order.append(key) if call == "put" else None
    member = Member(world).start()
    member.until(member.sealed)
    assert order[:3] == [schema_key("s"), settings_key(member.sealed()[0].settings), record_key(ONE, 0)]


def test_two_workers_with_other_settings_give_the_folder_one_order() -> None:
    """Both were assigned before either had sealed: the second one reads again, in the order that the first one gave."""
    world = World()
    world.write(-1, "r0")
    world.store.before = lambda call, key: _other_worker(world) if (call, key) == ("put", schema_key("s")) else None
    first = Member(world, rules=rows.rules("t", shape=("id", "at", "kind"))).start()
    first.until(first.sealed)
    assert folder_columns(world.store, "s").names == ("id", "schema", "at", "kind")
    assert world.objects() == {"-1/1": ["r0,,2026-02-28,a"]}
    assert any("changed the columns of the folder of s" in note for note in first.notes())
    assert first.halts() == []


def _other_worker(world: World) -> None:
    world.store.before = lambda call, key: None
    assert claim_columns(world.store, "s", ("id", "schema", "at"), day(-1), day(-1))


def test_a_column_that_left_the_settings_stays_empty() -> None:
    world = World()
    world.write(-1, "r0")
    first = Member(world, rules=rows.rules("t", shape=("id", "at", "kind"))).start()
    first.until(lambda: world.published() == [-1])
    first.crash()
    world.write(0, "r1")
    world.due(0)
    second = Member(world, rules=rows.rules("t", shape=("id", "at"))).start()
    second.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"-1/1": ["r0,2026-02-28,a"], "0/2": ["r1,2026-03-01,"]}
    assert world.manifest(0)["columns"] == ["id", "at", "kind"]


def test_the_counts_are_those_since_the_last_seal(world: World) -> None:
    world.write(-1)
    member = Member(world).start()
    member.until(member.sealed)
    for value in (None, b"junk"):
        world.raw(value)
    world.write(0, kind="b")
    world.write(1)
    member.calm()
    world.due(0)
    member.until(lambda: len(member.sealed()) == 2)
    first, second = member.sealed()
    assert first.counts == Counts(read=1, kept=1)
    assert second.counts == Counts(read=4, kept=2, quarantined=1, tombstones=1)
    assert first.first_timestamp is not None
    assert second.first_timestamp is None


def test_known_schemas_alone_are_in_the_record(world: World) -> None:
    member = Member(world).start()
    member.moods.registry.add(18)
    world.write(0, schema=17)
    world.write(0, schema=18)
    member.calm()
    world.due(0)
    member.until(lambda: len(member.sealed()) == 2)
    assert SealedSchemas({18: 1}) in [record.schemas for record in member.sealed()]
    assert not any(17 in (record.schemas.known or ()) for record in member.sealed())


def test_compressed_objects_are_packed_in_the_scratch_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "IN_MEMORY", 0)
    world.raw(b"junk")
    member = Member(world, compression="gzip").start()
    member.calm()
    world.write(0)
    world.due(0)
    member.calm()
    assert member.halts() == []
    outage = [error for error in member.outages() if error]
    assert "cannot pack into /nowhere" in str(outage[0]), "quarantine and days without rows need no packing"


# Catching up


def test_a_seal_waits_until_all_up_to_the_end_is_read(world: World) -> None:
    for _ in range(10):
        world.write(0)
    member = Member(world)
    member.broker.batch = 1
    world.due(0)
    member.start()
    member.until(member.sealed)
    assert member.sealed()[0].through == 10
    assert len(world.objects()["0/10"]) == 10


def test_a_seal_goes_no_further_than_it_must(world: World) -> None:
    """Rows that arrive while it catches up belong to it only if they were read by then: E is taken once."""
    member = settled(world, -1)
    world.due(0)
    world.write(0)
    member.until(lambda: member.sealed() and member.sealed()[-1].cutoff == day(0))
    assert member.sealed()[-1].lso <= 1


def test_a_partition_without_news_is_caught_up_at_once(world: World) -> None:
    member = settled(world, -1)
    world.due(0)
    member.turn(3)
    assert member.sealed()[-1].cutoff == day(0)


def test_an_open_transaction_is_waited_for(world: World) -> None:
    member = settled(world, -1)
    open_one = Transaction()
    world.write(0, "early", transaction=open_one)
    world.write(0, "behind")
    world.due(0)
    member.turn(20, seconds=60)
    assert world.objects() == {}
    open_one.commit()
    member.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/3": ["early,2026-03-01", "behind,2026-03-01"]}
    assert world.manifest(0)["complete"]


def test_an_open_transaction_is_given_up_after_half_an_hour_and_told_for_good(world: World) -> None:
    member = settled(world, -1)
    open_one = Transaction()
    world.write(0, "before")
    world.write(0, "early", transaction=open_one)
    world.due(0)
    member.turn(60, seconds=29)
    assert world.objects() == {}
    member.turn(6, seconds=29)
    assert world.objects() == {"0/1": ["before,2026-03-01"]}
    member.until(lambda: world.published() == [-1, 0])
    assert world.manifest(0)["why"] == ["open_transaction"]
    open_one.commit()
    world.due(1)
    member.until(lambda: world.published() == [-1, 0, 1])
    assert world.objects()["0/3"] == ["early,2026-03-01"]
    assert world.manifest(0)["why"] == ["open_transaction"], "for good"
    assert world.manifest(1)["complete"]


def test_a_topic_recreated_while_catching_up_is_seen(world: World) -> None:
    member = settled(world, -1)
    world.cluster.delete_topic("t")
    world.cluster.create_topic("t")
    world.due(0)
    member.until(lambda: member.halts()[-1:] == [HaltReason.TOPIC_RECREATED])
    assert member.sealed()[-1].cutoff == day(-1)


# Deciding


def test_a_clock_ahead_of_the_stores_waits(world: World) -> None:
    member = settled(world, -1)
    world.due(0)
    ahead = timedelta(minutes=2)
    world.store._clock = type("Slow", (), {"now": lambda self: world.clock.now() - ahead})()
    member.turn(20, seconds=1)
    assert member.sealed()[-1].cutoff == day(-1)
    assert any("ahead of the store's" in reason for reason in member.reasons())
    assert not member.partition.phase.in_a_seal, "the stream's other days are published meanwhile"
    world.write(0, "meanwhile")
    member.turn(5, seconds=1)
    assert member.partition.intake.position == 1, "reading goes on"
    world.store._clock = world.clock
    member.until(lambda: member.sealed()[-1].cutoff == day(0))
    assert world.objects() == {"0/1": ["meanwhile,2026-03-01"]}


def test_our_clock_is_read_before_the_stores(world: World) -> None:
    """A store that takes five minutes to answer does not make us look ahead of it."""
    member = settled(world, -1)
    world.due(0)
    slow = world.store.before

    def wait(call: str, key: str) -> None:
        if call == "now":
            world.clock.advance(300)
        slow(call, key)

    world.store.before = wait
    member.turn(5)
    assert member.sealed()[-1].cutoff == day(0)


def test_too_many_bad_records_halt_and_nothing_is_written(world: World) -> None:
    member = Member(world, max_ratio=0.5).start()
    member.calm()
    for _ in range(20):
        world.raw(b"junk")
    world.due(0)
    member.until(lambda: member.halts() == [HaltReason.QUARANTINE_RATIO])
    before = list(world.store.puts)
    assert world.chain().head.cutoff == day(-1)
    for _ in range(30):
        world.write(0)
    member.turn(10, seconds=HALT_SECONDS / 2)
    assert member.sealed()[-1].cutoff == day(0), "judged again, with more good ones it is all right"
    assert len(world.store.puts) > len(before)
    assert member.halts()[-1] is None


# Another worker, and one that the group has given up


def isolated(member: Member) -> None:
    """The group goes on without it, and it does not learn of that: its polls find no broker."""
    member.broker.evict()

    def cut(call: str) -> None:
        if call == "poll":
            raise TransientError("no broker")

    member.hooks.on_before = cut


def test_another_workers_record_is_obeyed(world: World) -> None:
    zombie = settled(world, -1)
    world.write(0, "r0")
    zombie.calm()
    isolated(zombie)
    other = Member(world).start()
    other.calm()
    world.due(0)
    other.until(other.sealed)
    zombie.turn(20, seconds=0.1)
    assert "another worker decided seal 1 of t:0" in zombie.notes()
    assert zombie.heard(SealObeyed) == [SealObeyed(ONE, 1)]
    assert world.objects() == {"0/1": ["r0,2026-03-01"]}
    assert world.chain().head.n == 1


def test_a_record_is_finished_by_whoever_finds_it(world: World) -> None:
    """One decided and was cut off; the other reads the record, rebuilds its rows and uploads them."""
    first = settled(world, -1)
    world.write(0, "r0")
    first.calm()
    world.due(0)
    world.store.before = failing(TransientError("down"), times=1000, call="put", key=".csv")
    first.turn(10)
    assert world.chain().head.n == 1
    isolated(first)
    world.write(0, "late")
    world.store.before = lambda call, key: None
    other = Member(world).start()
    other.until(other.sealed)
    assert other.sealed()[0] == world.chain().records[1]
    assert world.objects() == {"0/1": ["r0,2026-03-01"]}
    other.until(lambda: world.published() == [-1, 0])
    first.turn(100, seconds=0.5)
    assert world.objects() == {"0/1": ["r0,2026-03-01"]}
    world.due(1)
    other.until(lambda: world.published() == [-1, 0, 1])
    assert world.objects() == {"0/1": ["r0,2026-03-01"], "0/2": ["late,2026-03-01"]}


def test_a_lease_that_is_gone_commits_nothing_and_changes_nothing(world: World) -> None:
    zombie = settled(world, -1)
    world.write(0, "r0")
    world.write(1, "r1")
    zombie.calm()
    isolated(zombie)
    world.due(0)
    before = world.committed()
    zombie.turn(30, seconds=0.5)
    assert world.objects() == {"0/2": ["r0,2026-03-01"]}, "it still decided, and the record stands"
    assert world.committed() == before
    assert (-1, CommitOutcome.LEASE_LOST) in zombie.commits()
    other = Member(world).start()
    other.until(lambda: world.published() == [-1, 0])
    assert world.committed() == commit_for(world.chain())
    assert world.chain().head.n == 1


def test_results_of_jobs_under_a_void_lease_are_dropped(world: World) -> None:
    member = settled(world, -1)
    world.write(0, "r0")
    member.calm()
    world.due(0)
    member.executor.held = True
    member.turn(3)
    while not any("r0" in line for line in world.objects().get("0/1", [])):
        member.executor.run_one()
        if not world.objects():
            member.turn()
    member.broker.evict()
    member.turn(2)
    assert len(member.sealed()) == 1, "the upload ended, and nobody is there to hear of it"
    member.executor.held = False
    member.executor.run()
    member.until(lambda: world.published() == [-1, 0])
    assert world.committed() == commit_for(world.chain())


# Objects


def test_an_outage_while_uploading_is_waited_out(world: World) -> None:
    world.write(0)
    member = settled(world, -1)
    world.store.before = failing(TransientError("down"), times=3, call="put", key=".csv")
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert len(member.heard(UploadFailed)) == 3
    assert [str(error) for error in member.outages()] == ["down", "down", "down", "None"]


def test_a_lost_answer_to_an_upload_is_accepted_as_ours(world: World) -> None:
    world.write(0)
    member = settled(world, -1)
    world.store.after = failing(UnknownOutcomeError("lost"), call="put", key=".csv")
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert [event.written for event in member.heard(ObjectUploaded)] == [False]


def test_a_stranger_under_an_objects_key_halts_until_it_is_gone(world: World) -> None:
    world.write(0)
    member = settled(world, -1)
    key = "s/dt=2026-03-01/t-0-00000000000000000001.csv"
    put(world.store, key, b"something else", {"topic": "t"})
    world.due(0)
    member.until(lambda: member.halts() == [HaltReason.OBJECT_MISMATCH])
    assert world.committed() == commit_for(world.chain().before(1))
    member.turn(30, seconds=HALT_SECONDS / 4)
    assert world.published() == [-1]
    assert member.halts() == [HaltReason.OBJECT_MISMATCH], "told once, not with each look"
    world.store.delete(key)
    member.until(lambda: world.published() == [-1, 0])
    assert member.halts() == [HaltReason.OBJECT_MISMATCH, None]
    assert world.objects() == {"0/1": ["x,2026-03-01"]}


def test_a_spool_file_that_rotted_is_read_again_from_the_log(world: World) -> None:
    disk = RoughDisk()
    member = Member(world, disk=disk).start()
    world.write(0, "r0")
    member.calm()
    for content in disk.files.values():
        content[2] ^= 1
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/1": ["r0,2026-03-01"]}
    assert any("set aside, reading from Kafka again" in note for note in member.notes())
    assert disk.aside


def test_a_spool_file_that_rotted_before_a_restart_is_found_too(world: World) -> None:
    disk = RoughDisk()
    first = Member(world, disk=disk).start()
    world.write(0, "r0")
    first.calm()
    first.crash()
    for content in disk.files.values():
        content[2] ^= 1
    world.due(0)
    again = Member(world, disk=disk).start()
    again.until(lambda: world.published() == [-1, 0])
    assert any("spool kept" in note for note in again.notes())
    assert world.objects() == {"0/1": ["r0,2026-03-01"]}
    assert disk.aside


# Commits


def test_an_unknown_commit_is_read_back_and_tried_again(world: World) -> None:
    member = settled(world, -1)
    world.write(1, "later")
    world.due(0)
    answers: list[Callable[[], None]] = []

    def lose(call: str) -> None:
        if call == "commit" and not answers:
            answers.append(lambda: None)
            raise UnknownOutcomeError("no answer, no effect")

    member.hooks.on_before = lose
    member.until(lambda: len(member.sealed()) == 2)
    assert member.commits()[-2:] == [
        (0, CommitOutcome.UNKNOWN),
        (0, CommitOutcome.DONE),
    ]
    assert world.committed() == commit_for(world.chain())


def test_an_unknown_commit_that_took_effect_is_not_made_again(world: World) -> None:
    member = settled(world, -1)
    world.due(0)
    lost: list[int] = []

    def lose(call: str) -> None:
        if call == "commit" and not lost:
            lost.append(1)
            raise UnknownOutcomeError("no answer, but it took effect")

    member.hooks.on_after = lose
    before = len(member.commits())
    member.until(lambda: len(member.sealed()) == 2)
    assert [outcome for _, outcome in member.commits()[before:]] == [CommitOutcome.UNKNOWN]
    assert member.partition.phase.outage is None
    assert world.committed() == commit_for(world.chain())


def test_a_commit_that_failed_is_tried_again(world: World) -> None:
    member = settled(world, -1)
    world.due(0)
    left = 3

    def fail(call: str) -> None:
        nonlocal left
        if call == "commit" and left:
            left -= 1
            raise TransientError("coordinator moved")

    member.hooks.on_before = fail
    before = len(member.commits())
    member.until(lambda: len(member.sealed()) == 2)
    assert [outcome for _, outcome in member.commits()[before:]] == [CommitOutcome.FAILED] * 3 + [CommitOutcome.DONE]
    assert member.partition.phase.outage is None


def test_a_refused_commit_leads_to_a_new_lease_and_a_second_try(world: World) -> None:
    member = settled(world, -1)
    world.write(0, "r0")
    member.calm()
    world.due(0)
    member.broker.refuse_commits()
    member.until(lambda: world.published() == [-1, 0])
    assert world.committed() == commit_for(world.chain())
    assert world.chain().head.n == 1


def test_a_groups_offset_moved_by_hand_is_set_right_on_assignment(world: World) -> None:
    member = settled(world)
    member.crash()
    world.group.committed[ONE] = Commit(7, "by hand")
    again = Member(world).start()
    again.calm()
    assert world.committed() == commit_for(world.chain())
    assert any("the group's offset is 7" in note for note in again.notes())
    world.group.committed.clear()
    again.crash()
    third = Member(world).start()
    third.calm()
    assert world.committed() == commit_for(world.chain())
    assert any("the group's offset is absent" in note for note in third.notes())


# A crash anywhere


class Killed(BaseException):
    """The process is gone."""


def _story(world: World) -> None:
    world.write(0, "r0")
    world.write(1, "r1")
    world.raw(b"junk")
    world.write(0, "r3")


def _kill_at(member: Member, world: World, call_number: int) -> None:
    left = call_number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    world.store.before = world.store.after = count
    member.hooks.on_before = member.hooks.on_after = lambda call: count() if call == "commit" else None
    member.view_hooks.on_before = count


@pytest.mark.parametrize("same_disk", [True, False], ids=["same disk", "empty disk"])
@pytest.mark.parametrize("call_number", range(1, 44))
def test_a_kill_at_any_call_of_a_seal_loses_and_repeats_nothing(
    world: World, call_number: int, same_disk: bool
) -> None:
    disk = RoughDisk()
    first = settled(world, -1, disk=disk)
    _story(world)
    first.calm()
    world.due(0)
    _kill_at(first, world, call_number)
    try:
        first.turn(12)
    except Killed:
        first.crash()
    else:
        assert call_number > 30, "the seal took fewer calls: it was killed at each"
        first.crash()
    world.store.before = world.store.after = lambda call, key: None
    world.write(0, "late")
    again = Member(world, disk=disk if same_disk else RoughDisk()).start()
    again.until(lambda: world.published() == [-1, 0])
    again.calm()
    records = world.chain().records
    rows_of_day = [line for key, lines in sorted(world.objects().items()) if key.startswith("0/") for line in lines]
    assert rows_of_day[:2] == ["r0,2026-03-01", "r3,2026-03-01"]
    assert set(rows_of_day[2:]) <= {"late,2026-03-01"}
    assert len(rows_of_day) <= 3
    assert world.committed() == commit_for(world.chain())
    assert records[-1].resume == 1
    assert [record.n for record in records] == list(range(len(records)))
    assert world.manifest(0)["revision"] == 1
    assert world.manifest(0)["rows"] == len(rows_of_day)
    world.due(1)
    again.until(lambda: world.published() == [-1, 0, 1])
    assert [line for lines in world.objects().values() for line in lines if line.startswith("r1")] == ["r1,2026-03-02"]
    assert sum(line.startswith("late") for lines in world.objects().values() for line in lines) == 1


# Spills


def test_a_spill_makes_room_and_completes_no_day(world: World) -> None:
    member = settled(world, -1)
    member.partition.request_spill()
    for number in (-1, 0):
        world.write(number, f"r{number}")
    member.until(lambda: len(member.sealed()) == 3)
    _, spill, closing = member.sealed()
    assert (spill.cutoff, spill.caught_up, [entry.day for entry in spill.objects]) == (day(-1), False, [day(-1)])
    # a day that was closed is open again until a caught-up record with the same cutoff closes it
    assert (closing.cutoff, closing.caught_up, closing.through) == (day(-1), True, spill.through)
    assert member.reasons()[-2:] == ["spill: the spool needs room", "caught up"]
    assert world.committed() == commit_for(world.chain())
    assert member.partition.phase.activity is not Activity.SPILLING
    member.until(lambda: world.manifest(-1)["revision"] == 2)


def test_a_spill_with_nothing_new_is_no_seal(world: World) -> None:
    member = settled(world, -1)
    member.partition.request_spill()
    member.turn(3)
    assert member.reasons()[-1] == "nothing new since the last seal"
    assert member.partition.phase.activity is not Activity.SPILLING
    member.calm()
    assert len(member.sealed()) == 1


def test_a_spill_interrupts_catching_up(world: World) -> None:
    """The day's rows are more than fit: they go out in parts, and the last part closes the day."""
    member = settled(world, -1)
    member.broker.batch = 1
    for number in range(6):
        world.write(0, f"r{number}")
    world.due(0)
    member.turn(2)
    assert 0 < member.partition.intake.position < 6
    member.partition.request_spill()
    member.until(lambda: world.published() == [-1, 0])
    kinds = [record.caught_up for record in world.chain().records]
    assert kinds == [True, False, True]
    assert sorted(line for lines in world.objects().values() for line in lines) == [
        f"r{number},2026-03-01" for number in range(6)
    ]
    assert world.manifest(0)["rows"] == 6


def test_rows_dropped_and_due_by_now_are_read_again_before_the_seal(world: World) -> None:
    member = settled(world, -1)
    world.write(0, "r0")
    world.write(1, "r1")
    member.calm()
    member.partition.intake.make_room(day(0))
    assert member.partition.spool.progress.dropped == {day(1): 1}
    world.due(1)
    member.until(lambda: world.published() == [-1, 0, 1])
    assert any("were dropped from the spool and are due now" in reason for reason in member.reasons())
    assert world.objects() == {"0/2": ["r0,2026-03-01"], "1/2": ["r1,2026-03-02"]}
    assert world.chain().head.n == 1


def test_rows_dropped_and_not_due_are_read_again_after_the_seal(world: World) -> None:
    member = settled(world, -1)
    for number in (0, 1, 0):
        world.write(number, f"r{number}")
    member.calm()
    member.partition.intake.make_room(day(0))
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert world.chain().head.resume == 1
    member.calm()
    assert [file.day for file in member.partition.spool.files] == [day(1)]
    assert member.partition.spool.progress.dropped == {}
    world.due(1)
    member.until(lambda: world.published() == [-1, 0, 1])
    assert world.objects()["1/3"] == ["r1,2026-03-02"]


# --through


def test_a_day_asked_for_by_hand_is_the_cutoff(world: World) -> None:
    for number in (-1, 0, 1):
        world.write(number, f"r{number}", timestamp=int(at(1).timestamp() * 1000))
    world.clock.advance(3 * 86_400)
    member = Member(world, schedule=Schedule(SEAL_AT, day(0))).start()
    member.until(world.published)
    member.calm()
    assert [record.cutoff for record in member.sealed()] == [day(0)]
    assert sorted(world.objects()) == ["-1/3", "0/3"]
    assert world.chain().head.resume == 2


# Rows far ahead


def test_a_row_far_ahead_goes_to_its_own_day_at_once_and_is_published_when_that_is_closed(world: World) -> None:
    member = settled(world, -1)
    world.write(40, "far", kind="f")
    world.write(0, "near")
    member.calm()
    world.due(0)
    member.until(lambda: world.published() == [-1, 0])
    assert world.objects() == {"0/2": ["near,2026-03-01"], "40/2": ["far,2026-04-10"]}
    assert world.chain().head.resume == 2
    for number in range(1, 4):
        world.due(number)
        member.until(lambda number=number: number in world.published())  # type: ignore[misc]
    assert 40 not in world.published()
    assert world.objects()["40/2"] == ["far,2026-04-10"]


def test_a_manifest_says_what_the_seal_took(world: World) -> None:
    world.write(0)
    member = settled(world)
    item = world.manifest(0)["objects"][0]
    entry = member.sealed()[-1].objects[0]
    assert (item["key"], item["rows"], item["seal"]) == (entry.key, entry.rows, 1)
    head = world.store.head(entry.key)
    assert head is not None
    assert (item["bytes"], item["sha256"]) == (head.size, head.metadata["sha256"])
    assert orjson.loads(world.store.content(record_key(ONE, 1)))["objects"][0]["rows"] == 1


def test_settings_change_without_a_halt_and_what_is_below_the_head_stays_judged_as_it_was(world: World) -> None:
    """The new settings drop kind b. Its row of day 1 was read under the old ones, below the head: it stays."""
    world.write(0, "r0", kind="b")
    world.write(1, "r1", kind="b")
    first = settled(world)
    first.crash()
    again = Member(world, rules=rows.rules("t", keep=("a",))).start()
    world.write(1, "dropped", kind="b")
    world.write(1, "kept", kind="a")
    again.calm()
    world.due(1)
    again.until(lambda: world.published() == [-1, 0, 1])
    assert again.halts() == []
    assert world.objects()["1/4"] == ["r1,2026-03-02", "kept,2026-03-02"]
    assert again.sealed()[-1].counts == Counts(read=2, kept=1, filtered=1)
