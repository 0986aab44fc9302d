"""The pages of a real worker over real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from consumer.domain.days import last_due
from consumer.observe.metrics import declare
from tests.integration.observed import Worker, clicks, noon, send, until
from tests.services.kafka import KafkaAddress, unique_topic
from tests.services.s3 import S3Address, unique_bucket

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OPEN = "application/openmetrics-text; version=1.0.0"
SILENT = {"adapty_sink_halted", "adapty_sink_paused", "adapty_sink_rows_filtered"}
"""What a worker without trouble and without filters has no series of; the metrics are there all the same."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaAddress, minio: S3Address) -> Iterator[Worker]:
    """A worker whose topic holds rows of two days ago, of yesterday and of today in one of its two partitions."""
    name, where = unique_topic(), unique_bucket()
    kafka.create_topic(name, 2)
    minio.make_bucket(where)
    values = list(clicks([noon(2)] * 20 + [noon(1)] * 30 + [datetime.now(UTC)] * 40))
    odd = [b'{"id": "x", "clicked_at": "' + noon(1).isoformat().encode() + b'", "new_field": 1, "amount": "abc"}']
    send(kafka, name, values + odd + [b"not json"])
    with Worker(tmp_path_factory.mktemp("worker"), kafka.bootstrap_servers, minio, where, name) as started:
        yield started
    if "S3_ENDPOINT_URL" in os.environ:
        minio.remove_bucket(where)
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        kafka.delete_topic(name)


def published(worker: Worker) -> list[str]:
    return [line["day"] for line in worker.lines() if line["event"] == "day_published"]


def test_a_worker_shows_where_it_stands(worker: Worker) -> None:
    until(lambda: published(worker), "a day is published")
    until(lambda: worker.ready()[0] == 200, "ready")
    cutoff = last_due(datetime.now(UTC), timedelta(hours=4))  # before 04:00 UTC yesterday is still open
    committed = 50 if cutoff == noon(1).date() else 20

    def has_caught_up() -> bool:
        first, second = worker.status()["partitions"]
        return bool(first["committed"] == committed and first["lag"] == second["lag"] == 0)

    until(has_caught_up, "the commit and the position are shown")
    found = worker.status()
    first, second = found["partitions"]
    assert found["halted"] == []
    assert (first["stream"], first["partition"], second["partition"]) == ("clicks", 0, 1)
    assert (first["position"], first["end"], first["lag"], first["held"]) == (92, 92, 0, 92 - committed)
    assert datetime.now(UTC).date().isoformat() in first["open_days"]
    assert first["last_cutoff"] == second["last_cutoff"] == cutoff.isoformat()
    assert datetime.fromisoformat(first["next_seal"]) > datetime.now(UTC)
    assert (second["position"], second["end"], second["open_days"]) == (0, 0, [])
    until(lambda: worker.status()["partitions"][0]["retention_hours"] is not None, "headroom")
    assert 160 < worker.status()["partitions"][0]["retention_hours"] <= 168


def test_programs_get_json_and_people_get_a_page(worker: Worker) -> None:
    until(lambda: worker.ready()[0] == 200, "ready")
    assert worker.get("/status", "application/json")[1].startswith("{")
    code, text = worker.get("/status", HTML)
    assert code == 200
    assert text.startswith("<!doctype html>")
    assert "clicks" in text
    assert worker.get("/nothing")[0] == 404


def test_every_declared_metric_is_exported(worker: Worker) -> None:
    until(lambda: published(worker), "a day is published")
    until(lambda: "retention_headroom_seconds{" in worker.get("/metrics", OPEN)[1], "headroom")
    until(lambda: "last_complete_day_timestamp_seconds{" in worker.get("/metrics", OPEN)[1], "the day is seen")
    until(lambda: "broker_round_trip_seconds 0.0\n" not in worker.get("/metrics", OPEN)[1], "statistics")
    text = worker.get("/metrics", OPEN)[1]
    families = {found.name: found for found in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    declared = {found.name for found in declare().registry.collect()}
    assert declared <= families.keys()
    silent = {name for name in declared if not families[name].samples}
    assert silent == SILENT
    assert "process_resident_memory_bytes" in families
    values = {sample.name: sample.value for found in families.values() for sample in found.samples}
    assert values["adapty_sink_rebalances_total"] >= 1
    assert values["adapty_sink_broker_round_trip_seconds"] > 0
    assert values["adapty_sink_broker_reachable"] == values["adapty_sink_store_reachable"] == 1
    assert abs(values["adapty_sink_last_poll_timestamp_seconds"] - datetime.now(UTC).timestamp()) < 10
