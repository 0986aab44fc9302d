"""Accepting a gap: only what is really lost, from the lowest offset still needed to the log's start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.domain.errors import Halt, HaltReason
from consumer.domain.offsets import Commit, LogEnds, Span
from consumer.seal.chain import Chain
from consumer.seal.gap import gap_objection, gap_record, lowest_needed
from consumer.seal.record import Record, RecordKind, record_from
from consumer.seal.recover import RecoveryFacts, RecoveryPlan, commit_for, recover
from tests.builders.chains import ONE, RULES, at, chain_of, data, day, ends, gap

EMPTY = Chain()
TWO_SEALS = chain_of({}, {"resume": 150})
PENDING = chain_of({"resume": 80}, {"resume": 150, "objects": (data(1, 200, 5, 100, 140),)})


def found(chain: Chain, low: int, *, finished: bool = True, commit: Commit | None = None) -> RecoveryFacts:
    return RecoveryFacts(
        partition=ONE,
        stream="s",
        group="g",
        rules=RULES,
        chain=chain,
        head_rules=None if chain.empty else RULES,
        finished=finished,
        commit=commit or (None if chain.empty else commit_for(chain)),
        topic_id="id-1",
        ends=ends(low=low),
        spool=None,
        begin=0,
    )


def written(seen: RecoveryFacts, lost: Span) -> Record:
    record = gap_record(seen, lost, settings="digest", now=at(3), writer="by hand")
    assert record_from(record.document()) == record
    return record


# What is needed


def test_the_lowest_offset_still_needed() -> None:
    assert lowest_needed(found(TWO_SEALS, 0)) == 150
    assert lowest_needed(found(PENDING, 0, finished=False)) == 80
    assert lowest_needed(found(PENDING, 0)) == 150
    assert lowest_needed(found(EMPTY, 0, commit=Commit(70))) == 70
    assert lowest_needed(found(EMPTY, 0)) is None


def test_under_a_gap_it_is_the_gaps_end() -> None:
    under = gap(PENDING, 80, 120, unfinished=1)
    assert lowest_needed(found(under, 0, finished=False)) == 120
    assert lowest_needed(found(under, 0)) == 120


@pytest.mark.parametrize(
    ("chain", "finished", "commit"),
    [
        (TWO_SEALS, True, None),
        (PENDING, False, None),
        (EMPTY, True, Commit(70)),
        (gap(TWO_SEALS, 150, 160), True, None),
        (gap(PENDING, 80, 120, unfinished=1), False, None),
    ],
)
def test_the_command_that_the_halt_names_is_accepted_and_lets_it_go_on(
    chain: Chain, finished: bool, commit: Commit | None
) -> None:
    seen = found(chain, 165, finished=finished, commit=commit)
    halted = recover(seen)
    assert isinstance(halted, Halt)
    assert halted.reason is HaltReason.RETENTION_HOLE
    start, end = (int(word) for word in halted.message.split()[-2:])
    lost = Span(start, end)
    assert gap_objection(lost, lowest_needed(seen), seen.ends) == ""
    record = written(seen, lost)
    after = replace(seen, chain=chain.then(record, record.document()), head_rules=RULES)
    plan = recover(after)
    assert isinstance(plan, RecoveryPlan)
    assert plan.start == 165
    assert plan.lossy is (not finished)


# Refusals


def refusal(lost: Span, needed: int | None, log: LogEnds) -> str:
    said = gap_objection(lost, needed, log)
    assert said
    return said


def test_a_new_partition_needs_no_gap() -> None:
    assert "a new partition starts at its stream's `start`" in refusal(Span(0, 5), None, ends(low=5))


@pytest.mark.parametrize("low", [0, 149, 150])
def test_where_nothing_is_lost_there_is_no_gap(low: int) -> None:
    said = refusal(Span(150, 160), 150, ends(low=low))
    assert said == f"nothing is lost: offset 150 is the lowest still needed, and the log starts at {low}"


@pytest.mark.parametrize("lost", [Span(149, 160), Span(151, 160), Span(150, 159), Span(150, 161), Span(160, 150)])
def test_other_numbers_are_refused_with_the_right_ones(lost: Span) -> None:
    said = refusal(lost, 150, ends(low=160))
    assert said == f"the lost offsets are 150 to 160, not {lost.start} to {lost.end}"


# The record


def test_a_gap_closes_nothing_and_moves_start_and_resume() -> None:
    record = written(found(TWO_SEALS, 160), Span(150, 160))
    assert record.kind is RecordKind.GAP
    assert (record.n, record.previous, record.reach) == (2, TWO_SEALS.reach, TWO_SEALS.reach)
    assert (record.start, record.resume, record.lost) == (160, 160, Span(150, 160))
    assert record.caught_up is TWO_SEALS.head.caught_up
    assert record.previous_sha256 == TWO_SEALS.digests[1]
    assert (record.objects, record.unfinished, record.first_timestamp) == ((), None, None)
    assert (record.settings, record.writer, record.sealed_at) == ("digest", "by hand", at(3))


def test_a_gap_after_a_spill_leaves_it_open() -> None:
    assert not written(found(chain_of({"caught_up": False}), 160), Span(100, 160)).caught_up


def test_a_gap_over_a_pending_seal_names_it() -> None:
    assert written(found(PENDING, 90, finished=False), Span(80, 90)).unfinished == 1
    second = written(found(gap(PENDING, 80, 90, unfinished=1), 95, finished=False), Span(90, 95))
    assert (second.n, second.unfinished) == (3, 1)


def test_a_gap_as_the_first_record() -> None:
    record = written(found(EMPTY, 90, commit=Commit(70)), Span(70, 90))
    assert (record.n, record.previous, record.cutoff, record.caught_up) == (0, None, None, False)
    assert (record.start, record.through, record.resume) == (90, 90, 90)
    assert (record.previous_sha256, record.unfinished) == ("", None)


def test_the_moment_of_a_gap_is_never_before_its_predecessors() -> None:
    late = chain_of({"sealed_at": at(9), "cutoff": day(0)})
    assert written(found(late, 160), Span(100, 160)).sealed_at == at(9)


@pytest.mark.parametrize(
    ("span", "left"),
    [
        (Span(0, 150), [Span(0, 150)]),
        (Span(0, 155), [Span(0, 150)]),
        (Span(0, 200), [Span(0, 150), Span(160, 170), Span(172, 200)]),
        (Span(151, 159), []),
        (Span(150, 161), [Span(160, 161)]),
        (Span(172, 173), [Span(172, 173)]),
        (Span(5, 5), []),
    ],
)
def test_what_is_left_of_a_range_without_what_was_given_up(span: Span, left: list[Span]) -> None:
    chain = gap(gap(TWO_SEALS, 150, 160), 170, 172)
    assert list(chain.outside_gaps(span)) == left
    assert all(chain.beyond_gap(offset) == offset for one in left for offset in range(one.start, one.end))
    assert (chain.beyond_gap(150), chain.beyond_gap(171)) == (160, 172)


def test_offsets_that_cannot_be_read_are_left_out_alone() -> None:
    for chain, finished, start, resume in (
        (TWO_SEALS, True, 150, 150),
        (PENDING, False, 80, 150),
        (EMPTY, True, 70, 70),
    ):
        seen = found(chain, 0, finished=finished, commit=Commit(70) if chain.empty else None)
        lost = Span(190, 193)
        assert gap_objection(lost, lowest_needed(seen), seen.ends, lost) == ""
        record = written(seen, lost)
        assert (record.start, record.resume, record.lost) == (start, resume, lost)
        assert record.through == (70 if chain.empty else chain.head.through)
        after = replace(seen, chain=chain.then(record, record.document()), head_rules=RULES)
        plan = recover(after)
        assert isinstance(plan, RecoveryPlan)
        assert (plan.start, plan.lossy) == (start, not finished)
        assert lowest_needed(after) == start
