"""docs/iam-policy.json is enough for the whole program: a session with exactly that policy runs every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import BucketFactory
from tests.harness.world import World, closing
from tests.integration.commands import Ended, command, few_races
from tests.integration.observed import send
from tests.services.kafka import KafkaAddress
from tests.services.policy import policy_for, session
from tests.services.s3 import S3Address

LARGE = 6 * 1024 * 1024
CONFIG = {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"}


@pytest.fixture
def world(tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as made:
        nobody = {"access_key_id": "", "secret_access_key": "", "multipart_threshold": "5MiB"}
        made.over = {"destination": nobody, "spool": {"max_bytes": "100MiB"}}
        yield made


def test_every_command_works_with_exactly_the_published_policy(world: World, tmp_path: Path) -> None:
    stream = world.add("events", "events", "json", config=CONFIG)
    place = f"{stream.topic}:0"
    nothing = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    env = session(world.store, policy_for(world.bucket)) | nothing | few_races(tmp_path)

    def run(*arguments: str) -> Ended:
        return command(world.settings(), *arguments, env=env)

    old = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    row = json.dumps({"event_datetime": old, "profile_id": "p", "event_type": "t", "environment": "Production"})
    large = row[:-1] + f', "currency": "{"x" * (LARGE // 10)}"}}'
    send(world.kafka, stream.topic, [large.encode()] * 10)
    ended = run("run", "--once")
    assert ended.code == 0, ended.err
    assert run("verify").code == 0
    assert run("status", "--json").document["halted"] == []
    checked = run("check", "--json")
    assert checked.code == 0, checked.out
    [data] = [key for key in world.folder.keys("events/dt=") if key.endswith(".csv")]
    whole = world.store.client().head_object(Bucket=world.bucket, Key=f"{world.folder.prefix}/{data}")
    assert "-" in whole["ETag"], "it went up in parts"
    assert run("schema", "--ddl", "duckdb").code == 0
    exported = run("export", "--day", old[:10], "--json")
    assert exported.code == 0, exported.err
    assert exported.document["streams"][0]["rows"] == 10
    # records that nobody sealed are lost, and the operator says so
    send(world.kafka, stream.topic, [row.encode()] * 3)
    delete_below(world, stream.topic, 12)
    ended = run("accept-gap", place, "10", "12")
    assert ended.code == 0, ended.err


def delete_below(world: World, topic: str, offset: int) -> None:
    from confluent_kafka import TopicPartition  # noqa: PLC0415 - here alone

    admin = world.kafka.admin()
    place = TopicPartition(topic, 0, offset)
    admin.delete_records([place])[place].result(30)
