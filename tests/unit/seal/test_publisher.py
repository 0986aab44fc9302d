"""Publishing over a store in memory: manifests, marks and the list of days, each write conditional on what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.domain.offsets import TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.day_plan import manifest_digest
from consumer.seal.keys import days_key, manifest_key, quarantine_key, record_key, success_key
from consumer.seal.log import SealLog
from consumer.seal.objects import size_and_digest
from consumer.seal.publisher import ROUNDS, Ending, Published, Publisher
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.log import ReplacementLog
from consumer.seal.replacements.record import Former, NewObject, Replacement
from tests.builders.chains import FIRST, at, data, day, put, then
from tests.builders.replacements import replacement
from tests.builders.rough import RoughStore, failing

WIDE = ("id", "at", "kind")
NARROW = ("id", "at")
COLUMNS = {"narrow": NARROW, "wide": WIDE}


class Bucket:
    """A bucket in which partitions have sealed, and one worker that publishes."""

    def __init__(self, partitions: int = 1, *, keeps_metadata: bool = True) -> None:
        self.store = RoughStore(keeps_metadata=keeps_metadata)
        self.chains = [Chain() for _ in range(partitions)]
        self.publisher = self.worker()

    def worker(self, today: tuple[str, ...] = NARROW) -> Publisher:
        """One more worker."""
        return Publisher(
            self.store,
            "s",
            columns_of=COLUMNS.__getitem__,
            today=lambda: today,
            now=self.store.now,
        )

    def logs(self) -> list[SealLog]:
        return [SealLog(self.store, TopicPartition("t", number)) for number in range(len(self.chains))]

    def seal(self, partition: int = 0, rows: Mapping[int, int] | None = None, **changes: Any) -> None:
        """One record more, and its objects: `rows` of each day."""
        place = TopicPartition("t", partition)
        chain = self.chains[partition]
        through = changes.get("through", 100 * (len(chain.records) + 1))
        entries = tuple(
            replace(data(number, through, count, through - 90, through - 10, place))
            for number, count in sorted((rows or {}).items())
        )
        entries += changes.pop("more", ())
        self.chains[partition] = then(
            chain, **{"partition": place, "settings": "narrow", "objects": entries, **changes}
        )
        record = self.chains[partition].head
        put(self.store, record_key(place, record.n), record.document())
        for entry in entries:
            self.object(entry, partition)

    def replace(self, entry: ObjectEntry) -> Replacement:
        """The record of a replay that puts this object anew, or adds it. It is put by `put_anew`."""
        log = ReplacementLog(self.store, "s")
        found, facts = log.read(), self.store.head(entry.key)
        record = replacement(
            n=len(found.records),
            previous_sha256=found.digests[-1] if found.digests else None,
            days=(entry.day,),
            objects=(
                NewObject(entry, 0, "narrow", 9, f"new {entry.key}", Former(facts.etag, "old") if facts else None),
            ),
        )
        assert log.append(record)
        return record

    def put_anew(self, entry: ObjectEntry, n: int) -> None:
        """The object as replacement `n` puts it."""
        if self.store.head(entry.key):
            self.store.delete(entry.key)
        self.object(entry, more={"replay": str(n), "sha256": f"new {entry.key}"})

    def object(
        self, entry: ObjectEntry, partition: int = 0, content: bytes = b"", more: Mapping[str, str] | None = None
    ) -> None:
        body = content or b"id,at\n" + b"x,y\n" * entry.rows
        put(
            self.store,
            entry.key,
            body,
            {
                "topic": "t",
                "partition": str(partition),
                "rows": str(entry.rows),
                "first-offset": "" if entry.first_offset is None else str(entry.first_offset),
                "last-offset": "" if entry.last_offset is None else str(entry.last_offset),
                "sha256": f"digest of {entry.key}",
                **(more or {}),
            }
            if self.store.keeps_metadata
            else None,
        )

    def publish(self) -> Published:
        return self.publisher.publish(self.logs)

    def manifest(self, number: int) -> dict[str, Any]:
        return self._read(manifest_key("s", day(number)))

    def days(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read(days_key("s"))["days"]
        for item in found:
            written = self._read(f"s/dt={item['day']}/_manifest.json")["written_at"]
            assert item.pop("updated_at") == written
        return found

    def _read(self, key: str) -> dict[str, Any]:
        found = orjson.loads(self.store.content(key))
        assert isinstance(found, dict)
        return found

    def etags(self) -> dict[str, str]:
        """Of all that is there."""
        return {facts.key: facts.etag for facts in self.store.list("")}

    def published(self) -> list[int]:
        """Days with a mark."""
        found = [key for key in self.store.names("s/") if key.endswith("_SUCCESS")]
        return [(date.fromisoformat(key.split("dt=")[1][:10]) - FIRST).days for key in found]


def shown(
    number: int, revision: int = 1, rows: int = 0, *, complete: bool = True, replay: int | None = None
) -> dict[str, Any]:
    """An entry of the list of days, but for its `updated_at`."""
    return {
        "day": day(number).isoformat(),
        "revision": revision,
        "rows": rows,
        "complete": complete,
        "replay": replay,
    }


# What is written


def test_a_day_is_published_whole() -> None:
    bucket = Bucket(2)
    bucket.seal(0, {0: 3, 5: 1})
    bucket.seal(1, {0: 2})
    published = bucket.publish()
    assert (published.sealed, published.complete) == (day(0), day(0))
    assert [plan.day for plan in published.written] == [day(0)]
    first, second = (data(0, 100, rows, 10, 90, TopicPartition("t", number)) for number, rows in ((0, 3), (1, 2)))
    document = bucket.manifest(0)
    assert list(document) == [
        "version",
        "stream",
        "day",
        "revision",
        "complete",
        "why",
        "columns",
        "rows",
        "bytes",
        "seals",
        "objects",
        "written_at",
        "pins",
        "sha256",
    ]
    assert document["sha256"] == manifest_digest(document)
    assert document["pins"] == {
        "seals": {"0": bucket.chains[0].digests[0], "1": bucket.chains[1].digests[0]},
        "objects": {},
    }
    del document["sha256"], document["pins"]
    assert document == {
        "version": 1,
        "stream": "s",
        "day": "2026-03-01",
        "revision": 1,
        "complete": True,
        "why": [],
        "columns": ["id", "at"],
        "rows": 5,
        "bytes": (6 + 12) + (6 + 8),
        "seals": {"0": 0, "1": 0},
        "objects": [
            {
                "key": first.key,
                "partition": 0,
                "rows": 3,
                "bytes": 18,
                "sha256": f"digest of {first.key}",
                "etag": bucket.etags()[first.key],
                "first_offset": 10,
                "last_offset": 90,
                "seal": 0,
            },
            {
                "key": second.key,
                "partition": 1,
                "rows": 2,
                "bytes": 14,
                "sha256": f"digest of {second.key}",
                "etag": bucket.etags()[second.key],
                "first_offset": 10,
                "last_offset": 90,
                "seal": 0,
            },
        ],
        "written_at": "2026-03-02T04:00:00.000000Z",
    }
    assert bucket.store.content(success_key("s", day(0))) == b""
    assert bucket.days() == [shown(0, rows=5)]
    listing = orjson.loads(bucket.store.content(days_key("s")))
    assert (listing["version"], listing["stream"]) == (1, "s")


def test_the_mark_comes_after_the_manifest_and_the_list_after_all() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 1})
    bucket.seal(cutoff=day(2))
    bucket.store.puts.clear()
    bucket.publish()
    assert bucket.store.puts == [
        key for number in (0, 1, 2) for key in (manifest_key("s", day(number)), success_key("s", day(number)))
    ] + [days_key("s")]


def test_an_empty_day_has_a_manifest_of_no_rows_and_its_mark() -> None:
    bucket = Bucket()
    bucket.seal()
    bucket.publish()
    assert (bucket.manifest(0)["rows"], bucket.manifest(0)["objects"]) == (0, [])
    assert bucket.manifest(0)["columns"] == ["id", "at"]
    assert bucket.published() == [0]


def test_nothing_is_published_before_every_partition_has_sealed() -> None:
    bucket = Bucket(2)
    bucket.seal(0, {0: 3})
    assert bucket.publish() == Published(None, (), None)
    assert bucket.published() == []
    assert not bucket.store.names("s/_days")


def test_an_object_that_is_not_there_yet_holds_its_day() -> None:
    bucket = Bucket(2)
    bucket.seal(0, {0: 3, 1: 1}, cutoff=day(1))
    bucket.seal(1)
    missing = data(0, 100)
    kept = bucket.store.head(missing.key)
    assert kept is not None
    content = bucket.store.content(missing.key)
    bucket.store.delete(missing.key)
    assert bucket.publish().sealed is None
    put(bucket.store, missing.key, content, kept.metadata)
    assert bucket.publish().sealed == day(0)


# Nothing changes without need


def test_nothing_is_rewritten_when_nothing_changed() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.seal(rows={1: 2})
    bucket.publish()
    before = bucket.etags()
    bucket.store.clock.advance(3600)
    assert bucket.publish().written == ()
    assert bucket.worker().publish(bucket.logs).written == ()
    assert bucket.etags() == before


def test_a_later_seal_without_rows_for_the_day_changes_nothing_of_it() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    before = bucket.etags()
    bucket.seal(rows={1: 2})
    assert [plan.day for plan in bucket.publish().written] == [day(1)]
    after = bucket.etags()
    assert all(after[key] == before[key] for key in (manifest_key("s", day(0)), success_key("s", day(0))))
    assert bucket.manifest(0)["seals"] == {"0": 0}


def test_days_of_a_list_are_not_looked_at_again() -> None:
    bucket = Bucket()
    for _ in range(5):
        bucket.seal(rows={0: 1})
    bucket.publish()
    asked: list[str] = []
    bucket.store.before = lambda call, key: asked.append(key) if "manifest" in key else None
    bucket.publish()
    bucket.worker().publish(bucket.logs)
    assert asked == []


def test_late_rows_raise_the_revision_by_one() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.seal(rows={0: 2, 1: 1})
    bucket.publish()
    assert (bucket.manifest(0)["revision"], bucket.manifest(0)["rows"]) == (2, 5)
    assert [item["seal"] for item in bucket.manifest(0)["objects"]] == [0, 1]
    assert bucket.manifest(0)["seals"] == {"0": 1}
    assert bucket.days() == [shown(0, 2, 5), shown(1, 1, 1)]
    bucket.seal(rows={0: 1})
    bucket.publish()
    assert bucket.manifest(0)["revision"] == 3


def test_a_revision_raises_no_second_mark() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    mark = bucket.etags()[success_key("s", day(0))]
    bucket.seal(rows={0: 2})
    bucket.publish()
    assert bucket.etags()[success_key("s", day(0))] == mark


# Crashes and lost answers


class Crashed(BaseException):
    """The worker is gone."""


@pytest.mark.parametrize("step", range(14))
def test_a_crash_at_any_write_is_made_good_by_the_next_worker(step: int) -> None:
    """First with two new days, then with a late row: whatever stood, the end is the same but for the revision."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.seal(rows={1: 2})
    left = step

    def crash(call: str, key: str) -> None:
        nonlocal left
        if call == "put":
            if left == 0:
                raise Crashed
            left -= 1

    bucket.store.before = crash
    for late in ({}, {0: 1, 2: 4}):
        if late:
            bucket.store.before, saved = (lambda call, key: None), bucket.store.before
            bucket.seal(rows=late)
            bucket.store.before = saved
        try:
            bucket.worker().publish(bucket.logs)
        except Crashed:
            bucket.store.before = lambda call, key: None
            bucket.worker().publish(bucket.logs)
    assert bucket.published() == [0, 1, 2]
    assert [bucket.manifest(number)["rows"] for number in (0, 1, 2)] == [4, 2, 4]
    assert [bucket.manifest(number)["revision"] for number in (0, 1, 2)] == [2, 1, 1]
    assert bucket.days() == [shown(0, 2, 4), shown(1, 1, 2), shown(2, 1, 4)]
    before = bucket.etags()
    bucket.worker().publish(bucket.logs)
    assert bucket.etags() == before


@pytest.mark.parametrize("key", ["_manifest", "_SUCCESS", "_days"])
def test_a_lost_answer_is_an_outage_and_what_took_effect_stands(key: str) -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.store.after = failing(UnknownOutcomeError("lost"), call="put", key=key)
    with pytest.raises(TransientError):
        bucket.publish()
    bucket.publish()
    assert bucket.manifest(0)["revision"] == 1
    assert bucket.days() == [shown(0, rows=3)]
    assert bucket.published() == [0]


# Other workers


def meanwhile(bucket: Bucket, call: str, key: str, do: Callable[[], object], times: int = 1) -> None:
    """Something happens just before the call."""
    left = times

    def before(this: str, place: str) -> None:
        nonlocal left
        if left and this == call and key in place:
            left -= 1
            saved, bucket.store.before = bucket.store.before, lambda call, key: None
            do()
            bucket.store.before = saved

    bucket.store.before = before


def test_a_stale_writer_loses_and_starts_over() -> None:
    """A has read; B publishes with a newer seal; A's write must not hide the late rows."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.seal(rows={0: 2})

    def other() -> None:
        bucket.seal(rows={0: 5})
        bucket.worker().publish(bucket.logs)

    meanwhile(bucket, "put", "_manifest", other)
    bucket.publish()
    assert (bucket.manifest(0)["revision"], bucket.manifest(0)["rows"]) == (2, 10)
    assert bucket.days()[0] == shown(0, 2, 10)


def test_a_stale_writer_of_a_new_day_loses_as_well() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})

    def other() -> None:
        bucket.seal(rows={0: 5})
        bucket.worker().publish(bucket.logs)

    meanwhile(bucket, "put", "_manifest", other)
    bucket.publish()
    assert (bucket.manifest(0)["revision"], bucket.manifest(0)["rows"]) == (1, 8)


def test_the_etag_is_read_before_the_chains() -> None:
    """A chain that grew after our ETag was read is either seen, or the write is refused."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.seal(rows={0: 2})
    order: list[str] = []
    bucket.store.before = lambda call, key: order.append("manifest" if "_manifest" in key else call)
    bucket.publish()
    first_etag = order.index("manifest")
    assert "list" in order[first_etag:], "the chains are listed again after the manifest was read"


def test_a_stale_list_of_days_is_worked_in_anew() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})

    def other() -> None:
        bucket.worker().publish(bucket.logs)
        bucket.seal(rows={1: 1})
        bucket.worker().publish(bucket.logs)

    meanwhile(bucket, "put", "_days", other)
    bucket.publish()
    assert bucket.days() == [shown(0, rows=3), shown(1, rows=1)]


def test_a_mark_put_by_another_is_as_good() -> None:
    bucket = Bucket()
    bucket.seal()
    meanwhile(bucket, "put", "_SUCCESS", lambda: put(bucket.store, success_key("s", day(0)), b""))
    bucket.publish()
    assert bucket.published() == [0]


def test_others_that_never_stop_are_an_outage() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    number = 0

    def other() -> None:
        nonlocal number
        number += 1
        bucket.seal(rows={0: 1}, cutoff=day(0))
        bucket.worker().publish(bucket.logs)
        bucket.seal(rows={0: 1}, cutoff=day(0))

    meanwhile(bucket, "put", "_manifest", other, times=1000)
    with pytest.raises(TransientError, match="other workers keep publishing"):
        bucket.publish()
    assert number == ROUNDS
    bucket.store.before = lambda call, key: None
    bucket.publish()
    assert bucket.manifest(0)["rows"] == 3 + 2 * number


def test_a_topic_that_grew_while_it_was_looked_at_starts_over() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    meanwhile(bucket, "list", "_seals/t/0/", lambda: bucket.chains.append(Chain()))
    assert bucket.publish().sealed is None
    assert bucket.published() == []
    bucket.seal(1)
    assert bucket.publish().sealed == day(0)


def test_growth_leaves_published_days_alone() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    before = bucket.etags()
    bucket.chains.append(Chain())
    assert bucket.publish().sealed is None
    assert bucket.etags() == before
    bucket.seal(0, {1: 1})
    bucket.seal(1, {1: 1}, cutoff=day(1))
    assert [plan.day for plan in bucket.publish().written] == [day(1)]
    assert bucket.manifest(1)["seals"] == {"0": 1, "1": 0}


# Why


def test_an_incomplete_day_says_why_and_is_closed_all_the_same() -> None:
    bucket = Bucket()
    bucket.seal(start=5, first_timestamp=int(at(-1, 12).timestamp() * 1000))
    bucket.seal(lso=5, high=9)
    bucket.seal()
    assert bucket.publish().complete == day(2)
    assert (bucket.manifest(0)["complete"], bucket.manifest(0)["why"]) == (False, ["started_in_mid_log"])
    assert bucket.manifest(1)["why"] == ["open_transaction", "started_in_mid_log"]
    assert (bucket.manifest(2)["complete"], bucket.manifest(2)["why"]) == (True, [])
    assert bucket.published() == [0, 1, 2]
    assert [item["complete"] for item in bucket.days()] == [False, False, True]


def test_without_a_complete_day_none_is_said() -> None:
    bucket = Bucket()
    bucket.seal(lso=5, high=9)
    published = bucket.publish()
    assert (published.sealed, published.complete) == (day(0), None)


def test_a_day_that_turns_incomplete_gets_a_revision() -> None:
    """A partition that was added later began in mid-log."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.chains.append(Chain())
    bucket.seal(1, start=5, first_timestamp=int(at(0, 1).timestamp() * 1000))
    bucket.publish()
    assert (bucket.manifest(0)["revision"], bucket.manifest(0)["why"]) == (2, ["started_in_mid_log"])
    assert bucket.days() == [shown(0, 2, 3, complete=False)]


# Columns


def test_an_object_with_other_columns_than_the_newest_lists_its_own() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.seal(rows={0: 2}, settings="wide")
    bucket.publish()
    document = bucket.manifest(0)
    assert document["columns"] == list(WIDE)
    old, new = document["objects"]
    assert old["columns"] == list(NARROW)
    assert "columns" not in new


def test_the_columns_of_a_day_change_with_its_newest_object() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    assert "columns" not in bucket.manifest(0)["objects"][0]
    bucket.seal(rows={0: 2}, settings="wide")
    bucket.publish()
    assert bucket.manifest(0)["objects"][0]["columns"] == list(NARROW)


def test_an_empty_day_has_todays_columns() -> None:
    bucket = Bucket()
    bucket.seal()
    bucket.worker(WIDE).publish(bucket.logs)
    assert bucket.manifest(0)["columns"] == list(WIDE)


def test_other_settings_alone_do_not_rewrite_a_day() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 1})
    bucket.seal()
    bucket.publish()
    before = bucket.etags()
    bucket.worker(WIDE).publish(bucket.logs)
    assert bucket.etags() == before


# Objects that moved on, replays


def test_objects_that_a_downstream_job_moved_stay_in_the_manifest_as_they_were() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    known = bucket.manifest(0)["objects"][0]
    bucket.store.delete(known["key"])
    assert bucket.worker().publish(bucket.logs).written == ()
    bucket.seal(rows={0: 2})
    bucket.publish()
    assert bucket.manifest(0)["objects"][0] == known
    assert (bucket.manifest(0)["rows"], bucket.manifest(0)["bytes"]) == (5, 18 + 14)


def test_an_object_that_vanished_before_it_was_published_is_an_outage() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.seal(rows={0: 2})
    bucket.store.delete(data(0, 100).key)
    with pytest.raises(TransientError, match="disappeared before its day was published"):
        bucket.publish()
    assert bucket.published() == []


def test_a_replacement_raises_the_revision_and_its_facts_count() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    entry = data(0, 100, 7, 12, 80)
    bucket.replace(entry)
    bucket.put_anew(entry, 0)
    bucket.publish()
    document = bucket.manifest(0)
    assert (document["revision"], document["rows"]) == (2, 7)
    shown_object = document["objects"][0]
    assert (shown_object["first_offset"], shown_object["last_offset"], shown_object["replay"]) == (12, 80, 0)
    assert bucket.days() == [shown(0, 2, 7, replay=0)]


def test_what_the_list_does_not_show_is_published_as_well() -> None:
    """As many rows as before, from other offsets."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    entry = data(0, 100, 3, 12, 80)
    bucket.replace(entry)
    bucket.put_anew(entry, 0)
    bucket.publish()
    document = bucket.manifest(0)
    assert (document["revision"], document["objects"][0]["first_offset"]) == (2, 12)
    assert bucket.days() == [shown(0, 2, 3, replay=0)]
    before = bucket.etags()
    bucket.publish()
    assert bucket.etags() == before


def test_a_replacement_that_adds_an_object_is_published() -> None:
    bucket = Bucket()
    bucket.seal()
    bucket.publish()
    entry = data(0, 100, 4, 12, 80)
    bucket.replace(entry)
    before = bucket.etags()
    bucket.publish()
    assert bucket.etags() == before, "recorded, and not put yet"
    bucket.put_anew(entry, 0)
    bucket.publish()
    assert (bucket.manifest(0)["revision"], bucket.manifest(0)["rows"]) == (2, 4)


# Replacements under way


def test_the_word_of_a_replacement_keeps_the_revision_and_is_put_once() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    before = bucket.manifest(0)
    assert bucket.publisher.mark(day(0), 0) is None
    marked = bucket.manifest(0)
    assert marked["sha256"] == manifest_digest(marked)
    assert {**marked, "sha256": before["sha256"]} == {**before, "replaying": 0}
    etags = bucket.etags()
    assert bucket.publisher.mark(day(0), 0) is None
    assert bucket.publisher.mark(day(0), 7) == 0
    assert bucket.etags() == etags


def test_a_day_without_a_manifest_has_no_place_for_the_word() -> None:
    bucket = Bucket()
    assert bucket.publisher.mark(day(0), 0) is None
    assert bucket.etags() == {}


@pytest.mark.parametrize("done", [False, True])
def test_late_rows_while_a_replacement_puts_objects(done: bool) -> None:
    """The worker keeps the word, states the bodies as they lie, and raises the revision."""
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    entry = data(0, 100, 7, 12, 80)
    bucket.replace(entry)
    bucket.publisher.mark(day(0), 0)
    if done:
        bucket.put_anew(entry, 0)
    bucket.seal(rows={0: 2})
    bucket.worker().publish(bucket.logs)
    document = bucket.manifest(0)
    assert (document["replaying"], document["revision"], document["rows"]) == (0, 2, 9 if done else 5)
    assert bucket.days()[0]["revision"] == 2
    if not done:
        bucket.put_anew(entry, 0)
    bucket.worker().publish(bucket.logs, Ending(0, frozenset({day(0)})))
    document = bucket.manifest(0)
    assert ("replaying" in document, document["revision"], document["rows"]) == (False, 3, 9)
    assert bucket.days()[0] == shown(0, 3, 9, replay=0)
    etags = bucket.etags()
    bucket.worker().publish(bucket.logs, Ending(0, frozenset({day(0)})))
    assert bucket.etags() == etags, "a second end changes nothing"


def test_the_end_of_a_replacement_takes_nobody_elses_word() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.publisher.mark(day(0), 5)
    bucket.worker().publish(bucket.logs, Ending(4, frozenset({day(0)})))
    assert (bucket.manifest(0)["replaying"], bucket.manifest(0)["revision"]) == (5, 1)


def test_a_word_that_meets_a_publication_starts_over() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    bucket.seal(rows={0: 2})
    late = [True]

    def meanwhile(call: str, key: str) -> None:
        if call == "put" and "_manifest" in key and late:
            late.clear()
            bucket.worker().publish(bucket.logs)

    bucket.store.before = meanwhile
    assert bucket.publisher.mark(day(0), 0) is None
    document = bucket.manifest(0)
    assert (document["replaying"], document["revision"], document["rows"]) == (0, 2, 5)


# The list of days


def test_the_list_keeps_the_newest_four_hundred_and_older_days_are_published_all_the_same() -> None:
    bucket = Bucket()
    bucket.seal(cutoff=day(-5), rows={-10: 1})
    bucket.seal(cutoff=day(399), sealed_at=at(399))
    bucket.publish()
    listed = bucket.days()
    assert len(listed) == 400
    assert (listed[0]["day"], listed[-1]["day"]) == (day(0).isoformat(), day(399).isoformat())
    assert len(bucket.published()) == 406
    before = bucket.etags()
    assert bucket.publish().written == ()
    assert bucket.worker().publish(bucket.logs).written == ()
    assert bucket.etags() == before


def test_days_beyond_the_list_are_looked_at_once_by_each_worker() -> None:
    bucket = Bucket()
    bucket.seal(cutoff=day(-2), rows={-10: 1})
    bucket.seal(cutoff=day(399), sealed_at=at(399))
    bucket.publish()
    asked: list[str] = []
    bucket.store.before = lambda call, key: asked.append(key) if call == "get" and "_manifest" in key else None
    bucket.publish()
    assert asked == []
    fresh = bucket.worker()
    fresh.publish(bucket.logs)
    assert asked == [manifest_key("s", day(number)) for number in (-10, -2, -1)]
    asked.clear()
    fresh.publish(bucket.logs)
    assert asked == []


@pytest.mark.parametrize("gone", [manifest_key("s", day(-2)), success_key("s", day(-2))])
def test_a_day_beyond_the_list_that_was_half_published_is_published(gone: str) -> None:
    bucket = Bucket()
    bucket.seal(cutoff=day(-2), rows={-2: 1})
    bucket.seal(cutoff=day(399), sealed_at=at(399))
    bucket.publish()
    bucket.store.delete(gone)
    bucket.worker().publish(bucket.logs)
    assert bucket.store.head(gone) is not None


def test_late_rows_of_a_day_in_the_list_move_nothing_in_it() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 1})
    bucket.seal(rows={1: 1})
    bucket.publish()
    bucket.seal(rows={0: 1})
    bucket.publish()
    assert bucket.days() == [shown(0, 2, 2), shown(1, 1, 1), shown(2)]


# A store without metadata


def test_in_a_folder_bodies_are_read_for_their_digest_and_quarantine_is_pinned() -> None:
    bucket = Bucket(keeps_metadata=False)
    lines = ObjectEntry(quarantine_key("s", day(0), TopicPartition("t", 0), 100), "s", day(0), 2, 1, 9, quarantine=True)
    bucket.seal(rows={0: 3})
    bucket.chains[0] = Chain()
    bucket.store.delete(*bucket.store.names())
    bucket.store.puts.clear()
    put(bucket.store, lines.key, b"{}\n{}\n")
    chain = then(Chain(), settings="narrow", objects=(data(0, 100, 3, 10, 90), lines))
    put(bucket.store, record_key(TopicPartition("t", 0), 0), chain.head.document())
    bucket.object(data(0, 100, 3, 10, 90))
    bucket.chains[0] = chain
    bucket.publish()
    item = bucket.manifest(0)["objects"][0]
    size, digest = size_and_digest(bucket.store, item["key"])
    assert (item["bytes"], item["sha256"]) == (size, digest) == (18, digest)
    assert bucket.manifest(0)["pins"]["objects"] == {lines.key: size_and_digest(bucket.store, lines.key)[1]}
    known = bucket.manifest(0)["pins"]["objects"][lines.key]
    bucket.seal(rows={0: 1})
    opened: list[str] = []
    bucket.store.before = lambda call, key: opened.append(key) if call == "open" else None
    bucket.publish()
    assert bucket.manifest(0)["revision"] == 2
    assert bucket.manifest(0)["pins"]["objects"][lines.key] == known
    assert lines.key not in opened, "a pin stays: what was changed since must not pass"


# Trouble


def test_a_damaged_chain_halts_publishing() -> None:
    bucket = Bucket()
    bucket.seal()
    bucket.seal()
    bucket.store.delete(record_key(TopicPartition("t", 0), 0))
    with pytest.raises(HaltError) as caught:
        bucket.publish()
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED


def test_an_outage_leaves_what_was_published_and_goes_on_later() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.seal(rows={1: 2})
    bucket.store.before = failing(TransientError("down"), call="put", key="dt=2026-03-02/_manifest")
    with pytest.raises(TransientError):
        bucket.publish()
    assert bucket.published() == [0]
    bucket.publish()
    assert bucket.published() == [0, 1]
    assert bucket.manifest(0)["revision"] == 1


def test_a_seal_seen_finished_is_not_looked_at_again() -> None:
    bucket = Bucket()
    bucket.seal(rows={0: 3})
    bucket.publish()
    heads: list[str] = []
    bucket.store.before = lambda call, key: heads.append(key) if call == "head" else None
    bucket.publish()
    assert heads == []
