"""Tokens for MSK by IAM: what the client library is given, and when it asks again."""

from __future__ import annotations

import base64
import sys
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka.admin import AdminClient

from consumer.domain.errors import UsageError
from consumer.settings.model import KafkaSettings
from consumer.source import iam_tokens
from consumer.source.client_config import admin_config, consumer_config, token_trouble
from consumer.source.iam_tokens import NO_TOKEN, IamTokens, sign, tokens_of

KEY = "AKIAPLANTED"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def settings(region: str = "eu-west-1") -> KafkaSettings:
    return KafkaSettings(bootstrap_servers="127.0.0.1:1", auth="msk-iam", region=region)


@pytest.mark.usefixtures("credentials")
def test_a_token_is_a_signed_url_of_the_region_and_says_when_it_ends() -> None:
    token, expires = IamTokens("eu-west-1")("")
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert url.hostname == "kafka.eu-west-1.amazonaws.com"
    query = parse_qs(url.query)
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith(KEY)
    assert 800 < expires - time.time() <= 900, "in seconds, as the client wants it"


@pytest.mark.usefixtures("nobody")
def test_without_credentials_the_brokers_refuse_and_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = IamTokens("eu-west-1")
    token, expires = tokens("")
    assert token == NO_TOKEN
    assert 0 < expires - time.time() <= iam_tokens.TRY_AGAIN_SECONDS
    assert "it finds no credentials" in tokens.trouble
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    assert tokens("")[0] != NO_TOKEN
    assert tokens.trouble == ""


def test_every_client_gets_the_same_source() -> None:
    found = settings()
    for config in (consumer_config(found), admin_config(found)):
        assert (config["security.protocol"], config["sasl.mechanism"]) == ("SASL_SSL", "OAUTHBEARER")
        assert config["oauth_cb"] is tokens_of("eu-west-1")
    assert "oauth_cb" not in admin_config(KafkaSettings(bootstrap_servers="127.0.0.1:1"))


def test_the_client_asks_again_before_a_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own accord, from a thread of its own: nobody polls it meanwhile."""
    made: list[float] = []
    again = threading.Event()

    def short(_region: str) -> tuple[str, float]:
        made.append(time.time())
        if len(made) > 1:
            again.set()
        return "token", time.time() + 2

    monkeypatch.setattr(iam_tokens, "sign", short)
    client = AdminClient({**admin_config(settings("test-renewal")), "log_level": 0})
    assert again.wait(20)
    assert made[1] - made[0] < 2.5
    assert token_trouble(settings("test-renewal")) == ""
    assert client is not None


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(UsageError, match=r"adapty-sink\[msk-iam\]"):
        sign("eu-west-1")
