"""Undo after undo, beside erasures, and over versions: what comes back, and what must not."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from consumer.domain.errors import RefusedError
from consumer.replace.bodies import working_folder
from consumer.replace.services import Scope
from consumer.replace.stored import Restatement
from consumer.replace.treatments import erasure_of
from consumer.replace.undo import Undo
from consumer.seal.replacements.record import CELLS, Replacement
from consumer.streams.rules import RowRules
from tests.builders.past import Past, day, rules
from tests.builders.rough import RoughStore

KEYS = {"k1": b"k" * 32}


def past(tmp_path: Path, *, versioned: bool = False) -> Past:
    """Two days of person p and others, the latter of a type of their own."""
    store = RoughStore()
    store.versioned = versioned
    one = Past(store, tmp_path, keys=KEYS)
    for number in range(2):
        one.produce(number, kind="trial_started", profile_id="p", customer_user_id="person")
        one.produce(number, kind="subscription_paused", profile_id="q", customer_user_id="other")
        one.seal(number)
        one.publish()
    return one


def erase(one: Past, first: int, last: int, value: str = "p") -> list[Replacement]:
    erasure = erasure_of("profile_id", CELLS, [value], ("profile_id", "customer_user_id"), "k1", KEYS)
    work = Restatement(one.services(), Scope(day(first), day(last)), erasure)
    plan = work.plan()
    with working_folder(one.folder / "spool") as folder:
        return work.apply(plan, folder)


def renamed(number: int) -> RowRules:
    return rules(event_names={"trial_started": f"name-{number}"})


@pytest.mark.parametrize("versioned", [False, True])
def test_ten_replays_in_a_row_are_taken_back_one_by_one(tmp_path: Path, versioned: bool) -> None:
    one, bodies = past(tmp_path, versioned=versioned), []
    for number in range(10):
        bodies.append(one.bodies())
        one.today = renamed(number)
        one.replay(0, 1)
    for number in reversed(range(10)):
        one.undo(number)
        assert one.bodies() == bodies[number]
        assert one.verify().findings == ()


def test_what_was_replayed_anew_since_is_named(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.today = renamed(1)
    one.replay(0, 1)
    assert one.undo(0).n == one.undo(0).n == 1, "done already"
    one.replay(0, 1)
    with pytest.raises(RefusedError, match="replay 2 replaced objects of replay 0"):
        one.undo(0)
    one.undo(2)
    assert one.undo(0).n == 1, "the second replay is gone"


def test_old_bodies_that_may_hold_an_erased_person_stay_where_they_are(tmp_path: Path) -> None:
    """The erasure found nothing in the day that the replay emptied of the person's rows."""
    one = past(tmp_path)
    one.today = rules(drop=("trial_started",))
    one.replay(0, 0)
    (erased,) = erase(one, 0, 1)
    assert erased.days == (day(1),)
    with pytest.raises(
        RefusedError, match="erase 1 replaced objects of replay 0 of events, whose old bodies may contain"
    ):
        one.undo(0)
    one.today = rules()
    one.replay(0, 0)
    assert "person" not in "".join(one.objects().values())
    assert one.verify().findings == ()


def test_an_erase_is_for_good_whatever_versions_there_are(tmp_path: Path) -> None:
    one = past(tmp_path, versioned=True)
    erase(one, 0, 1)
    with pytest.raises(RefusedError, match="cannot be undone"):
        one.undo(0)
    assert "person" not in "".join(one.objects().values())


def test_an_undo_waits_for_one_that_is_half_done(tmp_path: Path) -> None:
    one = past(tmp_path)
    for number in range(2):
        one.today = renamed(number)
        one.replay(0, 1)
    store = one.store
    assert isinstance(store, RoughStore)
    undo = Undo(one.services(), 1)
    plan, ended = undo.plan(), RuntimeError("the process is gone")

    def gone(what: str, key: str) -> None:
        if what == "put" and key.endswith(".csv"):
            raise ended

    store.before = gone
    with pytest.raises(RuntimeError):
        undo.apply(plan)
    store.before = lambda what, key: None
    with pytest.raises(RefusedError, match=r"undo 2 of events, .* is half done"):
        one.undo(0)
    one.undo(1)
    one.undo(0)
    assert one.bodies() == past(tmp_path).bodies()


@pytest.mark.parametrize("first", ["0001-01-01", "1970-01-01", "9999-12-30"])
def test_days_at_the_ends_of_the_calendar_have_no_rows(tmp_path: Path, first: str) -> None:
    """Kafka knows no instant before 1970, Python no day before or after these."""
    one = past(tmp_path)
    work = one.work(0, 1)
    begin = date.fromisoformat(first)
    work._scope = Scope(begin, begin + timedelta(days=1))
    assert work.plan().objects == ()
