"""Two operations of the runbook, done on real servers: another bucket, and recovery from the bucket alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BucketFactory, TopicFactory
from tests.integration.observed import Worker, clicks, noon, send, until
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def contents(minio: S3Address, bucket: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Every object but the store's own checks: ETag and metadata by key."""
    client, found = minio.client(), {}
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        if "/_checks/" not in item["Key"]:
            head = client.head_object(Bucket=bucket, Key=item["Key"])
            found[item["Key"]] = (head["ETag"], dict(head["Metadata"]))
    return found


def copy(minio: S3Address, old: str, new: str) -> None:
    client = minio.client()
    for key in contents(minio, old):
        client.copy_object(Bucket=new, Key=key, CopySource={"Bucket": old, "Key": key})


def partition(worker: Worker) -> dict[str, Any]:
    found = worker.status()["partitions"]
    return dict(found[0]) if found else {"position": None, "committed": None, "last_cutoff": None}


def sealed(worker: Worker) -> bool:
    return any(line["event"] == "day_published" for line in worker.lines())


def test_another_bucket_with_the_seal_log(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, topic: TopicFactory, bucket: BucketFactory,
    started: ExitStack,
) -> None:  # fmt: skip
    name, old, new = topic(1), bucket(), bucket()
    send(kafka, name, list(clicks([noon(2)] * 20 + [datetime.now(UTC)] * 5)))
    with Worker(tmp_path / "before", kafka.bootstrap_servers, minio, old, name) as worker:
        until(lambda: sealed(worker) and partition(worker)["committed"], "sealed and committed")
        committed = partition(worker)["committed"]
    copy(minio, old, new)
    before = contents(minio, new)
    after = started.enter_context(Worker(tmp_path / "after", kafka.bootstrap_servers, minio, new, name))
    until(lambda: partition(after)["position"] == 25, "it reads on")
    until(lambda: partition(after)["last_cutoff"], "it knows what is sealed")
    until(lambda: partition(after)["committed"] is not None, "it has looked at the commit")
    assert partition(after)["committed"] == committed == 20
    assert contents(minio, new) == before, "nothing is written twice"


def test_the_bucket_alone_says_where_to_go_on(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, topic: TopicFactory, bucket: BucketFactory,
    started: ExitStack,
) -> None:  # fmt: skip
    name, where = topic(1), bucket()
    send(kafka, name, list(clicks([noon(2)] * 20 + [datetime.now(UTC)] * 5)))
    with Worker(tmp_path / "before", kafka.bootstrap_servers, minio, where, name) as worker:
        until(lambda: sealed(worker) and partition(worker)["committed"], "sealed and committed")
    before = contents(minio, where)
    admin = kafka.admin()
    until(lambda: not _error(admin, f"group-{name}"), "the group is forgotten")
    after = started.enter_context(Worker(tmp_path / "after", kafka.bootstrap_servers, minio, where, name))
    until(lambda: partition(after)["committed"] == 20, "the offset is put back where the seal log says")
    until(lambda: partition(after)["position"] == 25, "it reads on")
    notes = [note for line in after.lines() if line["event"] == "partition_recovered" for note in line["notes"]]
    assert "the group's offset is absent, not 20" in notes
    assert contents(minio, where) == before, "nothing is written twice"


def _error(admin: Any, group: str) -> BaseException | None:
    """Delete the group: refused while the broker thinks that a member is there."""
    found: BaseException | None = admin.delete_consumer_groups([group])[group].exception(10)
    return found
