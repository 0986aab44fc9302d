"""Who makes room in the spool: the table of the decision, and what must hold for any tenants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.worker.backpressure import (
    MOST_FILES,
    RELIEF,
    WORTH_A_SPILL,
    Action,
    DiskUsage,
    Limits,
    PartitionUsage,
    plan_backpressure,
    tight,
)

LIMITS = Limits(1000, 500)
FULL = DiskUsage(1001, 10_000, refused=False)
READ, HOLD, SPILL, DROP = Action.READ, Action.HOLD, Action.SPILL, Action.DROP


def usage(index: int = 0, due: int = 0, open_: int = 0, **flags: Any) -> PartitionUsage:
    return PartitionUsage(index, due, open_, **{"closing": False, "sealing": False, "needed": False, **flags})


def plan(*usages: PartitionUsage, room: DiskUsage = FULL, held: bool = False) -> list[Action]:
    found = plan_backpressure(LIMITS, room, usages, held=held)
    assert sorted(found) == sorted(usage.index for usage in usages)
    return [found[usage.index] for usage in usages]


@pytest.mark.parametrize(
    ("used", "free", "refused", "held", "short"),
    [
        (1000, 500, False, False, False),
        (1001, 500, False, False, True),
        (1000, 499, False, False, True),
        (0, 10_000, True, False, True),
        (901, 10_000, False, True, True),
        (900, 10_000, False, True, False),
        (0, 555, False, True, True),
        (0, 556, False, True, False),
        (900, 10_000, True, True, True),
    ],
)
def test_room_is_short_above_the_limit_below_the_floor_or_when_an_append_was_refused(
    used: int, free: int, refused: bool, held: bool, short: bool
) -> None:
    """Once reading is held it takes a tenth of slack to go on: else it would flutter."""
    assert RELIEF == 0.9
    assert tight(LIMITS, DiskUsage(used, free, refused), held=held) is short


def test_days_without_number_spill_before_a_record_could_not_list_them() -> None:
    room, many = DiskUsage(0, 10_000, refused=False), MOST_FILES + 1
    assert plan(usage(0, files=many), usage(1, files=MOST_FILES), room=room) == [SPILL, READ]
    assert plan(usage(files=many, sealing=True), room=room) == [READ]
    assert plan(usage(files=many, needed=True), room=room) == [READ]


def test_with_room_all_read() -> None:
    assert plan(usage(0, 500), usage(1, 500), room=DiskUsage(1000, 500, refused=False)) == [READ, READ]
    assert plan(room=FULL) == []


def test_the_largest_due_part_spills_and_the_others_wait() -> None:
    assert plan(usage(0, 300), usage(1, 500), usage(2, 201)) == [HOLD, SPILL, HOLD]


def test_while_one_seals_all_wait_for_the_room_it_makes() -> None:
    assert plan(usage(0, 300), usage(1, 700, sealing=True)) == [HOLD, HOLD]


def test_a_spill_of_next_to_nothing_is_not_worth_it() -> None:
    """It makes tiny objects and no room: rather let go of open days, if a day is to be closed."""
    assert WORTH_A_SPILL == 16
    assert plan(usage(0, 62, 938, closing=True)) == [DROP]
    assert plan(usage(0, 63, 937, closing=True)) == [SPILL]
    assert plan(usage(0, 62, 938)) == [HOLD]


def test_where_nothing_is_due_reading_waits() -> None:
    assert plan(usage(0, 0, 600), usage(1, 0, 401)) == [HOLD, HOLD]


def test_the_largest_open_part_is_let_go_of_where_a_day_is_to_be_closed() -> None:
    assert plan(usage(0, 0, 600, closing=True), usage(1, 0, 401)) == [DROP, HOLD]
    assert plan(usage(0, 0, 400, closing=True), usage(1, 0, 601)) == [HOLD, DROP]
    assert plan(usage(0, 1, 400), usage(1, 0, 601, closing=True)) == [HOLD, DROP]


def test_open_days_of_one_that_still_reads_may_go() -> None:
    assert plan(usage(0, 0, 1000, closing=True, needed=True)) == [DROP]


def test_where_nothing_else_helps_a_small_spill_does() -> None:
    below = DiskUsage(0, 100, refused=False)
    assert plan(usage(0, 5, 0, closing=True), usage(1, 95, 0, needed=True), room=below) == [SPILL, HOLD]
    assert plan(usage(0, 1, 0, closing=True), usage(1, 95, 0, needed=True), room=below) == [SPILL, HOLD]
    assert plan(usage(0, 0, 0, closing=True), room=below) == [HOLD]


def test_one_that_must_read_before_it_can_seal_goes_on_over_the_limit() -> None:
    assert plan(usage(0, 900, needed=True), usage(1, 0, 101)) == [READ, HOLD]
    assert plan(usage(0, 900, needed=True), usage(1, 101)) == [READ, SPILL]
    assert plan(usage(0, 900, needed=True), usage(1, 50, sealing=True)) == [READ, HOLD]


@pytest.mark.parametrize("room", [DiskUsage(1001, 499, refused=False), DiskUsage(10, 10_000, refused=True)])
def test_but_not_onto_a_full_disk(room: DiskUsage) -> None:
    assert plan(usage(0, 900, needed=True), usage(1, 0, 101), room=room) == [HOLD, HOLD]


def test_one_that_must_read_first_does_not_spill() -> None:
    assert plan(usage(0, 900, 0, needed=True), usage(1, 0, 101, closing=True)) == [READ, DROP]


TENANTS = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.booleans(), st.booleans(), st.booleans()), max_size=5
).map(
    lambda found: [
        PartitionUsage(index, due, open_, closing, sealing, needed)
        for index, (due, open_, closing, sealing, needed) in enumerate(found)
    ]
)
ROOMS = st.builds(DiskUsage, st.integers(0, 2000), st.integers(0, 1000), st.booleans())


@given(usages=TENANTS, room=ROOMS, held=st.booleans())
def test_at_most_one_makes_room_and_who_cannot_does_not(
    usages: list[PartitionUsage], room: DiskUsage, held: bool
) -> None:
    found = plan_backpressure(LIMITS, room, usages, held=held)
    assert set(found) == {usage.index for usage in usages}
    makers = [usages[index] for index, action in found.items() if action in {SPILL, DROP}]
    assert len(makers) <= 1
    if not tight(LIMITS, room, held=held):
        assert set(found.values()) <= {READ}
    for maker in makers:
        assert not any(usage.sealing for usage in usages)
        if found[maker.index] is SPILL:
            assert maker.due > 0
            assert not maker.needed
        else:
            assert maker.open > 0
            assert any(usage.closing for usage in usages)
    for index, action in found.items():
        if action is READ and tight(LIMITS, room, held=held):
            assert usages[index].needed
            assert not room.refused
            assert room.free >= LIMITS.min_free_bytes


@given(usages=TENANTS)
def test_what_is_due_never_waits_for_ever(usages: list[PartitionUsage]) -> None:
    """Over the limit, where a day is to be closed and some partition can seal, somebody makes room or reads on."""
    able = [usage for usage in usages if usage.due and not usage.needed]
    if able and any(usage.closing for usage in usages) and not any(usage.sealing for usage in usages):
        assert set(plan_backpressure(LIMITS, FULL, usages, held=False).values()) & {SPILL, DROP}
