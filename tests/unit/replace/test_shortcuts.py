"""What differs between two sets of rules, at once: the same as judging each record by itself comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.replace.shortcuts import Change, cells_alone, comings_and_goings, one_filter, other_cells
from consumer.replace.verdicts import AtOnce, Judge, Pair
from consumer.shape.csv_text import line
from consumer.shape.native import extension
from consumer.streams.rules import LineBreaks, Method, Privacy, RowRules
from tests.builders.past import Past, rules
from tests.builders.rough import RoughStore

PLAIN = rules()
PRIVATE = rules(privacy=Privacy({"ip_address": Method.TRUNCATE_IP, "currency": Method.DROP}))


def filtered(**changes: Any) -> RowRules:
    return replace(PLAIN, filter=replace(PLAIN.filter, **changes))


CHANGES = {
    "rows come back": (rules(drop=("trial_started",)), PLAIN),
    "rows go": (PLAIN, filtered(include_without_profile=False)),
    "both": (rules(drop=("trial_started",)), rules(drop=("subscription_paused",))),
    "names": (PLAIN, rules(event_names={"trial_started": "trial"}, line_breaks=LineBreaks.SPACE)),
    "privacy": (PLAIN, PRIVATE),
}


def plan(tmp_path: Path, before: RowRules, after: RowRules) -> list[tuple[Any, ...]]:
    one = Past(RoughStore(), tmp_path, before)
    for number in range(3):
        for index in range(20):
            kind = ("trial_started", "subscription_paused")[index % 2]
            person, ip = ("" if index % 3 else f"p{index}"), f"10.0.0.{index}"
            one.produce(number, kind=kind, profile_id=person, ip_address=ip, currency='a "b",\n', at=number - index % 2)
        one.produce_raw(number, b"{")
        one.seal(number)
        one.publish()
    one.today = after
    made = one.work(-1, 2).plan()
    assert made.objects
    return [
        (o.key, o.before.rows, o.after.rows, o.after.first, dict(o.added), dict(o.removed), dict(o.changed))
        for o in made.objects
    ]


@pytest.mark.parametrize("what", CHANGES)
def test_it_is_what_judging_each_record_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    at_once, found = Judge.at_once, list[AtOnce | None]()

    def spied(self: Judge, pair: Pair) -> AtOnce | None:
        found.append(at_once(self, pair))
        return found[-1]

    monkeypatch.setattr(Judge, "at_once", spied)
    quick = plan(tmp_path / "one", *CHANGES[what])
    assert found
    assert None not in found
    monkeypatch.setattr(Judge, "at_once", lambda self, pair: None)
    assert plan(tmp_path / "other", *CHANGES[what]) == quick


def test_rules_that_differ_in_more_than_one_way() -> None:
    assert one_filter(PLAIN, filtered(environments=("production",))) == "environment"
    assert one_filter(PLAIN, filtered(exclude_historical=True)) == "historical"
    assert one_filter(PLAIN, filtered(exclude_historical=True, include_without_profile=False)) is None
    assert one_filter(PLAIN, replace(filtered(exclude_historical=True), event_names={"a": "b"})) is None
    assert one_filter(PLAIN, PLAIN) is None
    assert cells_alone(PLAIN, PRIVATE)
    assert not cells_alone(PLAIN, filtered(exclude_historical=True))
    assert not cells_alone(PLAIN, rules(send_user_attributes=True))


NUMBERS = st.lists(st.integers(0, 30), unique=True).map(sorted)


@given(NUMBERS, NUMBERS)
def test_rows_that_came_and_went(old: list[int], new: list[int]) -> None:
    before, after = (b"".join(line([str(n), 'a "b"\n']) for n in numbers) for numbers in (old, new))
    assert comings_and_goings(before, after) == Change(len(set(new) - set(old)), len(set(old) - set(new)))


def test_where_equal_rows_leave_it_open() -> None:
    assert comings_and_goings(b"a\na\nb\n", b"a\nc\n") is None
    assert comings_and_goings(b"a\na\n", b"a\na\na\n") == Change(added=1)
    assert other_cells(b"a,b\n", b"", ("x", "y")) is None
    assert other_cells(b'a,b\n,"c,"\n', b'a,x\n,"d,"\n', ("x", "y")) == Change(changed=Counter(y=2))


CELL = st.sampled_from([None, "", "a", "b", 'a "b", c', "one\ntwo", "\r", ",", '"', "é"])
TEXT = st.lists(st.tuples(CELL, CELL), max_size=6).map(lambda rows: b"".join(map(line, rows)))


def on_each_engine(call: Callable[[], Change | None]) -> list[Change | None]:
    found = []
    for engine in (extension.EXACT, extension.NATIVE):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv(extension.VARIABLE, engine)
            found.append(call())
    return found


@given(TEXT, TEXT)
@example(b"a,b\na,b\n", b"a,b\n")
@example(b"a,b\na,b\nc,d\n", b"a,b\ne,f\n")
def test_both_engines_compare_alike(before: bytes, after: bytes) -> None:
    exact, native = on_each_engine(lambda: comings_and_goings(before, after))
    assert exact == native
    exact, native = on_each_engine(lambda: other_cells(before, after, ("x", "y")))
    assert exact == native


@pytest.mark.skipif(extension.comparer() is None, reason="the native engine is not installed")
@pytest.mark.parametrize(
    "text", [b"a,b", b'a,"b\n', b"a\n", b"a,b,c\n", b'a,b"\n', b'"a"b,c\n'], ids=lambda text: text.decode()
)
def test_the_native_engine_leaves_what_is_not_two_cells_a_row(text: bytes) -> None:
    native = extension.comparer()
    assert native is not None
    assert native.other_cells(text, text, 2) is None
    assert native.other_cells(b"a,b\n", text, 2) is None
    assert native.other_cells(b"a,b\n", b"a,b\n", 2) == [0, 0]
    assert native.comings_and_goings(b"a,b", b"") is None, "a row without an end"
