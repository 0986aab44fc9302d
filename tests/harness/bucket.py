"""A destination's folder as anybody can read it."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import urllib3
import zstandard
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.services.s3 import S3Address

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

META = "x-amz-meta-"
PROOF = "_checks/conditional-writes.json"


@cache
def _connections() -> urllib3.PoolManager:
    """To all stores, for all threads."""
    return urllib3.PoolManager(maxsize=16, timeout=10, retries=False)


@dataclass(frozen=True, slots=True)
class Object:
    """One object: its stored body, and its metadata."""

    key: str
    body: bytes
    metadata: Mapping[str, str]

    @property
    def content(self) -> bytes:
        """The body without compression."""
        if self.key.endswith(".gz"):
            return gzip.decompress(self.body)
        if self.key.endswith(".zst"):
            return zstandard.ZstdDecompressor().decompressobj().decompress(self.body)
        return self.body

    @property
    def sha256(self) -> str:
        """Of the stored body."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Folder:
    """`prefix` in a bucket: keys are relative to it, as in the contract."""

    address: S3Address
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """As settings name it."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def client(self) -> "S3Client":
        """A client; any thread may use it."""
        return self.address.client()

    def listing(self, under: str = "") -> dict[str, tuple[str, str]]:
        """ETag and time of each object, by key."""
        found = {}
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/{under}"
        )
        for page in pages:
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(f"{self.prefix}/")
                found[key] = (item["ETag"], item["LastModified"].isoformat())
        return found

    def keys(self, under: str = "") -> list[str]:
        """All keys, sorted."""
        return sorted(self.listing(under))

    def read(self, key: str) -> Object:
        """One object."""
        return self._read(self.client, key)

    def read_all(self, keys: Iterable[str]) -> dict[str, Object]:
        """Many, by key."""
        client = self.client
        with ThreadPoolExecutor(8) as pool:
            return {found.key: found for found in pool.map(lambda key: self._read(client, key), keys)}

    def document(self, key: str) -> Any:
        """One JSON object."""
        return json.loads(self.read(key).body)

    def records(self, topic: str, partition: int) -> list[Any]:
        """A partition's seal log."""
        keys = self.keys(f"_seals/{topic}/{partition}/")
        found = self.read_all(keys)
        return [json.loads(found[key].body) for key in keys]

    def put(self, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Write over whatever stands there."""
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body, Metadata=metadata or {})

    def prove(self, endpoint: str) -> None:
        """Say that conditional writes were tried here by way of this endpoint: no worker races for seconds then."""
        now = self.client.list_buckets()["ResponseMetadata"]["HTTPHeaders"]["date"]
        place = f"{self.url}?endpoint={endpoint}"
        said = {"version": 1, "store": place, "checked_at": parsedate_to_datetime(now).isoformat()}
        self.put(PROOF, json.dumps(said).encode())

    def delete(self, key: str) -> None:
        """Remove it."""
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")

    def _read(self, client: "S3Client", key: str) -> Object:
        """Most of what a client's own call costs is not the request: judges read thousands of objects."""
        url = f"{self.address.endpoint_url}{quote(f'/{self.bucket}/{self.prefix}/{key}', safe='/-_.~')}"
        request = AWSRequest("GET", url)
        keys = Credentials(self.address.access_key, self.address.secret_key)
        S3SigV4Auth(keys, "s3", self.address.region).add_auth(request)
        found = _connections().request("GET", url, headers=dict(request.headers.items()), decode_content=False)
        if found.status == HTTPStatus.OK:
            metadata = {k.lower().removeprefix(META): v for k, v in found.headers.items() if k.lower().startswith(META)}
            return Object(key, found.data, metadata)
        answer = client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")
        return Object(key, answer["Body"].read(), answer["Metadata"])
