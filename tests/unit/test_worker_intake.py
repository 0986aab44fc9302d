"""Taking records in: in order, through outages and a full disk, and never past what was not read."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from consumer.domain.batches import Counts, RawBatch
from consumer.domain.errors import TransientError
from consumer.domain.offsets import Span
from consumer.seal.chain import Chain
from consumer.source.port import Broker, EndReached, Lease, OutOfRange, Records
from consumer.spool.checkpoint import Basis, Progress
from consumer.spool.files import PartitionSpool
from consumer.worker.ahead import AtOnce
from consumer.worker.intake import STALL_SECONDS, Intake
from consumer.worker.lens import Lens
from tests.simulation import rows
from tests.unit.bench import Member, Moods, MoodyJudge, World
from tests.unit.chains import ONE, at, chain_of, day
from tests.unit.rough import RoughDisk, fails

LEASE = Lease(ONE, 7)
RULES = rows.rules("t")
DOWN = TransientError("registry: no answer")


class Orders:
    """What a broker was told to do with the lease."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def start(self, lease: Lease, offset: int) -> None:
        self.given.append(f"start {offset}")

    def pause(self, lease: Lease) -> None:
        self.given.append("pause")

    def resume(self, lease: Lease) -> None:
        self.given.append("resume")

    def delivers(self) -> bool:
        """As the port has it: a pause outlasts a start."""
        last = [order for order in self.given if order in {"pause", "resume"}]
        return any(order.startswith("start") for order in self.given) and last[-1:] != ["pause"]


class Desk:
    """An intake and what it works with."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.world = World()
        self.disk = RoughDisk()
        self.member = Member(self.world, disk=self.disk)
        self.told, self.moods = self.member.told, self.member.moods
        self.orders = Orders()
        self.desk = self.member.desks["s"]
        self.desk.broker = cast("Broker", self.orders)
        self.spool = PartitionSpool(self.disk, ONE)
        self.spool.begin(Basis("id-1", "today", "", -1, 0), 0)
        self.intake = Intake(self.desk, LEASE, self.spool)
        self.chain = chain or Chain()

    def lens(self) -> Lens:
        judge = MoodyJudge(RULES, self.moods)
        return Lens(self.chain, {"today": judge, RULES.digest: judge}, "today", judge.columns)

    def open(self, position: int = 0) -> None:
        self.spool.begin(Basis("id-1", "today", "", -1, position), position)
        self.intake.open(self.lens(), position)

    def receive(self, *numbers: int | None, start: int | None = None, span: Span | None = None) -> None:
        """Records of these days (None: one that cannot become a row), from `start` on."""
        first = self.intake.position if start is None else start
        offsets = list(range(first, first + len(numbers)))
        values: list[bytes | None] = [
            b"junk" if number is None else rows.value(f"r{offset}", "a", day(number))
            for number, offset in zip(numbers, offsets, strict=True)
        ]
        stamp = int(self.world.clock.now().timestamp() * 1000)
        batch = RawBatch(
            ONE,
            span or Span(first, first + len(numbers)),
            offsets,
            [stamp] * len(numbers),
            values,
            [None] * len(numbers),
        )
        self.intake.receive(Records(LEASE, batch))

    def full(self) -> bool:
        return self.intake.full

    def stalled(self) -> TransientError | None:
        return self.intake.stalled

    def held(self) -> dict[int, str]:
        """The rows of each day in the spool."""
        return {
            (file.day - day(0)).days: bytes(self.disk.files[file.name][: file.length]).decode()
            for file in self.spool.files
            if not file.quarantine
        }


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.open()
    return made


# Reading


def test_records_go_to_their_days_and_the_position_moves(desk: Desk) -> None:
    desk.receive(0, 1, 0)
    desk.receive(1, None)
    assert desk.held() == {0: "r0,2026-03-01\nr2,2026-03-01\n", 1: "r1,2026-03-02\nr3,2026-03-02\n"}
    assert desk.intake.position == 5
    assert desk.spool.progress.counts == Counts(read=5, kept=4, quarantined=1)
    assert [file.rows for file in desk.spool.files if file.quarantine] == [1]


def test_the_first_timestamp_is_that_of_the_first_record_read(desk: Desk) -> None:
    first = int(desk.world.clock.now().timestamp() * 1000)
    desk.receive(0)
    desk.world.clock.advance(60)
    desk.receive(0)
    assert desk.spool.progress.first_timestamp == first


def test_holes_between_records_are_passed(desk: Desk) -> None:
    """Compaction, transaction markers: the span says what was consumed."""
    desk.receive(0, span=Span(0, 9))
    assert desk.intake.position == 9
    desk.receive(0, start=15, span=Span(9, 16))
    assert desk.intake.position == 16
    assert desk.held() == {0: "r0,2026-03-01\nr15,2026-03-01\n"}


def test_an_end_mark_moves_the_position_over_what_is_not_readable(desk: Desk) -> None:
    desk.receive(0)
    desk.intake.receive(EndReached(LEASE, 12))
    assert desk.intake.position == 12
    assert desk.spool.progress.counts.read == 1
    desk.intake.receive(EndReached(LEASE, 5))
    assert desk.intake.position == 12


def test_what_came_twice_is_taken_once(desk: Desk) -> None:
    desk.receive(0, 0, 0)
    desk.receive(0, 0, 0, 0, start=1)
    assert desk.held() == {0: "".join(f"r{n},2026-03-01\n" for n in range(5))}
    desk.receive(0, 0, start=0)
    assert desk.intake.position == 5
    assert desk.spool.progress.counts.read == 5


def test_a_jump_is_not_read_over(desk: Desk) -> None:
    desk.receive(0)
    desk.receive(0, start=5)
    assert desk.intake.lost == "delivery jumped from 1 to 5"
    assert desk.intake.position == 1
    assert desk.held() == {0: "r0,2026-03-01\n"}


def test_nothing_that_follows_a_jump_moves_the_position(desk: Desk) -> None:
    """An end mark behind the hole would step over it, and the next checkpoint would make that last."""
    desk.receive(0)
    desk.receive(0, start=5)
    desk.intake.receive(EndReached(LEASE, 9))
    desk.receive(0, start=1)
    desk.intake.drain()
    assert desk.intake.position == 1
    assert desk.intake.lost == "delivery jumped from 1 to 5"
    desk.open(1)
    desk.receive(0)
    assert desk.intake.position == 2


def test_a_position_outside_the_log_is_lost(desk: Desk) -> None:
    desk.intake.receive(OutOfRange(LEASE, "offset 0 is not in [9, 20]"))
    assert desk.intake.lost == "offset 0 is not in [9, 20]"
    desk.open(9)
    assert desk.intake.lost == ""
    desk.receive(0)
    assert desk.intake.position == 10


def test_opening_elsewhere_forgets_what_was_on_its_way(desk: Desk) -> None:
    desk.intake.shut()
    desk.receive(0, 0)
    desk.open(40)
    assert desk.intake.position == 40
    assert desk.held() == {}
    desk.receive(0)
    assert desk.held() == {0: "r40,2026-03-01\n"}


def test_rows_that_a_seal_took_are_passed_and_counted() -> None:
    desk = Desk(chain_of({"settings": RULES.digest, "through": 3}))
    desk.open()
    desk.receive(0, 1, 0, 0)
    assert desk.held() == {0: "r3,2026-03-01\n", 1: "r1,2026-03-02\n"}
    told = [(judged.span, sealed) for judged, sealed in desk.told.all("judged")]
    assert told == [(Span(0, 3), 2), (Span(3, 4), 0)]


def test_only_what_no_record_covers_is_counted_for_the_next() -> None:
    desk = Desk(chain_of({"settings": RULES.digest, "through": 3}))
    desk.open()
    desk.receive(0, 1, None, 0, None)
    assert desk.spool.progress.counts == Counts(read=2, kept=1, quarantined=1)


def test_unknown_schemas_are_remembered_with_the_offset_after_the_last_record(desk: Desk) -> None:
    for offset, schema in enumerate([17, 0, 18, 17]):
        value = rows.value("x", "a", day(0), schema)
        desk.intake.receive(Records(LEASE, RawBatch(ONE, Span(offset, offset + 1), [offset], [0], [value], [None])))
    assert desk.spool.progress.unknown_schemas == {17: 4, 18: 3}


# Judged ahead


@pytest.fixture
def ahead(desk: Desk) -> Desk:
    desk.desk.ahead = AtOnce(depth=1)
    return desk


def test_the_newest_batch_is_left_while_more_comes(ahead: Desk) -> None:
    ahead.receive(0)
    assert (ahead.intake.position, ahead.intake.judging) == (0, True)
    ahead.receive(0, start=1)
    assert ahead.intake.position == 1
    assert not ahead.intake.drain(), "something came since the last time"
    assert ahead.intake.drain(), "nothing came since"
    assert (ahead.intake.position, ahead.intake.judging) == (2, False)
    assert ahead.held() == {0: "r0,2026-03-01\nr1,2026-03-01\n"}


def test_what_waits_was_judged_when_it_came(ahead: Desk) -> None:
    ahead.receive(0)
    ahead.moods.trouble = AssertionError("judged again")
    ahead.intake.drain()
    assert ahead.intake.drain()
    assert ahead.intake.position == 1


def test_a_judgement_by_a_lens_that_is_gone_does_not_count(ahead: Desk) -> None:
    ahead.receive(0, 0, 0)
    ahead.intake.shut()
    ahead.chain = chain_of({"settings": RULES.digest, "through": 2})
    ahead.intake.reopen(ahead.lens())
    ahead.intake.drain()
    ahead.intake.drain()
    assert ahead.held() == {0: "r2,2026-03-01\n"}


def test_a_judgement_from_before_room_was_made_does_not_count(ahead: Desk) -> None:
    ahead.receive(0, 1)
    ahead.intake.make_room(day(0))
    ahead.intake.drain()
    ahead.intake.drain()
    assert ahead.held() == {0: "r0,2026-03-01\n"}
    assert ahead.spool.progress.dropped == {day(1): 1}


def test_what_overlaps_is_judged_again_without_it(ahead: Desk) -> None:
    ahead.receive(0, 0)
    ahead.receive(0, 0, start=1)
    ahead.intake.drain()
    ahead.intake.drain()
    assert ahead.held() == {0: "r0,2026-03-01\nr1,2026-03-01\nr2,2026-03-01\n"}


def test_an_outage_met_ahead_is_over_for_all_that_waits(ahead: Desk) -> None:
    ahead.moods.trouble = DOWN
    for start in range(3):
        ahead.receive(0, start=start)
    assert ahead.stalled() is DOWN
    assert not ahead.intake.judging
    ahead.moods.trouble = None
    ahead.world.clock.advance(STALL_SECONDS)
    ahead.intake.drain()
    ahead.intake.drain()
    assert (ahead.stalled(), ahead.intake.position) == (None, 3)


def test_opened_elsewhere_it_forgets_what_was_judged(ahead: Desk) -> None:
    ahead.receive(0)
    ahead.open(40)
    ahead.intake.drain()
    ahead.intake.drain()
    assert (ahead.intake.position, ahead.held()) == (40, {})


# Shut, held


def test_what_arrives_while_shut_waits_in_order(desk: Desk) -> None:
    desk.intake.shut()
    desk.receive(0, start=0)
    desk.receive(1, start=1)
    desk.intake.receive(EndReached(LEASE, 5))
    assert desk.intake.position == 0
    assert not desk.orders.delivers()
    desk.intake.reopen(desk.lens())
    assert desk.intake.drain()
    assert desk.intake.position == 5
    assert not desk.intake.drain()
    assert desk.orders.delivers()


def test_held_it_takes_nothing_in(desk: Desk) -> None:
    desk.intake.hold(held=True)
    desk.receive(0, start=0)
    assert desk.intake.position == 0
    assert not desk.orders.delivers()
    desk.intake.hold(held=False)
    assert desk.orders.delivers()
    desk.intake.drain()
    assert desk.intake.position == 1


def test_the_broker_is_told_once_for_each_change(desk: Desk) -> None:
    desk.orders.given.clear()
    for _ in range(3):
        desk.intake.hold(held=False)
        desk.intake.drain()
    assert desk.orders.given == []
    desk.intake.hold(held=True)
    desk.intake.hold(held=True)
    desk.intake.shut()
    desk.intake.hold(held=False)
    assert desk.orders.given == ["pause"]
    desk.intake.reopen(desk.lens())
    assert desk.orders.given == ["pause", "resume"]


def test_opening_again_after_it_was_shut_delivers(desk: Desk) -> None:
    """A pause outlasts a start: a new place alone would deliver nothing."""
    desk.intake.shut()
    desk.open(5)
    assert desk.orders.delivers()
    assert desk.told.all("paused")[-1] is None


def test_opening_while_held_waits(desk: Desk) -> None:
    desk.intake.hold(held=True)
    desk.open(5)
    assert not desk.orders.delivers()
    desk.intake.hold(held=False)
    assert desk.orders.delivers()


def test_why_it_is_paused_is_told(desk: Desk) -> None:
    desk.intake.hold(held=True)
    desk.intake.hold(held=False)
    desk.intake.shut()
    desk.intake.reopen(desk.lens())
    desk.moods.trouble = DOWN
    desk.receive(0)
    desk.moods.trouble = None
    desk.world.clock.advance(STALL_SECONDS)
    desk.intake.drain()
    desk.disk.capacity = 0
    desk.receive(0)
    assert [reason for reason in desk.told.all("paused") if reason] == ["spool", "sealing", "outage", "spool"]


# Outages


def test_a_registry_out_of_reach_stalls_and_is_asked_again(desk: Desk) -> None:
    desk.moods.trouble = DOWN
    desk.receive(0)
    desk.receive(0, start=1)
    assert desk.stalled() is DOWN
    assert not desk.full()
    assert desk.intake.position == 0
    assert not desk.orders.delivers()
    desk.moods.trouble = None
    assert not desk.intake.drain(), "not before a second has passed"
    desk.world.clock.advance(STALL_SECONDS)
    assert desk.intake.drain()
    assert desk.intake.position == 2
    assert desk.stalled() is None
    assert desk.orders.delivers()
    assert desk.told.all("outage") == [DOWN, None]


def test_an_outage_that_lasts_is_asked_about_once_a_second(desk: Desk) -> None:
    desk.moods.trouble = DOWN
    desk.receive(0)
    for _ in range(10):
        desk.world.clock.advance(STALL_SECONDS / 2)
        assert not desk.intake.drain()
    assert len(desk.told.all("outage")) == 1 + 5
    assert desk.intake.position == 0


def test_held_it_does_not_ask_the_registry(desk: Desk) -> None:
    desk.moods.trouble = DOWN
    desk.receive(0)
    desk.moods.trouble = None
    desk.intake.hold(held=True)
    desk.world.clock.advance(STALL_SECONDS)
    assert not desk.intake.drain()
    assert desk.intake.position == 0


def test_nothing_of_a_batch_is_taken_before_all_of_it_is_judged() -> None:
    """Its first half is below the head, its second half above: the registry fails in between."""
    desk = Desk(chain_of({"settings": RULES.digest, "through": 2}))
    desk.open()
    below, above = MoodyJudge(RULES, Moods()), MoodyJudge(RULES, Moods(trouble=DOWN))
    lens = Lens(desk.chain, {RULES.digest: below, "today": above}, "today", below.columns)
    desk.intake.open(lens, 0)
    desk.receive(1, 1, 1, 1)
    assert desk.intake.position == 0
    assert desk.held() == {}
    assert desk.told.all("judged") == [], "counted once, when it is taken"


# A full disk


def test_a_full_disk_stalls_and_one_batch_is_tried_again_even_held(desk: Desk) -> None:
    desk.receive(0)
    desk.disk.capacity = desk.spool.size + 3
    desk.receive(0)
    assert desk.full()
    assert desk.intake.position == 1
    assert desk.held() == {0: "r0,2026-03-01\n"}
    desk.intake.hold(held=True)
    desk.world.clock.advance(STALL_SECONDS)
    assert not desk.intake.drain(), "still full"
    desk.disk.capacity = 1 << 20
    desk.world.clock.advance(STALL_SECONDS)
    assert desk.intake.drain()
    assert desk.intake.position == 2
    assert not desk.full()
    assert not desk.orders.delivers(), "held it stays"


def test_what_the_disk_took_of_a_record_is_cut_away(desk: Desk) -> None:
    line = len("r0,2026-03-01\n")
    desk.disk.capacity = line + 4
    desk.receive(0, 1)
    assert desk.held() == {0: "r0,2026-03-01\n"}
    assert desk.disk.free_bytes() == 4
    desk.disk.capacity = 2 * line
    desk.world.clock.advance(STALL_SECONDS)
    desk.intake.drain()
    assert desk.held() == {0: "r0,2026-03-01\n", 1: "r1,2026-03-02\n"}


def test_a_disk_that_fails_otherwise_is_waited_for_too(desk: Desk) -> None:
    desk.disk.at = fails("before append")
    desk.receive(0)
    assert desk.full()
    assert "Input/output error" in str(desk.stalled())
    desk.disk.at = lambda call: None
    desk.world.clock.advance(STALL_SECONDS)
    assert desk.intake.drain()


def test_a_file_that_cannot_be_cut_back_is_given_up_and_nothing_more_is_taken(desk: Desk) -> None:
    desk.receive(0)
    desk.disk.capacity = desk.spool.size + 3
    desk.disk.at = fails("before truncate")
    desk.receive(0)
    assert "cannot be cut back" in desk.intake.lost
    desk.disk.capacity = 1 << 20
    desk.intake.receive(EndReached(LEASE, 9))
    desk.receive(0, start=1)
    desk.intake.drain()
    assert desk.intake.position == 1
    assert desk.held() == {0: "r0,2026-03-01\n"}


# Days let go of


def test_days_above_the_cutoff_are_let_go_of_and_remembered(desk: Desk) -> None:
    desk.receive(0, 1, 0, 1)
    desk.intake.make_room(day(0))
    assert desk.held() == {0: "r0,2026-03-01\nr2,2026-03-01\n"}
    assert desk.spool.progress.dropped == {day(1): 1}
    desk.receive(1, 0, 2)
    assert desk.held() == {0: "r0,2026-03-01\nr2,2026-03-01\nr5,2026-03-01\n"}
    assert desk.spool.progress.dropped == {day(1): 1}, "day 2 is too far ahead of its record: quarantine of day 0"
    assert desk.intake.position == 7
    assert desk.spool.progress.counts == Counts(read=7, kept=6, quarantined=1)


def test_the_first_offset_of_a_day_never_held_is_remembered(desk: Desk) -> None:
    desk.intake.make_room(day(-1))
    desk.receive(-1, 0, 0, 1)
    assert desk.spool.progress.dropped == {day(0): 1, day(1): 3}


def test_days_absurdly_far_ahead_stay_as_they_go_with_the_next_seal(desk: Desk) -> None:
    today = desk.world.clock.now().date()
    assert today == day(0)
    desk.intake.make_room(day(-1))
    stamp = int(at(0).timestamp() * 1000)
    for offset, number in enumerate([2, 3]):
        value = rows.value("x", "f", day(number))
        desk.intake.receive(Records(LEASE, RawBatch(ONE, Span(offset, offset + 1), [offset], [stamp], [value], [None])))
    assert list(desk.held()) == [3]
    assert today + timedelta(days=2) == day(2)
    assert desk.spool.progress.dropped == {day(2): 0}


def test_an_intake_that_was_never_opened_takes_nothing() -> None:
    desk = Desk()
    desk.receive(0)
    assert desk.intake.position == 0
    assert desk.spool.progress == Progress(0)
    desk.intake.shut()
    desk.intake.hold(held=True)
    assert desk.orders.given == []


def test_of_a_batch_larger_than_the_room_is_taken_what_fits(desk: Desk) -> None:
    desk.disk.capacity = 40  # two rows of 14 bytes
    desk.receive(0, 0, 0, 0, 0)
    assert desk.full()
    assert desk.held() == {0: "r0,2026-03-01\nr1,2026-03-01\n"}
    assert desk.intake.position == 2
    desk.disk.capacity = 1 << 20
    desk.world.clock.advance(STALL_SECONDS)
    desk.intake.drain()
    assert desk.held()[0].split() == [f"r{offset},2026-03-01" for offset in range(5)]
    assert desk.intake.position == 5
    assert desk.spool.progress.counts == Counts(read=5, kept=5)


def test_a_record_that_does_not_fit_waits_alone(desk: Desk) -> None:
    desk.disk.capacity = 5
    desk.receive(0)
    assert desk.full()
    assert desk.intake.position == 0
    desk.disk.capacity = 14
    desk.world.clock.advance(STALL_SECONDS)
    assert desk.intake.drain()
    assert desk.intake.position == 1
