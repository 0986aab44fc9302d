"""A partition's chain as a value: covering records, what is taken, where it stands."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.offsets import Span
from consumer.seal.chain import Chain
from consumer.seal.record import Reach, Record
from tests.builders.chains import at, chain_of, day, following, gap, then

THREE = chain_of({"through": 100}, {"through": 100, "caught_up": False, "cutoff": day(0)}, {"through": 250})


def test_an_empty_chain_has_reached_nothing() -> None:
    chain = Chain()
    assert chain.empty
    assert chain.identity == ""
    assert chain.reach == Reach(None, 0)
    assert chain.last_seal is None
    assert chain.covering(0) is None
    assert list(chain.segments(Span(3, 9))) == [(Span(3, 9), None)]
    assert not chain.took(day(0), None)


def test_a_chain_grows_by_records_and_their_digests() -> None:
    record = following(Chain())
    text = record.document()
    chain = Chain().then(record, text)
    assert not chain.empty
    assert chain.head == record
    assert chain.reach == Reach(day(0), 100)
    assert chain.digests == (hashlib.sha256(text).hexdigest(),)
    assert chain.identity == hashlib.sha256(text).hexdigest()[:16]
    assert then(chain).identity == chain.identity


def test_the_last_seal_is_not_a_gap() -> None:
    chain = gap(chain_of({}, {}), 150, 260)
    assert chain.head.n == 2
    assert chain.last_seal is not None
    assert chain.last_seal.n == 1


def test_the_chain_before_a_record() -> None:
    assert THREE.before(0) == Chain()
    assert THREE.before(2).head.n == 1
    assert THREE.before(2).digests == THREE.digests[:2]
    assert THREE.before(3) == THREE


def test_the_covering_record_is_the_first_whose_through_exceeds_the_offset() -> None:
    def n(offset: int) -> int | None:
        found = THREE.covering(offset)
        return None if found is None else found.n

    assert [n(0), n(99), n(100), n(249), n(250)] == [0, 0, 2, 2, None]


@given(throughs=st.lists(st.integers(0, 40), min_size=1, max_size=8).map(sorted), offset=st.integers(0, 45))
def test_covering_is_found_as_by_looking_at_each(throughs: list[int], offset: int) -> None:
    chain = chain_of(*({"through": through} for through in throughs))
    slow = next((record for record in chain.records if record.through > offset), None)
    assert chain.covering(offset) == slow


@given(
    throughs=st.lists(st.integers(0, 40), max_size=8).map(sorted), start=st.integers(0, 45), length=st.integers(0, 45)
)
def test_segments_tile_the_span_and_have_one_covering_record_each(throughs: list[int], start: int, length: int) -> None:
    chain, span = chain_of(*({"through": through} for through in throughs)), Span(start, start + length)
    pieces = list(chain.segments(span))
    flat = [(offset, record) for piece, record in pieces for offset in range(piece.start, piece.end)]
    assert [offset for offset, _ in flat] == list(range(span.start, span.end))
    assert all(record == chain.covering(offset) for offset, record in flat)
    neighbours: list[Record | None] = [record for _, record in pieces]
    assert all(one != other for one, other in pairwise(neighbours))


def test_a_row_is_taken_if_its_day_was_closed_or_it_was_far_ahead_when_it_was_covered() -> None:
    chain = chain_of({"sealed_at": at(0)}, {"sealed_at": at(1)})
    first, second = chain.records
    assert chain.took(day(1), first)
    assert not chain.took(day(2), first)
    assert not chain.took(day(1), None), "no seal reached it: read it"
    assert chain.took(day(4), first), "more than two days after record 0"
    assert not chain.took(day(4), second), "just two days after record 1"
    assert chain.took(day(5), second)


def test_before_any_cutoff_only_the_far_future_is_taken() -> None:
    chain = chain_of({"cutoff": None, "sealed_at": at(0)})
    assert not chain.took(day(0), chain.head)
    assert chain.took(day(4), chain.head)
    assert at(0).date() + timedelta(days=3) == day(4)


def test_the_taker_of_a_row_is_the_first_seal_that_its_day_is_due_by() -> None:
    """Also where that seal began above it: what filters dropped while its day was open did not hold the start."""
    chain = chain_of({"resume": 80}, {"start": 80})
    assert chain.taker(50, day(0)) == chain.records[0]
    assert chain.taker(50, day(1)) == chain.records[1]
    assert chain.taker(90, day(1)) == chain.records[1]
    assert chain.taker(50, day(2)) is None
    assert chain.taker(chain.head.through, day(0)) is None


def test_what_a_gap_gave_up_is_taken_by_none() -> None:
    chain = then(gap(chain_of({"resume": 80}), 80, 90), start=90)
    assert chain.taker(85, day(1)) is None
    assert chain.taker(85, day(0)) == chain.records[0]
    assert chain.taker(95, day(1)) == chain.head
