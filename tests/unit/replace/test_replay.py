"""Replays over a bucket and a log in memory: held against the same past, sealed under the new rules from the start."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.domain.days import FIRST_DAY
from consumer.domain.errors import HaltError, HaltReason, RefusedError, UsageError
from consumer.domain.offsets import TopicPartition
from consumer.replace.bodies import LOCK, working_folder
from consumer.replace.replay import Replay
from consumer.replace.services import Scope
from consumer.replace.undo import Undo
from consumer.seal.keys import kept_key
from consumer.seal.replacements.log import ReplacementLog
from consumer.spool.mark import MARK, claim
from consumer.store.folder import FolderStore
from consumer.store.port import BytesBody, Match, Store
from consumer.streams.rules import RowRules
from consumer.verify.findings import Problem
from tests.builders.past import STREAM, TOPIC, Past, day, rules
from tests.builders.rough import RoughStore
from tests.fakes.kafka.admin import MemoryAdmin

WRONG = rules(drop=("trial_started",))
RIGHT = rules(drop=("subscription_paused",))


def past(
    tmp_path: Path, *, folder: bool = False, versioned: bool = False, wrong: bool = True, days: int = 5, **more: Any
) -> Past:
    """Days sealed under the wrong filter, or the right one from the start. In memory they are made once, and copied."""
    (tmp_path / "t").mkdir(exist_ok=True)
    rough = RoughStore()
    rough.versioned = versioned
    if folder or versioned:
        return _made(FolderStore(tmp_path / "out") if folder else rough, tmp_path / "t", wrong, days, more)
    known = (wrong, days, *sorted(more.items()))
    if known not in MADE:
        MADE[known] = _made(RoughStore(), tmp_path / "t", wrong, days, more)
    return MADE[known].copied(rough, tmp_path / "t")


MADE: dict[object, Past] = {}


def _made(store: Store, folder: Path, wrong: bool, days: int, more: Mapping[str, Any]) -> Past:
    found = Past(store, folder, WRONG if wrong else RIGHT, **more)
    for partition in range(found.partitions):
        found.days(range(days), partition=partition)
    found.today = RIGHT
    return found


def twin(tmp_path: Path, **more: Any) -> Past:
    (tmp_path / "twin").mkdir(exist_ok=True)
    return past(tmp_path / "twin", wrong=False, **more)


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_replay_comes_to_what_the_right_rules_would_have_sealed(
    tmp_path: Path, folder: bool, compression: str
) -> None:
    one = past(tmp_path, folder=folder, compression=compression)
    plan, done = one.replay(-1, 4)
    assert one.objects() == twin(tmp_path, compression=compression).objects()
    assert [record.n for record in done] == [0]
    assert plan.days == tuple(map(day, range(-1, 5)))
    assert one.verify().findings == ()
    assert one.manifest(2)["revision"] == 3, "late rows made it 2"
    again, nothing = one.replay(-1, 4)
    assert (again.objects, nothing) == ((), [])


def test_the_plan_counts_what_it_will_do(tmp_path: Path) -> None:
    one = past(tmp_path)
    before = one.bodies()
    plan = one.work(1, 1).plan()
    assert one.bodies() == before
    sealed, late = (found for found in plan.objects if found.day == day(1))
    assert (sealed.before.rows, sealed.after.rows) == (2, 2)
    assert (dict(sealed.added), dict(sealed.removed)) == ({"event_type": 2}, {"event_type": 2})
    assert (late.before.rows, late.after.rows, dict(late.removed)) == (1, 0, {"event_type": 1})
    assert plan.kept_bytes == sealed.size + late.size > 0


def test_how_far_it_has_read_is_told(tmp_path: Path) -> None:
    one, told = past(tmp_path), list[tuple[str, int, int]]()

    @contextmanager
    def progress(what: str, offsets: int) -> Iterator[Callable[[int], None]]:
        done: list[int] = []
        yield done.append
        told.append((what, offsets, sum(done)))

    work = Replay(one.services(), Scope(day(1), day(2)), keep_old="auto", progress=progress)
    plan = work.plan()
    with working_folder(tmp_path / "spool") as folder:
        work.apply(plan, folder)
    assert [what for what, _, _ in told] == ["planning", "making objects"]
    assert all(offsets == done > 0 for _, offsets, done in told)
    assert told[1][1] < told[0][1] == 30, "bodies need less than the plan"


def test_days_outside_stay_as_they_are(tmp_path: Path) -> None:
    one = past(tmp_path)
    before = one.bodies()
    one.replay(1, 2)
    changed = {key[:20] for key, body in one.bodies().items() if before.get(key) != body}
    assert changed == {f"{STREAM}/dt={day(1)}"[:20], f"{STREAM}/dt={day(2)}"[:20]}
    assert one.verify().findings == ()


def test_rows_come_back_to_a_day_that_had_none(tmp_path: Path) -> None:
    one = Past(RoughStore(), tmp_path, WRONG)
    one.produce(0, kind="trial_started")
    one.seal(0)
    one.publish()
    one.today = RIGHT
    plan, _ = one.replay(0, 0)
    (added,) = plan.objects
    assert (added.former, dict(added.added)) == (None, {"event_type": 1})
    assert one.manifest(0)["rows"] == 1
    assert one.verify().findings == ()


def test_rows_that_a_filter_dropped_while_their_day_was_open(tmp_path: Path) -> None:
    """They lie below the start of their day's seal: nothing waited there."""
    one = Past(RoughStore(), tmp_path, WRONG)
    one.produce(0, at=1, kind="trial_started")
    one.produce(0, kind="subscription_paused")
    one.produce(0, at=1, kind="subscription_paused")
    one.seal(0)
    assert one.seal(1).start == 2
    one.publish()
    one.today = rules()
    plan, _ = one.replay(0, 1)
    (found,) = plan.objects
    assert (found.before.rows, found.after.rows, dict(found.added)) == (1, 2, {"event_type": 1})
    assert one.verify().findings == ()


def test_cells_that_change_are_counted_by_column(tmp_path: Path) -> None:
    one = past(tmp_path, days=2)
    one.today = rules(drop=("trial_started",), send_user_attributes=True)
    one.produce(2, kind="subscription_paused")
    plan, _ = one.replay(0, 0)
    assert all(not found.changed for found in plan.objects), "the new column is empty"
    assert one.text(plan.objects[0].key).split("\n")[0].endswith(",attributes")
    assert one.verify().findings == ()


def test_batches_are_of_whole_days_and_one_record_each(tmp_path: Path) -> None:
    one = past(tmp_path, most_bytes=1)
    _, done = one.replay(0, 3)
    assert [record.days for record in done] == [(day(number),) for number in range(4)]
    assert one.objects().keys() >= {record.objects[0].entry.key for record in done if record.objects[0].entry.rows}
    assert one.verify().findings == ()


def test_partitions_by_themselves(tmp_path: Path) -> None:
    one = past(tmp_path, partitions=2)
    before = one.bodies()
    one.replay(0, 4, partitions=(1,))
    changed = [key for key, body in one.bodies().items() if before.get(key) != body]
    assert changed
    assert all("adapty.events-1-" in key for key in changed)
    one.replay(-1, 4, partitions=(0,))
    one.replay(-1, -1)
    assert one.objects() == twin(tmp_path, partitions=2).objects()
    assert one.verify().findings == ()


def test_rows_that_cross_the_border_are_refused(tmp_path: Path) -> None:
    """The time field gets another name that records have, too: their rows go to another day."""
    schema = rules().schema
    assert '"name": "event_datetime"' in schema or '"name":"event_datetime"' in schema
    named = schema.replace('"event_datetime"', '"event_datetime","aliases":["happened"]', 1)
    one = Past(RoughStore(), tmp_path, rules(schema=schema))
    one.produce(2, at=2)
    one.produce_raw(2, b'{"profile_id":"p","happened":"2026-03-02T12:00:00Z"}')
    one.seal(2)
    one.publish()
    one.today = rules(schema=named)
    plan, _ = one.replay(1, 1)
    (found,) = plan.objects
    assert dict(found.added) == {"quarantine no_time": 1}, "no crossing: it had no row"
    one.today = rules(schema=schema)
    again, _ = one.replay(1, 1)
    assert dict(again.objects[0].removed) == {"quarantine no_time": 1}


def test_a_row_that_an_earlier_replay_gave_to_another_day_does_not_come_twice(tmp_path: Path) -> None:
    """Its covering rules give it no day, those of the first replay one out of the second one's scope."""
    schema = rules().schema

    def named(alias: str) -> RowRules:
        return rules(schema=schema.replace('"event_datetime"', f'"event_datetime","aliases":["{alias}"]', 1))

    one = Past(RoughStore(), tmp_path, rules(), most_bytes=1)
    one.produce(1)
    one.produce_raw(2, f'{{"profile_id":"p","happened":"{day(1)}T12:00:00Z","noted":"{day(2)}T12:00:00Z"}}'.encode())
    one.produce(2)
    one.seal(2)
    one.publish()
    one.today = named("happened")
    plan, _ = one.replay(1, 1)
    assert dict(plan.objects[0].added) == {"quarantine no_time": 1}
    one.today = named("noted")
    with pytest.raises(RefusedError, match=f"--from {day(1)} --to {day(2)} instead"):
        one.work(2, 2).plan()
    plan, done = one.replay(1, 2)
    assert [record.days for record in done] == [(day(1), day(2))], "whatever the size: the row is in one of them"
    assert [(dict(found.removed), dict(found.added)) for found in plan.objects] == [
        ({"other_day": 1}, {}),
        ({}, {"other_day": 1}),
    ]
    assert one.verify().findings == ()


# Refusals


def test_days_that_kafka_lost_are_refused_or_left_out(tmp_path: Path) -> None:
    one = past(tmp_path)
    log = one.cluster.existing(TopicPartition(TOPIC, 0))
    log.delete_below(7)
    with pytest.raises(RefusedError, match=f"has lost records of {day(0)}, {day(1)}, {day(2)} to retention"):
        one.work(0, 4).plan()
    before = one.bodies()
    plan, _ = one.replay(0, 4, skip_gone=True)
    assert plan.skipped == (day(0), day(1), day(2))
    assert {found.day for found in plan.objects} == {day(3), day(4)}
    assert all(one.bodies()[key] == body for key, body in before.items() if f"dt={day(2)}" in key)
    assert one.verify().findings == ()


def test_how_many_days_are_asked_for_costs_no_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes the first and the last day there is means: all."""
    one = past(tmp_path)
    one.cluster.existing(TopicPartition(TOPIC, 0)).delete_below(7)
    asked: list[datetime] = []
    search = MemoryAdmin.offset_at

    def counted(admin: MemoryAdmin, partition: TopicPartition, instant: datetime) -> int | None:
        asked.append(instant)
        return search(admin, partition, instant)

    monkeypatch.setattr(MemoryAdmin, "offset_at", counted)
    work = one.work(0, 4)
    work._scope = Scope(FIRST_DAY, date.max)
    plan = work.plan(skip_gone=True)
    assert plan.skipped[-3:] == (day(0), day(1), day(2))
    assert {found.day for found in plan.objects} <= {day(3), day(4)}
    assert len(asked) < 40
    named = rf"has lost records of {FIRST_DAY} to {day(2)} \(.* days\) to retention"
    work._scope = Scope(FIRST_DAY, date.max)
    with pytest.raises(RefusedError, match=named):
        work.plan()


def test_a_pending_seal_is_waited_for(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.produce(5, kind="trial_started")
    one.seal(5, upload=False)
    with pytest.raises(RefusedError, match=r"seal 5 of adapty\.events:0 is pending"):
        one.work(0, 1).plan()


def test_stored_rows_that_the_old_rules_do_not_give_are_refused(tmp_path: Path) -> None:
    one = past(tmp_path)
    assert isinstance(one.store, RoughStore)
    key = next(key for key in one.bodies() if f"dt={day(1)}" in key)
    facts = one.store.head(key)
    assert facts is not None
    one.store.put(key, BytesBody(b"x\n"), condition=Match(facts.etag), metadata={**facts.metadata, "rows": "1"})
    with pytest.raises(RefusedError, match="adapty-sink verify says"):
        one.work(0, 1).plan()


def test_a_log_that_is_another_one_is_refused(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.cluster.existing(TopicPartition(TOPIC, 0)).truncate(3)
    with pytest.raises(HaltError) as caught:
        one.work(0, 1).plan()
    assert caught.value.reason is HaltReason.LOG_TRUNCATED


def test_what_was_planned_is_what_is_done(tmp_path: Path) -> None:
    one = past(tmp_path)
    work = one.work(1, 2)
    plan = work.plan()
    one.produce(5, at=2, kind="trial_started")
    one.seal(5)
    with (
        working_folder(tmp_path / "spool") as folder,
        pytest.raises(RefusedError, match=r"took rows of .* since the plan"),
    ):
        work.apply(plan, folder)
    assert ReplacementLog(one.store, STREAM).read().records == ()


def test_two_plans_for_the_same_days(tmp_path: Path) -> None:
    one = past(tmp_path)
    first, second = one.work(1, 2), one.work(2, 3)
    plans = first.plan(), second.plan()
    with working_folder(tmp_path / "spool") as folder:
        first.apply(plans[0], folder)
        with pytest.raises(RefusedError, match="replay 0 of events changed days"):
            second.apply(plans[1], folder)
    one.replay(2, 3)
    assert one.verify().findings == ()


def test_another_replay_between_two_batches(tmp_path: Path) -> None:
    """The second batch was planned before it: its record would name bodies that do not lie there any more."""
    one = past(tmp_path, most_bytes=1)
    work = one.work(1, 2)
    plan, store = work.plan(), one.store
    assert isinstance(store, RoughStore)

    def other(call: str, key: str) -> None:
        if key.endswith("_replays/events/00000000.json"):
            store.after = lambda call, key: None
            one.replay(2, 2)

    store.after = other
    with working_folder(tmp_path / "spool") as folder, pytest.raises(RefusedError, match="after the plan was made"):
        work.apply(plan, folder)
    assert [record.days for record in ReplacementLog(store, STREAM).read().records] == [(day(1),), (day(2),)]
    assert one.verify().findings == ()


def test_a_working_folder_is_gone_afterwards_and_no_stranger_to_a_worker(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with working_folder(spool) as one, working_folder(spool) as two:
        assert one != two
        (spool / MARK).unlink()
        claim(spool)
        (one / "rows").touch()
        assert (one / "rows").exists(), "another process is at work there"
    assert {path.name for path in spool.iterdir()} == {MARK}


def test_what_a_crash_left_on_the_disk_goes_even_where_nothing_else_was_left(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.replay(1, 2)
    left = tmp_path / "t" / "spool" / "replacement-abcdefgh"
    left.mkdir()
    assert one.work(1, 2).resume() is None
    assert not left.exists()
    left.mkdir()
    assert Undo(one.services(), 0).resume() is None
    assert not left.exists()


@pytest.mark.parametrize("moment", ["before the lock", "while it is removed", "after that"])
def test_a_folder_taken_for_one_left_by_a_crash_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another process comes between the folder and its lock, once."""
    flock, taken, held = fcntl.flock, list[Path](), list[int]()

    def another(lock: int, how: int) -> None:
        if not taken:
            (folder,) = tmp_path.glob("replacement-*")
            taken.append(folder)
            held.append(os.open(folder / LOCK, os.O_RDWR))
            flock(held[0], how)
            if moment != "before the lock":
                (folder / LOCK).unlink()
                folder.rmdir()
            if moment == "after that":
                os.close(held.pop())
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", another)
    with working_folder(tmp_path) as folder:
        assert folder != taken[0]
        assert (folder / LOCK).exists()
    for one in held:
        os.close(one)


# Crashes


class Crash(BaseException):
    """The process is gone."""


def crashing(store: RoughStore, number: int) -> Callable[[], bool]:
    """The process dies after its `number`th change of the bucket; says whether it did."""
    left = [number]

    def after(call: str, _: str) -> None:
        if call in {"put", "copy"}:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

    store.after = after
    return lambda: left[0] <= 0


def everything(one: Past) -> dict[str, Any]:
    """What is left of a past: bodies, manifests without their time, records without theirs."""
    found: dict[str, Any] = {**one.bodies(), "listed": one.revisions()}
    for number in range(5):
        raw = one.manifest(number)
        found[f"manifest {number}"] = {
            name: raw[name] for name in ("revision", "rows", "complete", "why", "columns")
        } | {"objects": [{k: v for k, v in item.items() if k != "etag"} for item in raw["objects"]]}
        assert "replaying" not in raw
    return found


def test_a_crash_after_any_step_and_the_same_command_again_end_the_same(tmp_path: Path) -> None:
    smooth = past(tmp_path)
    smooth.replay(1, 2)
    wanted, steps = everything(smooth), 0
    for number in range(1, 100):
        one = past(tmp_path)
        assert isinstance(one.store, RoughStore)
        crashed = crashing(one.store, number)
        try:
            one.replay(1, 2)
        except Crash:
            steps += 1
        one.store.after = lambda call, key: None
        if not crashed():
            break
        if len(ReplacementLog(one.store, STREAM).read().records):
            half = {finding.problem for finding in one.verify().findings}
            assert half <= {Problem.REPLAY, Problem.NOT_PUBLISHED, Problem.OBJECT}, one.verify().findings
        one.replay(1, 2)
        assert everything(one) == wanted, f"after step {number}"
        assert one.verify().findings == ()
    assert steps > 10


def test_another_command_refuses_what_is_half_done(tmp_path: Path) -> None:
    one = past(tmp_path)
    assert isinstance(one.store, RoughStore)
    crashing(one.store, 7)
    with pytest.raises(Crash):
        one.replay(1, 2)
    one.store.after = lambda call, key: None
    with pytest.raises(RefusedError, match=r"is half done.*replay --from 2026-03-02 --to 2026-03-03 --stream events"):
        one.replay(2, 2)
    with pytest.raises(RefusedError, match="is half done"):
        one.undo(0)
    one.replay(3, 4)
    one.publish()
    assert any(finding.problem is Problem.REPLAY for finding in one.verify().findings), "a worker finishes nothing"
    one.replay(1, 2)
    assert one.verify().findings == ()


def test_a_replay_is_finished_by_its_own_rules(tmp_path: Path) -> None:
    smooth = past(tmp_path)
    smooth.replay(1, 2)
    one = past(tmp_path)
    assert isinstance(one.store, RoughStore)
    crashing(one.store, 9)
    with pytest.raises(Crash):
        one.replay(1, 2)
    one.store.after = lambda call, key: None
    one.today = rules()
    record = one.work(1, 2).resume()
    assert record is not None
    assert record.settings == RIGHT.digest
    assert everything(one) == everything(smooth)


# Undo


@pytest.mark.parametrize("versioned", [False, True])
def test_an_undo_brings_the_exact_bodies_back(tmp_path: Path, versioned: bool) -> None:
    one = past(tmp_path, versioned=versioned)
    assert isinstance(one.store, RoughStore)
    before = one.bodies()
    _, (record,) = one.replay(0, 4)
    assert record.kept_old is not versioned
    kept = [key for key in one.store.names() if "/old/" in key]
    assert len(kept) == (0 if versioned else len(record.objects))
    assert one.bodies() != before
    undo = one.undo(record.n)
    assert undo.undoes == record.n
    assert one.bodies() == before
    assert one.verify().findings == ()


def test_what_was_added_becomes_an_object_without_rows(tmp_path: Path) -> None:
    one = Past(RoughStore(), tmp_path, WRONG)
    one.produce(0, kind="trial_started")
    one.seal(0)
    one.publish()
    one.today = RIGHT
    one.replay(0, 0)
    one.undo(0)
    (text,) = [one.text(key) for key in one.bodies()]
    assert text.count("\n") == 1
    assert (one.manifest(0)["rows"], one.manifest(0)["revision"]) == (0, 3)
    assert one.verify().findings == ()


def test_what_cannot_be_undone(tmp_path: Path) -> None:
    one = past(tmp_path)
    with pytest.raises(UsageError, match="has 0 replacements"):
        one.undo(0)
    one.replay(0, 1, keep_old="never")
    with pytest.raises(RefusedError, match="kept no old bodies"):
        one.undo(0)
    one.replay(2, 2)
    one.today = rules()
    one.replay(2, 3)
    with pytest.raises(RefusedError, match="replay 2 replaced objects of replay 1"):
        one.undo(1)
    one.undo(2)
    with pytest.raises(RefusedError, match="is itself an undo"):
        one.undo(3)
    one.produce(5, at=2, kind="trial_started")
    one.seal(5)
    one.publish()
    with pytest.raises(RefusedError, match="were added after replay 1"):
        one.undo(1)
    one.replay(4, 4)
    one.produce(6, at=4, kind="trial_started")
    record = one.seal(6)
    with pytest.raises(RefusedError, match=f"late rows were added after replay 4: seal {record.n}"):
        one.undo(4)


def test_an_undo_that_crashes_is_finished_by_itself(tmp_path: Path) -> None:
    smooth = past(tmp_path)
    smooth.replay(1, 2)
    smooth.undo(0)
    for number in range(1, 40):
        one = past(tmp_path)
        assert isinstance(one.store, RoughStore)
        before = one.bodies()
        one.replay(1, 2)
        crashed = crashing(one.store, number)
        try:
            one.undo(0)
        except Crash:
            one.store.after = lambda call, key: None
            one.undo(0)
        one.store.after = lambda call, key: None
        assert one.bodies() == before
        assert one.revisions() == smooth.revisions()
        assert one.verify().findings == ()
        if not crashed():
            return
    pytest.fail("it never ended")


def test_a_second_replay_starts_from_the_first(tmp_path: Path) -> None:
    one = past(tmp_path)
    one.replay(-1, 4)
    one.today = WRONG
    plan, _ = one.replay(-1, 4)
    assert dict(plan.objects[-1].added) == {"event_type": 2}
    one.today = RIGHT
    one.undo(1)
    assert one.objects() == twin(tmp_path).objects()
    again, _ = one.replay(-1, 4)
    assert again.objects == ()


def test_the_old_bodies_lie_beside_the_record(tmp_path: Path) -> None:
    one = past(tmp_path)
    before = one.bodies()
    _, (record,) = one.replay(1, 1)
    for new in record.objects:
        stored = one.store.get(kept_key(STREAM, 0, new.entry.key))
        assert stored is not None
        assert stored.data == before[new.entry.key]
