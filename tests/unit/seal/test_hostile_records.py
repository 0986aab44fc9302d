"""Seal records by other hands: right in their types, and nothing that a seal of ours can mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import Span
from consumer.seal.keys import data_key, manifest_key, quarantine_key, record_key
from consumer.seal.log import SealLog, parse_record
from consumer.seal.record import ObjectEntry, Record, RecordKind
from tests.builders.chains import chain_of, data, day, put
from tests.fakes.store import MemoryStore

RECORD = replace(chain_of({"through": 100}).head, objects=(data(0, 100, 10, 10, 19),))


def parsed(record: Record) -> Record:
    return parse_record(record.partition, record.n, record.document())


def damaged(record: Record) -> str:
    with pytest.raises(HaltError) as caught:
        parsed(record)
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED
    return caught.value.message


def with_object(**changes: object) -> Record:
    entry: ObjectEntry = replace(RECORD.objects[0], **changes)  # type: ignore[arg-type] # by name
    return replace(RECORD, objects=(entry,))


def test_what_a_seal_writes_is_read() -> None:
    assert parsed(RECORD) == RECORD
    bad = replace(RECORD.objects[0], key=quarantine_key(RECORD.stream, day(0), RECORD.partition, 100), quarantine=True)
    assert parsed(replace(RECORD, objects=(bad,))).objects == (bad,)
    for packing in ("gzip", "zstd"):
        parsed(with_object(key=data_key(RECORD.stream, day(0), RECORD.partition, 100, packing)))
    parsed(with_object(rows=0, first_offset=None, last_offset=None))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../../x",
        "k" * 300,
        manifest_key(RECORD.stream, day(0)),
        data_key("other", day(0), RECORD.partition, 100, "none"),
        data_key(RECORD.stream, day(1), RECORD.partition, 100, "none"),
        data_key(RECORD.stream, day(0), RECORD.partition, 99, "none"),
        quarantine_key(RECORD.stream, day(0), RECORD.partition, 100),
    ],
)
def test_a_key_is_what_the_records_own_facts_give(key: str) -> None:
    assert "its object" in damaged(with_object(key=key))


def test_an_object_of_another_stream() -> None:
    key = data_key("../../evil", day(0), RECORD.partition, 100, "none")
    assert "evil" in damaged(with_object(stream="../../evil", key=key))


@pytest.mark.parametrize(
    ("first", "last", "rows"), [(10, 100, 10), (20, 10, 10), (None, 10, 10), (10, None, 1), (None, None, 1)]
)
def test_rows_lie_in_the_offsets_of_the_record(first: int | None, last: int | None, rows: int) -> None:
    assert "rows from" in damaged(with_object(first_offset=first, last_offset=last, rows=rows))


def test_more_rows_than_offsets() -> None:
    assert "rows from" in damaged(with_object(rows=11))


def test_an_object_that_is_listed_twice() -> None:
    assert "twice" in damaged(replace(RECORD, objects=RECORD.objects * 2))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": 50, "resume": 40}, "starts at 50 and resumes at 40"),
        ({"resume": 101}, "resumes at 101 of offsets up to 100"),
        ({"through": 1 << 62, "resume": 0, "objects": ()}, "no log is as long"),
        ({"cutoff": None}, "without a cutoff"),
        ({"lost": Span(3, 5)}, "has lost offsets"),
        ({"kind": RecordKind.GAP}, "without lost offsets"),
        ({"kind": RecordKind.GAP, "lost": Span(5, 5)}, "without lost offsets"),
    ],
)
def test_offsets_that_no_seal_can_have(changes: dict[str, Any], what: str) -> None:
    """A forged `resume` would leave out the rows before it, `lost` those in it."""
    assert what in damaged(replace(RECORD, **changes))


@pytest.mark.parametrize(
    "changes", [{"cutoff": date(1999, 1, 1)}, {"sealed_at": datetime(1970, 1, 2, tzinfo=UTC)}, {"resume": 101}]
)
def test_what_nobody_would_read_again_is_not_written(changes: dict[str, Any]) -> None:
    """A machine that has lost its clock would end the chain for good."""
    store = MemoryStore()
    with pytest.raises(HaltError, match="was not written"):
        SealLog(store, RECORD.partition).append(replace(RECORD, **changes))
    assert not list(store.list(""))
    assert SealLog(store, RECORD.partition).append(RECORD)


@pytest.mark.parametrize("changes", [{"start": 0, "through": 99, "resume": 99}, {"cutoff": day(-1)}])
def test_a_chain_that_goes_back(changes: dict[str, Any]) -> None:
    chain = chain_of({"through": 100}, {"through": 200, **changes})
    store = MemoryStore()
    for record in chain.records:
        put(store, record_key(record.partition, record.n), record.document())
    with pytest.raises(HaltError, match="goes back behind record 0") as caught:
        SealLog(store, RECORD.partition).read()
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED


@pytest.mark.parametrize("cutoff", [date(1, 1, 1), date(2007, 12, 31), date(9999, 12, 31)])
def test_a_cutoff_far_outside_would_make_days_without_number(cutoff: date) -> None:
    assert "closed" in damaged(replace(RECORD, cutoff=cutoff))
