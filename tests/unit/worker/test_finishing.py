"""A seal left unfinished: its rows from the spool or from the log again, and what the log no longer gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span
from consumer.seal.folder_columns import claim_columns
from consumer.seal.gap import gap_objection, gap_record, lowest_needed
from consumer.seal.keys import record_key
from consumer.seal.recover import commit_for
from consumer.spool.checkpoint import opened_text, sealed_text
from consumer.worker.events import ObjectUploaded
from consumer.worker.lifecycle import HALT_SECONDS
from consumer.worker.phase import Activity
from consumer.worker.recovery_input import read_recovery_input
from tests.builders.bench import Member, World, settled
from tests.builders.chains import ONE, day, put
from tests.builders.rough import RoughDisk, failing
from tests.simulation import rows


class Left:
    """Record 1 stands, none of its objects does, and its worker is gone. Day 1 has rows that it does not take."""

    def __init__(self, first: int | None = None) -> None:
        self.world = World()
        self.disk = RoughDisk()
        numbers = [0, 1, 0, -1, 1, 0]
        worker = settled(self.world, -1, disk=self.disk)
        for number in numbers if first is None else [first, *numbers]:
            self.world.write(number, f"r{self.world.log().high}")
        worker.calm()
        self.world.store.before = failing(TransientError("down"), times=1000, call="put", key="s/dt=")
        self.world.due(0)
        worker.until(lambda: self.world.chain().head.n == 1)
        worker.turn(5)
        worker.crash()
        self.world.store.before = lambda call, key: None

    def again(self, *, spool: bool, **how: Any) -> Member:
        """The next worker, with the old disk or an empty one."""
        return Member(self.world, disk=self.disk if spool else RoughDisk(), **how).start()

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Somebody edits record 1."""
        raw = orjson.loads(self.world.store.content(record_key(ONE, 1)))
        change(raw)
        self.world.store.delete(record_key(ONE, 1))
        put(self.world.store, record_key(ONE, 1), orjson.dumps(raw))

    def accept_gap(self, start: int, end: int) -> None:
        """As the command does it."""
        found = read_recovery_input(Member(self.world).contexts["s"], ONE, None).found
        lost = Span(start, end)
        assert gap_objection(lost, lowest_needed(found), found.ends) == ""
        settings = found.chain.head.settings
        record = gap_record(found, lost, settings=settings, now=self.world.clock.now(), writer="by hand")
        put(self.world.store, record_key(ONE, record.n), record.document())


ROWS = {"-1/6": ["r3,2026-02-28"], "0/6": ["r0,2026-03-01", "r2,2026-03-01", "r5,2026-03-01"]}


def starts(member: Member) -> list[int]:
    """Where the broker was told to read."""
    found: list[int] = []
    start = member.broker.start

    def watched(lease: Any, offset: int) -> None:
        found.append(offset)
        start(lease, offset)

    member.broker.start = watched  # type: ignore[method-assign]
    return found


# From the spool


def test_it_is_finished_from_the_spool_that_wrote_it() -> None:
    left = Left()
    member = left.again(spool=True)
    asked = starts(member)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert asked == [6], "nothing is read again"
    assert member.notes()[0] == "seal 1 pending"
    assert left.world.committed() == commit_for(left.world.chain())
    assert [file.rows for file in member.partition.spool.files] == [2]
    left.world.due(1)
    member.until(lambda: left.world.published() == [-1, 0, 1])
    assert left.world.objects()["1/6"] == ["r1,2026-03-02", "r4,2026-03-02"]


def test_a_spool_that_says_other_rows_is_set_aside_and_the_log_read_again() -> None:
    left = Left()
    raw = orjson.loads(opened_text(left.disk.documents["t-0"]))
    raw["files"][1]["rows"] = 2
    left.disk.documents["t-0"] = sealed_text(orjson.dumps(raw))
    member = left.again(spool=True)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert any("has other rows than seal 1" in note for note in member.notes())
    assert left.disk.aside


def test_days_dropped_before_the_seal_are_read_again_after_it() -> None:
    world, disk = World(), RoughDisk()
    first = settled(world, -1, disk=disk)
    world.write(0, "r0")
    world.write(1, "r1")
    first.calm()
    first.partition.intake.make_room(day(0))
    world.store.before = failing(TransientError("down"), times=1000, call="put", key="s/dt=")
    world.due(0)
    first.until(lambda: world.chain().head.n == 1)
    first.turn(3)
    first.crash()
    world.store.before = lambda call, key: None
    member = Member(world, disk=disk).start()
    asked = starts(member)
    member.until(lambda: world.published() == [-1, 0])
    member.calm()
    assert asked == [1]
    assert world.objects() == {"0/2": ["r0,2026-03-01"]}
    assert [file.day for file in member.partition.spool.files] == [day(1)]


# From the log


def test_without_the_spool_its_rows_are_read_again_and_nothing_else() -> None:
    left = Left()
    left.world.write(0, "late")
    member = left.again(spool=False)
    asked = starts(member)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert asked == [0, 1], "the seal's rows, then on from its resume offset"
    assert "seal 1 pending, its rows are read again" in member.notes()
    left.world.due(1)
    member.until(lambda: left.world.published() == [-1, 0, 1])
    assert left.world.objects() == {
        **ROWS,
        "0/7": ["late,2026-03-01"],
        "1/7": ["r1,2026-03-02", "r4,2026-03-02"],
    }


def test_it_is_rebuilt_by_the_settings_that_decided_it() -> None:
    """Today's drop every row; the pending seal's are in the bucket, and its columns stay."""
    left = Left()
    member = left.again(spool=False, rules=rows.rules("t", keep=(), shape=rows.SHAPES[1]))
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert left.world.manifest(0)["columns"] == ["id", "at"]
    assert member.halts() == []


def test_it_is_rebuilt_with_the_columns_that_its_record_names_whatever_the_folder_has_become() -> None:
    """Another worker's settings gave the folder a column meanwhile: the pending object's header stays."""
    left = Left()
    assert claim_columns(left.world.store, "s", ("id", "at", "kind"), day(1), day(1))
    member = left.again(spool=False, rules=rows.rules("t", shape=("id", "kind", "at")))
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert left.world.manifest(0)["columns"] == ["id", "at"]
    left.world.due(1)
    member.until(lambda: left.world.published() == [-1, 0, 1])
    assert left.world.manifest(1)["columns"] == ["id", "at", "kind"]
    assert left.world.objects()["1/6"] == ["r1,2026-03-02,", "r4,2026-03-02,"], "their record knew no kind"


def test_a_spool_of_fewer_columns_than_the_folder_has_by_now_is_kept() -> None:
    left = Left()
    assert claim_columns(left.world.store, "s", ("id", "at", "kind"), day(1), day(1))
    member = left.again(spool=True)
    asked = starts(member)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert asked == [6], "nothing is read again"
    left.world.due(1)
    member.until(lambda: left.world.published() == [-1, 0, 1])
    assert left.world.manifest(1)["columns"] == ["id", "at"]


def test_each_offset_is_rebuilt_by_the_settings_of_the_record_that_covers_it() -> None:
    """Record 0 kept all kinds, record 1 (pending) only `a`, today's keep none: three judges are at work."""
    world = World()
    world.write(0, "r0", kind="b")
    world.write(-1, "r1", kind="b")
    first = settled(world, -1)
    first.crash()
    world.write(0, "r2", kind="b")
    world.write(0, "r3", kind="a")
    second = Member(world, rules=rows.rules("t", keep=("a",))).start()
    second.calm()
    world.store.before = failing(TransientError("down"), times=1000, call="put", key="s/dt=")
    world.due(0)
    second.until(lambda: world.chain().head.n == 1)
    second.crash()
    world.store.before = lambda call, key: None
    third = Member(world, rules=rows.rules("t", keep=())).start()
    third.until(lambda: world.published() == [-1, 0])
    assert third.halts() == []
    assert world.objects() == {"-1/2": ["r1,2026-02-28"], "0/4": ["r0,2026-03-01", "r3,2026-03-01"]}


def test_without_a_gap_an_object_of_fewer_rows_does_not_finish_a_seal() -> None:
    left = Left()
    key = "s/dt=2026-03-01/t-0-00000000000000000006.csv"
    facts = {"topic": "t", "partition": "0", "rows": "2", "first-offset": "0", "last-offset": "2"}
    put(left.world.store, key, b"id,at\nr0,2026-03-01\nr2,2026-03-01\n", facts)
    put(left.world.store, key.replace("03-01", "02-28"), b"", {**facts, "rows": "0"})
    member = left.again(spool=False)
    member.until(lambda: member.halts() == [HaltReason.OBJECT_MISMATCH])
    assert left.world.published() == [-1]


def test_what_a_rebuild_reads_is_not_in_the_next_records_counts() -> None:
    left = Left()
    member = left.again(spool=False)
    member.until(lambda: left.world.published() == [-1, 0])
    left.world.write(1)
    left.world.due(1)
    member.until(lambda: len(member.sealed()) == 2)
    assert member.sealed()[-1].counts.read == 1


def test_a_rebuild_in_batches_of_one() -> None:
    left = Left()
    member = Member(left.world)
    member.broker.batch = 1
    member.start()
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS


def test_a_rebuild_interrupted_by_a_crash_begins_anew() -> None:
    left = Left()
    disk = RoughDisk()
    member = Member(left.world, disk=disk)
    member.broker.batch = 1
    member.start()
    member.turn(4)
    assert member.partition.phase.activity is Activity.REBUILDING
    member.partition.checkpoint()
    member.crash()
    again = Member(left.world, disk=disk).start()
    asked = starts(again)
    again.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS
    assert asked[0] == 0, "a half rebuilt spool is worth nothing"


def test_objects_that_stand_already_are_left() -> None:
    left = Left()
    member = left.again(spool=True)
    left.world.store.before = failing(TransientError("down"), times=1000, call="put", key="dt=2026-03-01")
    member.turn(20)
    assert list(left.world.objects()) == ["-1/6"]
    member.crash()
    left.world.store.before = lambda call, key: None
    third = left.again(spool=False)
    third.until(lambda: left.world.published() == [-1, 0])
    assert [event.written for event in third.heard(ObjectUploaded)] == [False, True]
    assert left.world.objects() == ROWS


# Rows that vanished


def vanished(left: Left, *, spool: bool = False) -> str:
    """The halt's message, told again and again while the reason stays, and nothing committed."""
    before = left.world.committed()
    member = left.again(spool=spool)
    member.until(lambda: HaltReason.ROWS_VANISHED in member.halts())
    member.turn(30, seconds=HALT_SECONDS / 2)
    assert member.halts() == [HaltReason.ROWS_VANISHED], "told once, not with each look"
    assert left.world.objects() == {}
    assert left.world.committed() == before
    member.until(lambda: member.partition.phase.halt)
    halted = member.partition.phase.halt
    assert isinstance(halted, HaltError)
    assert "restore the spool of the worker that decided it, or the records" in halted.message
    assert "reading offsets 0 to 6 again for seal 1" in halted.message
    return halted.message


def test_fewer_rows_than_the_record_says_halt() -> None:
    left = Left()
    left.world.log().compact([2])
    assert "gives 2 rows of 2026-03-01, but the seal says 3" in vanished(left)


def test_a_day_that_vanished_whole_halts() -> None:
    left = Left()
    left.world.log().compact([3])
    assert "gives 0 rows of 2026-02-28, but the seal says 1" in vanished(left)


def test_as_many_rows_at_other_offsets_halt() -> None:
    left = Left()
    left.edit(lambda raw: raw["objects"][1].update(last_offset=4))
    assert "rows 0 to 5 of 2026-03-01, but the seal says others" in vanished(left)


def test_rows_of_a_day_that_the_record_does_not_name_halt() -> None:
    left = Left()
    left.edit(lambda raw: raw["objects"].pop(0))
    assert "gives 1 rows of 2026-02-28, a day that is not in the seal" in vanished(left)


def test_the_spool_finishes_what_the_log_no_longer_gives() -> None:
    left = Left()
    left.world.log().compact([2])
    member = left.again(spool=True)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == ROWS


def test_records_that_come_back_end_the_halt() -> None:
    left = Left()
    log = left.world.log()
    kept = list(log._records)
    log.compact([2])
    member = left.again(spool=False)
    member.until(lambda: HaltReason.ROWS_VANISHED in member.halts())
    log._records[:] = kept
    member.until(lambda: left.world.published() == [-1, 0])
    assert member.halts()[-1] is None
    assert left.world.objects() == ROWS


# Gaps


def test_a_hole_over_it_halts_with_the_command_and_a_gap_lets_it_go_on() -> None:
    left = Left()
    left.world.log().delete_below(2)
    member = left.again(spool=False)
    member.until(lambda: member.halts() == [HaltReason.RETENTION_HOLE])
    assert member.partition.phase.halt is not None
    assert member.partition.phase.halt.message.endswith("adapty-sink accept-gap t:0 0 2")
    left.accept_gap(0, 2)
    member.until(lambda: left.world.published() == [-1, 0])
    assert member.halts() == [HaltReason.RETENTION_HOLE, None]
    assert left.world.objects() == {"-1/6": ["r3,2026-02-28"], "0/6": ["r2,2026-03-01", "r5,2026-03-01"]}
    head = left.world.store.head("s/dt=2026-03-01/t-0-00000000000000000006.csv")
    assert head is not None
    assert {name: head.metadata[name] for name in ("rows", "first-offset", "last-offset")} == {
        "rows": "2",
        "first-offset": "2",
        "last-offset": "5",
    }
    assert left.world.committed() == commit_for(left.world.chain())
    left.world.due(1)
    member.until(lambda: left.world.published() == [-1, 0, 1])
    assert left.world.objects()["1/6"] == ["r4,2026-03-02"]
    assert left.world.manifest(0)["why"] == left.world.manifest(1)["why"] == ["gap"]


def test_a_day_whose_rows_all_fell_into_the_gap_keeps_its_header() -> None:
    left = Left()
    left.world.log().delete_below(4)
    left.accept_gap(0, 4)
    member = left.again(spool=False)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == {"-1/6": [], "0/6": ["r5,2026-03-01"]}
    assert left.world.store.content("s/dt=2026-02-28/t-0-00000000000000000006.csv") == b"id,at\n"
    head = left.world.store.head("s/dt=2026-02-28/t-0-00000000000000000006.csv")
    assert head is not None
    assert (head.metadata["rows"], head.metadata["first-offset"], head.metadata["last-offset"]) == ("0", "", "")


TODAY = "s/dt=2026-03-01/t-0-00000000000000000006.csv"


def facts(rows: int, first: int) -> dict[str, str]:
    return {"topic": "t", "partition": "0", "rows": str(rows), "first-offset": str(first), "last-offset": "5"}


def test_under_a_gap_what_another_worker_put_whole_is_as_good() -> None:
    left = Left()
    put(left.world.store, TODAY, b"id,at\nr0,2026-03-01\nr2,2026-03-01\nr5,2026-03-01\n", facts(3, 0))
    left.world.log().delete_below(2)
    left.accept_gap(0, 2)
    member = left.again(spool=False)
    member.until(lambda: left.world.published() == [-1, 0])
    assert member.halts() == []
    assert left.world.manifest(0)["rows"] == 3
    assert not left.world.manifest(0)["complete"]


def test_under_a_gap_more_rows_than_the_record_says_are_a_mismatch() -> None:
    left = Left()
    put(left.world.store, TODAY, b"id,at\n" + b"x,2026-03-01\n" * 4, facts(4, 0))
    left.world.log().delete_below(2)
    left.accept_gap(0, 2)
    member = left.again(spool=False)
    member.until(lambda: member.halts() == [HaltReason.OBJECT_MISMATCH])


def test_a_gap_that_came_while_it_uploaded_is_no_mismatch() -> None:
    """Another worker has finished the seal with the rows that were left, and this one does not know of the gap yet."""
    left = Left()

    def meanwhile(call: str, key: str) -> None:
        if (call, key) == ("put", TODAY):
            left.world.store.before = lambda call, key: None
            left.world.log().delete_below(2)
            left.accept_gap(0, 2)
            put(left.world.store, TODAY, b"id,at\nr2,2026-03-01\nr5,2026-03-01\n", facts(2, 2))

    left.world.store.before = meanwhile
    member = left.again(spool=True)
    member.until(lambda: left.world.published() == [-1, 0])
    assert member.halts() == []
    assert left.world.manifest(0)["rows"] == 2


def test_the_manifest_says_what_the_objects_under_a_gap_hold() -> None:
    left = Left()
    left.world.log().delete_below(2)
    left.accept_gap(0, 2)
    left.again(spool=False).until(lambda: left.world.published() == [-1, 0])
    (item,) = left.world.manifest(0)["objects"]
    assert (item["rows"], item["first_offset"], item["last_offset"]) == (2, 2, 5)
    assert left.world.manifest(0)["rows"] == 2
    listed = orjson.loads(left.world.store.content("s/_days.json"))["days"]
    told = {name: listed[-1][name] for name in ("day", "revision", "rows", "complete")}
    assert told == {"day": "2026-03-01", "revision": 1, "rows": 2, "complete": False}
    before = {facts.key: facts.etag for facts in left.world.store.list("")}
    left.again(spool=False).calm()
    assert {facts.key: facts.etag for facts in left.world.store.list("")} == before


def test_an_object_under_a_gap_that_was_moved_stays_in_the_manifest_as_it_was() -> None:
    left = Left()
    left.world.log().delete_below(2)
    left.accept_gap(0, 2)
    left.again(spool=False).until(lambda: left.world.published() == [-1, 0])
    manifest = left.world.manifest(0)
    left.world.store.delete(manifest["objects"][0]["key"])
    left.again(spool=False).calm()
    assert left.world.manifest(0) == manifest


def test_a_seal_under_a_gap_whose_first_offset_it_does_not_take_tells_its_days() -> None:
    """Start and resume are the same offset, a row of tomorrow: the day lacks rows all the same."""
    left = Left(first=1)
    assert left.world.chain().head.start == left.world.chain().head.resume == 0
    left.world.log().delete_below(3)
    left.accept_gap(0, 3)
    left.again(spool=False).until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects()["0/7"] == ["r3,2026-03-01", "r6,2026-03-01"]
    assert left.world.manifest(0)["why"] == ["gap"]


def test_a_gap_over_all_of_it_leaves_headers() -> None:
    left = Left()
    for _ in range(4):
        left.world.write(1, "behind")
    left.world.log().delete_below(8)
    left.accept_gap(0, 8)
    member = left.again(spool=False)
    member.until(lambda: left.world.published() == [-1, 0])
    assert left.world.objects() == {"-1/6": [], "0/6": []}
    assert left.world.committed() == commit_for(left.world.chain())
    assert left.world.chain().head.resume == 8


def test_a_finished_seal_under_a_gap_is_not_rebuilt_by_the_next_worker() -> None:
    left = Left()
    left.world.log().delete_below(2)
    left.accept_gap(0, 2)
    left.again(spool=False).until(lambda: left.world.published() == [-1, 0])
    left.world.group.committed.clear()
    third = left.again(spool=False)
    third.calm()
    assert not any("pending" in note for note in third.notes())


def test_retention_that_overtakes_a_rebuild_halts() -> None:
    left = Left()
    member = Member(left.world)
    member.broker.batch = 1
    member.start()
    member.until(lambda: member.worker.partitions and member.partition.phase.activity is Activity.REBUILDING)
    left.world.log().delete_below(5)
    member.until(lambda: member.halts() == [HaltReason.RETENTION_HOLE])
    assert member.partition.phase.activity is Activity.WAITING
    assert left.world.objects() == {}
    assert member.partition.phase.halt is not None
    assert "accept-gap t:0 0 5" in member.partition.phase.halt.message
