"""Errors of S3 and boto, classified by what the operator does about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)

from consumer.domain.errors import HaltError, HaltReason, SinkError, TransientError, UnknownOutcomeError

CAUGHT: Final = (ClientError, BotoCoreError, urllib3.exceptions.HTTPError, OSError)
"""What a call through boto may raise."""

NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoAuthTokenError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
NEVER_SENT: Final = (
    *NO_CREDENTIALS,
    ConnectTimeoutError,
    EndpointConnectionError,
    ParamValidationError,
    ProxyConnectionError,
)
"""No byte of the request reached a store: a write had no effect."""
REFUSED_CODES: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "InvalidTokenId"}
)
"""Refused credentials that do not answer 401 or 403."""
LOST_STATUS: Final = frozenset({500, 502, 504})
"""After these the write may have happened: they come from a backend, or from a proxy that lost the answer."""

OTHER_BYTES: Final = frozenset(
    {"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "InvalidDigest", "ChecksumMismatch"}
)
"""The store compared a checksum with the bytes that came, and they were others."""
OTHER_BYTES_SAID: Final = re.compile(r"checksum-\w+ header is invalid", re.IGNORECASE)
"""The same from stores that have no code of their own for it."""

UNVERIFIED: Final = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's error for an unknown certificate authority: no request was sent."""
WANTS_CHECKSUM: Final = re.compile(r"checksum|content-?md5", re.IGNORECASE)
"""Part of the error of a store that requires checksums: by default a bucket with Object Lock."""

HTTP_NOT_FOUND, HTTP_CONFLICT, HTTP_BAD = 404, 409, 400
UNMET: Final = frozenset({412, 304})
"""A condition did not hold. 304 is for a reader's condition; one store also answers a writer's with it."""
HTTP_UNKNOWN_CALL = 501
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REDIRECT_ADVICE: Final = "Set destination.endpoint_url and region to those of the store itself"


class MissingKeyError(SinkError):
    """No object of that key. Never leaves the store."""


class UnmetError(SinkError):
    """The condition of a write did not hold. Handled inside the store."""


class OtherBytesError(TransientError):
    """The store refused the received bytes as different from the announced ones. It stored nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request: its name in boto and the permission it needs. `writes`: a lost answer matters."""

    name: str
    permission: str
    writes: bool = False


PUT = Call("PutObject", "s3:PutObject", writes=True)
CREATE = Call("CreateMultipartUpload", "s3:PutObject")
PART = Call("UploadPart", "s3:PutObject")
COMPLETE = Call("CompleteMultipartUpload", "s3:PutObject", writes=True)
ABORT = Call("AbortMultipartUpload", "s3:AbortMultipartUpload")
COPY = Call("CopyObject", "s3:GetObject and s3:PutObject")
PART_COPY = Call("UploadPartCopy", "s3:GetObject and s3:PutObject")
GET = Call("GetObject", "s3:GetObject (and s3:ListBucket: without it a missing object is refused too)")
GET_VERSION = Call("GetObject", "s3:GetObjectVersion")
HEAD = Call("HeadObject", "s3:GetObject (and s3:ListBucket: without it a missing object is refused too)")
LIST = Call("ListObjectsV2", "s3:ListBucket")


def explain(error: Exception, call: Call, where: str) -> SinkError:
    """The error to raise for `error`, which `call` met at `where` (an object's URL)."""
    if isinstance(error, ClientError):
        return _answered(error, call, where)
    if isinstance(error, NO_CREDENTIALS):
        return unprepared(error, call, where)
    if isinstance(error, SSLError) and UNVERIFIED in str(error):
        return TransientError(
            f"{where}: {call.name} did not reach the store: {error}. If the store's certificate is signed by a private"
            " authority, set destination.ca_bundle to its file"
        )
    if call.writes and not isinstance(error, NEVER_SENT):
        return UnknownOutcomeError(f"{where}: no response to {call.name}, which may have taken effect: {error}")
    return TransientError(f"{where}: {call.name} did not reach the store: {error}")


def unprepared(error: Exception, call: Call, where: str) -> TransientError:
    """The error for missing credentials: nothing was sent."""
    return TransientError(
        f"{where}: no usable AWS credentials for {call.name}: {error}. They are looked up again with each attempt"
    )


def credentials_refused(error: Exception) -> bool:
    """Whether other credentials might be taken: then they are read again."""
    if isinstance(error, ClientError):
        status, code = _status(error), _code(error)
        bare = status == HTTP_BAD and error.operation_name == HEAD.name  # no body: it may be an expired token
        return status in {401, 403} or code in REFUSED_CODES or bare or _of_sts(error)
    return isinstance(error, NO_CREDENTIALS)


def _answered(error: ClientError, call: Call, where: str) -> SinkError:
    status, code = _status(error), _code(error)
    if code == "NoSuchBucket":
        return HaltError(
            HaltReason.MISSING_BUCKET,
            f"{where}: the bucket does not exist: create it, or correct the destination's url, region or endpoint_url",
        )
    if credentials_refused(error):
        return _refused(error, call, where)
    if status in UNMET or (call.writes and code == "NoSuchKey"):  # If-Match where nothing is
        return UnmetError(where)
    if code == "NoSuchKey" or (call is HEAD and status == HTTP_NOT_FOUND):
        return MissingKeyError(where)
    if code in OTHER_BYTES or (status == HTTP_BAD and OTHER_BYTES_SAID.search(_said(error))):
        return OtherBytesError(
            f"{where}: {call.name} was refused: the store received other bytes than were sent: {_said(error)}"
        )
    return _failed(error, call, where)


def _failed(error: ClientError, call: Call, where: str) -> SinkError:
    status, said = _status(error), _said(error)
    if call.writes and status == HTTP_UNKNOWN_CALL:
        return HaltError(
            HaltReason.UNSAFE_STORE,
            f"{where}: the store does not support {call.name} as requested: {said}. If it lacks the condition, two"
            " workers could overwrite each other: use another store. If it lacks encryption or the storage class, leave"
            " these settings empty",
        )
    if status in REDIRECTS:
        return TransientError(f"{where}: {call.name} was redirected{_target(error)}: {said}. {REDIRECT_ADVICE}")
    if call.writes and status in LOST_STATUS:
        return UnknownOutcomeError(f"{where}: {call.name} failed and may have taken effect: {said}")
    if status == HTTP_CONFLICT:
        return TransientError(f"{where}: {call.name} collided with another write: {said}")
    if call.writes and status == HTTP_BAD and WANTS_CHECKSUM.search(said):
        return TransientError(
            f"{where}: {call.name} failed: {said}. If the store requires checksums, as a bucket with Object Lock does,"
            ' set destination.checksums = "when_supported"'
        )
    return TransientError(f"{where}: {call.name} failed: {said}")


def _refused(error: ClientError, call: Call, where: str) -> TransientError:
    if _code(error) == "RequestTimeTooSkewed":
        return TransientError(f"{where}: {_said(error)}. Correct this machine's clock")
    if _of_sts(error):
        return TransientError(
            f"{where}: credentials could not be obtained: {error.operation_name} answered {_said(error)}."
            " Check role_arn, its trust policy and the credentials it is assumed with; they are read again with each"
            " attempt"
        )
    return TransientError(
        f"{where}: {call.name} was refused: {_said(error)}. Allow {call.permission}, with aws:kms also the use of"
        " the key, or fix the credentials: they are read again with each attempt, those in the settings only at start"
    )


def _target(error: ClientError) -> str:
    """The host that a redirect leads to: the rest of the address may be secret."""
    given = urlsplit(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("location", ""))
    return f" to {given.scheme}://{given.netloc.rpartition('@')[2]}" if given.netloc else ""


def _of_sts(error: ClientError) -> bool:
    return error.operation_name.startswith(("AssumeRole", "GetRoleCredentials", "GetSessionToken"))


def _said(error: ClientError) -> str:
    text = error.response.get("Error", {}).get("Message", "") or "no reason given"
    return f"{_status(error)} {_code(error)}: {text}"


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
