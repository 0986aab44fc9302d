"""What the pages say while servers are away, and that looking at what hangs never holds up the worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import BucketFactory, ProxiedKafka, TopicFactory
from tests.integration.observed import Worker, clicks, send, until
from tests.services.kafka import KafkaAddress
from tests.services.s3 import MinIO, S3Address


@pytest.fixture
def started() -> object:
    with ExitStack() as stack:
        yield stack


def test_a_store_that_hangs(
    tmp_path: Path, kafka: KafkaAddress, own_minio: Callable[[], MinIO], topic: TopicFactory, started: ExitStack
) -> None:
    store, name = own_minio(), topic(1)
    store.make_bucket("bucket")
    send(kafka, name, list(clicks([datetime.now(UTC)] * 5)))
    worker = started.enter_context(Worker(tmp_path / "w", kafka.bootstrap_servers, store.address, "bucket", name))
    until(lambda: worker.status()["partitions"] and worker.status()["partitions"][0]["position"] == 5, "it reads")
    until(lambda: any(line["event"] == "day_published" for line in worker.lines()), "no seal is under way")
    store.pause()
    until(lambda: worker.ready()[0] == 503, "not ready while the store hangs", 90)
    assert worker.ready()[1]["why_not"][0].startswith("store of clicks: ")
    send(kafka, name, list(clicks([datetime.now(UTC)] * 5)))
    until(lambda: worker.status()["partitions"][0]["position"] == 10, "it reads on all the same")
    assert worker.get("/livez")[0] == 200
    before = time.monotonic()
    worker.stop()
    assert time.monotonic() - before < 10, "SIGTERM waits for no store"
    store.resume()


def test_brokers_that_are_away(
    tmp_path: Path, proxied_kafka: ProxiedKafka, minio: S3Address, bucket: BucketFactory, topic: TopicFactory,
    started: ExitStack,
) -> None:  # fmt: skip
    name = topic(1)
    worker = started.enter_context(Worker(tmp_path / "w", proxied_kafka.bootstrap_servers, minio, bucket(), name))
    until(lambda: worker.ready()[0] == 200, "ready")
    proxied_kafka.proxy.cut()
    until(lambda: worker.ready()[0] == 503, "not ready while no broker answers")
    assert worker.ready()[1]["why_not"][0].startswith("broker: ")
    assert worker.get("/livez")[0] == 200
    proxied_kafka.proxy.restore()
    until(lambda: worker.ready()[0] == 200, "ready again")


def test_a_bucket_that_is_gone_is_named(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory, topic: TopicFactory,
    started: ExitStack,
) -> None:  # fmt: skip
    name, where = topic(1), bucket()
    worker = started.enter_context(Worker(tmp_path / "w", kafka.bootstrap_servers, minio, where, name))
    until(lambda: worker.ready()[0] == 200, "ready")
    until(lambda: worker.status()["partitions"] and worker.status()["partitions"][0]["last_cutoff"], "it has sealed")
    minio.remove_bucket(where)
    until(lambda: worker.ready()[0] == 503, "not ready without the bucket")
    assert "missing_bucket" in worker.ready()[1]["why_not"][0]
    minio.make_bucket(where)
    until(lambda: worker.ready()[0] == 200, "ready again")
