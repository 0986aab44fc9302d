"""Replacements beside others: whatever happens between any two steps of one, and protocols broken on purpose.

`Watch` looks at every write; what it and `verify` notice is what an operator would be hurt by. Each broken protocol has
to be noticed by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.domain.errors import RefusedError, TransientError, UsageError
from consumer.replace import protocol, undo
from consumer.replace.bodies import working_folder
from consumer.seal import publisher as publisher_module
from consumer.seal.publisher import Publisher
from consumer.seal.replacements.log import ReplacementLog
from consumer.store.port import Absent, Body, BytesBody, Condition, Match, Refused, Written
from tests.builders.past import STREAM, Past, day, rules
from tests.builders.rough import RoughStore

WRONG = rules(drop=("trial_started",))
RIGHT = rules(drop=("subscription_paused",))


class NoticedError(AssertionError):
    """The watch saw a write that should not be."""


class Watch(RoughStore):
    """Every write of a replaced object comes after its record, under the word in its day's manifest."""

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        n = (metadata or {}).get("replay", "")
        if n:
            self._check_object(key, int(n))
        if key.endswith("_manifest.json"):
            self._check_manifest(key, body)
        return super().put(key, body, condition=condition, metadata=metadata)

    def _check_object(self, key: str, n: int) -> None:
        if f"_replays/{STREAM}/{n:08d}.json" not in self._objects:
            raise NoticedError(f"{key} before its record")
        manifest = self._objects.get(f"{key.rsplit('/', 1)[0]}/_manifest.json")
        if manifest is not None and orjson.loads(manifest.data).get("replaying") != n:
            raise NoticedError(f"{key} without the word")

    def _check_manifest(self, key: str, body: Body) -> None:
        """A manifest without the word lists every object with the digest of the body that lies there."""
        with body.open() as reader:
            raw = orjson.loads(reader.read())
        before = self._objects.get(key)
        revision = orjson.loads(before.data)["revision"] if before else 0
        if raw["revision"] not in {revision, revision + 1}:
            raise NoticedError(f"{key} goes from revision {revision} to {raw['revision']}")
        for item in raw["objects"] if "replaying" not in raw else ():
            lies = self._objects[item["key"]].facts.metadata
            listed = [one for record in self._records() for one in record["objects"] if one["key"] == item["key"]]
            newest = listed[-1]["sha256"] if listed else None
            if lies["sha256"] != item["sha256"] or (lies.get("replay") and newest not in {None, item["sha256"]}):
                raise NoticedError(f"{key} lists what does not lie there")
        if "replaying" not in raw and self._half(raw):
            raise NoticedError(f"{key} lost the word while objects are being put")

    def _half(self, raw: Mapping[str, Any]) -> bool:
        """Some, and not all, objects of one replacement of this day are put."""
        for record in self._records():
            own = [one for one in record["objects"] if one["day"] == raw["day"]]
            put = [self._put_by(one["key"]) >= record["n"] for one in own]
            if any(put) and not all(put):
                return True
        return False

    def _put_by(self, key: str) -> int:
        stored = self._objects.get(key)
        return int(stored.facts.metadata.get("replay", -1)) if stored else -1

    def _records(self) -> list[dict[str, Any]]:
        keys = [key for key in sorted(self._objects) if key.startswith(f"_replays/{STREAM}/") and key.endswith(".json")]
        return [orjson.loads(self._objects[key].data) for key in keys if "/old/" not in key]


def past(tmp_path: Path) -> Past:
    """Made once, and copied: each step of a replay begins with one."""
    if not MADE:
        MADE.append(_made(tmp_path))
    return MADE[0].copied(Watch(), tmp_path)


MADE: list[Past] = []


def _made(tmp_path: Path, partitions: int = 2) -> Past:
    one = Past(Watch(), tmp_path, WRONG, partitions=partitions)
    for number in range(2):
        for partition in range(partitions):
            one.produce(number, kind="trial_started", partition=partition, profile_id=f"a{number}")
            one.produce(number, kind="subscription_paused", partition=partition, profile_id=f"b{number}")
            one.seal(number, partition=partition)
        one.publish()
    one.today = RIGHT
    return one


def late_rows(one: Past) -> None:
    """A worker seals late rows of the days under replacement, and publishes."""
    for partition in range(one.partitions):
        one.produce(2, at=0, kind="trial_started", partition=partition, profile_id="late")
        one.seal(2, partition=partition)
    one.publish()


def only_publish(one: Past) -> None:
    """A worker comes up and publishes whatever it finds."""
    one.publish()


def same_replay(one: Past) -> None:
    """The operator starts the same command a second time."""
    one.replay(0, 1)


def undoing(one: Past) -> None:
    """Somebody takes back what is just being done."""
    with suppress(UsageError):  # there is nothing yet
        one.undo(0)


OTHERS: list[Callable[[Past], None]] = [late_rows, only_publish, same_replay, undoing]


def between(one: Past, number: int, other: Callable[[Past], None]) -> Callable[[], bool]:
    """`other` happens after the `number`th write; says whether it did."""
    store = one.store
    assert isinstance(store, Watch)
    left = [number]

    def after(call: str, _: str) -> None:
        if call in {"put", "copy"} and left[0] > 0:
            left[0] -= 1
            if left[0] == 0:
                store.after = lambda call, key: None
                with suppress(RefusedError, TransientError):
                    other(one)
                store.after = after

    store.after = after
    return lambda: left[0] <= 0


def ended(one: Past) -> None:
    """What was refused is done again, as its message says; then all is as it should be."""
    store = one.store
    assert isinstance(store, Watch)
    store.after = lambda call, key: None
    one.publish()
    one.replay(0, 1)
    one.publish()
    report = one.verify()
    assert report.findings == (), report.findings
    texts = "".join(one.objects().values())
    assert "subscription_paused" not in texts
    assert texts.count("trial_started") in {4, 6}, "each row once, late ones too"


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_happens_between_two_steps(tmp_path: Path, other: Callable[[Past], None]) -> None:
    assert whatever_happens(tmp_path, other, 60) > 8


def whatever_happens(tmp_path: Path, other: Callable[[Past], None], most: int) -> int:
    """A replay with `other` after its first write, another one with it after its second, and so on: how many."""
    for number in range(1, most):
        one = past(tmp_path)
        did = between(one, number, other)
        with suppress(RefusedError, TransientError):
            one.replay(0, 1)
        ended(one)
        if not did():
            return number
    return most


# Broken on purpose


def objects_before_the_record(patch: pytest.MonkeyPatch) -> None:
    real = protocol.record_new

    def late(services: Any, seen: Any, record: Any) -> Any:
        for one in record.objects:
            condition = Match(one.former.etag) if one.former else Absent()
            services.store.put(one.entry.key, BytesBody(b"x"), condition=condition, metadata={"replay": "0"})
        return real(services, seen, record)

    patch.setattr("consumer.replace.replay.record_new", late)


def a_manifest_without_the_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publisher, "mark", lambda self, day, n: None)


def a_worker_that_drops_the_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publisher_module, "_ends", lambda ending, day, n: True)


def a_worker_that_believes_the_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publisher, "_as_it_lies", lambda self, states, replacements, old: self._planned(states, replacements))


BROKEN = [
    objects_before_the_record,
    a_manifest_without_the_word,
    a_worker_that_drops_the_word,
    a_worker_that_believes_the_record,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_protocol_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    past(tmp_path)  # made whole, for the tests after this one
    broken(monkeypatch)
    with pytest.raises((AssertionError, RefusedError)):
        whatever_happens(tmp_path, late_rows, 30)


def test_an_undo_that_races_a_second_replay(tmp_path: Path) -> None:
    """Both plans saw the same: the second record is refused, whichever comes first."""
    one = past(tmp_path)
    one.replay(0, 1)
    one.today = rules()
    again, taking_back = one.work(0, 1), undo.Undo(one.services(), 0)
    plans = again.plan(), taking_back.plan()
    taking_back.apply(plans[1])
    with working_folder(tmp_path / "spool") as folder, pytest.raises(RefusedError, match="after the plan was made"):
        again.apply(plans[0], folder)
    assert len(ReplacementLog(one.store, STREAM).read().records) == 2
    assert one.verify().findings == ()


def test_partitions_of_one_day_side_by_side(tmp_path: Path) -> None:
    """Two processes, one partition each: the second waits for the word of the first, then both are done."""
    one = past(tmp_path)
    first, second = one.work(0, 1, partitions=(0,)), one.work(0, 1, partitions=(1,))
    plans = first.plan(), second.plan()
    with working_folder(tmp_path / "spool") as folder:
        first.apply(plans[0], folder)
        second.apply(plans[1], folder)
    ended(one)
    assert one.manifest(0)["revision"] == 3
    assert day(0).isoformat() in one.manifest(0)["day"]
