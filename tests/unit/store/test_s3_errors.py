"""What boto raises, by what the operator does about it."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)

from consumer.domain.errors import HaltError, TransientError, UnknownOutcomeError
from consumer.store.s3_errors import (
    ABORT,
    COMPLETE,
    GET,
    HEAD,
    LIST,
    PART,
    PUT,
    Call,
    MissingKeyError,
    OtherBytesError,
    UnmetError,
    credentials_refused,
    explain,
)

URL = "http://127.0.0.1:9000"


def answer(status: int, code: str, operation: str = "", message: str = "") -> ClientError:
    said: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, operation)


@pytest.mark.parametrize("call", [PUT, COMPLETE])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EndpointConnectionError(endpoint_url=URL), TransientError),
        (ConnectTimeoutError(endpoint_url=URL), TransientError),
        (NoCredentialsError(), TransientError),
        (ReadTimeoutError(endpoint_url=URL), UnknownOutcomeError),
        (ConnectionClosedError(endpoint_url=URL), UnknownOutcomeError),
        (HTTPClientError(error="broken pipe"), UnknownOutcomeError),
        (OSError("broken pipe"), UnknownOutcomeError),
        (answer(412, "PreconditionFailed"), UnmetError),
        (answer(304, "304"), UnmetError),
        (answer(409, "ConditionalRequestConflict"), TransientError),
        (answer(501, "NotImplemented"), HaltError),
        (answer(404, "NoSuchBucket"), HaltError),
        (answer(404, "NoSuchUpload"), TransientError),
        (answer(400, "EntityTooLarge"), TransientError),
    ],
)
def test_writes(error: Exception, kind: type[Exception], call: Call) -> None:
    assert type(explain(error, call, "s3://b/k")) is kind


@pytest.mark.parametrize("call", [GET, HEAD, LIST, PART, ABORT])
@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url=URL),
        ConnectionClosedError(endpoint_url=URL),
        answer(500, "InternalError"),
        answer(503, "SlowDown"),
        answer(501, "NotImplemented"),
    ],
)
def test_what_changes_nothing_is_never_of_unknown_outcome(error: Exception, call: Call) -> None:
    assert type(explain(error, call, "s3://b/k")) is TransientError


@pytest.mark.parametrize("call", [PUT, COMPLETE])
def test_a_replacement_of_what_is_gone_is_unmet(call: Call) -> None:
    assert type(explain(answer(404, "NoSuchKey"), call, "s3://b/k")) is UnmetError


@pytest.mark.parametrize(("error", "call"), [(answer(404, "NoSuchKey"), GET), (answer(404, "404"), HEAD)])
def test_missing_objects(error: ClientError, call: Call) -> None:
    assert type(explain(error, call, "s3://b/k")) is MissingKeyError


@pytest.mark.parametrize(
    "error",
    [
        answer(403, "AccessDenied"),
        answer(403, "InvalidAccessKeyId"),
        answer(403, "403", "HeadObject"),
        answer(401, "Unauthorized"),
        answer(400, "ExpiredToken"),
        answer(400, "InvalidToken"),
        answer(400, "400", "HeadObject"),
        answer(400, "ValidationError", "AssumeRole"),
        answer(503, "Unavailable", "AssumeRoleWithWebIdentity"),
        NoCredentialsError(),
        ProfileNotFound(profile="sink"),
        CredentialRetrievalError(provider="iam", error_msg="no answer"),
    ],
)
def test_refused_credentials_are_waited_for_and_read_again(error: Exception) -> None:
    assert credentials_refused(error)
    for call in (PUT, HEAD, LIST):
        assert type(explain(error, call, "s3://b/k")) is TransientError


@pytest.mark.parametrize("error", [answer(400, "BadDigest", "PutObject"), answer(404, "404", "HeadObject"), OSError()])
def test_other_errors_do_not_speak_of_credentials(error: Exception) -> None:
    assert not credentials_refused(error)


def test_a_store_that_takes_nothing_without_a_checksum_is_told_of_the_setting() -> None:
    said = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
    error = explain(answer(400, "InvalidRequest", "PutObject", said), PUT, "s3://b/k")
    assert type(error) is TransientError
    assert 'set destination.checksums = "when_supported"' in str(error)
    assert "checksums" not in str(explain(answer(400, "InvalidRequest", "PutObject", "no"), PUT, "s3://b/k"))


def test_a_wrong_checksum_is_known_by_what_is_said_where_there_is_no_code_for_it() -> None:
    """As Adobe's s3mock does."""
    said = "Value for x-amz-checksum-sha256 header is invalid."
    assert type(explain(answer(400, "BadRequest", "PutObject", said), PUT, "s3://b/k")) is OtherBytesError


def test_an_authority_that_is_not_known_is_told_of_the_setting() -> None:
    """Nothing was sent: a write had no effect."""
    why = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain"
    error = explain(SSLError(endpoint_url="https://minio:9000/b/k", error=OSError(why)), PUT, "s3://b/k")
    assert type(error) is TransientError
    assert "destination.ca_bundle" in str(error)
    cut = SSLError(endpoint_url="https://minio:9000/b/k", error=OSError("EOF occurred in violation of protocol"))
    assert isinstance(explain(cut, PUT, "s3://b/k"), UnknownOutcomeError)


def test_messages_say_what_to_allow() -> None:
    text = str(explain(answer(403, "AccessDenied", "PutObject", "Access Denied."), PUT, "s3://b/k"))
    assert text.startswith("s3://b/k: PutObject was refused: 403 AccessDenied: Access Denied.. Allow s3:PutObject")
    assert "s3:ListBucket" in str(explain(answer(403, "AccessDenied"), LIST, "s3://b/"))
    assert "clock" in str(explain(answer(403, "RequestTimeTooSkewed"), PUT, "s3://b/k"))
    assert "role_arn" in str(explain(answer(403, "AccessDenied", "AssumeRole"), PUT, "s3://b/k"))
    assert "no reason given" in str(explain(answer(403, "403", "HeadObject"), HEAD, "s3://b/k"))
