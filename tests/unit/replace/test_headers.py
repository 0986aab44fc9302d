"""Replays in a folder whose list has another order than the settings: new bodies have the folder's header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consumer.domain.errors import RefusedError
from consumer.replace.bodies import working_folder
from consumer.seal.folder_columns import claim_columns, folder_columns
from consumer.seal.replacements.log import ReplacementLog
from consumer.shape.csv_text import line
from consumer.streams.rules import RowRules
from tests.builders.past import STREAM, Past, day, rules
from tests.builders.rough import RoughStore


class Crash(BaseException):
    """The process is gone."""


def with_column(*names: str) -> RowRules:
    """Today's rules: a filter less, and these columns in the middle of the schema."""
    schema = json.loads(rules().schema)
    schema["fields"][1:1] = [{"name": name, "type": ["null", "string"], "default": None} for name in names]
    return rules(drop=("subscription_paused",), schema=json.dumps(schema))


def past(tmp_path: Path, *, listed: bool = True) -> Past:
    one = Past(RoughStore(), tmp_path, rules(drop=("trial_started",)), listed=listed)
    one.days(range(3))
    one.today = with_column("price")
    return one


def names_of(one: Past) -> tuple[str, ...]:
    return folder_columns(one.store, STREAM).names


def header_of_day(one: Past, number: int) -> set[str]:
    return {text.split("\n")[0] + "\n" for key, text in one.objects().items() if f"dt={day(number)}" in key}


def text_of(names: tuple[str, ...]) -> str:
    return line(names).decode()


@pytest.mark.parametrize("listed", [True, False])
def test_a_column_from_the_middle_comes_last(tmp_path: Path, listed: bool) -> None:
    one = past(tmp_path, listed=listed)
    before, old = one.bodies(), names_of(one)
    plan = one.work(1, 1).plan()
    assert (plan.columns, names_of(one)) == ((*old, "price"), old), "a plan claims nothing"
    _, (record,) = one.replay(1, 1)
    assert {new.columns for new in record.objects} == {len(old) + 1}
    assert names_of(one) == (*old, "price")
    assert folder_columns(one.store, STREAM).columns[-1].since == day(1)
    assert header_of_day(one, 1) == {text_of((*old, "price"))}
    assert header_of_day(one, 0) == {text_of(old)}
    assert one.manifest(1)["columns"] == [*old, "price"]
    assert one.verify().findings == ()
    again = one.work(1, 1).plan()
    assert (again.objects, again.unchanged) == ((), len(record.objects))
    one.undo(0)
    assert one.bodies() == before
    assert one.manifest(1)["columns"] == list(old)
    assert one.verify().findings == ()


def test_a_crash_and_another_column_meanwhile(tmp_path: Path) -> None:
    smooth = past(tmp_path)
    smooth.replay(1, 2)
    one = past(tmp_path)
    assert isinstance(one.store, RoughStore)

    def after(call: str, key: str) -> None:
        if call == "put" and key.startswith("_replays/") and "/old/" not in key:
            raise Crash

    one.store.after = after
    with pytest.raises(Crash):
        one.replay(1, 2)
    one.store.after = lambda call, key: None
    one.today = with_column("price", "fee")
    assert claim_columns(one.store, STREAM, one.header, day(3), day(3))
    assert one.work(1, 2).resume() is not None
    assert one.bodies() == smooth.bodies()
    assert one.verify().findings == ()
    one.replay(1, 2)
    assert header_of_day(one, 2) == {text_of((*names_of(smooth), "fee"))}
    assert one.verify().findings == ()


def test_a_worker_that_was_faster_with_another_column(tmp_path: Path) -> None:
    one = past(tmp_path)
    work = one.work(1, 1)
    plan, before = work.plan(), one.bodies()
    assert claim_columns(one.store, STREAM, (*names_of(one), "fee"), day(3), day(3))
    with (
        working_folder(tmp_path / "spool") as folder,
        pytest.raises(RefusedError, match="changed the columns of the folder of"),
    ):
        work.apply(plan, folder)
    assert (one.bodies(), ReplacementLog(one.store, STREAM).read().records) == (before, ())
    one.replay(1, 1)
    assert header_of_day(one, 1) == {text_of(names_of(one))}
    assert one.verify().findings == ()


def test_a_lost_object_is_made_again(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.replay(0, 2)
    before = one.bodies()
    key = next(key for key in before if f"dt={day(1)}" in key)
    assert isinstance(one.store, RoughStore)
    one.store.delete(key)
    assert any(f"replay --from {day(1)} --to {day(1)} --stream {STREAM}" in f.todo for f in one.verify().findings)
    one.replay(1, 1)
    assert one.bodies() == before
    assert one.verify().findings == ()
