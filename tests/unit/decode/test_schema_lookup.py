"""Looking schemas up: never waiting, believing slowly, asking little, remembering within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.decode import schema_lookup
from consumer.decode.registry import INCOMPLETE, UNKNOWN, RegistryAnswer
from consumer.decode.schema_lookup import (
    AGAIN_SECONDS,
    FRESH_SECONDS,
    MOST_ASKED,
    MOST_IDS,
    TRUST_SECONDS,
    SchemaLookup,
)
from consumer.domain.errors import GraceError, PendingError, TooVariousError, TransientError
from consumer.domain.offsets import TopicPartition
from tests.fakes.clock import HandClock

ONE, TWO = TopicPartition("t", 1), TopicPartition("t", 2)
GRACE = 60.0


class Source:
    """A registry that answers what it is told to; unknown ids are unknown."""

    def __init__(self) -> None:
        self.answers: dict[int, RegistryAnswer] = {}
        self.down = False
        self.asked: list[int] = []

    def ask(self, schema_id: int) -> RegistryAnswer:
        self.asked.append(schema_id)
        if self.down:
            raise TransientError("the registry is down")
        return self.answers.get(schema_id, UNKNOWN)


class Bench:
    """A lookup whose questions wait until they are let go."""

    def __init__(self) -> None:
        self.clock, self.source = HandClock(), Source()
        self.questions: list[Callable[[], None]] = []
        self.lookup = SchemaLookup(self.source, self.questions.append, self.clock, GRACE)

    def answer(self) -> None:
        while self.questions:
            self.questions.pop(0)()

    def look(self, *ids: int, partition: TopicPartition = ONE) -> dict[int, str | None] | type[TransientError]:
        """What is found, or the error that says why not."""
        try:
            return dict(self.lookup.schemas(partition, dict.fromkeys(ids, 1)))
        except TransientError as error:
            return type(error)

    def wait(self, seconds: float, *ids: int, partition: TopicPartition = ONE) -> None:
        """As the worker does: look again now and then."""
        for _ in range(int(seconds / AGAIN_SECONDS)):
            self.clock.advance(AGAIN_SECONDS)
            self.look(*ids, partition=partition)
            self.answer()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nobody_waits_for_an_answer(bench: Bench) -> None:
    bench.source.answers[1] = RegistryAnswer("text")
    assert bench.look(1) is PendingError
    assert bench.look(1) is PendingError
    assert len(bench.questions) == 1, "asked once"
    bench.answer()
    assert bench.look(1) == {1: "text"}
    bench.source.down = True
    bench.clock.advance(1_000_000)
    assert bench.look(1) == {1: "text"}, "an id never changes its meaning"
    assert bench.source.asked == [1]


def test_a_schema_that_is_unknown_for_a_moment_costs_no_row(bench: Bench) -> None:
    """The registry's answer of 2 s ago is no verdict."""
    bench.look(2)
    bench.answer()
    assert bench.look(2) is GraceError
    bench.source.answers[2] = RegistryAnswer("text")
    bench.wait(2, 2)
    assert bench.look(2) == {2: "text"}


def test_unknown_is_believed_after_the_grace_from_the_first_such_answer(bench: Bench) -> None:
    bench.look(2)
    bench.clock.advance(500)
    bench.answer()
    bench.wait(GRACE - 1, 2)
    assert bench.look(2) is GraceError
    bench.wait(2, 2)
    assert bench.look(2) == {2: None}


def test_an_error_that_nobody_foresaw_is_an_outage(bench: Bench) -> None:
    """Else the partition would wait for an answer that never comes, and say nothing."""
    bench.look(2)
    bench.source.answers = None  # type: ignore[assignment] # so that asking fails in a way of its own
    bench.answer()
    assert bench.look(2) is TransientError
    with pytest.raises(TransientError, match="schema 2 cannot be looked up: AttributeError"):
        bench.lookup.schemas(ONE, {2: 1})
    bench.source.answers = {2: RegistryAnswer("text")}
    bench.wait(1, 2)
    assert bench.look(2) == {2: "text"}


def test_an_outage_ends_no_grace(bench: Bench) -> None:
    bench.look(2)
    bench.answer()
    bench.source.down = True
    bench.wait(GRACE * 3, 2)
    assert bench.look(2) is TransientError
    bench.source.down = False
    bench.source.answers[2] = RegistryAnswer("text")
    bench.wait(1, 2)
    assert bench.look(2) == {2: "text"}


def test_others_go_on_meanwhile(bench: Bench) -> None:
    bench.source.answers[1] = RegistryAnswer("text")
    bench.wait(3, 1, 2)
    assert bench.look(1, 2) is GraceError
    assert bench.look(1, partition=TWO) == {1: "text"}


def test_after_a_grace_ended_so_the_partition_believes_at_once_for_ten_minutes(bench: Bench) -> None:
    bench.wait(GRACE + 3, 2)
    assert bench.look(2) == {2: None}
    bench.look(3)
    bench.answer()
    assert bench.look(3) == {3: None}, "a producer of random ids must not stop it for good"
    bench.look(4, partition=TWO)
    bench.answer()
    assert bench.look(4, partition=TWO) is GraceError, "another partition has not waited"
    bench.clock.advance(TRUST_SECONDS)
    bench.look(5)
    bench.answer()
    assert bench.look(5) is GraceError


def test_a_grace_that_ended_well_makes_nobody_credulous(bench: Bench) -> None:
    bench.wait(5, 2)
    bench.source.answers[2] = RegistryAnswer("text")
    bench.wait(1, 2)
    assert bench.look(2) == {2: "text"}
    bench.look(3)
    bench.answer()
    assert bench.look(3) is GraceError


def test_what_is_unknown_is_asked_for_again(bench: Bench) -> None:
    bench.wait(GRACE + 3, 2)
    bench.source.answers[2] = RegistryAnswer("text")
    assert bench.look(2) == {2: None}
    bench.clock.advance(FRESH_SECONDS + 1)
    assert bench.look(2) is not None
    bench.answer()
    assert bench.look(2) == {2: "text"}


def test_a_schema_without_its_references_is_unusable_after_the_grace(bench: Bench) -> None:
    bench.source.answers[2] = INCOMPLETE
    bench.wait(5, 2)
    assert bench.look(2) is GraceError
    bench.wait(GRACE, 2)
    assert bench.look(2) == {2: ""}


def test_ids_of_most_records_are_asked_first_and_few_at_a_time(bench: Bench) -> None:
    wanted = {number: number % 10 for number in range(1, MOST_IDS)}
    with pytest.raises(PendingError):
        bench.lookup.schemas(ONE, wanted)
    assert len(bench.questions) == MOST_ASKED
    bench.answer()
    assert bench.source.asked == [9, 19, 29, 39][:MOST_ASKED]
    bench.look(7, partition=TWO)
    assert len(bench.questions) == 1, "the others have room"


def test_a_batch_of_too_many_ids_is_taken_in_halves(bench: Bench) -> None:
    assert bench.look(*range(MOST_IDS + 1)) is TooVariousError
    assert not bench.questions


def test_many_unknown_ids_of_one_batch_are_all_there_in_the_end(bench: Bench) -> None:
    """However slow the registry is: answers stay good while the partition waits for others."""
    ids = range(MOST_IDS)
    bench.wait(GRACE + 3, 0)
    for _ in range(MOST_IDS // MOST_ASKED):
        assert bench.look(*ids) is PendingError
        bench.clock.advance(FRESH_SECONDS / 2)
        bench.answer()
    assert bench.look(*ids) == dict.fromkeys(ids, None)


def test_what_is_remembered_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_lookup, "MOST_REMEMBERED", 100)
    monkeypatch.setattr(schema_lookup, "MOST_IDS", 10)
    monkeypatch.setattr(schema_lookup, "MOST_TEXT", 1_000)
    bench.wait(GRACE + 3, 0)
    for number in range(1_000):
        bench.look(number)
        bench.answer()
    assert len(bench.lookup._entries) <= 100
    bench.source.answers = {number: RegistryAnswer("x" * 500) for number in range(2_000, 2_100)}
    for number in range(2_000, 2_100):
        bench.look(number)
        bench.answer()
        assert bench.look(number) == {number: "x" * 500}
    assert len(bench.lookup._entries) <= 11
    assert bench.lookup._text <= 11 * 500
