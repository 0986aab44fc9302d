"""Object stores that speak S3: MinIO, and versitygw whose conditional writes lose races."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.services import fetch, ports
from tests.services.process import Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
_USER, _PASSWORD = "sink-tests", "sink-tests-secret"  # of a store on loopback, for one run


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where a store is, and who may write there."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = REGION

    def client(self) -> "S3Client":
        """A client that fails fast and never retries, the same one each time: any thread may use it."""
        return _client(self)

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        self.client().create_bucket(Bucket=name)

    def remove_bucket(self, name: str) -> None:
        """Delete a bucket and all that it holds, what a worker writes into it meanwhile as well."""
        client, tries = self.client(), 10
        for left in reversed(range(tries)):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
                for item in page.get("Contents", []):
                    client.delete_object(Bucket=name, Key=item["Key"])
            try:
                client.delete_bucket(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty" or not left:
                    raise
            else:
                return


@lru_cache
def _client(address: S3Address) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=address.endpoint_url,
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        region_name=address.region,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=10,
            retries={"total_max_attempts": 1},
        ),
    )


class S3Server(Server):
    """What the stores have in common: one port, one user, one folder of data."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        super().__init__(folder)
        self._port = ports.free()
        self.data = data or folder / "data"
        self.data.mkdir(exist_ok=True)

    @property
    def address(self) -> S3Address:
        """Where it is, for those who need no process."""
        return S3Address(f"http://{self.upstream}", _USER, _PASSWORD)

    @property
    def upstream(self) -> str:
        """Host and port."""
        return f"{ports.HOST}:{self._port}"

    @property
    def endpoint_url(self) -> str:
        """Its URL."""
        return self.address.endpoint_url

    @property
    def access_key(self) -> str:
        """Its only user."""
        return _USER

    @property
    def secret_key(self) -> str:
        """That user's secret."""
        return _PASSWORD

    def client(self) -> "S3Client":
        """A client that fails fast and never retries."""
        return self.address.client()

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        self.address.make_bucket(name)

    def is_ready(self) -> bool:
        """Whether it lists its buckets."""
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


class MinIO(S3Server):
    """MinIO: its conditional writes hold in races."""

    name: ClassVar[str] = "minio"

    def command(self) -> list[str]:
        """One node, one folder."""
        return [str(fetch.minio()), "server", "--quiet", "--address", self.upstream, str(self.data)]

    def environment(self) -> dict[str, str]:
        """The user, and neither a word to the outside nor a file in the home folder."""
        return {
            "HOME": str(self.folder),
            "MINIO_ROOT_USER": _USER,
            "MINIO_ROOT_PASSWORD": _PASSWORD,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CONFIG_ENV_FILE": "",
            "GOGC": "200",  # it makes much garbage
            "GOMEMLIMIT": "768MiB",
        }


class VersityGW(S3Server):
    """versitygw on a folder: answers 412 in sequence, yet lets several writers win a race. `check` must refuse it."""

    name: ClassVar[str] = "versitygw"

    def command(self) -> list[str]:
        """The gateway over a folder."""
        return [str(fetch.versitygw()), "--port", self.upstream, "--quiet", "posix", str(self.data)]

    def environment(self) -> dict[str, str]:
        """The user."""
        return {"ROOT_ACCESS_KEY": _USER, "ROOT_SECRET_KEY": _PASSWORD}


def unique_bucket(prefix: str = "bucket") -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid4().hex[:12]}"
