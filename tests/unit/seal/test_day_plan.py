"""Which days are published, what each consists of, and what is known to be missing from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.days import FIRST_DAY
from consumer.seal.chain import Chain
from consumer.seal.day_plan import (
    DAYS_LISTED,
    DayPlan,
    PartitionState,
    StoredContent,
    list_days,
    manifest_digest,
    plan_days,
    sealed_everywhere,
)
from consumer.seal.keys import data_key
from consumer.seal.record import ObjectEntry, RecordKind
from tests.builders.chains import FIRST, TWO, at, bad, chain_of, data, day, gap, then

EMPTY = Chain()


def states(*chains: Chain, unfinished: Sequence[int] = ()) -> list[PartitionState]:
    return [PartitionState(number, chain, number not in unfinished) for number, chain in enumerate(chains)]


def plans(
    *chains: Chain, unfinished: Sequence[int] = (), replaced: Mapping[str, ObjectEntry] | None = None
) -> dict[int, DayPlan]:
    """The plans by the number of their day."""
    held = {key: StoredContent(entry, 0) for key, entry in (replaced or {}).items()}
    found = plan_days(states(*chains, unfinished=unfinished), held)
    assert [plan.day for plan in found] == sorted({plan.day for plan in found})
    return {(plan.day - FIRST).days: plan for plan in found}


def why(*chains: Chain, unfinished: Sequence[int] = ()) -> dict[int, tuple[str, ...]]:
    return {number: plan.why for number, plan in plans(*chains, unfinished=unfinished).items() if plan.why}


# What is sealed everywhere


def test_a_day_is_sealed_when_every_partition_has_sealed_it() -> None:
    three, one = chain_of({}, {}, {}), chain_of({})
    assert sealed_everywhere(states(three, three)) == day(2)
    assert sealed_everywhere(states(three, one)) == day(0)
    assert sealed_everywhere(states(three, EMPTY)) is None
    assert sealed_everywhere([]) is None


def test_a_spill_seals_no_day() -> None:
    spilled = chain_of({}, {"caught_up": False})
    assert sealed_everywhere(states(spilled)) == day(0)
    assert sealed_everywhere(states(chain_of({"caught_up": False}))) is None
    closed = then(spilled, cutoff=day(1))
    assert sealed_everywhere(states(closed)) == day(1)


def test_a_seal_whose_objects_do_not_all_stand_seals_no_day() -> None:
    two = chain_of({}, {})
    assert sealed_everywhere(states(two, unfinished=[0])) == day(0)
    assert sealed_everywhere(states(chain_of({}), unfinished=[0])) is None


def test_a_gap_over_an_unfinished_seal_does_not_finish_it() -> None:
    chain = gap(chain_of({}, {}), 100, 130)
    assert chain.head.caught_up
    assert sealed_everywhere(states(chain)) == day(1)
    assert sealed_everywhere(states(chain, unfinished=[0])) == day(0)


def test_a_gap_before_any_seal_closes_nothing() -> None:
    assert sealed_everywhere(states(gap(EMPTY, 0, 10))) is None
    assert plans(gap(EMPTY, 0, 10)) == {}


# Which days


def test_every_day_from_the_smallest_first_cutoff_on_is_published_empty_or_not() -> None:
    early = chain_of({"cutoff": day(2)}, {"cutoff": day(6)})
    late = chain_of({"cutoff": day(5)}, {"cutoff": day(7)})
    assert sorted(plans(early, late)) == [2, 3, 4, 5, 6]
    assert all(plan.parts == () and plan.rows == 0 and plan.complete for plan in plans(early, late).values())


def test_days_with_objects_before_the_first_cutoff_are_published_and_those_between_are_not() -> None:
    chain = chain_of({"cutoff": day(5), "objects": (data(0, 100), data(3, 100))})
    assert sorted(plans(chain)) == [0, 3, 5]


def test_days_after_the_smallest_cutoff_wait_even_if_they_have_objects() -> None:
    far = chain_of({"objects": (data(0, 100), data(9, 100))}, {"cutoff": day(4)})
    slow = chain_of({})
    assert sorted(plans(far, slow)) == [0]
    assert sorted(plans(far, then(slow, cutoff=day(9)))) == [0, 1, 2, 3, 4]
    assert sorted(plans(then(far, cutoff=day(9)), then(slow, cutoff=day(9)))) == list(range(10))


def test_a_partition_without_a_chain_blocks_all() -> None:
    assert plans(chain_of({}, {}), EMPTY) == {}


def test_growth_publishes_again_once_the_new_partition_has_sealed() -> None:
    old = chain_of({}, {}, {})
    assert sorted(plans(old)) == [0, 1, 2]
    assert plans(old, EMPTY) == {}
    assert sorted(plans(then(old), chain_of({"cutoff": day(3)}))) == [0, 1, 2, 3]


# What a day consists of


def test_objects_are_in_the_order_of_partition_and_seal() -> None:
    one = chain_of({"objects": (data(0, 100, 5),)}, {"objects": (data(0, 200, 2), data(1, 200, 7), bad(0, 200))})
    two = chain_of({"objects": (data(0, 90, 3, partition=TWO),)}, {})
    first, second = plans(one, two).values()
    assert [(part.partition, part.seal, part.entry.rows) for part in first.parts] == [(0, 0, 5), (0, 1, 2), (1, 0, 3)]
    assert first.rows == 10
    assert [(part.partition, part.seal) for part in second.parts] == [(0, 1)]
    assert not any(part.entry.quarantine for part in first.parts)


def test_the_day_says_up_to_which_record_it_was_taken() -> None:
    one, two = chain_of({}, {}), chain_of({})
    plan = plans(one, two)[0]
    assert plan.seals == {"0": 1, "1": 0}
    assert plan.digests == {"0": one.digests[1], "1": two.digests[0]}
    under = plans(one, two, unfinished=[0])[0]
    assert under.seals == {"0": 0, "1": 0}
    assert under.digests["0"] == one.digests[0]


def test_objects_of_an_unfinished_seal_are_not_listed() -> None:
    chain = chain_of({"objects": (data(0, 100, 5),)}, {"objects": (data(0, 200, 2),)})
    assert plans(chain, unfinished=[0])[0].rows == 5
    assert plans(chain)[0].rows == 7


def test_the_newest_object_is_the_one_sealed_last() -> None:
    one = chain_of({"objects": (data(0, 100),)}, {"objects": (data(0, 200),), "settings": "new"})
    two = chain_of({"objects": (data(0, 100, partition=TWO),), "settings": "other", "sealed_at": at(0, 5)})
    newest = plans(one, two)[0].newest
    assert newest is not None
    assert (newest.partition, newest.seal, newest.settings) == (0, 1, "new")
    later = chain_of({"objects": (data(0, 100, partition=TWO),), "settings": "other", "sealed_at": at(5)})
    newest = plans(one, later)[0].newest
    assert newest is not None
    assert newest.settings == "other"
    assert plans(chain_of({}))[0].newest is None


def test_objects_that_no_manifest_lists_go_with_the_day_that_their_seal_or_the_next_one_closes() -> None:
    chain = chain_of(
        {"objects": (data(0, 100), bad(-5, 100), data(9, 100))},
        {"caught_up": False, "objects": (data(1, 200), bad(1, 200))},
        {"cutoff": day(1), "objects": (bad(0, 300),)},
    )
    found = plans(chain)
    assert found[0].unlisted == (bad(-5, 100).key, data(9, 100).key)
    assert set(found[1].unlisted) == {bad(0, 300).key, bad(1, 200).key}
    assert plans(chain_of({"caught_up": False, "objects": (bad(0, 100),)}), chain) == {}


# Replays


def test_a_replay_says_what_an_object_holds() -> None:
    chain = chain_of({"objects": (data(0, 100, 5, 10, 90), bad(0, 100))})
    anew = replace(data(0, 100), rows=4, first_offset=11, last_offset=80)
    plan = plans(chain, replaced={anew.key: anew, bad(0, 100).key: bad(0, 100, 9)})[0]
    assert [part.entry for part in plan.parts] == [anew]
    assert plan.rows == 4


def test_a_replay_adds_an_object_under_the_key_its_seal_would_have_had() -> None:
    one = chain_of({}, {"settings": "new"})
    two = chain_of({}, {})
    added = ObjectEntry(data_key("s", day(0), TWO, 200, "none"), "s", day(0), 3, 110, 120)
    found = plans(one, two, replaced={added.key: added})[0]
    # both chains of these tests say partition 0 of themselves: only a chain of partition 1 has it
    assert found.parts == ()
    second = Chain(tuple(replace(record, partition=TWO) for record in two.records), two.digests)
    part = plans(one, second, replaced={added.key: added})[0].parts[0]
    assert (part.partition, part.seal, part.entry) == (1, 1, added)


def test_partition_one_does_not_take_what_was_added_for_partition_eleven() -> None:
    eleven = replace(TWO, partition=11)
    added = ObjectEntry(data_key("s", day(0), eleven, 100, "gzip"), "s", day(0), 3, 1, 9)
    chains = []
    for number in (1, 11):
        chain = chain_of({})
        place = replace(TWO, partition=number)
        chains.append(Chain(tuple(replace(record, partition=place) for record in chain.records), chain.digests))
    found = plans(*chains, replaced={added.key: added})[0]
    assert [part.partition for part in found.parts] == [1], "the second state: that of partition 11"


def test_an_empty_object_of_a_replay_is_listed() -> None:
    chain = chain_of({"objects": (data(0, 100, 5),)})
    empty = replace(data(0, 100), rows=0, first_offset=None, last_offset=None)
    assert [part.entry for part in plans(chain, replaced={empty.key: empty})[0].parts] == [empty]


# Why a day is not complete: started in mid-log


def millis(number: int, hours: float = 12) -> int:
    """Epoch ms of an instant in day `number`."""
    return int((at(number - 1, hours)).timestamp() * 1000)


def test_a_chain_that_began_in_mid_log_tells_the_days_up_to_one_after_its_first_record() -> None:
    chain = chain_of(
        {"start": 5, "first_timestamp": millis(2), "cutoff": day(1), "objects": (data(-3, 100),)}, {"cutoff": day(6)}
    )
    assert why(chain) == dict.fromkeys((-3, 1, 2, 3), ("started_in_mid_log",))
    assert plans(chain)[4].complete


def test_the_day_of_the_first_record_is_its_utc_day() -> None:
    last = chain_of({"start": 5, "first_timestamp": millis(2, 24) - 1, "cutoff": day(0)}, {"cutoff": day(6)})
    assert max(why(last)) == 3
    next_day = chain_of({"start": 5, "first_timestamp": millis(2, 24), "cutoff": day(0)}, {"cutoff": day(6)})
    assert max(why(next_day)) == 4


def test_a_chain_from_offset_zero_began_at_the_beginning() -> None:
    assert why(chain_of({"start": 0, "first_timestamp": millis(0)}, {"start": 7})) == {}


def test_in_mid_log_without_a_record_the_moment_of_the_seal_serves() -> None:
    chain = chain_of({"start": 5, "cutoff": day(0), "sealed_at": at(1)}, {"cutoff": day(8)})
    assert max(why(chain)) == 3  # sealed in day 2


def test_in_mid_log_without_a_timestamp_is_before_all_days() -> None:
    assert why(chain_of({"start": 5, "first_timestamp": -1})) == {}
    assert FIRST_DAY + timedelta(days=1) < FIRST


def test_one_partition_in_mid_log_is_enough() -> None:
    assert why(chain_of({}), chain_of({"start": 1, "first_timestamp": millis(0)})) == {0: ("started_in_mid_log",)}


# Why a day is not complete: gaps


def test_a_gap_tells_the_days_up_to_the_cutoff_first_closed_after_it() -> None:
    chain = then(gap(chain_of({}, {}), 200, 260), cutoff=day(4))
    chain = then(chain, cutoff=day(5))
    assert why(chain) == dict.fromkeys((2, 3, 4), ("gap",))


def test_a_gap_tells_the_days_of_late_rows_that_come_with_those_seals() -> None:
    chain = then(gap(chain_of({}, {}), 200, 260), cutoff=day(2), objects=(data(-4, 300), data(2, 300), bad(-2, 300)))
    chain = then(chain, cutoff=day(3), objects=(data(-1, 400),))
    found = why(chain)
    assert found == {-4: ("gap",), 2: ("gap",)}
    assert plans(chain)[-1].complete


def test_a_spill_after_a_gap_closes_nothing() -> None:
    chain = then(gap(chain_of({}, {}), 200, 260), cutoff=day(2), caught_up=False, objects=(data(0, 300),))
    chain = then(chain, cutoff=day(2), objects=(data(1, 400),))
    chain = then(chain, cutoff=day(3))
    assert why(chain) == dict.fromkeys((0, 1, 2), ("gap",))


def test_a_gap_after_a_spill_touches_the_days_that_the_spill_did_not_close() -> None:
    """The spill's cutoff is day 2, but nothing after day 1 was closed before the gap; day 3 had begun."""
    spilled = chain_of({}, {}, {"caught_up": False})
    chain = then(gap(spilled, 300, 360), cutoff=day(2))
    chain = then(chain, cutoff=day(3))
    assert why(chain) == {2: ("gap",), 3: ("gap",)}


def test_a_gap_tells_the_day_that_had_begun_when_it_was_recorded() -> None:
    """Offsets lost at noon of day 4 may have held rows of day 4, which the seal of day 3 does not close."""
    lost = gap(chain_of({}, {}), 200, 260, sealed_at=at(3) + timedelta(hours=8))
    chain = then(then(then(lost, cutoff=day(3)), cutoff=day(4)), cutoff=day(5))
    assert why(chain) == dict.fromkeys((2, 3, 4), ("gap",))


def test_closing_the_cutoff_of_before_the_gap_does_not_end_it() -> None:
    chain = then(gap(chain_of({}, {}), 200, 260), cutoff=day(1), objects=(data(1, 300),))
    chain = then(chain, cutoff=day(2))
    chain = then(chain, cutoff=day(3))
    assert why(chain) == {1: ("gap",), 2: ("gap",)}


def test_a_chain_that_begins_with_a_gap_tells_all_days_up_to_the_first_closed() -> None:
    chain = gap(EMPTY, 10, 40)
    chain = then(chain, cutoff=day(2), objects=(data(-9, 300),))
    chain = then(chain, cutoff=day(9))
    found = why(chain)
    assert found[-9] == found[2] == ("gap", "started_in_mid_log")
    assert max(number for number, words in found.items() if "gap" in words) == 2


def test_each_gap_counts() -> None:
    chain = then(gap(chain_of({}), 100, 130), cutoff=day(1))
    chain = then(chain, cutoff=day(2))
    chain = then(gap(chain, 300, 330), cutoff=day(4))
    assert why(chain) == {1: ("gap",), 3: ("gap",), 4: ("gap",)}


def test_a_gap_that_nothing_closed_yet_tells_the_late_rows_of_the_seals_after_it() -> None:
    chain = then(gap(chain_of({}, {}), 200, 260), cutoff=day(1), objects=(data(0, 300),))
    assert why(chain) == {0: ("gap",)}


PENDING: dict[str, Any] = {
    "start": 100,
    "resume": 180,
    "objects": (data(0, 200, 3, 100, 120), data(1, 200, 5, 105, 150)),
}


def test_a_seal_that_was_pending_under_a_gap_tells_its_days() -> None:
    chain = gap(chain_of({}, PENDING), 100, 130, unfinished=1)
    assert why(chain) == {0: ("gap",), 1: ("gap",)}


def test_a_pending_seal_that_resumes_where_it_starts_tells_its_days_too() -> None:
    """Its first offset is a row of tomorrow: start and resume say nothing of whether it was finished."""
    pending = {**PENDING, "resume": 100}
    assert why(gap(chain_of({}, pending), 100, 130, unfinished=1)) == {0: ("gap",), 1: ("gap",)}
    assert why(gap(chain_of({}, pending), 100, 130)) == {}, "finished before the gap"


def test_a_seal_that_was_finished_before_the_gap_does_not() -> None:
    chain = gap(chain_of({}, PENDING), 180, 230)
    assert why(chain) == {}


# Why a day is not complete: open transactions


def test_a_seal_that_gave_up_a_transaction_tells_the_days_that_it_closed_first() -> None:
    chain = chain_of({}, {"cutoff": day(3), "lso": 5, "high": 9}, {"cutoff": day(4)})
    assert why(chain) == dict.fromkeys((1, 2, 3), ("open_transaction",))


def test_the_first_seal_closes_all_days_before_it() -> None:
    chain = chain_of({"lso": 5, "high": 9, "objects": (data(-7, 100),)}, {})
    assert why(chain) == {-7: ("open_transaction",), 0: ("open_transaction",)}


def test_late_rows_in_such_a_seal_do_not_tell_on_days_closed_before() -> None:
    chain = chain_of({}, {"lso": 5, "high": 9, "objects": (data(0, 200),)})
    assert why(chain) == {1: ("open_transaction",)}


def test_a_spill_with_an_open_transaction_says_nothing_but_its_closing_does() -> None:
    spill = chain_of({}, {"caught_up": False, "lso": 5, "high": 9})
    assert why(then(spill, cutoff=day(1))) == {}
    assert why(then(spill, cutoff=day(1), lso=5, high=9)) == {1: ("open_transaction",)}


def test_all_reasons_of_all_partitions_in_order_once() -> None:
    one = then(gap(chain_of({"start": 3, "first_timestamp": millis(1)}), 100, 130), lso=5, high=9, cutoff=day(1))
    assert why(one, one) == {
        0: ("started_in_mid_log",),
        1: ("gap", "open_transaction", "started_in_mid_log"),
    }


# Whatever the chains

STEP = st.fixed_dictionaries(
    {
        "days": st.integers(0, 2),
        "caught_up": st.booleans(),
        "objects": st.sets(st.integers(-3, 12), max_size=3),
        "gap": st.booleans(),
    }
)


def _chain(steps: list[dict[str, Any]]) -> Chain:
    chain, cutoff = EMPTY, -1
    for step in steps:
        cutoff += step["days"] + (chain.empty or chain.reach.cutoff is None)
        n = len(chain.records)
        objects = tuple(data(number, n + 1) for number in sorted(step["objects"]))
        if step["gap"]:
            chain = gap(chain, chain.head.resume if not chain.empty else 0, 100 * n + 50)
        else:
            chain = then(chain, cutoff=day(cutoff), caught_up=step["caught_up"], objects=objects)
    return chain


@given(stories=st.lists(st.lists(STEP, max_size=5), min_size=1, max_size=3))
def test_no_day_is_published_before_every_partition_closed_it(stories: list[list[dict[str, Any]]]) -> None:
    chains = [_chain(steps) for steps in stories]
    closed: list[set[date]] = [
        {r.cutoff for r in chain.records if r.caught_up and r.cutoff and r.kind is RecordKind.SEAL} for chain in chains
    ]
    found = plan_days(states(*chains), {})
    for plan in found:
        assert all(any(cutoff >= plan.day for cutoff in partition) for partition in closed)
        wanted = {
            (number, record.n, entry.key)
            for number, chain in enumerate(chains)
            for record in chain.records
            for entry in record.objects
            if entry.day == plan.day
        }
        assert {(part.partition, part.seal, part.entry.key) for part in plan.parts} == wanted
    if all(closed):
        last = min(max(partition) for partition in closed)
        objects = {e.day for chain in chains for r in chain.records for e in r.objects if e.day <= last}
        assert objects <= {plan.day for plan in found}


# The list of days


def item(number: int, revision: int = 1, rows: int = 0) -> dict[str, Any]:
    return {"day": day(number).isoformat(), "revision": revision, "rows": rows, "complete": True}


def test_news_are_worked_in_and_the_newest_day_is_last() -> None:
    merged = list_days([item(0), item(1)], [item(2), item(1, 2, 7), item(-1)])
    assert merged == [item(-1), item(0), item(1, 2, 7), item(2)]


def test_the_higher_revision_stays() -> None:
    assert list_days([item(0, 3, 9)], [item(0, 2, 5)]) == [item(0, 3, 9)]
    assert list_days([item(0, 3, 9)], [item(0, 3, 5)]) == [item(0, 3, 5)]


def test_the_newest_four_hundred_stay() -> None:
    assert DAYS_LISTED == 400
    merged = list_days([item(number) for number in range(400)], [item(400)])
    assert len(merged) == 400
    assert (merged[0], merged[-1]) == (item(1), item(400))
    assert len(list_days([item(number) for number in range(399)], [item(400)])) == 400


def test_the_old_list_is_not_changed() -> None:
    old = [item(0)]
    list_days(old, [item(0, 2)])[0]["rows"] = 99
    assert old == [item(0)]


# The digest of a manifest


def test_the_digest_is_that_of_the_rest() -> None:
    document = {"version": 1, "rows": 5}
    digest = manifest_digest(document)
    assert manifest_digest({**document, "sha256": digest}) == digest
    assert manifest_digest({**document, "rows": 6}) != digest
    assert len(digest) == 64


@pytest.mark.parametrize("hours", [0, 23.999])
def test_millis_of_these_tests_lie_in_their_day(hours: float) -> None:
    assert datetime.fromtimestamp(millis(2, hours) / 1000, UTC).date() == day(2)
