"""The waits between two tries."""

from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.backoff import pauses


def test_without_jitter_they_double_up_to_the_longest() -> None:
    assert list(islice(pauses(0.5, 3.0, lambda: 0.0), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


@given(st.integers())
def test_jitter_takes_up_to_a_half_away(seed: int) -> None:
    whole = list(islice(pauses(0.5, 30.0, lambda: 0.0), 10))
    found = list(islice(pauses(0.5, 30.0, Random(seed).random), 10))
    assert all(full / 2 < pause <= full for pause, full in zip(found, whole, strict=True))


def test_two_workers_do_not_come_back_together_and_a_seed_repeats() -> None:
    one, two, again = (list(islice(pauses(1.0, 8.0, Random(seed).random), 4)) for seed in (1, 2, 1))
    assert one != two
    assert one == again
