"""Putting the objects of a seal, each once, and telling whether they all stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.seal.keys import manifest_key
from consumer.seal.objects import ObjectChecker, object_metadata, put_object
from consumer.seal.record import Record
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody
from tests.builders.chains import bad, chain_of, data, day, put
from tests.builders.rough import RoughStore, failing

ROWS = BytesBody(b"id,at\n1,a\n2,b\n")
ENTRY = data(0, 100, rows=2, first=10, last=19)
LINES = BytesBody(b"{}\n{}\n{}\n")
BAD = bad(0, 100, rows=3, first=11, last=15)
SEAL: Record = chain_of({"objects": (ENTRY, BAD)}).head
METADATA = {
    "topic": "t",
    "partition": "0",
    "rows": "2",
    "first-offset": "10",
    "last-offset": "19",
    "sha256": ROWS.sha256,
}


@pytest.fixture(autouse=True)
def _uncounted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with metadata is not read; a folder has to be."""
    if "folder" not in request.fixturenames:
        monkeypatch.setattr("consumer.seal.objects.count_rows", lambda *_: pytest.fail("the store was read"))


# Putting


def test_an_object_carries_its_row_facts() -> None:
    store = RoughStore()
    assert put_object(store, SEAL, ENTRY, ROWS)
    facts = store.head(ENTRY.key)
    assert facts is not None
    assert facts.metadata == METADATA == object_metadata(SEAL, ENTRY, ROWS)
    assert store.content(ENTRY.key) == ROWS.data


def test_an_object_without_rows_has_no_offsets() -> None:
    empty = replace(ENTRY, rows=0, first_offset=None, last_offset=None)
    found = object_metadata(SEAL, empty, ROWS)
    assert (found["rows"], found["first-offset"], found["last-offset"]) == ("0", "", "")


def test_offset_zero_is_an_offset() -> None:
    found = object_metadata(SEAL, replace(ENTRY, rows=1, first_offset=0, last_offset=0), ROWS)
    assert (found["first-offset"], found["last-offset"]) == ("0", "0")


def test_the_same_rows_standing_there_are_accepted_whatever_their_bytes() -> None:
    store = RoughStore()
    put(store, ENTRY.key, b"packed another way", {**METADATA, "sha256": "0" * 64})
    assert not put_object(store, SEAL, ENTRY, ROWS)
    assert store.content(ENTRY.key) == b"packed another way"


@pytest.mark.parametrize(
    "other",
    [{"topic": "u"}, {"partition": "1"}, {"rows": "3"}, {"first-offset": "9"}, {"last-offset": "20"}, {"rows": ""}],
    ids=lambda other: f"{next(iter(other))}={next(iter(other.values()))}",
)
def test_other_rows_under_the_key_halt(other: dict[str, str]) -> None:
    store = RoughStore()
    put(store, ENTRY.key, b"", {**METADATA, **other})
    with pytest.raises(HaltError) as caught:
        put_object(store, SEAL, ENTRY, ROWS)
    assert caught.value.reason is HaltReason.OBJECT_MISMATCH
    for words in (ENTRY.key, "seal 0 of t:0", repr(next(iter(other))), "move it out of the folder"):
        assert words in caught.value.message


def test_an_object_without_metadata_halts() -> None:
    store = RoughStore()
    put(store, ENTRY.key, ROWS.data)
    with pytest.raises(HaltError, match=r"found \{\}"):
        put_object(store, SEAL, ENTRY, ROWS)


def test_a_refusal_with_nothing_under_the_key_is_tried_again() -> None:
    """It was taken away meanwhile, or the store refused for a write that came to nothing: nobody has to decide."""
    store = RoughStore()
    put(store, ENTRY.key, b"", METADATA)
    store.before = lambda call, key: store.delete(key) if call == "head" else None
    with pytest.raises(TransientError, match="does not exist"):
        put_object(store, SEAL, ENTRY, ROWS)
    assert put_object(store, SEAL, ENTRY, ROWS)


def test_an_object_without_rows_is_accepted_again() -> None:
    store, empty = RoughStore(), replace(ENTRY, rows=0, first_offset=None, last_offset=None)
    assert put_object(store, SEAL, empty, ROWS)
    assert not put_object(store, SEAL, empty, ROWS)


def test_an_outage_and_a_lost_answer_are_the_callers_matter() -> None:
    store = RoughStore()
    store.before = failing(TransientError("down"), call="put")
    with pytest.raises(TransientError, match="down"):
        put_object(store, SEAL, ENTRY, ROWS)
    store.after = failing(UnknownOutcomeError("lost"), call="put")
    with pytest.raises(UnknownOutcomeError):
        put_object(store, SEAL, ENTRY, ROWS)
    assert not put_object(store, SEAL, ENTRY, ROWS), "it took effect: the next try finds it"


# A folder keeps no metadata: a recount serves


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "out")


def test_in_a_folder_the_rows_are_counted(folder: FolderStore) -> None:
    assert put_object(folder, SEAL, ENTRY, ROWS)
    assert not put_object(folder, SEAL, ENTRY, ROWS)
    assert put_object(folder, SEAL, BAD, LINES)
    assert not put_object(folder, SEAL, BAD, LINES)


@pytest.mark.parametrize("content", [b"id,at\n1,a\n", b"id,at\n1,a\n2,b\n3,c\n", b""])
def test_in_a_folder_other_numbers_of_rows_halt(folder: FolderStore, content: bytes) -> None:
    folder.put(ENTRY.key, BytesBody(content), condition=Absent())
    with pytest.raises(HaltError) as caught:
        put_object(folder, SEAL, ENTRY, ROWS)
    assert caught.value.reason is HaltReason.OBJECT_MISMATCH


def test_in_a_folder_a_seal_is_finished_when_the_rows_are_there(folder: FolderStore) -> None:
    assert not ObjectChecker(folder).finished(SEAL)
    put_object(folder, SEAL, ENTRY, ROWS)
    assert not ObjectChecker(folder).finished(SEAL)
    put_object(folder, SEAL, BAD, LINES)
    assert ObjectChecker(folder).finished(SEAL)


def test_in_a_folder_fewer_rows_will_do_under_a_gap(folder: FolderStore) -> None:
    folder.put(ENTRY.key, BytesBody(b"id,at\n1,a\n"), condition=Absent())
    object_checker = ObjectChecker(folder)
    assert not object_checker.stands(SEAL, ENTRY)
    assert object_checker.stands(SEAL, ENTRY, lossy=True)
    assert not object_checker.stands(SEAL, replace(ENTRY, rows=0), lossy=True)


# Whether a seal's objects stand


def finished(store: RoughStore, *, lossy: bool = False) -> bool:
    return ObjectChecker(store).finished(SEAL, lossy=lossy)


@pytest.fixture
def full() -> RoughStore:
    """Both objects stand."""
    store = RoughStore()
    put_object(store, SEAL, ENTRY, ROWS)
    put_object(store, SEAL, BAD, LINES)
    return store


def test_a_seal_is_finished_when_each_object_stands(full: RoughStore) -> None:
    assert finished(full)
    full.delete(BAD.key)
    assert not finished(full)


def test_a_seal_without_objects_is_finished() -> None:
    assert ObjectChecker(RoughStore()).finished(chain_of({}).head)


@pytest.mark.parametrize(
    "other",
    [
        {"topic": "u"},
        {"partition": "1"},
        {"rows": "1"},
        {"rows": "3"},
        {"rows": ""},
        {"rows": "-2"},
        {"first-offset": "9"},
        {"last-offset": ""},
    ],
    ids=lambda other: f"{next(iter(other))}={next(iter(other.values()))}",
)
def test_an_object_with_other_facts_is_not_the_seals(full: RoughStore, other: dict[str, str]) -> None:
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, **other})
    assert not finished(full)


def test_an_object_without_metadata_is_not_the_seals(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"")
    assert not finished(full)
    assert not finished(full, lossy=True)


def test_without_a_gap_all_rows_are_wanted_unless_told_otherwise(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, "rows": "1"})
    object_checker = ObjectChecker(full)
    assert not object_checker.finished(SEAL)
    assert not object_checker.stands(SEAL, ENTRY)


def test_under_a_gap_fewer_rows_will_do_but_not_more(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, "rows": "1", "first-offset": "15"})
    assert finished(full, lossy=True)
    assert not finished(full)
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, "rows": "3"})
    assert not finished(full, lossy=True)
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, "rows": "1", "partition": "1"})
    assert not finished(full, lossy=True)


def test_what_a_replay_wrote_anew_stands(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    put(full, ENTRY.key, b"", {**METADATA, "rows": "1", "replay": "0"})
    assert finished(full)


def manifest(store: RoughStore, *keys: str) -> None:
    put(store, manifest_key("s", day(0)), orjson.dumps({"objects": [{"key": key} for key in keys]}))


def test_what_was_published_may_have_been_moved_since(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    manifest(full, ENTRY.key)
    assert finished(full)


def test_what_another_manifest_lists_does_not_count(full: RoughStore) -> None:
    full.delete(ENTRY.key)
    manifest(full, data(0, 200).key)
    put(full, manifest_key("s", day(1)), orjson.dumps({"objects": [{"key": ENTRY.key}]}))
    assert not finished(full)


def test_quarantine_is_in_no_manifest(full: RoughStore) -> None:
    full.delete(BAD.key)
    manifest(full, ENTRY.key, BAD.key)
    assert not finished(full)


def test_a_manifest_is_read_once_for_all_objects_of_a_day() -> None:
    store = RoughStore()
    entries = tuple(data(0, through) for through in (100, 200, 300))
    manifest(store, *(entry.key for entry in entries))
    asked: list[str] = []
    store.before = lambda call, key: asked.append(key) if call == "get" else None
    assert ObjectChecker(store).finished(chain_of({"objects": entries}).head)
    assert asked == [manifest_key("s", day(0))]


def test_an_outage_is_no_answer(full: RoughStore) -> None:
    full.before = failing(TransientError("down"), call="head")
    with pytest.raises(TransientError):
        finished(full)
