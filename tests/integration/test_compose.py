"""docker-compose.yml read by Docker's own reader, and its generator against real servers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient

from consumer.streams.kinds import KINDS
from tests.conftest import BucketFactory
from tests.harness.bucket import Folder
from tests.harness.sink import OK, Sink
from tests.services.kafka import KafkaAddress, unique_topic
from tests.services.s3 import S3Address

ROOT = Path(__file__).parents[2]
ROWS = 40


def test_docker_reads_the_file(program: Callable[[str], Path]) -> None:
    command = [str(program("compose")), "docker-compose.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "image: adapty-sink:local" in done.stdout


@pytest.fixture(scope="module")
def prefix() -> str:
    return unique_topic("made")


@pytest.fixture(scope="module")
def generated(prefix: str, kafka: KafkaAddress, registry: str) -> dict[str, list[bytes]]:
    """What one day of the generator leaves in each topic."""
    topics = [f"{prefix}.{name}" for name in KINDS]
    for topic in topics:
        kafka.create_topic(topic, 2)
    where = ["--bootstrap-servers", kafka.bootstrap_servers, "--registry", registry, "--prefix", prefix]
    command = [sys.executable, "deploy/compose/generate.py", *where, "--yesterday", str(ROWS)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return {name: read(kafka, topic) for name, topic in zip(KINDS, topics, strict=True)}


def read(kafka: KafkaAddress, topic: str) -> list[bytes]:
    settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    try:
        consumer.subscribe([topic])
        return [message.value() or b"" for message in consumer.consume(ROWS, timeout=60)]
    finally:
        consumer.close()


def decoded(name: str, value: bytes, registry: str) -> dict[str, Any]:
    """The row, by the format that compose/sink.toml gives the stream."""
    if name == "paywall_views":
        row: dict[str, Any] = json.loads(value)
        return {**row, KINDS[name].time_field: datetime.fromisoformat(row[KINDS[name].time_field])}
    text = KINDS[name].schema
    if name == "ua_events":
        assert value[0] == 0
        with SchemaRegistryClient({"url": registry}) as client:
            text = client.get_schema(int.from_bytes(value[1:5], "big")).schema_str or ""
        value = value[5:]
    return dict(fastavro.schemaless_reader(io.BytesIO(value), json.loads(text), None))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
def test_the_generator_sends_one_day(name: str, generated: dict[str, list[bytes]], registry: str) -> None:
    rows = [decoded(name, value, registry) for value in generated[name]]
    assert len(rows) == ROWS
    times = {row[KINDS[name].time_field] for row in rows}
    days = {time.date() if isinstance(time, datetime) else time for time in times}
    today = datetime.now(UTC).date()
    assert len(days) == 1
    assert today - timedelta(days=2) <= days.pop() < today


@pytest.mark.usefixtures("generated")
def test_the_worker_exports_yesterday(
    prefix: str, kafka: KafkaAddress, registry: str, minio: S3Address, bucket: BucketFactory, tmp_path: Path
) -> None:
    """With the file's own settings, but for where the servers are. Conditional writes were tried before."""
    made, text = bucket(), (ROOT / "deploy/compose/sink.toml").read_text()
    for there, here in {
        "kafka:9092": kafka.bootstrap_servers,
        "http://registry:8080/apis/ccompat/v7": registry,
        "adapty-events/": f"{made}/",
        "http://minio:9000": minio.endpoint_url,
        "/var/lib/adapty-sink": str(tmp_path / "spool"),
        "0.0.0.0:8080": "127.0.0.1:0",
        'group_id = "adapty-sink"': f'group_id = "{prefix}"',
        '"adapty.': f'"{prefix}.',
    }.items():
        assert there in text
        text = text.replace(there, here)
    settings = tmp_path / "sink.toml"
    settings.write_text(text)
    Folder(minio, made, "com.sample-app").prove(minio.endpoint_url)
    keys = {"MINIO_ROOT_USER": minio.access_key, "MINIO_ROOT_PASSWORD": minio.secret_key, "HOSTNAME": "worker"}
    worker = Sink(settings, tmp_path / "log", "run", env=keys)
    try:
        for name in KINDS:
            day = worker.until_said("day_published", 120, stream=name, complete=True, rows=ROWS)["day"]
        worker.until(lambda: worker.page("/readyz")[0] == OK, 60, "it is ready")
        worker.terminate()
        worker.done()
    finally:
        worker.close()
    listed = minio.client().list_objects_v2(Bucket=made, Prefix="com.sample-app/").get("Contents", [])
    assert {f"com.sample-app/{name}/dt={day}/_SUCCESS" for name in KINDS} <= {item["Key"] for item in listed}
