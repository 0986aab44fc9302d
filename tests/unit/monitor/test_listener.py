"""What happens, as metrics and log lines: one fact, one event name, one line for each beginning and each end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from structlog.testing import capture_logs

from consumer.domain.batches import Counts, TransformedBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span
from consumer.monitor.listener import TelemetryListener
from consumer.observe.metrics import Metrics, declare
from consumer.seal.day_plan import DayPlan
from consumer.seal.publisher import Published
from consumer.worker import events
from consumer.worker.events import (
    BatchTaken,
    CommitOutcome,
    CommitTried,
    DaysPublished,
    ObjectUploaded,
    OutageMet,
    OutageOver,
    PartitionHalted,
    PartitionLeft,
    PartitionRecovered,
    PartitionResumed,
    PublishingHalted,
    ReadingPaused,
    ReadingResumed,
    Rebalanced,
    SealConsidered,
    SealFinished,
    SealObeyed,
    SpoolMeasured,
    UnexpectedErrorMet,
    UploadFailed,
    WorkerEvent,
)
from tests.builders.chains import ONE, bad, chain_of, counts, data, day

PLACE = {"stream": "s", "topic": "t", "partition": "0"}
DOWN = TransientError("store: no answer")
HALT = HaltError(HaltReason.RETENTION_HOLE, "offsets 5 to 9 are gone")


@pytest.fixture
def metrics() -> Metrics:
    return declare()


@pytest.fixture
def listener(metrics: Metrics) -> TelemetryListener:
    return TelemetryListener(metrics, {"t": "s"})


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"adapty_sink_{name}", labels or None)


def test_a_seal(listener: TelemetryListener, metrics: Metrics, lines: list[Any]) -> None:
    record = chain_of(
        {"objects": (data(0, 100, rows=5), bad(0, 100, rows=2)), "counts": counts(read=9, kept=5, quarantined=2)}
    ).head
    listener(SealFinished(record, 1.25))
    assert value(metrics, "seals_total", **PLACE, outcome="sealed") == 1
    assert value(metrics, "seal_duration_seconds_sum", stream="s") == 1.25
    (line,) = lines
    assert line == {
        "event": "sealed",
        "log_level": "info",
        "partition": "t:0",
        "seal": 0,
        "cutoff": "2026-03-01",
        "caught_up": True,
        "through": 100,
        "resume": 100,
        "objects": 2,
        "rows": 5,
        "quarantined": 2,
        "filtered": 0,
        "seconds": 1.25,
    }
    listener(SealFinished(chain_of({"caught_up": False}).head, 1.0))
    assert value(metrics, "seals_total", **PLACE, outcome="spilled") == 1


def test_records_taken(listener: TelemetryListener, metrics: Metrics) -> None:
    batch = TransformedBatch(ONE, Span(0, 9), counts=Counts(read=9, kept=4, filtered=2, quarantined=2, tombstones=1))
    listener(BatchTaken(batch, 0))
    listener(BatchTaken(batch, 3))
    assert value(metrics, "records_read_total", **PLACE) == 18
    assert value(metrics, "rows_total", **PLACE, outcome="kept") == 8
    assert value(metrics, "rows_total", **PLACE, outcome="already_sealed") == 3


def test_uploads(listener: TelemetryListener, metrics: Metrics) -> None:
    listener(ObjectUploaded(data(0, 100), 1000, written=True, seconds=0.5))
    listener(ObjectUploaded(data(0, 100), 1000, written=False, seconds=0.5))
    listener(UploadFailed(data(0, 100)))
    for outcome in ("written", "already_there", "failed"):
        assert value(metrics, "uploads_total", stream="s", outcome=outcome) == 1
    assert value(metrics, "upload_bytes_total", stream="s") == 1000
    assert value(metrics, "upload_duration_seconds_count", stream="s") == 1


@pytest.mark.parametrize("outcome", CommitOutcome)
def test_commits(listener: TelemetryListener, metrics: Metrics, outcome: CommitOutcome) -> None:
    listener(CommitTried(ONE, 7, outcome))
    assert value(metrics, "commits_total", **PLACE, outcome=str(outcome)) == 1


def test_a_seal_that_another_worker_decided(listener: TelemetryListener, metrics: Metrics) -> None:
    listener(SealObeyed(ONE, 4))
    assert value(metrics, "seals_total", **PLACE, outcome="obeyed") == 1


def test_an_outage_is_a_line_when_it_begins_changes_and_ends(listener: TelemetryListener, lines: list[Any]) -> None:
    for error in (DOWN, DOWN, TransientError("another"), None, None, DOWN):
        listener(OutageMet("t:0", error) if error else OutageOver("t:0"))
    listener(OutageMet("publishing s", DOWN))
    listener(OutageOver("publishing s"))
    assert [(line["event"], line.get("where"), line.get("error")) for line in lines] == [
        ("outage", "t:0", "store: no answer"),
        ("outage", "t:0", "another"),
        ("outage_over", "t:0", None),
        ("outage", "t:0", "store: no answer"),
        ("outage", "publishing s", "store: no answer"),
        ("outage_over", "publishing s", None),
    ]


def test_a_halt_is_shown_until_it_is_over(listener: TelemetryListener, metrics: Metrics, lines: list[Any]) -> None:
    listener(PartitionHalted(ONE, HALT))
    assert value(metrics, "halted", **PLACE, reason="retention_hole") == 1
    assert value(metrics, "seals_total", **PLACE, outcome="halted") == 1
    assert lines[-1]["event"] == "halted"
    assert (lines[-1]["reason"], lines[-1]["message"]) == ("retention_hole", "offsets 5 to 9 are gone")
    listener(PartitionResumed(ONE))
    assert not value(metrics, "halted", **PLACE, reason="retention_hole")
    assert lines[-1]["event"] == "halt_over"


def test_a_partition_that_left_leaves_nothing_shown(
    listener: TelemetryListener, metrics: Metrics, lines: list[Any]
) -> None:
    listener(PartitionHalted(ONE, HALT))
    listener(ReadingPaused(ONE, "spool"))
    listener(OutageMet("t:0", DOWN))
    listener(PartitionLeft(ONE, HALT.reason))
    assert not value(metrics, "halted", **PLACE, reason="retention_hole")
    assert not value(metrics, "paused", **PLACE, reason="spool")
    assert lines[-1] == {
        "event": "partition_left",
        "log_level": "info",
        "partition": "t:0",
        "halted": "retention_hole",
    }
    listener(OutageOver("t:0"))
    assert lines[-1]["event"] == "partition_left", "its outage went with it"
    listener(PartitionLeft(ONE, None))
    assert lines[-1]["halted"] is None


def test_why_reading_is_paused(listener: TelemetryListener, metrics: Metrics) -> None:
    listener(ReadingPaused(ONE, "spool"))
    assert value(metrics, "paused", **PLACE, reason="spool") == 1
    listener(ReadingPaused(ONE, "sealing"))
    assert not value(metrics, "paused", **PLACE, reason="spool")
    assert value(metrics, "paused", **PLACE, reason="sealing") == 1
    listener(ReadingResumed(ONE))
    assert not value(metrics, "paused", **PLACE, reason="sealing")


def test_room_is_shown_always_and_told_when_it_changes(
    listener: TelemetryListener, metrics: Metrics, lines: list[Any]
) -> None:
    for used, held in ((10, False), (90, True), (95, True), (20, False)):
        listener(SpoolMeasured(used, 100 - used, held))
    assert [line["event"] for line in lines] == ["reading_held", "reading_resumed"]
    assert lines[0]["spool_bytes"] == 90
    assert value(metrics, "spool_bytes") == 20
    assert value(metrics, "spool_free_bytes") == 80


def test_a_day_published_is_a_line(listener: TelemetryListener, lines: list[Any]) -> None:
    plan = DayPlan(day(0), (), ("gap",), {}, {}, ())
    listener(DaysPublished("s", Published(day(0), (plan, plan))))
    listener(DaysPublished("s", Published(None, ())))
    assert [line["event"] for line in lines] == ["day_published"] * 2
    assert (lines[0]["day"], lines[0]["complete"], lines[0]["why"]) == ("2026-03-01", False, ("gap",))


def test_the_rest_is_lines(listener: TelemetryListener, lines: list[Any]) -> None:
    listener(PartitionRecovered(ONE, ("spool kept",)))
    listener(SealConsidered(ONE, "caught up"))
    listener(PublishingHalted("s", HALT))
    listener(Rebalanced({"t": 2}))
    assert [line["event"] for line in lines] == [
        "partition_recovered",
        "seal_considered",
        "publishing_halted",
        "rebalanced",
    ]
    assert lines[0]["notes"] == ["spool kept"]
    assert lines[2]["reason"] == "retention_hole"
    assert lines[3]["assigned"] == {"t": 2}


def test_an_unexpected_error_is_counted_each_time_and_its_details_are_written_once(
    metrics: Metrics, lines: list[Any]
) -> None:
    written: list[Exception] = []

    def write(error: Exception) -> Path:
        written.append(error)
        return Path(f"/spool/crashes/{len(written)}.txt")

    listener = TelemetryListener(metrics, {"t": "s"}, write)
    for text in ("a cell", "a cell", "another"):
        listener(UnexpectedErrorMet("s", "t:0", KeyError(text)))
    assert value(metrics, "unexpected_errors_total", stream="s") == 3
    assert [str(error) for error in written] == ["'a cell'", "'another'"]
    assert [line["details"] for line in lines] == [f"/spool/crashes/{number}.txt" for number in (1, 1, 2)]
    assert {(line["event"], line["where"], line["kind"]) for line in lines} == {("unexpected_error", "t:0", "KeyError")}
    assert "cell" not in repr(lines), "the message may quote a record"


# Every event has a handler, and every outcome that is declared is counted by one

BATCH = TransformedBatch(ONE, Span(0, 9), counts=Counts(read=9, kept=4, filtered=2, quarantined=2, tombstones=1))
SAMPLES: list[WorkerEvent] = [
    BatchTaken(BATCH, 3),
    PartitionRecovered(ONE, ()),
    SealConsidered(ONE, "caught up"),
    *(SealFinished(chain_of({"caught_up": caught_up}).head, 1.0) for caught_up in (True, False)),
    SealObeyed(ONE, 4),
    *(ObjectUploaded(data(0, 100), 10, written=written, seconds=0.1) for written in (True, False)),
    UploadFailed(data(0, 100)),
    *(CommitTried(ONE, 7, outcome) for outcome in CommitOutcome),
    OutageMet("t:0", DOWN),
    OutageOver("t:0"),
    PartitionHalted(ONE, HALT),
    PartitionResumed(ONE),
    UnexpectedErrorMet("s", "t:0", KeyError("ours")),
    PartitionLeft(ONE, None),
    DaysPublished("s", Published(None, ())),
    PublishingHalted("s", HALT),
    Rebalanced({"t": 1}),
    SpoolMeasured(1, 2, held=False),
    ReadingPaused(ONE, "spool"),
    ReadingResumed(ONE),
]


def test_every_event_has_a_handler(listener: TelemetryListener) -> None:
    assert {type(event) for event in SAMPLES} == set(get_args(WorkerEvent))
    for event in SAMPLES:
        listener(event)


def test_every_declared_outcome_is_counted(listener: TelemetryListener, metrics: Metrics) -> None:
    metrics.expect("s", ONE)
    for event in SAMPLES:
        listener(event)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    outcomes = [sample for sample in samples if "outcome" in sample.labels and sample.name.endswith("_total")]
    assert {sample.name for sample in outcomes} == {
        f"adapty_sink_{name}_total" for name in ("rows", "seals", "uploads", "commits")
    }
    assert [sample for sample in outcomes if sample.value == 0] == []


def test_every_event_is_emitted_by_the_worker() -> None:
    """So that what a handler counts is counted in production as well, each outcome of a commit by itself."""
    folder = Path(events.__file__).parent
    trees = [ast.parse(path.read_text("utf-8")) for path in sorted(folder.glob("*.py")) if path.name != "events.py"]
    calls = {
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {kind.__name__ for kind in get_args(WorkerEvent)} - calls == set()
    used = {ast.unparse(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {f"CommitOutcome.{outcome.name}" for outcome in CommitOutcome} - used == set()
