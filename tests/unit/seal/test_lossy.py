"""Objects of seals that were pending under a gap: what they hold is said by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from consumer.seal.chain import Chain
from consumer.seal.day_plan import PartitionState
from consumer.seal.keys import manifest_key
from consumer.seal.lossy import lossy_objects, seals_under_gaps
from consumer.seal.objects import object_metadata
from consumer.seal.record import ObjectEntry
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Store
from tests.builders.chains import bad, chain_of, data, day, gap, put, then
from tests.builders.rough import RoughStore

ENTRY = data(1, 200, 5, 100, 140)
SEALED = chain_of({"objects": (data(0, 100, 3),)}, {"objects": (ENTRY, bad(1, 200))})
UNDER = gap(SEALED, 100, 130, unfinished=1)
LEFT = replace(ENTRY, rows=2, first_offset=135, last_offset=140)


def found(store: Store, chain: Chain = UNDER, *, finished: bool = True) -> dict[str, ObjectEntry]:
    return lossy_objects(store, [PartitionState(0, chain, finished)])


def stored(store: RoughStore, entry: ObjectEntry) -> None:
    put(store, entry.key, b"", object_metadata(SEALED.head, entry, BytesBody(b"")))


def test_only_seals_that_a_gap_found_unfinished_count() -> None:
    assert [record.n for record in seals_under_gaps(UNDER)] == [1]
    assert list(seals_under_gaps(gap(SEALED, 100, 130))) == []
    assert list(seals_under_gaps(SEALED)) == []
    assert [record.n for record in seals_under_gaps(then(UNDER))] == [1]


def test_an_object_says_itself_what_it_holds() -> None:
    store = RoughStore()
    stored(store, LEFT)
    assert found(store) == {ENTRY.key: LEFT}


def test_an_object_without_rows() -> None:
    store, empty = RoughStore(), replace(ENTRY, rows=0, first_offset=None, last_offset=None)
    stored(store, empty)
    assert found(store) == {ENTRY.key: empty}


def test_a_seal_that_is_not_finished_yet_says_nothing() -> None:
    store = RoughStore()
    stored(store, LEFT)
    assert found(store, finished=False) == {}


def test_what_was_moved_is_as_its_manifest_has_it() -> None:
    store = RoughStore()
    assert found(store) == {ENTRY.key: ENTRY}, "there is no manifest yet"
    item = {"key": ENTRY.key, "rows": 2, "first_offset": 135, "last_offset": 140, "bytes": 9}
    put(store, manifest_key("s", day(1)), orjson.dumps({"objects": [{"key": ENTRY.key.replace("-0-", "-1-")}, item]}))
    assert found(store) == {ENTRY.key: LEFT}


@pytest.mark.parametrize(("rows", "offsets"), [(5, (100, 140)), (2, (None, None)), (0, (None, None))])
def test_in_a_folder_the_rows_are_counted_and_fewer_have_no_known_offsets(
    tmp_path: Path, rows: int, offsets: tuple[int | None, int | None]
) -> None:
    folder = FolderStore(tmp_path / "out")
    folder.put(ENTRY.key, BytesBody(b"id,at\n" + b"x,y\n" * rows), condition=Absent())
    assert found(folder) == {ENTRY.key: replace(ENTRY, rows=rows, first_offset=offsets[0], last_offset=offsets[1])}
