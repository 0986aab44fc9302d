"""The metrics of the contract: names, labels, conventions, and label values that hostile records cannot multiply."""

from __future__ import annotations

import re
from collections import Counter as Tally
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from consumer.domain.batches import Counts, DayRows, TransformedBatch
from consumer.domain.offsets import Span, TopicPartition
from consumer.observe.metrics import LONGEST_LABEL, MOST_FIELDS, OTHER, ROW_OUTCOMES, FieldNames, Metrics, declare

P = ("stream", "topic", "partition")
CONTRACT: dict[str, tuple[str, tuple[str, ...]]] = {
    "records_read_total": ("counter", P),
    "rows_total": ("counter", (*P, "outcome")),
    "rows_filtered_total": ("counter", (*P, "reason")),
    "oddities_total": ("counter", ("stream", "reason")),
    "unexpected_errors_total": ("counter", ("stream",)),
    "unknown_fields_total": ("counter", ("stream", "field")),
    "exact_path_batches_total": ("counter", ("stream", "reason")),
    "read_lag_records": ("gauge", P),
    "held_records": ("gauge", P),
    "committed_offset": ("gauge", P),
    "assigned_partitions": ("gauge", ("stream", "topic")),
    "rebalances_total": ("counter", ()),
    "last_poll_timestamp_seconds": ("gauge", ()),
    "broker_round_trip_seconds": ("gauge", ()),
    "fetch_queue_records": ("gauge", ()),
    "fetch_queue_bytes": ("gauge", ()),
    "broker_reachable": ("gauge", ()),
    "store_reachable": ("gauge", ("stream",)),
    "spool_bytes": ("gauge", ()),
    "spool_free_bytes": ("gauge", ()),
    "spool_limit_bytes": ("gauge", ()),
    "spool_floor_bytes": ("gauge", ()),
    "paused": ("gauge", (*P, "reason")),
    "seals_total": ("counter", (*P, "outcome")),
    "seal_duration_seconds": ("histogram", ("stream",)),
    "last_sealed_day_timestamp_seconds": ("gauge", P),
    "last_complete_day_timestamp_seconds": ("gauge", ("stream",)),
    "upload_bytes_total": ("counter", ("stream",)),
    "uploads_total": ("counter", ("stream", "outcome")),
    "upload_duration_seconds": ("histogram", ("stream",)),
    "commits_total": ("counter", (*P, "outcome")),
    "retention_headroom_seconds": ("gauge", P),
    "halted": ("gauge", (*P, "reason")),
    "build_info": ("gauge", ("version", "python", "engine")),
}
PARTITION = TopicPartition("adapty.events", 3)
PLACE = {"stream": "events", "topic": "adapty.events", "partition": "3"}


@pytest.fixture
def metrics() -> Metrics:
    return declare()


def collectors(metrics: Metrics) -> list[tuple[Any, Metric]]:
    made: list[Any] = list(metrics.registry._collector_to_names)
    return [(collector, family) for collector in made for family in collector.describe()]


def declared(metrics: Metrics) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric by its name without the prefix, with its type and labels, as the registry has it."""
    found = {}
    for collector, family in collectors(metrics):
        suffix = "_total" if family.type == "counter" else ""
        found[family.name.removeprefix("adapty_sink_") + suffix] = (family.type, collector._labelnames)
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"adapty_sink_{name}", labels)


def test_the_contract_is_declared_and_nothing_else(metrics: Metrics) -> None:
    assert declared(metrics) == CONTRACT


def test_names_follow_the_conventions(metrics: Metrics) -> None:
    for _, family in collectors(metrics):
        assert re.fullmatch(r"adapty_sink_[a-z]+(_[a-z]+)*", family.name)
        assert not re.search(r"(milli|micro|minute|hour|kilo|mega|_ms)", family.name), "base units alone"
        assert len(family.documentation) > 10
        if family.type != "counter":
            assert not family.name.endswith("_total")


def test_build_info_says_version_python_and_engine(metrics: Metrics) -> None:
    text = generate_latest(metrics.registry).decode()
    assert re.search(
        r'^adapty_sink_build_info\{engine="(native|exact)",python="3\.\d+\.\d+\S*",version="\d+\.\d+\.\d+\S*"\} 1\.0$',
        text,
        re.MULTILINE,
    )


def test_two_sets_do_not_share_anything() -> None:
    one, other = declare(), declare()
    one.rebalances.inc()
    assert value(one, "rebalances_total") == 1
    assert value(other, "rebalances_total") == 0


def test_a_given_registry_is_used() -> None:
    registry = CollectorRegistry()
    declare(registry).spool_bytes.set(7)
    assert registry.get_sample_value("adapty_sink_spool_bytes") == 7


def test_the_registry_can_be_asked_for() -> None:
    registry = CollectorRegistry()
    assert declare(registry).registry is registry


def judged(**more: object) -> TransformedBatch:
    return TransformedBatch(PARTITION, Span(10, 20), **more)  # type: ignore[arg-type]


def test_a_judged_batch_is_counted_whole(metrics: Metrics) -> None:
    day = DayRows(date(2026, 11, 21), quarantine=False, rows=4, first_offset=10, last_offset=14, body=b"")
    batch = judged(
        days=(day,),
        counts=Counts(read=10, kept=4, filtered=3, quarantined=1, already_sealed=2, tombstones=2),
        filtered=Tally(profile=2, event_type=1),
        oddities=Tally(nul_stripped=5),
        unknown_fields=Tally(new_column=6),
        exact_path=Tally(union_order=9),
    )
    metrics.count_batch("events", batch)
    metrics.count_batch("events", batch)
    assert value(metrics, "records_read_total", **PLACE) == 20
    by_outcome = {outcome: value(metrics, "rows_total", **PLACE, outcome=outcome) for outcome in ROW_OUTCOMES}
    assert by_outcome == {"kept": 8, "filtered": 6, "quarantined": 2, "already_sealed": 4, "tombstone": 4}
    assert value(metrics, "rows_filtered_total", **PLACE, reason="profile") == 4
    assert value(metrics, "oddities_total", stream="events", reason="nul_stripped") == 10
    assert value(metrics, "unknown_fields_total", stream="events", field="new_column") == 12
    assert value(metrics, "exact_path_batches_total", stream="events", reason="union_order") == 2


def test_field_names_are_bounded_for_each_stream(metrics: Metrics) -> None:
    for number in range(MOST_FIELDS + 50):
        metrics.count_batch("events", judged(unknown_fields={f"field{number}": 1}))
    metrics.count_batch("events", judged(unknown_fields={"field0": 1}))
    metrics.count_batch("ua_events", judged(unknown_fields={"field149": 1}))
    assert value(metrics, "unknown_fields_total", stream="events", field=OTHER) == 50
    assert value(metrics, "unknown_fields_total", stream="events", field="field0") == 2
    assert value(metrics, "unknown_fields_total", stream="ua_events", field="field149") == 1
    text = generate_latest(metrics.registry).decode()
    assert len(re.findall(r'unknown_fields_total\{.*stream="events"', text)) == MOST_FIELDS + 1


@given(st.lists(st.text(max_size=200), max_size=20))
@settings(deadline=None)
def test_hostile_names_become_short_printable_labels(names: list[str]) -> None:
    metrics = declare()
    for name in [*names, "\ud83d", "a\nb", 'q"\\', "x" * 10_000, ""]:
        metrics.count_batch("events", judged(unknown_fields={name: 1}))
    text = generate_latest(metrics.registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = [s.labels["field"] for s in families["adapty_sink_unknown_fields"].samples if s.name.endswith("_total")]
    assert sum(s.value for s in families["adapty_sink_unknown_fields"].samples if s.name.endswith("_total")) == (
        len(names) + 5
    )
    assert all(len(label) <= LONGEST_LABEL and (label.isprintable() or not label) for label in labels)


def test_the_same_name_keeps_its_label() -> None:
    names = FieldNames()
    first = [names.label("events", f"f{n}") for n in range(MOST_FIELDS)]
    assert names.label("events", "late") == OTHER
    assert [names.label("events", f"f{n}") for n in range(MOST_FIELDS)] == first


def test_a_mark_shows_one_reason_alone(metrics: Metrics) -> None:
    metrics.mark(metrics.halted, "events", PARTITION, "retention_hole")
    metrics.mark(metrics.halted, "events", TopicPartition("adapty.events", 4), "chain_damaged")
    metrics.mark(metrics.halted, "events", PARTITION, "chain_damaged")
    assert value(metrics, "halted", **PLACE, reason="retention_hole") is None
    assert value(metrics, "halted", **PLACE, reason="chain_damaged") == 1
    metrics.mark(metrics.halted, "events", PARTITION, None)
    assert value(metrics, "halted", **PLACE, reason="chain_damaged") is None
    assert value(metrics, "halted", **{**PLACE, "partition": "4"}, reason="chain_damaged") == 1


def test_a_partition_given_up_shows_no_gauge_but_keeps_its_counters(metrics: Metrics) -> None:
    kept = TopicPartition("adapty.events", 4)
    for partition in (PARTITION, kept):
        place = {**PLACE, "partition": str(partition.partition)}
        for gauge in (metrics.read_lag, metrics.held, metrics.committed_offset, metrics.retention_headroom):
            gauge.labels(**place).set(5)
        metrics.last_sealed_day.labels(**place).set(1)
        metrics.mark(metrics.paused, "events", partition, "spool_full")
        metrics.records_read.labels(**place).inc()
    metrics.forget("events", PARTITION)
    lines = generate_latest(metrics.registry).decode().splitlines()
    ours = [line for line in lines if 'partition="3"' in line and "_created" not in line]
    assert ours == ['adapty_sink_records_read_total{partition="3",stream="events",topic="adapty.events"} 1.0']
    assert len([line for line in lines if 'partition="4"' in line and "_created" not in line]) == 7
