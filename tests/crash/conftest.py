"""Worlds for rough tests: a store behind a gate of the test's own, topics and a folder of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import BucketFactory
from tests.harness.gate import Gate, gate
from tests.harness.world import World, closing
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address


@pytest.fixture
def store_gate(minio: S3Address) -> Iterator[Gate]:
    with gate(minio.endpoint_url.removeprefix("http://")) as made:
        yield made


@pytest.fixture
def world(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory, store_gate: Gate
) -> Iterator[World]:
    """Its workers reach the store through `store_gate`."""
    with closing(World(tmp_path / "world", kafka, minio, bucket(), endpoint=store_gate.url)) as made:
        yield made


@pytest.fixture
def worlds(tmp_path: Path, minio: S3Address, bucket: BucketFactory) -> Iterator[Callable[..., World]]:
    """Make worlds over any Kafka or store."""
    with ExitStack() as stack:

        def make(kafka: KafkaAddress, store: S3Address = minio, **kwargs: str) -> World:
            place = kwargs.pop("bucket", "") or bucket()
            return stack.enter_context(closing(World(tmp_path / f"world-{place}", kafka, store, place, **kwargs)))  # type: ignore[arg-type]

        yield make
