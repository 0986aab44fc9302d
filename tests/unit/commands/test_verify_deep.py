"""`verify --deep`: every stored row against what the records in Kafka give by the rules that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.commands.verify import compare_rows
from consumer.domain.compression import Compression
from consumer.domain.offsets import TopicPartition
from consumer.store.port import BytesBody, Match
from consumer.verify.findings import Problem, Report
from consumer.verify.snapshot import Days
from tests.builders.past import STREAM, TOPIC, Past, day, rules
from tests.builders.rough import RoughStore

EMPTY = Report(STREAM, "memory://")


@pytest.fixture
def past(tmp_path: Path) -> Past:
    one = Past(RoughStore(), tmp_path, rules(drop=("trial_started",)), partitions=2)
    for partition in range(2):
        one.days(range(3), partition=partition)
    one.today = rules(send_user_attributes=True)
    return one


def deep(past: Past, days: Days | None = None) -> Report:
    return compare_rows(past.services(), EMPTY, days or Days())


def alter(past: Past, number: int) -> str:
    """One digit of a row of this day changes, and nothing else: only the records in Kafka can tell."""
    key = next(key for key in past.bodies() if f"dt={day(number)}" in key)
    stored = past.store.get(key)
    assert stored is not None
    past.store.put(
        key,
        BytesBody(stored.data.replace(b"p1-0", b"p9-0").replace(b"p0-0", b"p9-0")),
        condition=Match(stored.facts.etag),
        metadata=stored.facts.metadata,
    )
    return key


def test_rows_are_what_kafka_has(past: Past) -> None:
    assert deep(past).findings == ()
    past.replay(0, 1)
    assert deep(past).findings == (), "by the rules of the replay"
    past.undo(0)
    assert deep(past).findings == (), "by those of the seals again"


def test_a_row_that_was_altered_is_found(past: Past) -> None:
    key = alter(past, 1)
    (finding,) = deep(past).findings
    assert (finding.key, finding.problem) == (key, Problem.ROWS)
    assert deep(past, Days(day(2), None)).findings == (), "not among the days asked for"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_object_that_cannot_be_unpacked_is_found(tmp_path: Path, compression: Compression) -> None:
    one = Past(RoughStore(), tmp_path, rules(), compression=compression)
    one.days(range(2))
    key = next(key for key in one.bodies() if f"dt={day(1)}" in key)
    stored = one.store.get(key)
    assert stored is not None
    half = BytesBody(stored.data[: len(stored.data) // 2])
    one.store.put(key, half, condition=Match(stored.facts.etag), metadata=stored.facts.metadata)
    (finding,) = deep(one).findings
    assert (finding.key, finding.problem) == (key, Problem.ROWS)
    assert "cannot be read" in finding.what


def test_an_object_without_a_header_is_found(past: Past) -> None:
    key = next(key for key in past.bodies() if f"dt={day(1)}" in key)
    stored = past.store.get(key)
    assert stored is not None
    past.store.put(key, BytesBody(b""), condition=Match(stored.facts.etag), metadata=stored.facts.metadata)
    (finding,) = deep(past).findings
    assert finding.what == "its rows cannot be read: it has no header line"


def test_days_that_kafka_lost_are_named_and_no_finding(past: Past) -> None:
    alter(past, 0)
    for partition in range(2):
        past.cluster.existing(TopicPartition(TOPIC, partition)).delete_below(13)
    report = deep(past)
    (note,) = report.findings
    assert report.sound
    assert "Kafka has lost records" in note.what


def test_a_pending_seal_leaves_it_for_later(past: Past) -> None:
    past.produce(3, kind="trial_started")
    past.seal(3, upload=False)
    report = deep(past)
    assert (report.findings, len(report.pending)) == ((), 1)
