"""`verify` on buckets that the real seal code filled: sound ones, changed ones, and those of a worker at its work."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.domain.compression import Compression
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.day_plan import manifest_digest
from consumer.seal.folder_columns import claim_columns
from consumer.seal.keys import (
    data_key,
    days_key,
    manifest_key,
    quarantine_key,
    record_key,
    schema_key,
    settings_key,
    success_key,
)
from consumer.seal.publisher import Ending
from consumer.seal.record import ObjectEntry
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Store
from consumer.verify.findings import Finding, Problem, Report
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream
from tests.builders.sealed import (
    COLUMNS,
    DAY,
    RULES,
    STREAM,
    TOPIC,
    Bucket,
    StoppedClock,
    body_of,
    next_day,
    three_days,
)
from tests.fakes.store import MemoryStore

P0 = TopicPartition(TOPIC, 0)
SECOND, THIRD, FAR = next_day(DAY), next_day(DAY, 2), next_day(DAY, 30)


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "out")


def problems(report: Report) -> list[tuple[str, Problem]]:
    return [(finding.key, finding.problem) for finding in report.findings if not finding.note]


def only(report: Report) -> Finding:
    (found,) = report.findings
    return found


# -- what is sound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_was_written_is_sound(store: Store, compression: Compression) -> None:
    report = three_days(store, compression).verify()
    assert (report.findings, report.pending) == ((), ())
    assert (report.partitions, report.records, report.settings, report.days) == (2, 7, 1, 4)
    assert (report.objects, report.rows, report.quarantined) == (12, 17, 2)
    assert report.sound


def test_an_empty_folder_is_sound(store: Store) -> None:
    report = Bucket(store).verify()
    assert report.sound
    assert (report.partitions, report.objects) == (0, 0)


def test_objects_are_counted_by_their_bodies(store: Store) -> None:
    bucket = three_days(store)
    sizes = sum(facts.size for facts in bucket.store.list("") if facts.key.endswith((".csv", ".jsonl")))
    assert bucket.verify().bytes == sizes


# -- any change shows ------------------------------------------------------------------------------------------------


def test_every_object_that_is_removed_is_missed(store: Store) -> None:
    bucket = three_days(store)
    for key in bucket.all_keys():
        data, facts = bucket.read(key), store.head(key)
        bucket.remove(key)
        assert not bucket.verify().sound, key
        bucket.overwrite(key, data, facts.metadata if facts else {})
    assert bucket.verify().sound


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_object_of_which_one_byte_changes_is_found(store: Store, compression: Compression) -> None:
    bucket, dice = three_days(store, compression), random.Random(7)
    for key in bucket.all_keys():
        data = bucket.read(key)
        for spoilt in (*_flipped(data, dice, 4), data + b"x", data + b"\n", data[:-1]):
            if spoilt == data:
                continue  # an empty mark has no byte less
            bucket.overwrite(key, spoilt)
            assert not bucket.verify().sound, (key, spoilt)
        bucket.overwrite(key, data)
    assert bucket.verify().sound


def _flipped(data: bytes, dice: random.Random, times: int) -> list[bytes]:
    found = []
    for _ in range(times if data else 0):
        spoilt = bytearray(data)
        spoilt[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        found.append(bytes(spoilt))
    return found


OTHER = {
    "version": 2,
    "kind": "gap",
    "stream": "views",
    "topic": "u",
    "topic_id": "topic-0002",
    "partition": 1,
    "group": "h",
    "n": 9,
    "previous": {"cutoff": "2026-01-01", "through": 3},
    "cutoff": "2026-11-19",
    "caught_up": False,
    "start": 1,
    "through": 15,
    "resume": 13,
    "lso": 1,
    "high": 99,
    "settings": "0123456789abcdef",
    "known_schemas": {"17": 11},
    "objects": [],
    "counts": {"read": 1, "kept": 1, "filtered": 0, "quarantined": 0, "already_sealed": 0, "tombstones": 0},
    "sealed_at": "2026-11-22T04:00:00.000001Z",
    "writer": "somebody",
    "previous_sha256": "0" * 64,
    "first_timestamp": 1,
}


@pytest.mark.parametrize("n", [0, 1, 3])
def test_every_altered_field_of_a_record_is_found_the_newest_included(store: Store, n: int) -> None:
    bucket = three_days(store)
    key = record_key(P0, n)
    good, facts = bucket.read(key), store.head(key)
    for field, other in OTHER.items():
        raw = orjson.loads(good)
        raw[field] = (not raw[field]) if field == "caught_up" else other
        data = orjson.dumps(raw, option=orjson.OPT_INDENT_2)
        assert data != good
        # its digest is made to fit, as a tool would that copies objects with new metadata
        bucket.overwrite(key, data, {"sha256": BytesBody(data).sha256} if facts and facts.metadata else {})
        assert not bucket.verify().sound, field
    bucket.overwrite(key, good, facts.metadata if facts else {})
    assert bucket.verify().sound


def test_an_object_put_anew_without_metadata_is_found_where_the_store_keeps_them() -> None:
    bucket = three_days(MemoryStore())
    for key in bucket.all_keys():
        if key.endswith("_SUCCESS") or key.startswith("_seals/_settings/"):
            continue  # an empty mark and a document named by its digest have all that they need
        data, facts = bucket.read(key), bucket.store.head(key)
        bucket.overwrite(key, data, {})
        assert not bucket.verify().sound, key
        bucket.overwrite(key, data, facts.metadata if facts else {})


def test_what_is_told_of_a_changed_object(store: Store) -> None:
    bucket = three_days(store)
    key = data_key(STREAM, DAY, P0, 6, "none")
    bucket.overwrite(key, bucket.read(key).replace(b"2,2026", b"9,2026"))
    found = only(bucket.verify())
    assert (found.key, found.problem) == (key, Problem.OBJECT)
    assert "sha256" in found.what
    assert str(DAY) in found.todo


def test_what_is_told_of_a_missing_object(store: Store) -> None:
    bucket = three_days(store)
    key = data_key(STREAM, DAY, P0, 6, "none")
    bucket.remove(key)
    found = only(bucket.verify())
    assert (found.key, found.problem) == (key, Problem.MISSING)
    assert "seal 0 of t:0 put 3 rows" in found.what
    assert "downstream job" in found.todo


def test_rows_header_and_form_are_looked_at_even_where_no_digest_is_known(tmp_path: Path) -> None:
    """An unpublished seal in a folder has no digest anywhere."""
    bucket = Bucket(FolderStore(tmp_path / "out"), partitions=2)
    record = bucket.seal({DAY: [0, 1]}, bad={DAY: [2, 3]}, cutoff=DAY, through=4)
    data, bad = (entry.key for entry in record.objects)
    good, lines = bucket.read(data), bucket.read(bad)
    for spoilt, words in (
        (good + b"2,x\n", "3 rows"),
        (good.replace(b"id,", b"ID,"), "header"),
        (good[:-1], "last line is incomplete"),
        (b"", "last line is incomplete"),
    ):
        bucket.overwrite(data, spoilt)
        assert words in only(bucket.verify()).what
    bucket.overwrite(data, good)
    for spoilt, words in (
        (lines.replace(b'"offset": 2', b'"offset": 1'), "offsets 1 to 3"),
        (lines.replace(b'"offset": 2', b'"offset": 7'), "offset 3 comes after 7"),
        (lines.replace(b'"offset": 2', b'"other": 2'), "without an offset"),
        (lines[:-1], "last line is incomplete"),
        (lines + lines, "comes after"),
    ):
        bucket.overwrite(bad, spoilt)
        assert words in only(bucket.verify()).what


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damaged_compression_is_told_as_such(compression: Compression) -> None:
    bucket = three_days(MemoryStore(), compression)
    key = data_key(STREAM, DAY, P0, 6, compression)
    good = bucket.read(key)
    bucket.overwrite(key, b"x" + good[1:])
    assert f"damaged {compression}" in only(bucket.verify()).what
    bucket.overwrite(key, good[:-6])
    assert "it cannot be read" in only(bucket.verify()).what


# -- seal logs -------------------------------------------------------------------------------------------------------


def test_an_altered_record_is_named_by_the_link_of_its_successor() -> None:
    bucket = three_days(MemoryStore())
    key = record_key(P0, 1)
    raw = {**orjson.loads(bucket.read(key)), "writer": "somebody"}
    data = orjson.dumps(raw, option=orjson.OPT_INDENT_2)
    bucket.overwrite(key, data, {"sha256": BytesBody(data).sha256})
    found = bucket.verify().findings
    assert (record_key(P0, 2), Problem.INCONSISTENT) in problems(bucket.verify())
    assert any("record 1 was altered" in finding.what for finding in found)


def test_a_missing_record_breaks_the_chain_and_days_are_not_guessed(store: Store) -> None:
    bucket = three_days(store)
    bucket.remove(record_key(P0, 1))
    found = problems(bucket.verify())
    nobodys = [
        quarantine_key(STREAM, DAY, P0, 10),
        data_key(STREAM, DAY, P0, 10, "none"),
        data_key(STREAM, SECOND, P0, 10, "none"),
    ]
    assert sorted(found) == sorted([(record_key(P0, 1), Problem.MISSING), *((key, Problem.STRAY) for key in nobodys)])


def test_what_is_no_record_of_ours(store: Store) -> None:
    bucket = three_days(store)
    bucket.overwrite(f"_seals/{TOPIC}/0/notes.txt", b"hello", {})
    bucket.overwrite(record_key(P0, 4), b"{}", {"sha256": BytesBody(b"{}").sha256})
    newer = orjson.dumps({"version": 2, "kind": "seal"}, option=orjson.OPT_INDENT_2)
    bucket.overwrite(record_key(TopicPartition(TOPIC, 1), 3), newer, {"sha256": BytesBody(newer).sha256})
    assert problems(bucket.verify()) == [
        (record_key(P0, 4), Problem.UNREADABLE),
        (f"_seals/{TOPIC}/0/notes.txt", Problem.STRAY),
        (record_key(TopicPartition(TOPIC, 1), 3), Problem.NEWER),
    ]


def test_a_partition_whose_seal_log_is_gone_is_missed(store: Store) -> None:
    bucket = three_days(store)
    for key in bucket.all_keys():
        if key.startswith(f"_seals/{TOPIC}/1/"):
            bucket.remove(key)
    found = bucket.verify().findings
    assert any("partition 1, which is missing from the seal log" in finding.what for finding in found)


NAMES = ("read", "kept", "filtered", "quarantined", "already_sealed", "tombstones")


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(NAMES, numbers, strict=True))


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "counts": ({"counts": counts(5, 1, 1, 1, 0, 1)}, "do not add up"),
    "more taken than seen": ({"counts": counts(0, 0, 0, 0, 0, 0)}, "up to it"),
    "more read than offsets": ({"counts": counts(99, 99, 0, 0, 0, 0)}, "counts 99 records"),
    "start": ({"start": 13}, "its predecessor resumes at 14"),
    "resume": ({"resume": 17}, "resumes at 17 of offsets up to 16"),
    "through": ({"start": 13, "through": 13, "resume": 13, "objects": []}, "goes back"),
    "cutoff": ({"cutoff": "2026-11-21"}, "not due"),
    "early": ({"sealed_at": "2026-11-22T23:00:00.000000Z"}, "before that day was over"),
    "backwards": ({"sealed_at": "2026-11-22T03:00:00.000000Z"}, "before its predecessor"),
    "not caught up": ({"lso": 17, "high": 17}, "ended at 17"),
    "other log": ({"topic_id": "topic-0002"}, "has the topic id"),
    "other stream": ({"stream": "views", "objects": []}, "belongs to stream views"),
    "lost": ({"lost": [1, 2]}, "has lost offsets"),
    "schemas": ({"known_schemas": {"17": 99}}, "known schemas"),
    "no cutoff": ({"cutoff": None}, "without a cutoff"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_record_that_contradicts_itself_or_its_chain(case: str) -> None:
    fields, words = CONTRADICTIONS[case]
    bucket = three_days(MemoryStore())
    bucket.alter_record(3, **fields)
    assert any(words in finding.what for finding in bucket.verify().findings)


ENTRY_CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"key": "clicks/dt=2026-11-22/elsewhere.csv"}, "does not belong to stream"),
    ({"first_offset": 3}, "outside 14 to 16"),
    ({"last_offset": 16}, "2 rows from 14 to 16"),
    ({"rows": 3}, "has 3 rows from 14 to 15"),
    ({"rows": 0}, "has 0 rows between"),
    ({"first_offset": None}, "2 rows from None to 15"),
]


@pytest.mark.parametrize(("fields", "words"), ENTRY_CONTRADICTIONS)
def test_a_record_whose_object_cannot_be(fields: dict[str, Any], words: str) -> None:
    bucket = three_days(MemoryStore())
    (entry,) = bucket.head().objects
    bucket.alter_record(3, objects=[{**entry.document(), **fields}])
    assert any(words in finding.what for finding in bucket.verify().findings)


@pytest.mark.parametrize(
    "fields",
    [
        {"settings": 5},
        {"topic_id": None},
        {"first_timestamp": "1"},
        {
            "objects": [
                {"key": 1, "stream": STREAM, "day": "2026-11-22", "rows": 1, "first_offset": 1, "last_offset": 1}
            ]
        },
        {
            "objects": [
                {"key": "", "stream": STREAM, "day": "2026-11-22", "rows": 1, "first_offset": "1", "last_offset": 1}
            ]
        },
        {"counts": {"read": "1"}},
        {"counts": None},
        {"objects": 5},
        {"known_schemas": []},
        {"sealed_at": "2026-11-22T04:00:00"},
        {"previous": 7},
    ],
)
def test_values_of_another_kind_are_told_and_not_stumbled_over(fields: dict[str, Any]) -> None:
    bucket = three_days(MemoryStore())
    bucket.alter_record(3, **fields)
    assert (record_key(P0, 3), Problem.UNREADABLE) in problems(bucket.verify())


def test_objects_of_one_day_do_not_meet() -> None:
    bucket = Bucket(MemoryStore())
    bucket.seal({DAY: [0, 5]}, cutoff=DAY, through=6, resume=3, waiting=1)
    bucket.seal({DAY: [4], SECOND: [7]}, cutoff=SECOND, through=8)
    bucket.publish()
    found = only(bucket.verify())
    assert found.key == data_key(STREAM, DAY, P0, 8, "none")
    assert "overlap" in found.what


def test_settings_that_change_what_never_changes() -> None:
    bucket = Bucket(MemoryStore())
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    bucket.rules = replace(RULES, time_field="id")
    bucket.seal({SECOND: [1]}, cutoff=SECOND, through=2)
    bucket.publish()
    assert problems(bucket.verify()) == [(record_key(P0, 1), Problem.INCONSISTENT)]


def test_settings_of_a_newer_release(store: Store) -> None:
    bucket = three_days(store)
    key = settings_key(RULES.digest)
    bucket.overwrite(key, bucket.read(key).replace(b'"version": 2', b'"version": 3'))
    assert (key, Problem.NEWER) in problems(bucket.verify())


# -- the folder's columns ---------------------------------------------------------------------------------------------


def listed(store: Store, names: tuple[str, ...] = COLUMNS) -> Bucket:
    """A day whose record says that its objects have the first two of these columns."""
    bucket = Bucket(store)
    assert claim_columns(store, STREAM, names, DAY, DAY)
    bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=2, columns=2)
    bucket.publish()
    return bucket


def test_a_header_is_a_prefix_of_the_folders_list(store: Store) -> None:
    assert listed(store, (*COLUMNS, "price")).verify().findings == ()


def test_a_list_in_another_order_is_found(store: Store) -> None:
    bucket = listed(store)
    text = bucket.read(schema_key(STREAM))
    bucket.overwrite(
        schema_key(STREAM), text.replace(b'"id"', b'"x"').replace(b'"at"', b'"id"').replace(b'"x"', b'"at"')
    )
    found = dict(problems(bucket.verify()))
    assert found[data_key(STREAM, DAY, P0, 2, "none")] is Problem.OBJECT


def test_a_list_that_is_gone_cut_or_no_list_is_found(store: Store) -> None:
    bucket = listed(store)
    key, text = schema_key(STREAM), bucket.read(schema_key(STREAM))
    raw = orjson.loads(text)
    cut = orjson.dumps({**raw, "columns": raw["columns"][:1]}, option=orjson.OPT_INDENT_2)
    for altered, problem in ((cut, Problem.INCONSISTENT), (b"{}", Problem.UNREADABLE), (text, None)):
        bucket.overwrite(key, altered, {"sha256": BytesBody(altered).sha256})
        assert (key, problem) in [*problems(bucket.verify()), (key, None)]
    bucket.remove(key)
    assert (key, Problem.MISSING) in problems(bucket.verify())


def test_objects_older_than_the_list_may_have_another_order(store: Store) -> None:
    bucket = three_days(store)
    document = {"version": 1, "stream": STREAM, "columns": [{"name": name, "since": str(DAY)} for name in ("at", "id")]}
    body = BytesBody(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    store.put(schema_key(STREAM), body, condition=Absent(), metadata={"sha256": body.sha256})
    report = bucket.verify()
    assert report.sound
    assert only(report).key == settings_key(RULES.digest)


# -- a worker at its work --------------------------------------------------------------------------------------------


def test_the_newest_seal_without_its_objects_is_pending_for_a_day(store: Store) -> None:
    bucket = three_days(store)
    fourth = next_day(DAY, 3)
    bucket.seal({fourth: [16, 17], THIRD: [18]}, bad={THIRD: [19]}, cutoff=fourth, through=20, upload=False)
    report = bucket.verify()
    assert report.sound
    assert report.pending == ("seal 4 of t:0, decided at 2026-11-24 04:00 UTC, is under way",)
    late = bucket.verify(bucket.now + timedelta(days=1))
    assert problems(late) == [(record_key(P0, 4), Problem.UNFINISHED)]


def test_objects_of_a_seal_under_way_come_in_no_order(store: Store) -> None:
    bucket = three_days(store)
    fourth = next_day(DAY, 3)
    record = bucket.seal({THIRD: [16], fourth: [17, 18]}, cutoff=fourth, through=20)
    first, last = (entry.key for entry in record.objects)
    data, facts = bucket.read(last), store.head(last)
    bucket.remove(last)
    assert bucket.verify().sound
    bucket.overwrite(last, data, facts.metadata if facts else {})
    bucket.remove(first)
    assert bucket.verify().sound
    late = bucket.verify(bucket.now + timedelta(days=1))
    assert problems(late) == [(record_key(P0, record.n), Problem.UNFINISHED)]


def test_a_published_day_proves_that_its_seal_was_finished(store: Store) -> None:
    """A quarantine object stands in no manifest, but the manifest took its record in."""
    bucket = Bucket(store)
    record = bucket.seal({DAY: [0]}, bad={DAY: [1]}, cutoff=DAY, through=2)
    bucket.publish()
    assert bucket.verify().sound
    bucket.remove(record.objects[1].key)
    assert problems(bucket.verify()) == [(record.objects[1].key, Problem.MISSING)]


def test_a_day_that_is_sealed_waits_an_hour_to_be_published(store: Store) -> None:
    bucket = Bucket(store)
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    report = bucket.verify()
    assert report.sound
    assert manifest_key(STREAM, DAY) in report.pending[0]
    late = bucket.verify(bucket.now + timedelta(hours=1))
    assert problems(late) == [(manifest_key(STREAM, DAY), Problem.NOT_PUBLISHED)]


def test_late_rows_wait_an_hour_to_be_listed(store: Store) -> None:
    bucket = three_days(store)
    fourth = next_day(DAY, 3)
    bucket.seal({DAY: [16], fourth: [17]}, cutoff=fourth, through=20)
    assert bucket.verify().sound
    late = problems(bucket.verify(bucket.now + timedelta(hours=1)))
    assert late == [(manifest_key(STREAM, DAY), Problem.NOT_PUBLISHED)]


def test_a_publication_that_was_cut_off_waits_an_hour(store: Store) -> None:
    """Manifest, mark, list: each may be the last one written."""
    bucket = Bucket(store)
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    bucket.publish()
    listing, mark = bucket.read(days_key(STREAM)), bucket.read(success_key(STREAM, DAY))
    listed = store.head(days_key(STREAM))
    bucket.seal({SECOND: [1], DAY: [2]}, cutoff=SECOND, through=3)
    bucket.publish()
    bucket.overwrite(days_key(STREAM), listing, listed.metadata if listed else {})
    bucket.remove(success_key(STREAM, SECOND))
    report = bucket.verify()
    assert report.sound
    assert len(report.pending) == 3
    late = bucket.verify(bucket.now + timedelta(hours=1))
    assert {finding.problem for finding in late.findings} == {Problem.NOT_PUBLISHED}
    bucket.publish()
    assert bucket.verify().pending == ()
    assert bucket.read(success_key(STREAM, SECOND)) == mark


def test_what_a_worker_is_just_writing_passes_by() -> None:
    bucket = Bucket(MemoryStore())
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    bucket.publish()
    data = bucket.read(days_key(STREAM))
    metadata = bucket.store._objects[days_key(STREAM)].facts.metadata  # type: ignore[attr-defined]
    bucket.remove(days_key(STREAM))
    rests = []

    def rest() -> None:
        rests.append(1)
        bucket.overwrite(days_key(STREAM), data, metadata)

    with ThreadPoolExecutor(1) as pool:
        ways = VerifyContext(lambda call: call(), pool, StoppedClock(bucket.now), rest)
        report = verify_stream(VerifyTarget(STREAM, TOPIC, COLUMNS, bucket.store), Days(), ways)
    assert report.sound
    assert rests == [1]


# -- days ------------------------------------------------------------------------------------------------------------


def test_a_day_that_was_published_too_early(store: Store) -> None:
    bucket = three_days(store)
    fourth = next_day(DAY, 3)
    key = manifest_key(STREAM, fourth)
    raw = orjson.loads(bucket.read(manifest_key(STREAM, THIRD)))
    raw |= {"day": fourth.isoformat(), "objects": [], "rows": 0, "bytes": 0}
    _put_manifest(bucket, key, raw)
    bucket.overwrite(success_key(STREAM, fourth), b"", {})
    found = [finding.what for finding in bucket.verify().findings if finding.key == key]
    assert any("had not sealed" in what for what in found)


def _put_manifest(bucket: Bucket, key: str, raw: dict[str, object]) -> None:
    """A manifest whose digests all fit."""
    data = orjson.dumps({**raw, "sha256": manifest_digest(raw)}, option=orjson.OPT_INDENT_2)
    bucket.overwrite(key, data, {"sha256": BytesBody(data).sha256})


MANIFEST_LIES: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({"rows": 99}, "says 99 rows"),
    "bytes": ({"bytes": 99}, "says 99 bytes"),
    "complete": ({"complete": False}, "complete: False"),
    "why": ({"complete": False, "why": ["gap"]}, "the seal logs say []"),
    "columns": ({"columns": ["id"]}, "its columns of"),
    "stream": ({"stream": "views"}, "of stream views"),
    "unknown seal": ({"seals": {"0": 9, "1": 2}}, "record 9 of partition 0, which is missing"),
    "nothing listed": ({"objects": [], "rows": 0, "bytes": 0}, "does not list"),
    "no list": ({"objects": None}, "not a manifest"),
    "text for a number": ({"rows": "2"}, "text in place of a number"),
    "newer": ({"version": 2}, "newer release"),
}


@pytest.mark.parametrize("case", MANIFEST_LIES)
def test_a_manifest_that_says_other_things_than_the_chain(store: Store, case: str) -> None:
    bucket = three_days(store)
    fields, words = MANIFEST_LIES[case]
    key = manifest_key(STREAM, THIRD)
    _put_manifest(bucket, key, {**orjson.loads(bucket.read(key)), **fields})
    assert any(words in finding.what for finding in bucket.verify().findings if finding.key == key)


def test_a_record_that_is_not_the_one_a_manifest_took_in_is_named(store: Store) -> None:
    bucket = three_days(store)
    key = record_key(P0, 3)
    data = bucket.read(key).replace(b'"writer": "test"', b'"writer": "soup"')
    bucket.overwrite(key, data, {"sha256": BytesBody(data).sha256})
    assert problems(bucket.verify()) == [(key, Problem.ALTERED)]
    bucket.overwrite(key, data.replace(b"soup", b"test"), {"sha256": BytesBody(data).sha256})
    assert bucket.verify().sound is not store.keeps_metadata


def test_a_manifest_that_lists_other_facts_of_an_object(store: Store) -> None:
    bucket = three_days(store)
    key = manifest_key(STREAM, THIRD)
    raw = orjson.loads(bucket.read(key))
    raw["objects"][0]["sha256"] = "0" * 64
    raw["objects"][1]["seal"] = 0
    raw["objects"].append({**raw["objects"][1], "key": "clicks/dt=2026-11-22/other.csv"})
    _put_manifest(bucket, key, raw)
    whats = " ".join(finding.what for finding in bucket.verify().findings)
    for words in ("the manifest says", "its facts of", "which is in no record"):
        assert words in whats


def test_a_list_of_days_that_lies(store: Store) -> None:
    bucket = three_days(store)
    key = days_key(STREAM)
    raw = orjson.loads(bucket.read(key))
    for days, words in (
        (raw["days"][::-1], "not in order"),
        ([{**raw["days"][0], "rows": 99}, *raw["days"][1:]], "it says"),
        ([*raw["days"], {**raw["days"][0], "day": "2026-12-01"}], "manifest of a published day is missing"),
    ):
        data = orjson.dumps({**raw, "days": days}, option=orjson.OPT_INDENT_2)
        bucket.overwrite(key, data, {"sha256": BytesBody(data).sha256})
        assert any(words in finding.what for finding in bucket.verify().findings)


def test_strays_are_named(store: Store) -> None:
    bucket = three_days(store)
    stray = f"{STREAM}/dt={DAY}/other-0-{6:020d}.csv"
    bad = f"_quarantine/{STREAM}/dt={DAY}/extra.jsonl"
    notes = [f"{STREAM}/dt={DAY}/_processed", f"{STREAM}/readme.txt"]
    for key in (stray, bad, *notes):
        bucket.overwrite(key, b"x", {})
    report = bucket.verify()
    assert problems(report) == [(bad, Problem.STRAY), (stray, Problem.STRAY)]
    assert [finding.key for finding in report.findings if finding.note] == notes
    for key in (stray, bad):
        bucket.remove(key)
    assert bucket.verify().sound


def test_only_the_days_asked_for_are_read(store: Store) -> None:
    bucket = three_days(store)
    key = data_key(STREAM, DAY, P0, 6, "none")
    bucket.overwrite(key, b"spoilt\n")
    bucket.overwrite(f"{STREAM}/dt={DAY}/stray.csv", b"x", {})
    assert bucket.verify(days=Days(SECOND, THIRD)).sound
    assert bucket.verify(days=Days(first=SECOND)).objects == 6
    assert len(problems(bucket.verify(days=Days(DAY, DAY)))) == 2
    assert len(problems(bucket.verify(days=Days(last=DAY)))) == 2


def test_more_than_four_hundred_days() -> None:
    """`_days.json` forgets the oldest ones, which are published all the same."""
    bucket = Bucket(MemoryStore())
    for n in range(405):
        day = next_day(DAY, n)
        bucket.seal({day: [n]}, cutoff=day, through=n + 1)
    bucket.publish()
    report = bucket.verify()
    assert report.sound
    assert report.pending == ()
    assert report.days == 405


# -- gaps and replays ------------------------------------------------------------------------------------------------


def test_a_seal_that_was_pending_under_a_gap_may_have_fewer_rows(store: Store) -> None:
    bucket = Bucket(store)
    bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4, resume=2, waiting=2)
    bucket.publish()
    record = bucket.seal({SECOND: [2, 3, 6], DAY: [5]}, cutoff=SECOND, through=8, upload=False)
    bucket.gap(Span(2, 4), unfinished=record.n)
    bucket.gap(Span(4, 6), unfinished=record.n)
    bucket.upload(record, {(SECOND, False): [6]})
    bucket.publish()
    report = bucket.verify()
    assert (report.findings, report.pending) == ((), ())
    assert report.rows == 3
    manifest = orjson.loads(bucket.read(manifest_key(STREAM, SECOND)))
    assert (manifest["why"], manifest["rows"]) == (["gap"], 1)


def test_a_gap_excuses_no_row_behind_it() -> None:
    bucket = Bucket(MemoryStore())
    record = bucket.seal({DAY: [0, 1, 6]}, cutoff=DAY, through=8, upload=False)
    bucket.gap(Span(0, 6), unfinished=0)
    bucket.upload(record, {(DAY, False): [1, 6]})
    bucket.publish()
    assert "its metadata says 2 rows from 1 to 6" in only(bucket.verify()).what


def test_without_a_gap_no_row_may_lack(tmp_path: Path) -> None:
    bucket = Bucket(FolderStore(tmp_path / "out"), partitions=2)
    record = bucket.seal({DAY: [0, 1, 6]}, cutoff=DAY, through=8)
    bucket.seal({}, cutoff=SECOND, through=8)
    bucket.overwrite(record.objects[0].key, body_of(DAY, [1, 6], ".csv").data)
    assert "2 rows" in only(bucket.verify()).what


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lost": None}, "without lost offsets"),
        ({"resume": 5}, "resumes at 5"),
        ({"through": 5}, "moves cutoff or through"),
        ({"lost": [3, 6]}, "was the lowest offset still needed"),
        ({"unfinished": 0}, "it is a gap up to 6, but resumes at 6 and starts at 6"),
        ({"unfinished": 7}, "found seal 7 unfinished"),
        ({"unfinished": "0"}, "unfinished is not an integer"),
        ({"counts": counts(0, 0, 0, 0, 3, 0)}, "has objects or counts"),
    ],
)
def test_a_gap_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    bucket = Bucket(MemoryStore())
    bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    bucket.gap(Span(4, 6))
    assert bucket.verify().sound
    bucket.alter_record(1, **fields)
    assert any(words in finding.what for finding in bucket.verify().findings)


def replayed(bucket: Bucket) -> tuple[ObjectEntry, ObjectEntry]:
    """A replay that drops one row of the first day and brings back another one under a new key."""
    seal = bucket.seal({DAY: [0, 2]}, cutoff=DAY, through=3)
    bucket.seal({SECOND: [3]}, cutoff=SECOND, through=6)
    bucket.publish()
    changed = replace(seal.objects[0], rows=1, first_offset=2)
    added = ObjectEntry(data_key(STREAM, DAY, P0, 6, "none"), STREAM, DAY, 2, 4, 5)
    bucket.replay({changed: [2], added: [4, 5]})
    return changed, added


def test_a_replay_that_is_done_is_sound(store: Store) -> None:
    bucket = Bucket(store)
    changed, added = replayed(bucket)
    bucket.rewrite(changed, [2], 0)
    bucket.rewrite(added, [4, 5], 0)
    bucket.publish()
    report = bucket.verify()
    assert (report.findings, report.pending) == ((), ())
    assert report.rows == 4


def test_a_replay_that_is_half_done_is_named(store: Store) -> None:
    bucket = Bucket(store)
    changed, added = replayed(bucket)
    bucket.rewrite(added, [4, 5], 0)
    found = {finding.key: finding for finding in bucket.verify(bucket.now + timedelta(hours=2)).findings}
    assert found[changed.key].problem is Problem.REPLAY
    assert "replay 0 is half done" in found[changed.key].what
    assert "run the same command again" in found[changed.key].todo
    assert added.key not in found
    of_day = found[manifest_key(STREAM, DAY)]
    assert (of_day.problem, of_day.what.split(":")[0]) == (Problem.REPLAY, "replay 0 is half done")


def test_the_word_in_a_manifest_is_named(store: Store) -> None:
    bucket = Bucket(store)
    changed, added = replayed(bucket)
    bucket.rewrite(changed, [2], 0)
    bucket.rewrite(added, [4, 5], 0)
    publisher = bucket.publisher()
    assert publisher.mark(DAY, 0) is None
    assert publisher.mark(DAY, 1) == 0, "another one waits"
    found = only(bucket.verify(bucket.now + timedelta(hours=2)))
    assert (found.problem, found.key) == (Problem.REPLAY, manifest_key(STREAM, DAY))
    bucket.publish()
    assert not bucket.verify().sound, "a worker that publishes keeps the word"
    publisher.publish(bucket.all_logs, Ending(0, frozenset({DAY})))
    assert bucket.verify().findings == ()
    assert "replaying" not in orjson.loads(bucket.read(manifest_key(STREAM, DAY)))


def test_a_word_without_a_record_is_named(store: Store) -> None:
    bucket = Bucket(store)
    bucket.seal({DAY: [0, 2]}, cutoff=DAY, through=3)
    bucket.publish()
    bucket.publisher().mark(DAY, 4)
    assert "no record has that number" in only(bucket.verify()).what


def test_an_object_of_a_replay_that_left_no_record() -> None:
    bucket = Bucket(MemoryStore())
    changed, _ = replayed(bucket)
    bucket.rewrite(changed, [2], 0)
    bucket.remove(f"_replays/{STREAM}/{0:08d}.json")
    assert any("replay 0 wrote it, but no record" in finding.what for finding in bucket.verify().findings)


def test_a_replay_log_that_is_damaged(store: Store) -> None:
    bucket = Bucket(store)
    changed, added = replayed(bucket)
    bucket.rewrite(changed, [2], 0)
    bucket.rewrite(added, [4, 5], 0)
    bucket.publish()
    key = f"_replays/{STREAM}/{0:08d}.json"
    good = bucket.read(key)
    for spoilt, problem in (
        (b"{}", Problem.UNREADABLE),
        (good.replace(b'"version": 1', b'"version": 2'), Problem.NEWER),
        (good.replace(b'"n": 0', b'"n": 5'), Problem.UNREADABLE),
    ):
        bucket.overwrite(key, spoilt, {"sha256": BytesBody(spoilt).sha256})
        assert (key, problem) in problems(bucket.verify())
    bucket.overwrite(key, good, {"sha256": BytesBody(good).sha256})
    store.put(f"_replays/{STREAM}/{2:08d}.json", BytesBody(good), condition=Absent(), metadata={})
    assert any("replay 1 is missing" in finding.what for finding in bucket.verify().findings)


def test_an_added_object_belongs_to_a_seal() -> None:
    bucket = Bucket(MemoryStore())
    bucket.seal({DAY: [0]}, cutoff=DAY, through=3)
    stranger = ObjectEntry(data_key(STREAM, DAY, P0, 77, "none"), STREAM, DAY, 1, 4, 4)
    bucket.replay({stranger: [4]})
    assert any("no seal reached its offset" in finding.what for finding in bucket.verify().findings)
