"""Rewrites and erasures of stored rows: what becomes of cells and rows, and that later replays do it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.domain.errors import HaltError, HaltReason, RefusedError
from consumer.replace.bodies import working_folder
from consumer.replace.services import Scope
from consumer.replace.stored import Restatement
from consumer.replace.treatments import erasing, erasure_of, rewriting
from consumer.seal.replacements.log import ReplacementLog
from consumer.seal.replacements.record import CELLS, ROWS, Erasure, Replacement
from consumer.shape.privacy import hashed
from consumer.store.folder import FolderStore
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Method, Privacy
from tests.builders.past import STREAM, Past, day, rules
from tests.builders.rough import RoughStore

KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}
COLUMNS = ("id", "name", "ip")


def erasure(*values: str, mode: str = CELLS, column: str = "id", personal: Sequence[str] = ("id", "name")) -> Erasure:
    return erasure_of(column, mode, values, personal, "k1", KEYS)


# One row


@pytest.mark.parametrize(
    ("row", "cells", "rows"),
    [
        (("a", "x", "1"), (None, None, "1"), None),
        ((hashed("a", "k1", KEYS["k1"]), "x", "1"), (None, None, "1"), None),
        ((hashed("a", "k2", KEYS["k2"]), None, None), (None, None, None), None),
        (("b", "x", "1"), ("b", "x", "1"), ("b", "x", "1")),
        ((None, "a", "a"), (None, "a", "a"), (None, "a", "a")),
        (("", "x", None), ("", "x", None), ("", "x", None)),
        ((" a", "x", None), (" a", "x", None), (" a", "x", None)),
        (("A", "x", None), ("A", "x", None), ("A", "x", None)),
    ],
)
def test_whom_an_erasure_meets(row: Any, cells: Any, rows: Any) -> None:
    assert erasing(COLUMNS, erasure("a"), KEYS)(row) == cells
    assert erasing(COLUMNS, erasure("a", mode=ROWS), KEYS)(row) == rows


def test_a_column_that_is_not_personal_stays() -> None:
    assert erasing(COLUMNS, erasure("a", personal=("name",)), KEYS)(("a", "x", "1")) == ("a", None, "1")
    assert erasing(("other",), erasure("a"), KEYS)(("a",)) == ("a",), "an object from before the column"


def test_no_value_stands_in_the_record() -> None:
    found = erasure("someone@example.com", "second")
    assert len(found.digests) == 6
    assert "someone" not in str(found.document())
    assert hashed("someone@example.com", "k1", KEYS["k1"]) not in str(found.document())


@pytest.mark.parametrize("keys", [{}, {"k2": KEYS["k2"]}, {"k1": b"x" * 32}])
def test_without_its_key_an_erasure_halts(keys: dict[str, bytes]) -> None:
    with pytest.raises(HaltError, match="needs the key 'k1'") as caught:
        erasing(COLUMNS, erasure("a"), keys)
    assert caught.value.reason is HaltReason.MISSING_KEY


def test_a_cell_is_never_treated_twice() -> None:
    privacy = Privacy({"id": Method.HASH, "name": Method.DROP, "ip": Method.TRUNCATE_IP}, "k1", fingerprint(KEYS["k1"]))
    treat = rewriting(COLUMNS, privacy, KEYS["k1"], {"k1", "k2"})
    once = treat(("a", "x", "10.1.2.3"))
    assert once == (hashed("a", "k1", KEYS["k1"]), None, "10.1.2.0")
    assert treat(once) == once
    older = (hashed("a", "k2", KEYS["k2"]), None, None)
    assert treat(older) == older


# Stored days


def past(tmp_path: Path, *, folder: bool = False, days: int = 3) -> Past:
    (tmp_path / "t").mkdir(exist_ok=True)
    one = Past(FolderStore(tmp_path / "out") if folder else RoughStore(), tmp_path / "t", rules(), keys=KEYS)
    for number in range(days):
        for index in range(3):
            one.produce(
                number, profile_id=f"p{index}", ip_address=f"10.0.{number}.{index}", customer_user_id=f"c{index}"
            )
        one.seal(number)
        one.publish()
    return one


def erase(one: Past, *values: str, mode: str = CELLS, first: int = 0, last: int = 2) -> list[Replacement]:
    wanted = erasure(*values, mode=mode, column="profile_id", personal=("profile_id", "customer_user_id"))
    return restated(one, wanted, first, last)


def restated(one: Past, wanted: Erasure | None = None, first: int = 0, last: int = 2) -> list[Replacement]:
    work = Restatement(one.services(), Scope(day(first), day(last)), wanted)
    work.resume()
    plan = work.plan()
    with working_folder(one.folder / "spool") as folder:
        return work.apply(plan, folder) if plan.objects else []


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("mode", [CELLS, ROWS])
def test_a_person_is_forgotten(tmp_path: Path, folder: bool, mode: str) -> None:
    one = past(tmp_path, folder=folder)
    (record,) = erase(one, "p1", mode=mode)
    texts = "".join(one.objects().values())
    assert "p1" not in texts
    assert "c1" not in texts
    assert texts.count("p0") == texts.count("p2") == 3
    assert sum(text.count("\n") - 1 for text in one.objects().values()) == (9 if mode == CELLS else 6)
    assert not record.kept_old
    assert one.verify().findings == ()
    assert erase(one, "p1", mode=mode) == [], "nothing is left to do"


@pytest.mark.parametrize("mode", [CELLS, ROWS])
def test_a_later_replay_forgets_again(tmp_path: Path, mode: str) -> None:
    one = past(tmp_path)
    erase(one, "p1", mode=mode)
    one.today = rules(send_user_attributes=True)
    one.replay(0, 2)
    texts = "".join(one.objects().values())
    assert "p1" not in texts
    assert texts.count("p0") == 3
    assert one.verify().findings == ()
    again, _ = one.replay(0, 2)
    assert again.objects == ()


def test_rows_that_come_later_are_not_touched(tmp_path: Path) -> None:
    one = past(tmp_path)
    erase(one, "p1")
    one.produce(3, profile_id="p1")
    one.seal(3)
    one.publish()
    assert "p1" in "".join(one.objects().values())


def test_all_rows_of_an_object(tmp_path: Path) -> None:
    one = past(tmp_path)
    erase(one, "p0", "p1", "p2", mode=ROWS, first=1, last=1)
    assert one.manifest(1)["rows"] == 0
    assert one.verify().findings == ()
    plan = one.work(1, 1).plan()
    assert plan.objects == (), "a replay finds nothing to bring back"


TRUNCATING = replace(rules(), privacy=Privacy({"ip_address": Method.TRUNCATE_IP}))


def test_addresses_go_from_days_that_kafka_has_lost(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.today = TRUNCATING
    restated(one)
    texts = "".join(one.objects().values())
    assert "10.0.1.2" not in texts
    assert texts.count("10.0.1.0") == 3
    assert one.verify().findings == ()
    assert restated(one) == []
    plan, _ = one.replay(0, 2)
    assert plan.objects == (), "today's rules give the same cells"


def test_a_rewrite_forgets_again(tmp_path: Path) -> None:
    one = past(tmp_path)
    erase(one, "p1")
    one.produce(3, at=1, profile_id="p1", ip_address="10.0.1.2")
    one.seal(3)
    one.publish()
    assert "p1" in "".join(one.objects().values())
    one.today = TRUNCATING
    restated(one)
    assert "p1" not in "".join(one.objects().values())
    assert one.verify().findings == ()
    assert one.work(0, 2).plan().objects == ()


def test_an_erasure_is_not_undone(tmp_path: Path) -> None:
    one = past(tmp_path)
    erase(one, "p1")
    with pytest.raises(RefusedError, match="cannot be undone"):
        one.undo(0)


class Crash(BaseException):
    """The process is gone."""


def crashing(store: RoughStore, number: int) -> Callable[[], bool]:
    """The process dies before its `number`th write; says whether it did."""
    left = [number]

    def after(call: str, _: str) -> None:
        left[0] -= call == "put"
        if left[0] == 0 and call == "put":
            raise Crash

    store.after = after
    return lambda: left[0] <= 0


def test_a_crash_in_the_middle_is_finished_by_the_same_command(tmp_path: Path) -> None:
    smooth = past(tmp_path)
    erase(smooth, "p1", mode=ROWS)
    for number in range(1, 30):
        one = past(tmp_path)
        assert isinstance(one.store, RoughStore)
        crashed = crashing(one.store, number)
        try:
            erase(one, "p1", mode=ROWS)
        except Crash:
            one.store.after = lambda call, key: None
            erase(one, "p1", mode=ROWS)
        one.store.after = lambda call, key: None
        assert (one.bodies(), one.revisions()) == (smooth.bodies(), smooth.revisions())
        assert one.verify().findings == ()
        if not crashed():
            assert len(ReplacementLog(one.store, STREAM).read().records) == 1
            return
    pytest.fail("it never ended")


def test_a_rewrite_is_finished_by_its_own_rules(tmp_path: Path) -> None:
    smooth, one = past(tmp_path), past(tmp_path)
    smooth.today = one.today = TRUNCATING
    restated(smooth)
    assert isinstance(one.store, RoughStore)
    crashing(one.store, 6)
    with pytest.raises(Crash):
        restated(one)
    one.store.after = lambda call, key: None
    one.today = rules()
    record = Restatement(one.services(), Scope(day(0), day(2))).resume()
    assert record is not None
    assert record.settings == TRUNCATING.digest
    assert one.bodies() == smooth.bodies()
    assert one.verify().findings == ()
