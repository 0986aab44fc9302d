"""Taking records in: in order, through outages and a full disk, and never past what was not read."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import cast

import pytest

from consumer.domain.batches import Counts, RawBatch
from consumer.domain.errors import TransientError
from consumer.domain.offsets import Lease, Span
from consumer.seal.chain import Chain
from consumer.shape.transform import make_transformer
from consumer.source.port import Broker, EndReached, OutOfRange, Records
from consumer.spool.checkpoint import ReadProgress, SpoolBasis
from consumer.spool.files import PartitionSpool
from consumer.streams.rules import Format, RowRules
from consumer.worker.events import BatchTaken
from consumer.worker.intake import STALL_SECONDS, Intake
from consumer.worker.offset_rules import OffsetRules
from tests.builders.bench import Member, Moods, MoodyTransformer, World
from tests.builders.chains import ONE, at, chain_of, day
from tests.builders.rough import RoughDisk, fails
from tests.simulation import rows

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


class StreamContext:
    """An intake and what it works with."""

    def __init__(self, chain: Chain | None = None) -> None:
        self.world = World()
        self.disk = RoughDisk()
        self.member = Member(self.world, disk=self.disk)
        self.moods = self.member.moods
        self.heard, self.outages, self.pauses = self.member.heard, self.member.outages, self.member.pauses
        self.orders = Orders()
        self.context = self.member.contexts["s"]
        self.context.broker = cast("Broker", self.orders)
        self.spool = PartitionSpool(self.disk, ONE)
        self.spool.begin(SpoolBasis("id-1", "today", "", -1, 0), 0)
        self.intake = Intake(self.context, LEASE, self.spool)
        self.chain = chain or Chain()

    def offset_rules(self) -> OffsetRules:
        transformer = MoodyTransformer(RULES, self.moods)
        return OffsetRules(self.chain, {"today": transformer, RULES.digest: transformer}, "today", transformer.columns)

    def open(self, position: int = 0) -> None:
        self.spool.begin(SpoolBasis("id-1", "today", "", -1, position), position)
        self.intake.open(self.offset_rules(), position)

    def deliver(self, event: Records | EndReached | OutOfRange) -> None:
        """What the broker delivers, and a turn of the loop."""
        self.intake.receive(event)
        self.intake.drain()

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
        self.deliver(Records(LEASE, batch))

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
def context() -> StreamContext:
    made = StreamContext()
    made.open()
    return made


# Reading


def test_records_go_to_their_days_and_the_position_moves(context: StreamContext) -> None:
    context.receive(0, 1, 0)
    context.receive(1, None)
    assert context.held() == {0: "r0,2026-03-01\nr2,2026-03-01\n", 1: "r1,2026-03-02\nr3,2026-03-02\n"}
    assert context.intake.position == 5
    assert context.spool.progress.counts == Counts(read=5, kept=4, quarantined=1)
    assert [file.rows for file in context.spool.files if file.quarantine] == [1]


@pytest.mark.parametrize("omit", [False, True])
def test_values_that_quarantine_omits_never_reach_the_disk(context: StreamContext, omit: bool) -> None:
    transformer = make_transformer(RowRules("s", "custom", "t", Format.JSON, rows.rules("t").schema, "at"))
    context.context.bodies = replace(context.context.bodies, omit_values=omit)
    context.intake.reopen(OffsetRules(Chain(), {"today": transformer}, "today", transformer.columns))
    context.receive(None, None)
    disk = b"".join(bytes(content) for content in context.disk.files.values())
    assert disk.count(b'"reason":"undecodable"') == 2
    assert (b64encode(b"junk") in disk) is not omit
    assert (sha256(b"junk").hexdigest().encode() in disk) is omit


def test_the_first_timestamp_is_that_of_the_first_record_read(context: StreamContext) -> None:
    first = int(context.world.clock.now().timestamp() * 1000)
    context.receive(0)
    context.world.clock.advance(60)
    context.receive(0)
    assert context.spool.progress.first_timestamp == first


def test_holes_between_records_are_passed(context: StreamContext) -> None:
    """Compaction, transaction markers: the span says what was consumed."""
    context.receive(0, span=Span(0, 9))
    assert context.intake.position == 9
    context.receive(0, start=15, span=Span(9, 16))
    assert context.intake.position == 16
    assert context.held() == {0: "r0,2026-03-01\nr15,2026-03-01\n"}


def test_an_end_mark_moves_the_position_over_what_is_not_readable(context: StreamContext) -> None:
    context.receive(0)
    context.deliver(EndReached(LEASE, 12))
    assert context.intake.position == 12
    assert context.spool.progress.counts.read == 1
    context.deliver(EndReached(LEASE, 5))
    assert context.intake.position == 12


def test_what_came_twice_is_taken_once(context: StreamContext) -> None:
    context.receive(0, 0, 0)
    context.receive(0, 0, 0, 0, start=1)
    assert context.held() == {0: "".join(f"r{n},2026-03-01\n" for n in range(5))}
    context.receive(0, 0, start=0)
    assert context.intake.position == 5
    assert context.spool.progress.counts.read == 5


def test_a_jump_is_not_read_over(context: StreamContext) -> None:
    context.receive(0)
    context.receive(0, start=5)
    assert context.intake.lost == "delivery jumped from 1 to 5"
    assert context.intake.position == 1
    assert context.held() == {0: "r0,2026-03-01\n"}


def test_nothing_that_follows_a_jump_moves_the_position(context: StreamContext) -> None:
    """An end mark behind the hole would step over it, and the next checkpoint would make that last."""
    context.receive(0)
    context.receive(0, start=5)
    context.deliver(EndReached(LEASE, 9))
    context.receive(0, start=1)
    context.intake.drain()
    assert context.intake.position == 1
    assert context.intake.lost == "delivery jumped from 1 to 5"
    context.open(1)
    context.receive(0)
    assert context.intake.position == 2


def test_a_position_outside_the_log_is_lost(context: StreamContext) -> None:
    context.deliver(OutOfRange(LEASE, "offset 0 is not in [9, 20]"))
    assert context.intake.lost == "offset 0 is not in [9, 20]"
    context.open(9)
    assert context.intake.lost == ""
    context.receive(0)
    assert context.intake.position == 10


def test_opening_elsewhere_forgets_what_was_on_its_way(context: StreamContext) -> None:
    context.intake.shut()
    context.receive(0, 0)
    context.open(40)
    assert context.intake.position == 40
    assert context.held() == {}
    context.receive(0)
    assert context.held() == {0: "r40,2026-03-01\n"}


def test_rows_that_a_seal_took_are_passed_and_counted() -> None:
    context = StreamContext(chain_of({"settings": RULES.digest, "through": 3}))
    context.open()
    context.receive(0, 1, 0, 0)
    assert context.held() == {0: "r3,2026-03-01\n", 1: "r1,2026-03-02\n"}
    taken = [(event.batch.span, event.already_sealed) for event in context.heard(BatchTaken)]
    assert taken == [(Span(0, 3), 2), (Span(3, 4), 0)]


def test_only_what_no_record_covers_is_counted_for_the_next() -> None:
    context = StreamContext(chain_of({"settings": RULES.digest, "through": 3}))
    context.open()
    context.receive(0, 1, None, 0, None)
    assert context.spool.progress.counts == Counts(read=2, kept=1, quarantined=1)


def test_known_schemas_are_remembered_with_the_offset_of_the_first_record(context: StreamContext) -> None:
    context.moods.registry |= {17, 18}
    for offset, schema in enumerate([17, 0, 18, 17]):
        value = rows.value("x", "a", day(0), schema)
        context.deliver(Records(LEASE, RawBatch(ONE, Span(offset, offset + 1), [offset], [0], [value], [None])))
    assert context.spool.progress.known_schemas == {17: 0, 18: 2}


# Shut, held


def test_what_arrives_while_shut_waits_in_order(context: StreamContext) -> None:
    context.intake.shut()
    context.receive(0, start=0)
    context.receive(1, start=1)
    context.deliver(EndReached(LEASE, 5))
    assert context.intake.position == 0
    assert not context.orders.delivers()
    context.intake.reopen(context.offset_rules())
    assert context.intake.drain()
    assert context.intake.position == 5
    assert not context.intake.drain()
    assert context.orders.delivers()


def test_held_it_takes_nothing_in(context: StreamContext) -> None:
    context.intake.hold(held=True)
    context.receive(0, start=0)
    assert context.intake.position == 0
    assert not context.orders.delivers()
    context.intake.hold(held=False)
    assert context.orders.delivers()
    context.intake.drain()
    assert context.intake.position == 1


def test_the_broker_is_told_once_for_each_change(context: StreamContext) -> None:
    context.orders.given.clear()
    for _ in range(3):
        context.intake.hold(held=False)
        context.intake.drain()
    assert context.orders.given == []
    context.intake.hold(held=True)
    context.intake.hold(held=True)
    context.intake.shut()
    context.intake.hold(held=False)
    assert context.orders.given == ["pause"]
    context.intake.reopen(context.offset_rules())
    assert context.orders.given == ["pause", "resume"]


def test_opening_again_after_it_was_shut_delivers(context: StreamContext) -> None:
    """A pause outlasts a start: a new place alone would deliver nothing."""
    context.intake.shut()
    context.open(5)
    assert context.orders.delivers()
    assert context.pauses()[-1] is None


def test_opening_while_held_waits(context: StreamContext) -> None:
    context.intake.hold(held=True)
    context.open(5)
    assert not context.orders.delivers()
    context.intake.hold(held=False)
    assert context.orders.delivers()


def test_why_it_is_paused_is_told(context: StreamContext) -> None:
    context.intake.hold(held=True)
    context.intake.hold(held=False)
    context.intake.shut()
    context.intake.reopen(context.offset_rules())
    context.moods.trouble = DOWN
    context.receive(0)
    context.moods.trouble = None
    context.world.clock.advance(STALL_SECONDS)
    context.intake.drain()
    context.disk.capacity = 0
    context.receive(0)
    assert [reason for reason in context.pauses() if reason] == ["spool", "sealing", "outage", "spool"]


# Outages


def test_a_registry_out_of_reach_stalls_and_is_asked_again(context: StreamContext) -> None:
    context.moods.trouble = DOWN
    context.receive(0)
    context.receive(0, start=1)
    assert context.stalled() is DOWN
    assert not context.full()
    assert context.intake.position == 0
    assert not context.orders.delivers()
    context.moods.trouble = None
    assert not context.intake.drain(), "not before a second has passed"
    context.world.clock.advance(STALL_SECONDS)
    assert context.intake.drain()
    assert context.intake.position == 2
    assert context.stalled() is None
    assert context.orders.delivers()
    assert context.outages() == [DOWN, None]


def test_an_outage_that_lasts_is_asked_about_once_a_second(context: StreamContext) -> None:
    context.moods.trouble = DOWN
    context.receive(0)
    for _ in range(10):
        context.world.clock.advance(STALL_SECONDS / 2)
        assert not context.intake.drain()
    assert len(context.outages()) == 1 + 5
    assert context.intake.position == 0


def test_held_it_does_not_ask_the_registry(context: StreamContext) -> None:
    context.moods.trouble = DOWN
    context.receive(0)
    context.moods.trouble = None
    context.intake.hold(held=True)
    context.world.clock.advance(STALL_SECONDS)
    assert not context.intake.drain()
    assert context.intake.position == 0


def test_nothing_of_a_batch_is_taken_before_all_of_it_is_judged() -> None:
    """Its first half is below the head, its second half above: the registry fails in between."""
    context = StreamContext(chain_of({"settings": RULES.digest, "through": 2}))
    context.open()
    below, above = MoodyTransformer(RULES, Moods()), MoodyTransformer(RULES, Moods(trouble=DOWN))
    offset_rules = OffsetRules(context.chain, {RULES.digest: below, "today": above}, "today", below.columns)
    context.intake.open(offset_rules, 0)
    context.receive(1, 1, 1, 1)
    assert context.intake.position == 0
    assert context.held() == {}
    assert context.heard(BatchTaken) == [], "counted once, when it is taken"


# A full disk


def test_a_full_disk_stalls_and_one_batch_is_tried_again_even_held(context: StreamContext) -> None:
    context.receive(0)
    context.disk.capacity = context.spool.size + 3
    context.receive(0)
    assert context.full()
    assert context.intake.position == 1
    assert context.held() == {0: "r0,2026-03-01\n"}
    context.intake.hold(held=True)
    context.world.clock.advance(STALL_SECONDS)
    assert not context.intake.drain(), "still full"
    context.disk.capacity = 1 << 20
    context.world.clock.advance(STALL_SECONDS)
    assert context.intake.drain()
    assert context.intake.position == 2
    assert not context.full()
    assert not context.orders.delivers(), "held it stays"


def test_what_the_disk_took_of_a_record_is_cut_away(context: StreamContext) -> None:
    line = len("r0,2026-03-01\n")
    context.disk.capacity = line + 4
    context.receive(0, 1)
    assert context.held() == {0: "r0,2026-03-01\n"}
    assert context.disk.free_bytes() == 4
    context.disk.capacity = 2 * line
    context.world.clock.advance(STALL_SECONDS)
    context.intake.drain()
    assert context.held() == {0: "r0,2026-03-01\n", 1: "r1,2026-03-02\n"}


def test_a_disk_that_fails_otherwise_is_waited_for_too(context: StreamContext) -> None:
    context.disk.at = fails("before append")
    context.receive(0)
    assert context.full()
    assert "Input/output error" in str(context.stalled())
    context.disk.at = lambda call: None
    context.world.clock.advance(STALL_SECONDS)
    assert context.intake.drain()


def test_a_file_that_cannot_be_cut_back_is_given_up_and_nothing_more_is_taken(context: StreamContext) -> None:
    context.receive(0)
    context.disk.capacity = context.spool.size + 3
    context.disk.at = fails("before truncate")
    context.receive(0)
    assert "cannot be truncated" in context.intake.lost
    context.disk.capacity = 1 << 20
    context.deliver(EndReached(LEASE, 9))
    context.receive(0, start=1)
    context.intake.drain()
    assert context.intake.position == 1
    assert context.held() == {0: "r0,2026-03-01\n"}


# Days let go of


def test_days_above_the_cutoff_are_let_go_of_and_remembered(context: StreamContext) -> None:
    context.receive(0, 1, 0, 1)
    context.intake.make_room(day(0))
    assert context.held() == {0: "r0,2026-03-01\nr2,2026-03-01\n"}
    assert context.spool.progress.dropped == {day(1): 1}
    context.receive(1, 0, 2)
    assert context.held() == {0: "r0,2026-03-01\nr2,2026-03-01\nr5,2026-03-01\n"}
    assert context.spool.progress.dropped == {day(1): 1}, "day 2 is too far ahead of its record: quarantine of day 0"
    assert context.intake.position == 7
    assert context.spool.progress.counts == Counts(read=7, kept=6, quarantined=1)


def test_the_first_offset_of_a_day_never_held_is_remembered(context: StreamContext) -> None:
    context.intake.make_room(day(-1))
    context.receive(-1, 0, 0, 1)
    assert context.spool.progress.dropped == {day(0): 1, day(1): 3}


def test_days_absurdly_far_ahead_stay_as_they_go_with_the_next_seal(context: StreamContext) -> None:
    today = context.world.clock.now().date()
    assert today == day(0)
    context.intake.make_room(day(-1))
    stamp = int(at(0).timestamp() * 1000)
    for offset, number in enumerate([2, 3]):
        value = rows.value("x", "f", day(number))
        context.deliver(Records(LEASE, RawBatch(ONE, Span(offset, offset + 1), [offset], [stamp], [value], [None])))
    assert list(context.held()) == [3]
    assert today + timedelta(days=2) == day(2)
    assert context.spool.progress.dropped == {day(2): 0}


def test_an_intake_that_was_never_opened_takes_nothing() -> None:
    context = StreamContext()
    context.receive(0)
    assert context.intake.position == 0
    assert context.spool.progress == ReadProgress(0)
    context.intake.shut()
    context.intake.hold(held=True)
    assert context.orders.given == []


def test_of_a_batch_larger_than_the_room_is_taken_what_fits(context: StreamContext) -> None:
    context.disk.capacity = 40  # two rows of 14 bytes
    context.receive(0, 0, 0, 0, 0)
    assert context.full()
    assert context.held() == {0: "r0,2026-03-01\nr1,2026-03-01\n"}
    assert context.intake.position == 2
    context.disk.capacity = 1 << 20
    context.world.clock.advance(STALL_SECONDS)
    context.intake.drain()
    assert context.held()[0].split() == [f"r{offset},2026-03-01" for offset in range(5)]
    assert context.intake.position == 5
    assert context.spool.progress.counts == Counts(read=5, kept=5)


def test_a_record_that_does_not_fit_waits_alone(context: StreamContext) -> None:
    context.disk.capacity = 5
    context.receive(0)
    assert context.full()
    assert context.intake.position == 0
    context.disk.capacity = 14
    context.world.clock.advance(STALL_SECONDS)
    assert context.intake.drain()
    assert context.intake.position == 1
