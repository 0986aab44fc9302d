"""What happens, as metrics and log lines: one fact, one event name, one line for each beginning and each end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.domain.batches import Counts, TransformedBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span
from consumer.monitor.listener import TelemetryListener
from consumer.observe.metrics import Metrics, declare
from consumer.seal.day_plan import DayPlan
from consumer.seal.publisher import Published
from tests.builders.chains import ONE, bad, chain_of, counts, data, day

PLACE = {"stream": "s", "topic": "t", "partition": "0"}
DOWN = TransientError("store: no answer")
HALT = HaltError(HaltReason.RETENTION_HOLE, "offsets 5 to 9 are gone")


@pytest.fixture
def metrics() -> Metrics:
    return declare()


@pytest.fixture
def telling(metrics: Metrics) -> TelemetryListener:
    return TelemetryListener(metrics, {"t": "s"})


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"adapty_sink_{name}", labels or None)


def test_a_seal(telling: TelemetryListener, metrics: Metrics, lines: list[Any]) -> None:
    record = chain_of(
        {"objects": (data(0, 100, rows=5), bad(0, 100, rows=2)), "counts": counts(read=9, kept=5, quarantined=2)}
    ).head
    telling.sealed(record, 1.25)
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
    telling.sealed(chain_of({"caught_up": False}).head, 1.0)
    assert value(metrics, "seals_total", **PLACE, outcome="spilled") == 1


def test_records_judged(telling: TelemetryListener, metrics: Metrics) -> None:
    judged = TransformedBatch(ONE, Span(0, 9), counts=Counts(read=9, kept=4, filtered=2, quarantined=2, tombstones=1))
    telling.judged(judged, 0)
    telling.judged(judged, 3)
    assert value(metrics, "records_read_total", **PLACE) == 18
    assert value(metrics, "rows_total", **PLACE, outcome="kept") == 8
    assert value(metrics, "rows_total", **PLACE, outcome="already_sealed") == 3


def test_uploads(telling: TelemetryListener, metrics: Metrics) -> None:
    telling.uploaded(data(0, 100), 1000, written=True, seconds=0.5)
    telling.uploaded(data(0, 100), 1000, written=False, seconds=0.5)
    telling.upload_failed(data(0, 100))
    for outcome in ("written", "already_there", "failed"):
        assert value(metrics, "uploads_total", stream="s", outcome=outcome) == 1
    assert value(metrics, "upload_bytes_total", stream="s") == 1000
    assert value(metrics, "upload_duration_seconds_count", stream="s") == 1


@pytest.mark.parametrize(
    ("outcome", "shown"), [("ok", "done"), ("unknown", "unknown"), ("refused", "lease_lost"), ("failed", "failed")]
)
def test_commits(telling: TelemetryListener, metrics: Metrics, outcome: str, shown: str) -> None:
    telling.committed(ONE, 7, outcome)
    assert value(metrics, "commits_total", **PLACE, outcome=shown) == 1


def test_an_outage_is_a_line_when_it_begins_changes_and_ends(telling: TelemetryListener, lines: list[Any]) -> None:
    for error in (DOWN, DOWN, TransientError("another"), None, None, DOWN):
        telling.outage(ONE, error)
    telling.publish_outage("s", DOWN)
    telling.publish_outage("s", None)
    assert [(line["event"], line.get("where"), line.get("error")) for line in lines] == [
        ("outage", "t:0", "store: no answer"),
        ("outage", "t:0", "another"),
        ("outage_over", "t:0", None),
        ("outage", "t:0", "store: no answer"),
        ("outage", "publishing s", "store: no answer"),
        ("outage_over", "publishing s", None),
    ]


def test_a_halt_is_shown_until_it_is_over(telling: TelemetryListener, metrics: Metrics, lines: list[Any]) -> None:
    telling.halted(ONE, HALT)
    assert value(metrics, "halted", **PLACE, reason="retention_hole") == 1
    assert value(metrics, "seals_total", **PLACE, outcome="halted") == 1
    assert lines[-1]["event"] == "halted"
    assert (lines[-1]["reason"], lines[-1]["message"]) == ("retention_hole", "offsets 5 to 9 are gone")
    telling.halted(ONE, None)
    assert not value(metrics, "halted", **PLACE, reason="retention_hole")
    assert lines[-1]["event"] == "halt_over"


def test_a_partition_that_left_leaves_nothing_shown(
    telling: TelemetryListener, metrics: Metrics, lines: list[Any]
) -> None:
    telling.halted(ONE, HALT)
    telling.paused(ONE, "spool")
    telling.outage(ONE, DOWN)
    telling.cleared(ONE, HALT.reason)
    assert not value(metrics, "halted", **PLACE, reason="retention_hole")
    assert not value(metrics, "paused", **PLACE, reason="spool")
    assert lines[-1] == {
        "event": "partition_left",
        "log_level": "info",
        "partition": "t:0",
        "halted": "retention_hole",
    }
    telling.outage(ONE, None)
    assert lines[-1]["event"] == "partition_left", "its outage went with it"
    telling.cleared(ONE, None)
    assert lines[-1]["halted"] is None


def test_why_reading_is_paused(telling: TelemetryListener, metrics: Metrics) -> None:
    telling.paused(ONE, "spool")
    assert value(metrics, "paused", **PLACE, reason="spool") == 1
    telling.paused(ONE, "sealing")
    assert not value(metrics, "paused", **PLACE, reason="spool")
    assert value(metrics, "paused", **PLACE, reason="sealing") == 1
    telling.paused(ONE, None)
    assert not value(metrics, "paused", **PLACE, reason="sealing")


def test_room_is_shown_always_and_told_when_it_changes(
    telling: TelemetryListener, metrics: Metrics, lines: list[Any]
) -> None:
    for used, held in ((10, False), (90, True), (95, True), (20, False)):
        telling.pressed(used, 100 - used, held=held)
    assert [line["event"] for line in lines] == ["reading_held", "reading_resumed"]
    assert lines[0]["spool_bytes"] == 90
    assert value(metrics, "spool_bytes") == 20
    assert value(metrics, "spool_free_bytes") == 80


def test_a_day_published_is_a_line(telling: TelemetryListener, lines: list[Any]) -> None:
    plan = DayPlan(day(0), (), ("gap",), {}, {}, ())
    telling.published("s", Published(day(0), (plan, plan)))
    telling.published("s", Published(None, ()))
    assert [line["event"] for line in lines] == ["day_published"] * 2
    assert (lines[0]["day"], lines[0]["complete"], lines[0]["why"]) == ("2026-03-01", False, ("gap",))


def test_the_rest_is_lines(telling: TelemetryListener, lines: list[Any]) -> None:
    telling.recovered(ONE, ("spool kept",))
    telling.sealing(ONE, "caught up")
    telling.delayed("s", HALT)
    telling.rebalanced({"t": 2})
    assert [line["event"] for line in lines] == [
        "partition_recovered",
        "seal_considered",
        "publishing_halted",
        "rebalanced",
    ]
    assert lines[0]["notes"] == ["spool kept"]
    assert lines[2]["reason"] == "retention_hole"
    assert lines[3]["assigned"] == {"t": 2}
