"""Access to S3: the options of a destination, credentials, and clients that are renewed when refused."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import botocore.credentials
import botocore.session
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from consumer.domain.errors import UsageError
from consumer.store.body_reader import BodyReader, InBlocks
from consumer.store.conditional_writes import barrier as starting_line

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
LEAST_PART = 5 * MIB
"""S3 does not accept smaller parts but the last one."""
PART = 32 * MIB
"""Of an upload in parts, where the threshold for that is not smaller."""
MOST_PARTS = 10_000
MOST_AT_ONCE = 5 * 1024 * MIB
"""S3 takes no larger object in one request."""
MOST_PART = 256 * MIB
"""A part is held in memory: more would be too much."""
READ_ATTEMPTS = 2
"""How often boto retries read requests within one call."""
SESSION_NAME = "adapty-sink"


@dataclass(frozen=True, slots=True)
class S3Options:
    """One S3 destination. Empty text means: from the standard AWS chain, or the store's default.

    `multipart_threshold` and `part_size` are bytes: a body above the threshold is uploaded in parts, each of which is
    held in memory. `checksums` "when_supported": large bodies are uploaded with their sha256 as a checksum for the
    store to verify. "when_required" is for stores without checksums: boto reads a body twice then, and signs its
    sha256. "auto" tests once whether the store verifies them.
    """

    bucket: str = ""
    prefix: str = ""
    region: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    server_side_encryption: str = ""
    kms_key_id: str = ""
    storage_class: str = ""
    role_arn: str = ""
    external_id: str = ""
    ca_bundle: str = ""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    checksums: Literal["auto", "when_supported", "when_required"] = "when_supported"
    multipart_threshold: int = 1024 * MIB
    part_size: int = PART
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    connections: int = 64

    def __post_init__(self) -> None:
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise UsageError("access_key_id and secret_access_key need each other: set both or neither")
        if self.endpoint_url:
            parts = urlsplit(self.endpoint_url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UsageError(f"endpoint_url must look like https://host:port, not {self.endpoint_url!r}")
        if self.part_size < LEAST_PART:
            raise UsageError(f"part_size must be at least {LEAST_PART} bytes: S3 does not accept smaller parts")
        if self.part_size > MOST_PART:
            raise UsageError(f"part_size must be at most {MOST_PART} bytes: a part is held in memory")
        if self.multipart_threshold > MOST_AT_ONCE:
            raise UsageError(
                f"multipart_threshold must be at most {MOST_AT_ONCE} bytes: S3 does not accept larger requests"
            )


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients over the same credentials: `once` never repeats a request, `again` does so for what is harmless.

    `bound` is `once` for bodies whose checksum is a signed header: their bytes need no signature of their own.
    """

    once: S3Client
    again: S3Client
    bound: S3Client


class S3Access:
    """The clients of one destination, made at the first call, and again after `renew`: rotated keys take effect.

    Temporary credentials (instance role, IRSA, an assumed role) refresh themselves before they expire.
    """

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._clients: Clients | None = None

    def clients(self) -> Clients:
        """The present clients."""
        with self._lock:
            if self._clients is None:
                self._clients = _connect(self._options)
            return self._clients

    def renew(self, refused: Clients) -> None:
        """Look for credentials again at the next call, as those of `refused` were not taken."""
        with self._lock:
            if self._clients is refused:
                self._clients = None


def _connect(options: S3Options) -> Clients:
    session = _session(options)
    region = options.region or session.region_name or "us-east-1"
    make = functools.partial(
        session.client,
        "s3",
        region_name=region,
        endpoint_url=options.endpoint_url or None,
        verify=options.ca_bundle or None,
    )
    clients = Clients(
        once=make(config=_config(options, 1)),
        again=make(config=_config(options, READ_ATTEMPTS)),
        bound=make(config=_config(options, 1, sign_payload=False)),
    )
    for client in (clients.once, clients.bound):
        client.meta.events.register("before-send.s3.PutObject", _send_blocks)
    clients.once.meta.events.register("before-send.s3.PutObject", _leave)
    clients.once.meta.events.register("before-send.s3.CompleteMultipartUpload", _cross)
    if options.endpoint_url:
        for client in (clients.once, clients.again, clients.bound):
            client.meta.events.register("before-call.s3.HeadBucket", _no_other_region)
    return clients


def _no_other_region(**_: object) -> None:
    """Boto asks where the bucket is after a redirect, and after that of this request too, up to Python's recursion."""
    raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")  # type: ignore[typeddict-item]


def _send_blocks(request: AWSPreparedRequest, **_: object) -> None:
    body: object = request.body
    if isinstance(body, BodyReader):
        request.body = InBlocks(body)  # type: ignore[assignment] # it takes whatever can be sent


def _leave(request: AWSPreparedRequest, **_: object) -> None:
    if starting_line.leave():
        del request.headers["Expect"]  # a store that takes writers one by one would make each wait a second


def _cross(**_: object) -> None:
    starting_line.cross()


def _session(options: S3Options) -> Session:
    if not options.role_arn:
        return _base_session(options)
    source = _base_session(options)
    session = botocore.session.Session()
    session.get_component("credential_provider").providers.insert(0, _AssumedRole(source, options))
    return Session(botocore_session=session)


def _base_session(options: S3Options) -> Session:
    return Session(
        aws_access_key_id=options.access_key_id or None, aws_secret_access_key=options.secret_access_key or None
    )


class _AssumedRole(botocore.credentials.CredentialProvider):
    """Credentials of `role_arn`, assumed with those of the source session and again before they expire."""

    METHOD = "adapty-sink-role"

    def __init__(self, source: Session, options: S3Options) -> None:
        super().__init__()
        self._source = source
        self._options = options

    def load(self) -> botocore.credentials.Credentials | None:
        credentials = self._source.get_credentials()
        if credentials is None:
            return None
        fetcher = botocore.credentials.AssumeRoleCredentialFetcher(
            client_creator=functools.partial(
                self._source.client,
                region_name=self._options.region or self._source.region_name or "us-east-1",
                config=_config(self._options, READ_ATTEMPTS),
            ),
            source_credentials=credentials,
            role_arn=self._options.role_arn,
            extra_args={
                "RoleSessionName": SESSION_NAME,
                **({"ExternalId": self._options.external_id} if self._options.external_id else {}),
            },
        )
        return botocore.credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)


def _config(options: S3Options, attempts: int, *, sign_payload: bool = True) -> Config:
    """`sign_payload`: whether to sign the payload as boto does by default, or never."""
    s3: Any = {"addressing_style": options.addressing_style}
    if not sign_payload:
        s3["payload_signing_enabled"] = False
    checksums = "when_required" if options.checksums == "auto" else options.checksums
    return Config(
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        max_pool_connections=options.connections,
        tcp_keepalive=True,
        s3=s3,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        user_agent_extra=SESSION_NAME,
    )
