"""A folder of a bucket: keys, parameters of puts, and single requests with their errors explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from consumer.domain.errors import TransientError, UnknownOutcomeError
from consumer.store import s3_errors
from consumer.store.compression import content_type
from consumer.store.port import Absent, Condition
from consumer.store.s3_clients import S3Access, S3Options
from consumer.store.s3_errors import Call

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


class S3Bucket:
    """One folder of one bucket. Any thread may call; a call ends within a few timeouts of the options."""

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self.access = S3Access(options)
        self.prefix = f"{options.prefix.strip('/')}/" if options.prefix.strip("/") else ""

    def call(self, call: Call, key: str, do: Callable[[S3Client], T], *, bound: bool = False) -> T:
        """Send one request. `bound`: the signature covers the body, too."""
        try:
            clients = self.access.clients()
        except s3_errors.CAUGHT as error:
            raise s3_errors.unprepared(error, call, self.where(key)) from error
        try:
            return do(clients.bound if bound else clients.once if call.writes else clients.again)
        except s3_errors.CAUGHT as error:
            if s3_errors.credentials_refused(error):
                self.access.renew(clients)
            raise s3_errors.explain(error, call, self.where(key)) from error

    def at(self, key: str) -> dict[str, Any]:
        """The object, as a request names it."""
        return {"Bucket": self.options.bucket, "Key": self.prefix + key}

    def where(self, key: str) -> str:
        """The object, as messages name it."""
        return f"s3://{self.options.bucket}/{self.prefix}{key}"

    def about(self, key: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        """The object's key, metadata, and storage parameters."""
        wanted = {
            "Metadata": dict(metadata or {}),
            "ContentType": content_type(key),
            "ServerSideEncryption": self.options.server_side_encryption,
            "SSEKMSKeyId": self.options.kms_key_id,
            "StorageClass": self.options.storage_class,
        }
        return self.at(key) | {name: value for name, value in wanted.items() if value}


def answered(answer: Mapping[str, Any], name: str, call: Call, where: str) -> Any:
    """A field of a response that says it was a success.

    Raises TransientError if it is not there, UnknownOutcomeError for a write. Proxies and young stores answer so.
    """
    value = answer.get(name)
    if value is not None and value != "":
        return value
    if call.writes:
        raise UnknownOutcomeError(f"{where}: the response to {call.name} has no {name}, so it may have taken effect")
    raise TransientError(f"{where}: the response to {call.name} has no {name}")


def condition_headers(condition: Condition) -> dict[str, Any]:
    """The condition as a request has it."""
    return {"IfNoneMatch": "*"} if isinstance(condition, Absent) else {"IfMatch": condition.etag}
