"""Kafka, MinIO and a schema registry: those that the environment names, else started here for the length of the run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.kafka import STEADY, Kafka, KafkaAddress
from tests.services.registry import Registry
from tests.services.s3 import REGION, MinIO, S3Address

FROM_ENVIRONMENT = ("KAFKA_BOOTSTRAP_SERVERS", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
REGISTRY = "SCHEMA_REGISTRY_URL"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are."""

    kafka: KafkaAddress
    store: S3Address
    registry: str = ""


@contextmanager
def servers(*, registry: bool = False) -> Iterator[Servers]:
    """The servers. `python -m tests.services up` prints the variables that name running ones.

    A registry takes a minute to start: it is started on demand.
    """
    if all(os.environ.get(name) for name in FROM_ENVIRONMENT):
        brokers, endpoint_url, key, secret = (os.environ[name] for name in FROM_ENVIRONMENT)
        region = os.environ.get("AWS_DEFAULT_REGION", REGION)
        yield Servers(KafkaAddress(brokers), S3Address(endpoint_url, key, secret, region), os.environ.get(REGISTRY, ""))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="adapty-sink-bench-")))
        kafka = stack.enter_context(Kafka(folder / "kafka", jvm=STEADY))
        store_server = stack.enter_context(MinIO(folder / "minio"))
        url = stack.enter_context(Registry(folder / "registry")).url if registry else ""
        yield Servers(kafka.address, store_server.address, url)
