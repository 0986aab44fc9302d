"""The alert rules: their unit tests, and a real Prometheus that watches a real worker lose its bucket."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.observe.metrics import declare
from tests.conftest import BucketFactory, PrometheusFactory, ProxiedStore, TopicFactory
from tests.integration.observed import Worker, clicks, send, until
from tests.services.kafka import KafkaAddress

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/adapty-sink.yml"
TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
RUNBOOK = ROOT / "docs/runbook.md"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_promtool_finds_nothing_wrong(program: Callable[[str], Path]) -> None:
    done = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def with_its_own_rules(file: Path, into: Path) -> Path:
    """A copy of unit tests beside a copy of the rules that has those only whose alerts they are about.

    All rules over days, minute by minute, take seven times as long. No rule depends on another: each is an alert.
    """
    asked = {
        case["alertname"] for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]
    }
    groups = yaml.safe_load(RULES.read_text())["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] in asked]
    into.mkdir()
    (into / RULES.name).write_text(yaml.safe_dump({"groups": groups}))
    copy = into / file.name
    text = file.read_text()
    assert text.count(f"[../{RULES.name}]") == 1
    copy.write_text(text.replace(f"[../{RULES.name}]", f"[{RULES.name}]"))
    return copy


def test_the_rules_pass_their_unit_tests(program: Callable[[str], Path], tmp_path: Path) -> None:
    tests = [with_its_own_rules(file, tmp_path / file.stem) for file in TESTS]
    done = subprocess.run([program("promtool"), "test", "rules", *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_in_the_unit_tests() -> None:
    tests = [test for file in TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in rules()}


def test_every_alert_has_a_place_in_the_runbook() -> None:
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
                for line in RUNBOOK.read_text().splitlines() if line.startswith("#")}  # fmt: skip
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / path) == RUNBOOK
        assert anchor == rule["alert"].lower()
        assert anchor in headings


def test_the_rules_speak_of_metrics_that_there_are() -> None:
    known = {sample for family in declare().registry.collect() for sample in _samples(family.name, family.type)}
    used = {name for rule in rules() for name in re.findall(r"adapty_sink_\w+", rule["expr"])}
    assert used
    assert used <= known


def _samples(name: str, kind: str) -> set[str]:
    """The series of a metric."""
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(kind, [""])
    return {name + end for end in ends}


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """The rules as they are, but for their patience."""
    path = tmp_path / "rules.yml"
    path.write_text(re.sub(r"^( +for): .*$", r"\1: 2s", RULES.read_text(), flags=re.MULTILINE))
    return path


def test_an_alert_fires_while_the_bucket_is_away_and_resolves_after(
    tmp_path: Path,
    kafka: KafkaAddress,
    proxied_minio: ProxiedStore,
    topic: TopicFactory,
    bucket: BucketFactory,
    prometheus_server: PrometheusFactory,
    hasty: Path,
) -> None:
    name, where = topic(1), bucket()
    send(kafka, name, list(clicks([datetime.now(UTC)] * 20)))
    with Worker(tmp_path / "worker", kafka.bootstrap_servers, proxied_minio.address, where, name) as worker:
        until(lambda: worker.status()["partitions"] and worker.status()["partitions"][0]["last_cutoff"], "a seal")
        prometheus = prometheus_server([worker.upstream], [hasty])

        def alerts(state: str = "firing") -> set[str]:
            found = prometheus.get("/api/v1/alerts")["alerts"]
            return {alert["labels"]["alertname"] for alert in found if alert["state"] == state}

        until(lambda: prometheus.query("adapty_sink_store_reachable == 1"), "it is scraped and in order")
        until(lambda: prometheus.query("adapty_sink_last_complete_day_timestamp_seconds"), "the day is seen")
        until(lambda: not alerts(), "nothing fires")
        proxied_minio.proxy.cut()
        until(lambda: "AdaptySinkStoreUnreachable" in alerts(), "the alert fires")
        assert alerts() == {"AdaptySinkStoreUnreachable"}
        (alert,) = [a for a in prometheus.get("/api/v1/alerts")["alerts"] if a["state"] == "firing"]
        assert alert["labels"]["stream"] == "clicks"
        assert alert["annotations"]["summary"] == "clicks: the destination does not answer"
        proxied_minio.proxy.restore()
        until(lambda: not alerts(), "it resolves")
