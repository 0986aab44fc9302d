"""Deciding a seal: every objection with its reason, and what the record pins."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.batches import Counts, SealedSchemas
from consumer.domain.errors import Halt, HaltReason
from consumer.seal.chain import Chain
from consumer.seal.decide import (
    CLOCK_TOLERANCE,
    QUARANTINE_FLOOR,
    TRANSACTION_PATIENCE,
    NotYet,
    Reread,
    Schedule,
    Seal,
    SealTarget,
    Situation,
    SpooledRows,
    cutoff_to_close,
    decide,
)
from consumer.seal.record import Reach, Record, RecordKind
from tests.builders.chains import ONE, SEAL_AT, at, chain_of, counts, data, day, ends, then

EMPTY = Chain()
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def held(number: int, first: int = 10, last: int = 19, *, quarantine: bool = False, rows: int = 10) -> SpooledRows:
    return SpooledRows(day(number), quarantine, rows, first, last)


def situation(chain: Chain = EMPTY, **changes: Any) -> Situation:
    """Day n is due at its minute, all was read up to the end, nothing is in the spool."""
    n = len(chain.records)
    position = changes.get("position", 100 * (n + 1))
    return replace(
        Situation(
            stream="s",
            partition=ONE,
            topic_id="id-1",
            group="g",
            writer="w",
            settings="digest",
            compression="none",
            max_ratio=0.05,
            schedule=Schedule(SEAL_AT),
            chain=chain,
            start=0 if chain.empty else chain.head.resume,
            position=position,
            held=(),
            now=at(n),
            store_now=at(n),
            ends=ends(high=position),
            cutoff=day(n),
            caught_up=True,
        ),
        **changes,
    )


def sealed(at: Situation) -> Record:
    decision = decide(at)
    assert isinstance(decision, Seal), decision
    return decision.record


def objection(at: Situation) -> str:
    decision = decide(at)
    assert isinstance(decision, NotYet), decision
    return decision.reason


# The schedule


@pytest.mark.parametrize(
    ("hours", "last"), [(4, 0), (4 - 1e-6, -1), (3.99, -1), (0, -1), (27.99, 0), (28, 1), (23.9, 0)]
)
def test_a_day_is_due_at_its_hour_and_not_before(hours: float, last: int) -> None:
    assert Schedule(SEAL_AT).cutoff(at(0, hours)) == day(last)


def test_through_fixes_the_cutoff() -> None:
    assert Schedule(SEAL_AT, day(7)).cutoff(at(0)) == day(7)


def test_the_stores_date_allows_what_is_due_by_it() -> None:
    schedule = Schedule(SEAL_AT)
    assert schedule.allows(day(0), at(0))
    assert not schedule.allows(day(0), at(0) - MICROSECOND)
    assert schedule.allows(day(-3), at(0))


def test_a_day_asked_for_by_hand_need_only_be_over() -> None:
    schedule = Schedule(SEAL_AT, day(0))
    assert schedule.allows(day(0), at(0, 0))
    assert not schedule.allows(day(0), at(0, 0) - MICROSECOND)


def test_what_is_to_be_closed() -> None:
    schedule, spilled = Schedule(SEAL_AT), {"caught_up": False}
    assert cutoff_to_close(Chain(), schedule, at(0)) == day(0)
    assert cutoff_to_close(chain_of({}), schedule, at(0)) is None
    assert cutoff_to_close(chain_of({}), schedule, at(1)) == day(1)
    assert cutoff_to_close(chain_of(spilled), schedule, at(0)) == day(0)
    assert cutoff_to_close(chain_of(spilled, {"cutoff": day(0)}), schedule, at(0)) is None
    assert cutoff_to_close(chain_of({"cutoff": day(5)}), schedule, at(0)) is None
    assert cutoff_to_close(chain_of({"cutoff": day(5), **spilled}), schedule, at(0)) is None
    assert cutoff_to_close(chain_of({"cutoff": None, "kind": RecordKind.GAP, **spilled}), schedule, at(0)) == day(0)
    assert cutoff_to_close(chain_of({}), Schedule(SEAL_AT, day(0)), at(9)) is None
    assert cutoff_to_close(Chain(), Schedule(SEAL_AT, day(0)), at(9)) == day(0)


def test_a_target_waits_for_open_transactions_but_not_for_ever() -> None:
    quiet = SealTarget(day(0), ends(lso=50, high=50), at(0), at(0))
    assert quiet.end == 50
    assert quiet.settled(at(0))
    still_open = SealTarget(day(0), ends(lso=40, high=50), at(0), at(0))
    assert still_open.end == 40
    assert not still_open.settled(at(0))
    assert not still_open.settled(at(0) + TRANSACTION_PATIENCE - MICROSECOND)
    assert still_open.settled(at(0) + TRANSACTION_PATIENCE)
    assert timedelta(minutes=30) == TRANSACTION_PATIENCE


# Objections of the clocks


def test_a_clock_exactly_sixty_seconds_ahead_still_decides() -> None:
    assert timedelta(seconds=60) == CLOCK_TOLERANCE
    assert sealed(situation(now=at(0) + 60 * SECOND, store_now=at(0)))


def test_a_clock_further_ahead_decides_nothing() -> None:
    reason = objection(situation(now=at(0) + 60 * SECOND + MICROSECOND, store_now=at(0)))
    assert "the clock is 60 s ahead of the store's" in reason
    assert "correct it" in reason


def test_a_clock_behind_is_no_objection() -> None:
    assert sealed(situation(now=at(0) - timedelta(hours=5), store_now=at(0)))


def test_a_cutoff_not_due_by_the_stores_date_waits() -> None:
    assert "2026-03-01 is not due yet" in objection(situation(now=at(0) + SECOND, store_now=at(0) - SECOND))
    assert objection(situation(schedule=Schedule(SEAL_AT, day(0)), store_now=at(0, 0) - SECOND, now=at(0, 0)))
    assert sealed(situation(schedule=Schedule(SEAL_AT, day(0)), store_now=at(0, 0), now=at(0, 0)))


def test_a_spill_is_bound_to_the_stores_date_as_well() -> None:
    assert "not due yet" in objection(situation(caught_up=False, cutoff=day(1)))


def test_the_clock_objects_first_then_progress_then_quarantine() -> None:
    bad = counts(read=100, quarantined=100)
    assert "clock" in objection(situation(counts=bad, now=at(0) + timedelta(hours=1)))
    behind = situation(chain_of({}), counts=bad, position=50)
    assert "reading again below 100" in objection(behind)
    assert isinstance(decide(situation(counts=bad)), Halt)


# Objections of the progress


def test_a_cutoff_behind_the_chain_is_closed_already() -> None:
    chain = chain_of({"cutoff": day(3)})
    assert "the chain has already closed 2026-03-04" in objection(situation(chain))


def test_reading_again_below_the_chain_is_no_progress() -> None:
    chain = chain_of({})
    assert "reading again below 100" in objection(situation(chain, position=99))
    assert sealed(situation(chain, position=100))


def test_nothing_new_is_not_sealed_twice() -> None:
    chain = chain_of({})
    same = {"position": 100, "cutoff": day(0)}
    assert objection(situation(chain, **same)) == "nothing new since the last seal"
    assert objection(situation(chain, caught_up=False, **same)) == "nothing new since the last seal"
    assert sealed(situation(chain, position=101, cutoff=day(0)))
    assert sealed(situation(chain, position=101, cutoff=day(0), caught_up=False))


def test_a_spill_is_closed_by_the_same_cutoff_caught_up() -> None:
    chain = chain_of({"caught_up": False})
    same = {"position": 100, "cutoff": day(0)}
    closing = sealed(situation(chain, **same))
    assert closing.caught_up
    assert closing.reach == chain.reach
    assert objection(situation(chain, caught_up=False, **same)) == "nothing new since the last seal"


def test_a_first_record_needs_no_rows() -> None:
    record = sealed(situation(position=0))
    assert (record.n, record.start, record.through, record.resume, record.objects) == (0, 0, 0, 0, ())


def test_days_dropped_for_want_of_room_are_read_again_when_due() -> None:
    decision = decide(situation(dropped={day(1): 40, day(0): 30}))
    assert decision == Reread("rows of 2026-03-01 were dropped from the spool and are due now")


def test_days_dropped_and_not_due_hold_the_resume_offset() -> None:
    record = sealed(situation(dropped={day(1): 40, day(2): 35}, held=[held(1, 60, 70)]))
    assert record.resume == 35


def test_dropped_days_absurdly_far_ahead_are_due() -> None:
    assert isinstance(decide(situation(dropped={day(4): 40})), Reread)
    assert sealed(situation(dropped={day(3): 40})).resume == 40


# Quarantine


@pytest.mark.parametrize(
    ("bad", "read", "ratio", "stops"),
    [
        (QUARANTINE_FLOOR, QUARANTINE_FLOOR, 0.05, True),
        (QUARANTINE_FLOOR - 1, QUARANTINE_FLOOR - 1, 0.05, False),
        (QUARANTINE_FLOOR, 200, 0.05, False),
        (QUARANTINE_FLOOR, 199, 0.05, True),
        (11, 200, 0.05, True),
        (10, 10, 1.0, False),
        (10, 1000, 0.0, True),
        (9, 1000, 0.0, False),
        (29, 100, 0.29, False),
        (30, 100, 0.29, True),
        (57, 100, 0.57, False),
        (7_000_000, 10_000_000, 0.7, False),
        (7_000_001, 10_000_000, 0.7, True),
    ],
)
def test_more_than_the_ratio_and_at_least_ten_stop(bad: int, read: int, ratio: float, stops: bool) -> None:
    decision = decide(situation(max_ratio=ratio, counts=Counts(read=read, quarantined=bad)))
    assert isinstance(decision, Halt) is stops


def test_the_quarantine_halt_says_what_was_seen_and_the_way_out() -> None:
    decision = decide(situation(chain_of({}), counts=counts(read=40, quarantined=12)))
    assert isinstance(decision, Halt)
    assert decision.reason is HaltReason.QUARANTINE_RATIO
    for word in ("12 of 40", "since offset 100", "quarantine.max_ratio = 0.05", "stream s", "raise the ratio"):
        assert word in decision.message
    assert "nothing was sealed or lost" in decision.message


def test_a_spill_is_judged_by_its_quarantine_as_well() -> None:
    assert isinstance(decide(situation(caught_up=False, counts=counts(read=40, quarantined=12))), Halt)


# The record


def test_the_first_record() -> None:
    record = sealed(
        situation(
            start=7,
            position=50,
            held=[held(0, 10, 19)],
            first_timestamp=1_700_000_000_000,
            ends=ends(lso=48, high=60),
            counts=counts(read=43, kept=10),
            known_schemas={17: 30},
        )
    )
    assert record == Record(
        kind=RecordKind.SEAL,
        stream="s",
        partition=ONE,
        topic_id="id-1",
        group="g",
        n=0,
        previous=None,
        cutoff=day(0),
        caught_up=True,
        start=7,
        through=50,
        resume=50,
        lso=48,
        high=60,
        settings="digest",
        sealed_at=at(0),
        writer="w",
        schemas=SealedSchemas({17: 30}),
        objects=(data(0, 50, 10, 10, 19),),
        counts=counts(read=43, kept=10),
        first_timestamp=1_700_000_000_000,
        previous_sha256="",
    )


def test_a_later_record_names_its_predecessor() -> None:
    chain = chain_of({"resume": 90})
    record = sealed(situation(chain, first_timestamp=5))
    assert (record.n, record.start) == (1, 90)
    assert record.previous == Reach(day(0), 100)
    assert record.previous_sha256 == chain.digests[0]
    assert record.first_timestamp is None


def test_objects_are_those_of_days_due_in_order() -> None:
    record = sealed(
        situation(
            held=[
                held(1, 12, 30),
                held(0, 10, 19, quarantine=True, rows=2),
                held(0, 11, 18),
                held(-5, 13, 13, rows=1),
            ]
        )
    )
    assert [(entry.day, entry.quarantine) for entry in record.objects] == [
        (day(-5), False),
        (day(0), False),
        (day(0), True),
    ]
    keys = [entry.key for entry in record.objects]
    assert keys == [
        "s/dt=2026-02-24/t-0-00000000000000000100.csv",
        "s/dt=2026-03-01/t-0-00000000000000000100.csv",
        "_quarantine/s/dt=2026-03-01/t-0-00000000000000000100.jsonl",
    ]
    assert [(entry.rows, entry.first_offset, entry.last_offset) for entry in record.objects][1:] == [
        (10, 11, 18),
        (2, 10, 19),
    ]
    assert record.resume == 12


@pytest.mark.parametrize(("compression", "ending"), [("none", ".csv"), ("gzip", ".csv.gz"), ("zstd", ".csv.zst")])
def test_keys_end_as_the_compression_says_but_quarantine_never(compression: str, ending: str) -> None:
    record = sealed(situation(compression=compression, held=[held(0), held(0, quarantine=True)]))
    assert [entry.key.rpartition("100")[2] for entry in record.objects] == [ending, ".jsonl"]


@pytest.mark.parametrize(
    ("rows", "dropped", "resume"),
    [
        ([], {}, 100),
        ([(0, 10)], {}, 100),
        ([(0, 10), (1, 20)], {}, 20),
        ([(1, 20), (2, 15)], {}, 15),
        ([(1, 20)], {2: 18}, 18),
        ([(1, 20)], {2: 22}, 20),
        ([], {1: 0}, 0),
        ([(5, 20)], {}, 100),
        ([(5, 20), (3, 30)], {}, 30),
    ],
)
def test_resume_is_the_first_row_not_taken(rows: list[tuple[int, int]], dropped: dict[int, int], resume: int) -> None:
    files = [held(number, first, 99) for number, first in rows]
    record = sealed(situation(held=files, dropped={day(number): first for number, first in dropped.items()}))
    assert record.resume == resume


def test_a_quarantined_row_not_due_holds_the_resume_offset() -> None:
    assert sealed(situation(held=[held(1, 33, 50, quarantine=True), held(1, 40, 50)])).resume == 33


def test_rows_more_than_two_days_past_the_moment_of_the_seal_are_taken_at_once() -> None:
    """Sealed on day 1: day 3 is two days ahead and waits, day 4 is more."""
    record = sealed(situation(held=[held(3, 30), held(4, 20), held(400, 25)]))
    assert [entry.day for entry in record.objects] == [day(4), day(400)]
    assert record.resume == 30


def test_the_far_future_is_told_by_the_moment_of_the_seal_not_by_the_cutoff() -> None:
    late = sealed(situation(now=at(5), store_now=at(5), held=[held(8, 30), held(9, 31)]))
    assert [entry.day for entry in late.objects] == [day(9)]
    assert late.cutoff == day(0)


def test_the_moment_of_a_seal_never_runs_back() -> None:
    chain = chain_of({"sealed_at": at(0) + timedelta(days=3)})
    record = sealed(situation(chain, held=[held(5, 30), held(7, 31)]))
    assert record.sealed_at == at(0) + timedelta(days=3)
    assert [entry.day for entry in record.objects] == [day(7)]
    assert sealed(situation(chain_of({}))).sealed_at == at(1)


def test_caught_up_and_spill_say_so() -> None:
    closing, spill = decide(situation()), decide(situation(caught_up=False))
    assert isinstance(closing, Seal)
    assert isinstance(spill, Seal)
    assert (closing.record.caught_up, closing.reason) == (True, "caught up")
    assert (spill.record.caught_up, spill.reason.split(":")[0]) == (False, "spill")


def test_an_open_transaction_shows_in_a_caught_up_record_only() -> None:
    held_back = ends(lso=80, high=100)
    assert sealed(situation(ends=held_back)).open_transaction
    assert not sealed(situation(ends=held_back, caught_up=False)).open_transaction
    assert not sealed(situation(ends=ends(high=100))).open_transaction


# Whatever the situation

FILES = st.lists(st.tuples(st.integers(-3, 8), st.booleans(), st.integers(0, 90), st.integers(0, 9)), max_size=8)
DROPS = st.dictionaries(st.integers(-1, 8), st.integers(0, 99), max_size=4)
STEP = st.tuples(FILES, DROPS, st.integers(-5, 60), st.integers(-1, 2), st.booleans(), st.integers(-90, 90))


def _taken_by(record: Record, found: date) -> bool:
    """Section 3's words for "due", by themselves."""
    far = found > (record.sealed_at + timedelta(days=2)).date()
    return far or (record.cutoff is not None and found <= record.cutoff)


@given(steps=st.lists(STEP, min_size=1, max_size=6))
def test_no_seal_resumes_beyond_a_row_not_taken_nor_shrinks_the_chain(
    steps: list[tuple[list[tuple[int, bool, int, int]], dict[int, int], int, int, bool, int]],
) -> None:
    chain, now = Chain(), at(2)
    for files, drops, further, days, caught_up, seconds in steps:
        now += timedelta(days=days, seconds=seconds)
        seen = situation(
            chain,
            position=max(0, chain.reach.through + further),
            held=_files(files, chain),
            dropped={day(number): first for number, first in drops.items()},
            cutoff=Schedule(SEAL_AT).cutoff(now),
            caught_up=caught_up,
            now=now,
            store_now=now - timedelta(seconds=max(0, seconds)),
        )
        decision = decide(seen)
        if isinstance(decision, Seal):
            _check(decision.record, seen, chain)
            chain = chain.then(decision.record, decision.record.document())


def _files(files: list[tuple[int, bool, int, int]], chain: Chain) -> list[SpooledRows]:
    start = 0 if chain.empty else chain.head.resume
    found = {(number, bad): (start + first, start + first + more) for number, bad, first, more in files}
    return [SpooledRows(day(n), bad, 1 + last - first, first, last) for (n, bad), (first, last) in found.items()]


def _check(record: Record, seen: Situation, chain: Chain) -> None:
    reach = chain.reach
    assert record.previous == (None if chain.empty else reach)
    assert record.n == len(chain.records)
    assert record.through == seen.position >= reach.through
    assert record.cutoff is not None
    assert reach.cutoff is None or record.cutoff >= reach.cutoff
    grew = record.reach != reach
    assert grew or (record.caught_up and not chain.head.caught_up)
    assert chain.empty or record.sealed_at >= chain.head.sealed_at
    assert seen.now - seen.store_now <= CLOCK_TOLERANCE
    assert record.cutoff <= Schedule(SEAL_AT).cutoff(seen.store_now)
    named = {(entry.day, entry.quarantine): entry for entry in record.objects}
    for file in seen.held:
        entry = named.pop((file.day, file.quarantine), None)
        assert (entry is not None) == _taken_by(record, file.day)
        if entry is None:
            assert record.resume <= file.first_offset
        else:
            assert (entry.rows, entry.first_offset, entry.last_offset) == (
                file.rows,
                file.first_offset,
                file.last_offset,
            )
    assert not named
    assert all(record.resume <= first and not _taken_by(record, found) for found, first in seen.dropped.items())


def test_the_same_situation_gives_the_same_record() -> None:
    """The row set depends on log and chain alone: no clock, no chance."""
    seen = situation(chain_of({}), held=[held(0), held(1)])
    assert sealed(seen).document() == sealed(seen).document()


def test_records_that_follow_each_other_make_a_chain() -> None:
    chain = then(chain_of({}), caught_up=False)
    record = sealed(situation(chain))
    assert record.previous == chain.reach


def test_midnight_is_no_local_matter() -> None:
    zone = datetime.fromisoformat("2026-03-02T05:59:59+02:00")
    assert Schedule(SEAL_AT).cutoff(zone) == day(-1)
    assert Schedule(SEAL_AT).cutoff(zone + SECOND) == day(0)
