"""The Grafana dashboard: made from its code, and every query asked of a real Prometheus that scrapes a real worker."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.observe.metrics import declare
from tests.conftest import BucketFactory, PrometheusFactory, TopicFactory
from tests.integration.observed import Worker, clicks, noon, send, until
from tests.services.kafka import KafkaAddress
from tests.services.prometheus import Prometheus
from tests.services.s3 import S3Address

FOLDER = Path(__file__).parents[2] / "deploy/grafana"
ONLY_IN_TROUBLE = ("rows_filtered_total", "paused", "adapty_sink_halted{")
"""What these are asked gives nothing while all is well."""


@pytest.fixture(scope="module")
def made() -> str:
    text: str = runpy.run_path(str(FOLDER / "dashboard.py"), run_name="dashboard")["dashboard"]()
    return text


@pytest.fixture(scope="module")
def queries(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "adapty-sink.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


@pytest.fixture
def prometheus(
    tmp_path: Path,
    kafka: KafkaAddress,
    minio: S3Address,
    topic: TopicFactory,
    bucket: BucketFactory,
    prometheus_server: PrometheusFactory,
) -> Iterator[Prometheus]:
    """It has scraped, for a while, a worker that sealed and published a day and met an odd value."""
    name = topic(1)
    odd = json.dumps({"id": "x", "clicked_at": noon(2).isoformat(), "amount": "abc", "new_field": 1}).encode()
    send(kafka, name, [*clicks([noon(2)] * 30 + [datetime.now(UTC)] * 10), odd])
    with Worker(tmp_path / "worker", kafka.bootstrap_servers, minio, bucket(), name) as worker:
        server = prometheus_server([worker.upstream])
        until(lambda: server.query("adapty_sink_last_complete_day_timestamp_seconds"), "a day is complete")
        until(lambda: server.query("adapty_sink_retention_headroom_seconds"), "the headroom is known")
        send(kafka, name, [*clicks([datetime.now(UTC)] * 10), odd])  # so that counters are seen to grow
        until(lambda: server.query("increase(adapty_sink_oddities_total[1m]) > 0"), "counters grow")
        yield server


def test_the_file_is_what_the_code_makes(made: str) -> None:
    assert (FOLDER / "adapty-sink.json").read_text() == made, "run deploy/grafana/dashboard.py"


def test_every_metric_has_its_place(queries: list[str]) -> None:
    asked = " ".join(queries)
    names = {family.name for family in declare().registry.collect()}
    assert {name for name in names if name not in asked} == set()


def test_panels_are_told_apart_and_do_not_overlap(panels: list[dict[str, Any]]) -> None:
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_query_names_its_source(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            assert target["legendFormat"]


def test_every_query_is_answered(prometheus: Prometheus, queries: list[str]) -> None:
    empty = []
    for query in queries:
        asked = re.sub(r"\$(stream|instance)", ".*", query).replace("$__rate_interval", "1m")
        asked = asked.replace("[30d:15m]", "[1m:1s]")  # a test does not last for 15 minutes
        if not prometheus.query(asked):  # raises for what is no PromQL
            empty.append(query)
    assert {query for query in empty if not any(name in query for name in ONLY_IN_TROUBLE)} == set()
    known = set(prometheus.get("/api/v1/metadata"))  # of every metric that is exported, with samples or without
    for query in queries:
        names = re.findall(r"(?:adapty_sink|process)_\w+", query)
        assert {re.sub("_(total|bucket)$", "", name) for name in names} <= known


def test_the_labels_that_are_asked_for_exist(queries: list[str]) -> None:
    labels: dict[str, set[str]] = {}
    made: list[Any] = list(declare().registry._collector_to_names)
    for collector in made:
        for family in collector.describe():
            labels[family.name] = {*collector._labelnames, "instance", "job", "le"}
    for query in queries:
        for name, selector in re.findall(r"adapty_sink_(\w+?)(?:_total|_bucket)?\{([^}]*)\}", query):
            asked = set(re.findall(r"(\w+)=", selector)) | {
                label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")
            }
            assert asked <= labels[f"adapty_sink_{name}"], query
