"""Manifests by other hands: right in their types, and nothing that a worker would write; or JSON without end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.keys import data_key, days_key, manifest_key, quarantine_key
from consumer.seal.manifest import columns_from, listing_from, manifest_from, objects_from
from consumer.store.port import Stored
from tests.builders.chains import ONE, day
from tests.builders.sealed import STREAM, three_days
from tests.fakes.store import MemoryStore

KEY = manifest_key(STREAM, day(0))


def written() -> tuple[str, Stored]:
    """A manifest of a day with objects, as the release writes it."""
    store = three_days(MemoryStore()).store
    for info in store.list(f"{STREAM}/dt="):
        if info.key.endswith("_manifest.json"):
            found = store.get(info.key)
            assert found is not None
            if manifest_from(found)["objects"]:
                return info.key, found
    pytest.fail("no day has objects")


def with_key(key: str) -> Stored:
    _, found = written()
    raw = orjson.loads(found.data)
    raw["objects"][0]["key"] = key
    return Stored(found.facts, orjson.dumps(raw))


def refused(stored: Stored, how: Any = manifest_from) -> str:
    with pytest.raises(HaltError) as caught:
        how(stored)
    assert caught.value.reason is HaltReason.OBJECT_MISMATCH
    assert "was not written by a worker" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../../x",
        "/etc/passwd",
        "k" * 300,
        f"{STREAM}/dt=2026-03-01/../../secret-0-00000000000000000004.csv",
        manifest_key(STREAM, day(0)),
        days_key(STREAM),
        data_key("other", day(0), ONE, 4, "none"),
        quarantine_key(STREAM, day(0), ONE, 4),
    ],
)
def test_an_object_lies_beside_its_manifest(key: str) -> None:
    assert "is not in its folder" in refused(with_key(key))
    assert "is not in its folder" in refused(with_key(key), objects_from)


def test_what_a_worker_writes_is_read() -> None:
    key, found = written()
    folder = key.removesuffix("_manifest.json")
    for ending in ("csv", "csv.gz", "csv.zst"):
        with_one = with_key(f"{folder}_odd.topic-x-12-00000000000000000004.{ending}")
        assert len(objects_from(with_one)) == len(manifest_from(with_one)["objects"])
    assert columns_from(found)


@pytest.mark.parametrize("word", [None, "0", -1, 1.5, [], {}, True])
def test_the_word_of_a_replacement_is_its_number(word: object) -> None:
    _, found = written()
    raw = orjson.loads(found.data)
    refused(Stored(found.facts, orjson.dumps({**raw, "replaying": word})))
    assert manifest_from(Stored(found.facts, orjson.dumps({**raw, "replaying": 3})))["replaying"] == 3


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b"[" * 500 + b"]" * 500, b"\xff", b"", b"9" * 5_000]
)
@pytest.mark.parametrize("how", [manifest_from, objects_from, columns_from, listing_from])
def test_what_is_nested_without_end_or_no_document_at_all(text: bytes, how: Any) -> None:
    _, found = written()
    refused(Stored(found.facts, text), how)


@pytest.mark.parametrize("name", ["why", "columns"])
@pytest.mark.parametrize("value", [None, "gap", [1], [None], [["gap"]], {"gap": 1}, 7])
def test_what_commands_print_or_count_is_text(name: str, value: object) -> None:
    _, found = written()
    raw = orjson.loads(found.data)
    refused(Stored(found.facts, orjson.dumps({**raw, name: value})))
    del raw[name]
    refused(Stored(found.facts, orjson.dumps(raw)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("columns", "abc"), ("columns", [1]), ("replay", "1"), ("replay", -1), ("etag", 7), ("version_id", None)],
)
def test_what_an_object_need_not_have_is_of_its_kind(name: str, value: object) -> None:
    _, found = written()
    raw = orjson.loads(found.data)
    raw["objects"][0][name] = value
    refused(Stored(found.facts, orjson.dumps(raw)))


@pytest.mark.parametrize(
    "entry", [{"day": "20260301"}, {"day": "2026-W09"}, {"day": None}, {"replay": "1"}, {"replay": -1}, {"rows": 1.5}]
)
def test_the_list_of_days_is_of_its_kind(entry: dict[str, object]) -> None:
    store = three_days(MemoryStore()).store
    found = store.get(days_key(STREAM))
    assert found is not None
    raw = orjson.loads(found.data)
    assert listing_from(found)
    raw["days"][0].update(entry)
    refused(Stored(found.facts, orjson.dumps(raw)), listing_from)
