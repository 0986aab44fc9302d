"""How offsets are judged: below the head by the record that covers them, above it by today's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.batches import Counts, DayRows, RawBatch, SealedSchemas, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span
from consumer.seal.chain import Chain
from consumer.seal.record import Record
from consumer.worker.offset_rules import OffsetRules
from tests.builders.chains import ONE, at, chain_of, day


class Observations:
    """A judge that remembers what it was asked; every record is a row of the day that its value says."""

    columns = ("id",)

    def __init__(self) -> None:
        self.asked: list[tuple[Span, list[int], TransformOptions]] = []

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        self.asked.append((batch.span, list(batch.offsets), how))
        days = sorted({int(value or b"0") for value in batch.values})
        rows = tuple(DayRows(day(number), False, 1, 0, 0, b"") for number in days)
        return TransformedBatch(batch.partition, batch.span, rows, Counts(len(batch)))


CHAIN = chain_of(
    {"settings": "old", "schemas": SealedSchemas({17: 60})},
    {"settings": "new"},
    {"settings": "old", "through": 250, "schemas": SealedSchemas(None, {})},
)


def transformers() -> dict[str, Observations]:
    return {"old": Observations(), "new": Observations(), "today": Observations()}


def batch(start: int, end: int) -> RawBatch:
    offsets = list(range(start, end, 10))
    return RawBatch(ONE, Span(start, end), offsets, [0] * len(offsets), [b"0"] * len(offsets), [None] * len(offsets))


def nothing(found: date) -> bool:
    return False


def looked(found: Mapping[str, Observations], only: Record | None = None, chain: Chain = CHAIN) -> OffsetRules:
    return OffsetRules(chain, found, "today", ("id", "at"), only)


def test_a_batch_is_cut_where_the_covering_record_changes() -> None:
    found = transformers()
    pieces = list(looked(found).transform(batch(90, 300), nothing))
    assert [(judged.span, None if covering is None else covering.n) for judged, covering in pieces] == [
        (Span(90, 100), 0),
        (Span(100, 200), 1),
        (Span(200, 250), 2),
        (Span(250, 300), None),
    ]
    assert [span for span, _, _ in found["old"].asked] == [Span(90, 100), Span(200, 250)]
    assert [span for span, _, _ in found["new"].asked] == [Span(100, 200)]
    assert [(span, offsets) for span, offsets, _ in found["today"].asked] == [
        (Span(250, 300), [250, 260, 270, 280, 290])
    ]


def test_each_piece_is_judged_with_the_schemas_known_then_and_the_columns_of_the_object_to_be() -> None:
    found = transformers()
    list(looked(found).transform(batch(90, 300), nothing))
    assert [how.schemas for _, _, how in found["old"].asked] == [SealedSchemas({17: 60}), SealedSchemas(None)]
    assert found["today"].asked[0][2].schemas is None, "above the head the registry is asked"
    assert all(how.columns == ("id", "at") for transformer in found.values() for _, _, how in transformer.asked)


def test_without_a_chain_all_is_judged_by_todays_rules() -> None:
    found = transformers()
    ((judged, covering),) = looked(found, chain=Chain()).transform(batch(0, 50), nothing)
    assert (judged.span, covering) == (Span(0, 50), None)


def test_an_empty_span_asks_nobody() -> None:
    found = transformers()
    assert list(looked(found).transform(batch(50, 50), nothing)) == []


def test_the_text_of_days_not_wanted_is_not_asked_for() -> None:
    found = transformers()
    list(looked(found).transform(batch(90, 300), lambda leaving: leaving == day(7)))
    below, above = found["old"].asked[0][2], found["today"].asked[0][2]
    taken = CHAIN.reach.cutoff
    assert taken == day(2)
    assert [below.wanted(day(number), False) for number in (2, 3, 7)] == [False, True, False]
    assert [above.wanted(day(number), False) for number in (2, 3, 7)] == [True, True, False]
    assert below.wanted(day(3), True)


# Which rows are shown


def test_what_a_seal_took_is_not_shown_again() -> None:
    offset_rules = looked(transformers())
    first, second, third = CHAIN.records
    for covering in (first, second, third):
        assert not offset_rules.wants(day(2), covering)
        assert offset_rules.wants(day(3), covering)
    assert offset_rules.wants(day(2), None), "late rows above the head go with the next seal"
    assert not offset_rules.wants(day(4), first), "far ahead when it was covered: taken then"
    assert offset_rules.wants(day(4), second)


# A pending seal is rebuilt


def rebuilding(n: int, **changes: Any) -> OffsetRules:
    record = replace(CHAIN.records[n], **changes)
    return looked(transformers(), record, Chain((*CHAIN.records[:n], record), CHAIN.digests[: n + 1]))


def test_a_rebuild_shows_nothing_from_its_through_on() -> None:
    offset_rules = rebuilding(1)
    assert offset_rules.end == 200
    assert [judged.span for judged, _ in offset_rules.transform(batch(150, 300), nothing)] == [Span(150, 200)]
    assert list(offset_rules.transform(batch(200, 300), nothing)) == []
    assert list(offset_rules.transform(batch(240, 300), nothing)) == []
    assert looked(transformers()).end is None


def test_a_rebuild_shows_what_the_seal_takes_and_no_earlier_one_took() -> None:
    offset_rules = rebuilding(1)
    first, own = offset_rules.chain.records
    assert [offset_rules.wants(day(number), own) for number in (0, 1, 2)] == [True, True, False]
    assert [offset_rules.wants(day(number), first) for number in (0, 1, 2)] == [False, True, False]


def test_a_rebuild_knows_the_far_future_of_each_covering_record() -> None:
    offset_rules = rebuilding(1)
    first, own = offset_rules.chain.records
    assert offset_rules.wants(day(5), own), "more than two days after this seal"
    assert not offset_rules.wants(day(4), own)
    assert not offset_rules.wants(day(4), first), "record 0 took it"
    assert not offset_rules.wants(day(5), first)


def test_the_first_seal_is_rebuilt_without_predecessors() -> None:
    offset_rules = rebuilding(0)
    (own,) = offset_rules.chain.records
    assert [offset_rules.wants(day(number), own) for number in (-9, 0, 1, 3, 4)] == [True, True, False, False, True]


def test_a_rebuild_does_not_mind_what_came_after_it() -> None:
    """A gap over a pending seal: the newer record says nothing of the rows that the seal takes."""
    offset_rules = looked(transformers(), CHAIN.records[1], CHAIN)
    first, own, _ = CHAIN.records
    assert [offset_rules.wants(day(number), own) for number in (0, 1, 2)] == [True, True, False]
    assert [offset_rules.wants(day(number), first) for number in (0, 1, 2)] == [False, True, False]


@given(
    cutoffs=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    shifts=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    number=st.integers(-2, 20),
    offset=st.integers(0, 600),
)
def test_each_row_is_taken_by_one_seal_and_shown_until_then(
    cutoffs: list[int], shifts: list[int], number: int, offset: int
) -> None:
    """Rebuilding any seal gives its rows and no other's; reading on behind the chain gives the rows that none took."""
    changes, cutoff, moment = [], -1, 0
    for step, shift in zip(cutoffs, shifts, strict=False):
        cutoff, moment = cutoff + step, moment + shift
        changes.append({"cutoff": day(cutoff), "sealed_at": at(max(cutoff, moment))})
    chain = chain_of(*changes)
    covering = chain.covering(offset)
    takers = [
        record.n
        for record in chain.records
        if covering is not None
        and covering.n <= record.n
        and looked(transformers(), record, chain.before(record.n + 1)).wants(day(number), covering)
    ]
    shown = looked(transformers(), chain=chain).wants(day(number), covering)
    assert len(takers) + shown == 1
