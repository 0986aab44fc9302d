"""The replacement log: its records, its numbering, what an object holds by it and what lies under its key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.seal.day_plan import StoredContent
from consumer.seal.keys import kept_key, replacement_key
from consumer.seal.objects import size_and_digest
from consumer.seal.replacements.contents import as_it_lies, by_record
from consumer.seal.replacements.log import ReplacementLog
from consumer.seal.replacements.record import (
    Erasure,
    Former,
    Replacement,
    ReplacementError,
    ReplacementKind,
    replacement_from,
)
from tests.builders.chains import bad, data, day, put
from tests.builders.replacements import anew, replacement
from tests.builders.rough import RoughStore, failing

ERASURE = Erasure("id", "rows", "k1", "0a0b0c0d", frozenset({"d1", "d2"}), ("id", "name"))


def chained(store: RoughStore, *records: Replacement) -> ReplacementLog:
    """A log with these, numbered and linked."""
    log = ReplacementLog(store, "s")
    for record in records:
        found = log.read()
        before = found.digests[-1] if found.digests else None
        assert log.append(replace(record, n=len(found.records), previous_sha256=before))
    return log


@pytest.mark.parametrize(
    "record",
    [
        replacement(),
        replacement(objects=(anew(data(0, 100, 5, 3, 9)), anew(data(0, 200, 1, 7, 7), former=Former("e", "s", "v")))),
        replacement(partitions=(0, 3), heads={0: 4, 3: 1}, days=(day(0), day(2))),
        replacement(kind=ReplacementKind.UNDO, n=3, previous_sha256="x", undoes=1, kept_old=False),
        replacement(kind=ReplacementKind.ERASE, erasure=ERASURE),
        replacement(objects=(anew(replace(data(0, 100), rows=0, first_offset=None, last_offset=None)),)),
    ],
)
def test_a_record_is_read_as_it_was_put(record: Replacement) -> None:
    assert replacement_from(record.document()) == record


def test_a_record_as_it_stands_in_the_bucket() -> None:
    raw = orjson.loads(replacement(objects=(anew(data(0, 100, 5, 3, 9), former=Former("e", "s", "")),)).document())
    assert (raw["version"], raw["kind"], raw["n"], raw["stream"]) == (1, "replay", 0, "s")
    assert (raw["from"], raw["to"], raw["days"], raw["partitions"]) == (
        "2026-03-01",
        "2026-03-01",
        ["2026-03-01"],
        None,
    )
    assert raw["objects"][0]["replaced"] == {"etag": "e", "sha256": "s", "version_id": ""}
    assert "values" not in raw
    assert "undoes" not in raw


KEYS = [
    "",
    "../../x",
    "k" * 300,
    "s/dt=2026-03-01/_manifest.json",
    "s/dt=2026-03-01/../../_seals/t-0-00000000000000000100.csv",
    "s/dt=2026-03-02/t-0-00000000000000000100.csv",
    "z/dt=2026-03-01/t-0-00000000000000000100.csv",
    "s/dt=2026-03-01/t-0-100.csv",
    "s/dt=2026-03-01/t-0-00000000000000000100.csv.exe",
    "_seals/t/0/00000000.json",
]
"""Where no seal puts data of day 0: nothing is written or read there because a record says so."""


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1},
        {"previous_sha256": "x"},
        {"undoes": 0},
        {"kind": ReplacementKind.UNDO, "undoes": 0},
        {"kind": ReplacementKind.UNDO, "undoes": 1, "n": 1, "previous_sha256": "x"},
        {"kind": ReplacementKind.ERASE},
        {"first": day(1), "last": day(3)},
        {"days": (day(1), day(0)), "first": day(0), "last": day(1)},
        {"first": day(4)},
        {"objects": (anew(data(1, 100, 1)),)},
        {"objects": (anew(bad(0, 100)),)},
        {"objects": (anew(data(0, 100, 1)), anew(data(0, 100, 1)))},
        {"objects": (anew(replace(data(0, 100), rows=0)),)},
        {"objects": (anew(replace(data(0, 100), first_offset=None)),)},
        {"objects": (anew(data(0, 100, 5, 3, 6)),)},
        {"objects": (anew(data(0, 100, 5, 98)),)},
        {"objects": (anew(data(0, 100), partition=1),)},
        *({"objects": (anew(replace(data(0, 100), key=key)),)} for key in KEYS),
    ],
)
def test_what_no_release_of_ours_wrote(changes: dict[str, Any]) -> None:
    with pytest.raises(ReplacementError):
        replacement_from(replacement(**changes).document())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("days", [20260301]),
        ("days", ["20260301"]),
        ("days", []),
        ("partitions", [0.5]),
        ("partitions", [True]),
        ("partitions", ["0"]),
        ("partitions", [-1]),
        ("erasure", {"digests": [5]}),
        ("erasure", {"personal": [None]}),
        ("erasure", {"mode": "everything"}),
    ],
)
def test_fields_that_are_not_what_they_must_be(name: str, value: Any) -> None:
    raw = orjson.loads(replacement(kind=ReplacementKind.ERASE, erasure=ERASURE).document())
    raw[name] = {**raw[name], **value} if name == "erasure" else value
    with pytest.raises(ReplacementError):
        replacement_from(orjson.dumps(raw))


def test_without_replacements_nothing_is_replaced() -> None:
    assert by_record(ReplacementLog(RoughStore(), "s").read()) == {}


def test_the_newest_replacement_wins() -> None:
    store, one, two = RoughStore(), data(0, 100, 5), data(1, 100, 7)
    log = chained(
        store,
        replacement(objects=(anew(one), anew(two)), days=(day(0), day(1))),
        replacement(objects=(anew(replace(one, rows=4)),)),
    )
    put(store, replacement_key("other", 0), b"{}")
    found = by_record(log.read())
    assert {key: (held.entry.rows, held.replay) for key, held in found.items()} == {one.key: (4, 1), two.key: (7, 0)}


def test_the_bodies_kept_beside_the_records_are_no_records() -> None:
    store = RoughStore()
    log = chained(store, replacement(), replacement(), replacement())
    for n in range(3):
        put(store, kept_key("s", n, f"s/dt=2026-03-0{n + 1}/t-0-1.csv"), b"x")
    assert len(ReplacementLog(store, "s").read().records) == 3
    assert len(log.read().records) == 3


def test_two_processes_never_share_a_number() -> None:
    store = RoughStore()
    one, two = ReplacementLog(store, "s"), ReplacementLog(store, "s")
    assert one.append(replacement())
    assert not two.append(replacement(writer="another"))
    assert one.append(replacement()), "our own, read back"


def test_an_unknown_outcome_is_read_back() -> None:
    store = RoughStore()
    store.after = failing(UnknownOutcomeError("lost"), call="put")
    assert ReplacementLog(store, "s").append(replacement())
    store = RoughStore()
    store.before = failing(UnknownOutcomeError("lost"), call="put")
    with pytest.raises(TransientError, match="had no effect"):
        ReplacementLog(store, "s").append(replacement())


def test_overlaps_are_of_days_and_partitions() -> None:
    record = replacement(days=(day(0), day(1)), partitions=(0, 1))
    assert record.touches([day(1)], None)
    assert record.touches([day(1)], [1, 2])
    assert not record.touches([day(1)], [2])
    assert not record.touches([day(2)], None)
    assert replacement().touches([day(0)], [7])
    assert not record.erases([day(0)], None)
    erasure = replacement(kind=ReplacementKind.ERASE, erasure=ERASURE, partitions=(0,), first=day(0), last=day(3))
    assert erasure.erases([day(2), day(9)], [0]), "also of days of which it changed nothing"
    assert not erasure.erases([day(2)], [1])
    assert not erasure.erases([day(9)], None)
    log = chained(RoughStore(), record, replacement(days=(day(1),)), replacement(days=(day(5),)))
    assert [found.n for found in log.read().touching([day(1)], [0])] == [1, 0]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"version":1}', b'{"version":"x","kind":"replay"}'])
def test_a_record_that_cannot_be_read_halts(text: bytes) -> None:
    store = RoughStore()
    put(store, "_replays/s/00000000.json", text)
    with pytest.raises(HaltError, match="restore it from a backup") as caught:
        ReplacementLog(store, "s").read()
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED
    assert "_replays/s/00000000.json" in caught.value.message


def test_a_record_that_is_missing_or_altered_halts() -> None:
    store = RoughStore()
    chained(store, replacement(), replacement(), replacement())
    whole = store.content(replacement_key("s", 0))
    store.delete(replacement_key("s", 0))
    with pytest.raises(HaltError, match=r"00000000\.json is missing"):
        ReplacementLog(store, "s").read()
    put(store, replacement_key("s", 0), whole.replace(b'"w"', b'"v"'))
    with pytest.raises(HaltError, match="altered after replacement 1"):
        ReplacementLog(store, "s").read()


def test_a_record_gone_when_asked_for_halts() -> None:
    store = RoughStore()
    chained(store, replacement())
    store.before = lambda call, key: store.delete(key) if call == "get" else None
    with pytest.raises(HaltError, match="cannot be read"):
        ReplacementLog(store, "s").read()


@pytest.mark.parametrize(("old", "new"), [(b'"version": 1', b'"version": 2'), (b'"replay"', b'"rearrange"')])
def test_a_record_of_a_newer_release_asks_for_it(old: bytes, new: bytes) -> None:
    store = RoughStore()
    put(store, replacement_key("s", 0), replacement().document().replace(old, new))
    with pytest.raises(HaltError, match="deploy that release again") as caught:
        ReplacementLog(store, "s").read()
    assert caught.value.reason is HaltReason.CHAIN_NEWER


# What lies under a key


@pytest.mark.parametrize("keeps_metadata", [True, False])
def test_what_lies_under_a_key_is_told_by_the_body(keeps_metadata: bool) -> None:
    store = RoughStore(keeps_metadata=keeps_metadata)
    sealed = data(0, 100, 5)
    first, second = replace(sealed, rows=4), replace(sealed, rows=3)
    texts = [b"as sealed", b"as replayed", b"as replayed again"]

    def lies() -> StoredContent | None:
        return as_it_lies(store, sealed.key, sealed, listed, lambda key: size_and_digest(store, key))

    digests = []
    for text in texts[1:]:
        put(store, "x", text)
        digests.append(size_and_digest(store, "x")[1])
        store.delete("x")
    log = chained(
        store,
        replacement(objects=(anew(first, digests[0]),)),
        replacement(objects=(anew(second, digests[1]),)),
    )
    listed = log.read().listed[sealed.key]
    assert lies() is None
    for text, said, held in zip(texts, ("", "0", "1"), (sealed, first, second), strict=True):
        put(store, sealed.key, text, {"replay": said} if keeps_metadata else None)
        found = lies()
        assert found is not None
        assert (found.entry, found.replay) == (held, int(said) if said else None)
        store.delete(sealed.key)
