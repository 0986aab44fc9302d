"""The folder's columns: a list that only grows at its end, whoever writes it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.seal.folder_columns import (
    FolderColumn,
    begins_with,
    claim_columns,
    folder_columns,
    header_of,
    merged,
    out_of_order,
)
from consumer.seal.keys import schema_key
from consumer.seal.log import put_rules
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Store
from consumer.streams.rules import Format, RowRules
from tests.builders.rough import RoughStore
from tests.builders.sealed import DAY, RULES, STREAM, Bucket, next_day
from tests.fakes.store import MemoryStore

FIRST, SECOND = date(2026, 11, 20), date(2026, 11, 21)
NAMES = some.lists(some.sampled_from("abcdefgh"), unique=True).map(tuple)


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "out")


def claim(store: Store, names: str, since: date = FIRST, earliest: date = FIRST) -> bool:
    return claim_columns(store, STREAM, tuple(names), since, earliest)


def rules_with(*names: str) -> RowRules:
    fields = [{"name": name, "type": "string"} for name in names]
    schema = orjson.dumps({"type": "record", "name": "Click", "fields": fields}).decode()
    return RowRules(STREAM, "custom", "t", Format.JSON, schema, "at")


@given(listed=NAMES, own=NAMES)
def test_today_is_the_folders_list_and_then_what_the_settings_add(
    listed: tuple[str, ...], own: tuple[str, ...]
) -> None:
    found = merged(listed, own)
    assert begins_with(found, listed)
    assert set(found) == {*listed, *own}
    assert [name for name in own if name not in listed] == list(found[len(listed) :])


@given(listed=NAMES, own=NAMES)
def test_an_order_is_told_exactly_where_the_folder_cannot_give_it(
    listed: tuple[str, ...], own: tuple[str, ...]
) -> None:
    given_order = tuple(name for name in merged(listed, own) if name in own)
    assert bool(out_of_order(listed, own)) == (given_order != own)
    assert set(out_of_order(listed, own)) <= set(own)


def test_a_column_in_the_middle_of_the_schema_is_told() -> None:
    assert out_of_order(("id", "at", "attributes"), ("id", "price", "at", "attributes")) == ("price",)
    assert out_of_order(("id", "at"), ("id", "at", "price")) == ()


def test_the_list_is_written_with_the_day_from_which_on_a_column_is_there(store: Store) -> None:
    assert folder_columns(store, STREAM).names == ()
    assert claim(store, "ab", SECOND, FIRST)
    assert claim(store, "abc", SECOND, FIRST)
    stored = store.get(schema_key(STREAM))
    assert stored is not None
    assert orjson.loads(stored.data) == {
        "version": 1,
        "stream": STREAM,
        "columns": [
            {"name": "a", "since": "2026-11-20"},
            {"name": "b", "since": "2026-11-20"},
            {"name": "c", "since": "2026-11-21"},
        ],
    }
    assert folder_columns(store, STREAM).columns[2] == FolderColumn("c", SECOND)


def test_a_claim_that_holds_already_writes_nothing(store: Store) -> None:
    assert claim(store, "abc")
    before = folder_columns(store, STREAM).etag
    assert claim(store, "abc")
    assert claim(store, "ab"), "a shorter header is one, too"
    assert folder_columns(store, STREAM).etag == before


def test_another_order_is_refused_and_changes_nothing(store: Store) -> None:
    assert claim(store, "ab")
    assert not claim(store, "axb")
    assert not claim(store, "b")
    assert folder_columns(store, STREAM).names == ("a", "b")


def test_who_comes_second_computes_anew() -> None:
    store = RoughStore()
    assert claim(store, "ab")
    done: list[bool] = []

    def other(call: str, key: str) -> None:
        if call == "put" and not done:
            done.append(True)
            assert claim_columns(store, STREAM, ("a", "b", "x"), SECOND, SECOND)

    store.before = other
    assert not claim(store, "aby"), "the folder is a, b, x by now"
    assert claim(store, "abxy")
    assert folder_columns(store, STREAM).names == ("a", "b", "x", "y")


def test_a_lost_answer_is_read_back() -> None:
    store = RoughStore()
    lost: list[bool] = []

    def lose(call: str, key: str) -> None:
        if call == "put" and not lost:
            lost.append(True)
            raise UnknownOutcomeError("lost")

    store.after = lose
    assert claim(store, "ab")
    assert lost
    assert folder_columns(store, STREAM).names == ("a", "b")


def test_a_list_that_others_keep_writing_is_an_outage() -> None:
    store = RoughStore()

    def refuse(call: str, key: str) -> None:
        if call == "put":
            raise UnknownOutcomeError("lost")

    store.before = refuse
    with pytest.raises(TransientError, match="other workers keep writing it"):
        claim(store, "ab")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"version":1,"stream":"other","columns":[]}',
        b'{"version":1,"stream":"clicks","columns":[{"name":"a"}]}',
        b'{"version":1,"stream":"clicks","columns":[{"name":"a","since":"x"}]}',
        b'{"version":1,"stream":"clicks","columns":[{"name":1,"since":"2026-11-20"}]}',
        b'{"version":1,"stream":"clicks","columns":[{"name":"a","since":"2026-11-20"},{"name":"a","since":"2026-11-20"}]}',
    ],
)
def test_a_list_that_is_none_halts_with_its_name(text: bytes) -> None:
    store = MemoryStore()
    store.put(schema_key(STREAM), BytesBody(text), condition=Absent())
    with pytest.raises(HaltError, match=r"clicks/_schema\.json was not written by a worker") as caught:
        folder_columns(store, STREAM)
    assert caught.value.reason is HaltReason.OBJECT_MISMATCH


def test_a_newer_releases_list_halts() -> None:
    store = MemoryStore()
    store.put(schema_key(STREAM), BytesBody(b'{"version":2,"stream":"clicks"}'), condition=Absent())
    with pytest.raises(HaltError) as caught:
        folder_columns(store, STREAM)
    assert caught.value.reason is HaltReason.CHAIN_NEWER


def test_the_header_of_a_record() -> None:
    store = MemoryStore()
    claim(store, "abc")
    assert header_of(store, STREAM, 2) == ("a", "b")
    with pytest.raises(HaltError, match="has 3 columns, but a record says 4"):
        header_of(store, STREAM, 4)


# -- folders that were begun before they had a list --------------------------------------------------------------------


def test_an_older_folder_begins_with_what_its_newest_day_has(store: Store) -> None:
    bucket = Bucket(store)
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    bucket.publish()
    put_rules(store, rules_with("id", "price", "at"))
    assert folder_columns(store, STREAM).names == ("id", "at", "price")
    assert claim_columns(store, STREAM, ("id", "at", "price", "kind"), next_day(DAY), next_day(DAY))
    listed = folder_columns(store, STREAM).columns
    assert [column.since for column in listed] == [DAY, DAY, DAY, next_day(DAY)]


def test_a_longer_header_of_an_older_folder_stays_a_prefix(store: Store) -> None:
    """A column left the schema before there was a list: the objects that have it are read by position, too."""
    bucket = Bucket(store)
    bucket.seal({DAY: [0]}, cutoff=DAY, through=1)
    bucket.publish()
    put_rules(store, rules_with("id", "at", "price"))
    put_rules(store, rules_with("id", "kind", "at"))
    assert folder_columns(store, STREAM).names == ("id", "at", "price", "kind")


def test_settings_that_cannot_be_read_say_nothing(store: Store) -> None:
    put_rules(store, RULES)
    store.put("_seals/_settings/0123456789abcdef.json", BytesBody(b'{"version":9}'), condition=Absent())
    assert folder_columns(store, STREAM).names == ("id", "at")
    assert folder_columns(store, "another").names == ()
