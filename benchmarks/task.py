"""What one contender is told: where the records are, and where its files go."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from tests.services.s3 import S3Address

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one contender. `folder` is its own, on the local disk; `prefix` its own, in the bucket."""

    brokers: str
    topic: str
    records: int
    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    prefix: str
    folder: str
    through: str
    format: str = "avro"
    registry: str = ""

    @classmethod
    def from_arguments(cls) -> Self:
        """In a process of its own."""
        return cls(**json.loads(sys.argv[1]))

    def as_argument(self) -> str:
        """For `from_arguments`."""
        return json.dumps(asdict(self))

    @property
    def home(self) -> Path:
        """The local folder."""
        return Path(self.folder)

    @property
    def group(self) -> str:
        """A consumer group that nobody has used."""
        return f"bench-{uuid4().hex[:12]}"

    @property
    def store(self) -> S3Address:
        """The object store."""
        return S3Address(self.endpoint_url, self.access_key, self.secret_key)

    def client(self) -> S3Client:
        """A client for it."""
        return self.store.client()
