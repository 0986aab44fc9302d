"""The clients of a destination: whose credentials they use."""

from __future__ import annotations

import io
from typing import Any

import botocore.credentials
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from urllib3.response import HTTPResponse

from consumer.store.body import BLOCK
from consumer.store.body_reader import BodyReader
from consumer.store.port import BytesBody
from consumer.store.s3_clients import S3Access, S3Options

ROLE = "arn:aws:iam::123456789012:role/sink"


@pytest.mark.parametrize(
    ("external_id", "asked"),
    [
        ("", {"RoleSessionName": "adapty-sink"}),
        ("sink-7f3a", {"RoleSessionName": "adapty-sink", "ExternalId": "sink-7f3a"}),
    ],
)
def test_a_role_is_asked_for_with_its_external_id(
    monkeypatch: pytest.MonkeyPatch, external_id: str, asked: dict[str, str]
) -> None:
    """A trust policy may want one, against deputies that are confused."""
    seen: list[dict[str, str]] = []

    class Fetcher:
        def __init__(self, *, extra_args: dict[str, str], role_arn: str, **_: Any) -> None:
            assert role_arn == ROLE
            seen.append(extra_args)

        def fetch_credentials(self) -> dict[str, str]:
            raise AssertionError("nothing is asked before the first request")

    monkeypatch.setattr(botocore.credentials, "AssumeRoleCredentialFetcher", Fetcher)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    S3Access(S3Options(bucket="b", role_arn=ROLE, external_id=external_id)).clients()
    assert seen == [asked]


@pytest.mark.parametrize("which", ["once", "bound"])
def test_a_large_body_reaches_the_connection_in_large_blocks(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = getattr(S3Access(S3Options(bucket="b", checksums="when_required")).clients(), which)
    data = bytes(BLOCK) + b"end"
    sent: list[int] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body: Any = request.body
        sent.extend(map(len, body))
        return AWSResponse(request.url, 200, HTTPHeaders(), HTTPResponse(io.BytesIO(), preload_content=False))

    client.meta.events.register_last("before-send.s3.PutObject", answer)
    with BodyReader(BytesBody(data), checked=False) as reader:
        client.put_object(Bucket="b", Key="k", Body=reader)
    assert sent == [BLOCK, 3]
