"""The replay log as the worker reads it: the newest replay that lists an object says what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements import replaced_objects
from tests.builders.chains import data, put
from tests.builders.rough import RoughStore


def replay(store: RoughStore, n: int, *entries: ObjectEntry, stream: str = "s", **changes: Any) -> None:
    document = {"version": 1, "n": n, "stream": stream, "objects": [entry.document() for entry in entries], **changes}
    put(store, f"_replays/{stream}/{n:08d}.json", orjson.dumps(document))


def test_without_replays_nothing_is_replaced() -> None:
    assert replaced_objects(RoughStore(), "s") == {}


def test_the_newest_replay_wins() -> None:
    store, one, two = RoughStore(), data(0, 100, 5), data(1, 100, 7)
    replay(store, 0, one, two)
    replay(store, 1, replace(one, rows=4))
    replay(store, 0, replace(one, rows=9), stream="other")
    assert replaced_objects(store, "s") == {one.key: replace(one, rows=4), two.key: two}
    replay(store, 2, replace(one, rows=0, first_offset=None, last_offset=None))
    assert replaced_objects(store, "s")[one.key].first_offset is None


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"{}", b'{"version":1}', b'{"version":"x","objects":[]}', b'{"version":1,"objects":[{}]}'],
)
def test_a_replay_that_cannot_be_read_halts(text: bytes) -> None:
    store = RoughStore()
    put(store, "_replays/s/00000000.json", text)
    with pytest.raises(HaltError, match="restore it from a backup") as caught:
        replaced_objects(store, "s")
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED
    assert "_replays/s/00000000.json" in caught.value.message


def test_a_replay_gone_when_asked_for_halts() -> None:
    store = RoughStore()
    replay(store, 0)
    store.before = lambda call, key: store.delete(key) if call == "get" else None
    with pytest.raises(HaltError, match="cannot be read"):
        replaced_objects(store, "s")


def test_a_replay_of_a_newer_release_asks_for_it() -> None:
    store = RoughStore()
    replay(store, 0, version=2)
    with pytest.raises(HaltError, match="deploy that release again") as caught:
        replaced_objects(store, "s")
    assert caught.value.reason is HaltReason.CHAIN_NEWER
