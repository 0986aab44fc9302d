"""Seal records as they stand in the bucket: names, order, and the same record back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.batches import Counts, SealedSchemas
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.record import (
    RECORD_VERSION,
    NewerRecordError,
    ObjectEntry,
    Reach,
    Record,
    RecordError,
    RecordKind,
    due_by,
    entry_from,
    record_from,
)
from tests.builders.chains import bad, chain_of, data, day, following

EXAMPLE = b"""
{"version":1,"kind":"seal","stream":"events","topic":"adapty.events","topic_id":"AbC","partition":3,"group":"adapty-sink","n":12,
 "previous":{"cutoff":"2026-11-20","through":5120034},
 "cutoff":"2026-11-21","caught_up":true,"start":5100000,"through":5230011,"resume":5228800,"lso":5230011,"high":5230011,
 "settings":"9f2c01ab","known_schemas":{"1":5100000},
 "objects":[{"key":"k","stream":"events","day":"2026-11-21","rows":109233,"first_offset":5120034,"last_offset":5228799}],
 "counts":{"read":0,"kept":0,"filtered":0,"quarantined":0,"already_sealed":0,"tombstones":0},
 "sealed_at":"2026-11-22T04:00:03.123456Z","writer":"adapty-sink/<version> <host>"}
"""
"""Section 3's example, word for word but for the two ellipses."""


def written(record: Record) -> dict[str, Any]:
    raw = orjson.loads(record.document())
    assert isinstance(raw, dict)
    return raw


def test_the_example_of_the_design_is_a_record() -> None:
    assert record_from(EXAMPLE) == Record(
        kind=RecordKind.SEAL,
        stream="events",
        partition=TopicPartition("adapty.events", 3),
        topic_id="AbC",
        group="adapty-sink",
        n=12,
        previous=Reach(date(2026, 11, 20), 5_120_034),
        cutoff=date(2026, 11, 21),
        caught_up=True,
        start=5_100_000,
        through=5_230_011,
        resume=5_228_800,
        lso=5_230_011,
        high=5_230_011,
        settings="9f2c01ab",
        sealed_at=datetime(2026, 11, 22, 4, 0, 3, 123456, UTC),
        writer="adapty-sink/<version> <host>",
        schemas=SealedSchemas({1: 5_100_000}),
        objects=(ObjectEntry("k", "events", date(2026, 11, 21), 109_233, 5_120_034, 5_228_799),),
    )


def test_a_record_is_written_as_the_example_has_it() -> None:
    """Field by field and in that order; beside it there is but the predecessor's digest."""
    wanted, got = orjson.loads(EXAMPLE), written(record_from(EXAMPLE))
    assert got.pop("previous_sha256") == ""
    assert got == wanted
    assert list(got) == list(wanted)
    assert list(got["objects"][0]) == list(wanted["objects"][0])
    assert list(got["counts"]) == list(wanted["counts"])


def test_the_first_record_has_a_first_timestamp_and_no_predecessor() -> None:
    raw = written(following(chain_of(), first_timestamp=1_700_000_000_000))
    assert raw["previous"] is None
    assert raw["first_timestamp"] == 1_700_000_000_000
    assert "previous_sha256" not in raw
    assert written(following(chain_of()))["first_timestamp"] is None


def test_a_later_record_has_its_predecessors_digest_and_no_first_timestamp() -> None:
    chain = chain_of({})
    raw = written(following(chain))
    assert raw["previous_sha256"] == chain.digests[0]
    assert "first_timestamp" not in raw


def test_quarantine_objects_say_so_and_data_objects_do_not() -> None:
    raw = written(following(chain_of(), objects=(data(0, 100), bad(0, 100))))
    assert "quarantine" not in raw["objects"][0]
    assert raw["objects"][1]["quarantine"] is True


def test_a_gap_says_what_is_lost() -> None:
    raw = written(following(chain_of({}), kind=RecordKind.GAP, lost=Span(90, 120)))
    assert (raw["kind"], raw["lost"], raw["unfinished"]) == ("gap", [90, 120], None)
    raw = written(following(chain_of({}), kind=RecordKind.GAP, lost=Span(90, 120), unfinished=0))
    assert raw["unfinished"] == 0
    assert not {"lost", "unfinished"} & set(written(following(chain_of({}))))


def test_the_moment_of_a_record_has_an_offset_and_is_taken_as_utc() -> None:
    raw = orjson.loads(EXAMPLE)
    raw["sealed_at"] = "2026-11-22T01:00:03+02:00"
    assert record_from(orjson.dumps(raw)).sealed_at.isoformat() == "2026-11-21T23:00:03+00:00"
    raw["sealed_at"] = "2026-11-22T01:00:03"
    with pytest.raises(RecordError, match="has no offset"):
        record_from(orjson.dumps(raw))


def test_known_schemas_are_an_object_of_texts_in_order() -> None:
    record = following(chain_of(), schemas=SealedSchemas({17: 30, 5: 60}))
    assert list(written(record)["known_schemas"].items()) == [("5", 60), ("17", 30)]
    assert record_from(record.document()).schemas == SealedSchemas({5: 60, 17: 30})


def test_records_of_the_first_release_list_the_others() -> None:
    raw = orjson.loads(EXAMPLE)
    del raw["known_schemas"]
    raw["unknown_schemas"] = {"17": 30}
    found = record_from(orjson.dumps(raw))
    assert found.schemas == SealedSchemas(None, {17: 30})
    assert (found.schemas.knows(17, 29), found.schemas.knows(17, 30), found.schemas.knows(5, 0)) == (False, True, True)
    assert record_from(found.document()) == found


def test_the_moment_has_microseconds_and_a_z() -> None:
    record = following(chain_of(), sealed_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert written(record)["sealed_at"] == "2026-01-02T03:04:05.000000Z"


# Back and forth

DAYS = st.dates(date(2008, 7, 10), date(2099, 12, 31))
OFFSETS = st.integers(0, 1 << 62)
IDS = st.dictionaries(st.integers(0, 1 << 31), OFFSETS, max_size=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
REACHES = st.builds(Reach, st.none() | DAYS, OFFSETS)
ENTRIES = st.builds(
    ObjectEntry,
    key=TEXT,
    stream=TEXT,
    day=DAYS,
    rows=OFFSETS,
    first_offset=st.none() | OFFSETS,
    last_offset=st.none() | OFFSETS,
    quarantine=st.booleans(),
)
COUNTS = st.builds(Counts, *[OFFSETS] * 6)
SEALED_AT = st.datetimes(datetime(2008, 7, 10), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - made aware


@st.composite
def records(draw: st.DrawFn) -> Record:
    n = draw(st.integers(0, 5))
    return Record(
        kind=draw(st.sampled_from(RecordKind)),
        stream=draw(TEXT),
        partition=TopicPartition(draw(TEXT), draw(st.integers(0, 10_000))),
        topic_id=draw(TEXT),
        group=draw(TEXT),
        n=n,
        previous=draw(st.none() | REACHES),
        cutoff=draw(st.none() | DAYS),
        caught_up=draw(st.booleans()),
        start=draw(OFFSETS),
        through=draw(OFFSETS),
        resume=draw(OFFSETS),
        lso=draw(OFFSETS),
        high=draw(OFFSETS),
        settings=draw(TEXT),
        sealed_at=draw(SEALED_AT),
        writer=draw(TEXT),
        schemas=draw(st.builds(SealedSchemas, IDS) | st.builds(SealedSchemas, st.none(), IDS)),
        objects=tuple(draw(st.lists(ENTRIES, max_size=3))),
        counts=draw(COUNTS),
        first_timestamp=draw(st.none() | st.integers(-1, 1 << 45)) if n == 0 else None,
        lost=(lost := draw(st.none() | st.builds(Span, OFFSETS, OFFSETS))),
        unfinished=None if lost is None else draw(st.none() | st.integers(0, 5)),
        previous_sha256=draw(TEXT) if n else "",
    )


@given(record=records())
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    data = record.document()
    assert record_from(data) == record
    assert record_from(data).document() == data


@given(entry=ENTRIES)
def test_an_entry_comes_back_as_it_was(entry: ObjectEntry) -> None:
    assert entry_from(orjson.loads(orjson.dumps(entry.document()))) == entry


# What is no record


@pytest.mark.parametrize("name", sorted(set(orjson.loads(EXAMPLE)) - {"version", "kind"}))
def test_a_record_that_lacks_a_field_is_damaged(name: str) -> None:
    raw = orjson.loads(EXAMPLE)
    del raw[name]
    with pytest.raises(RecordError, match="unknown_schemas" if name == "known_schemas" else name):
        record_from(orjson.dumps(raw))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "twelve"),
        ("n", None),
        ("partition", []),
        ("previous", 5),
        ("previous", {"cutoff": "2026-11-20"}),
        ("cutoff", "2026-11-31"),
        ("cutoff", 20),
        ("through", {}),
        ("sealed_at", "noon"),
        ("sealed_at", 5),
        ("known_schemas", []),
        ("known_schemas", {"x": 5}),
        ("objects", 5),
        ("objects", [5]),
        ("objects", [{}]),
        ("counts", {"rows": 1}),
        ("counts", None),
        ("lost", 5),
        ("lost", [5]),
        ("lost", []),
        ("version", None),
        ("version", "x"),
    ],
)
def test_a_field_of_another_shape_is_damage(name: str, value: Any) -> None:
    raw = orjson.loads(EXAMPLE)
    raw[name] = value
    with pytest.raises(RecordError) as caught:
        record_from(orjson.dumps(raw))
    assert not isinstance(caught.value, NewerRecordError)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"7", b'"text"', b"{}", b"\xff\xfe", EXAMPLE[:200]])
def test_a_text_that_is_no_record(text: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        record_from(text)
    assert not isinstance(caught.value, NewerRecordError)


@given(text=st.binary(max_size=40))
def test_any_bytes_are_a_record_error(text: bytes) -> None:
    with pytest.raises(RecordError):
        record_from(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(version=RECORD_VERSION + 1), "version 2"),
        (lambda raw: raw.update(kind="merge"), "kind 'merge'"),
        (lambda raw: raw.update(kind=None), "kind None"),
        (lambda raw: (raw.clear(), raw.update(version=9)), "version 9"),
    ],
)
def test_a_record_of_a_newer_release_is_told_apart(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    raw = orjson.loads(EXAMPLE)
    change(raw)
    with pytest.raises(NewerRecordError, match=said):
        record_from(orjson.dumps(raw))


def test_fields_of_a_later_release_with_the_same_version_do_no_harm() -> None:
    assert record_from(orjson.dumps({**orjson.loads(EXAMPLE), "remark": "by hand"})) == record_from(EXAMPLE)


# Due


def test_what_is_due() -> None:
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert due_by(day(0), day(0), noon)
    assert not due_by(day(1), day(0), noon)
    assert not due_by(day(1), None, noon)
    assert not due_by(date(2026, 3, 12), day(0), noon)
    assert due_by(date(2026, 3, 13), day(0), noon)
    assert due_by(date(2026, 3, 13), None, noon)


@given(found=DAYS, cutoff=st.none() | DAYS, sealed_at=SEALED_AT, later=st.integers(0, 400))
def test_what_is_due_stays_due_under_a_later_cutoff(
    found: date, cutoff: date | None, sealed_at: datetime, later: int
) -> None:
    """Else a row that a seal took would be left by the next one's rule."""
    if due_by(found, cutoff, sealed_at):
        further = (cutoff or found) + timedelta(days=later)
        assert due_by(found, further, sealed_at)


def test_an_open_transaction_is_a_matter_of_caught_up_seals() -> None:
    chain = chain_of({})
    assert following(chain, lso=5, high=6).open_transaction
    assert not following(chain, lso=6, high=6).open_transaction
    assert not following(chain, lso=5, high=6, caught_up=False).open_transaction
    assert not following(chain, lso=5, high=6, kind=RecordKind.GAP).open_transaction
