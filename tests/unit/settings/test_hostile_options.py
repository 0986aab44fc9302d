"""Options of client libraries: what may not run, what would fall over, what a vendor has users write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consumer.domain.errors import UsageError
from consumer.settings.load import settings_from
from consumer.settings.model import Settings


def load(
    folder: Path, *, kafka: Mapping[str, Any] | None = None, registry: Mapping[str, Any] | None = None, topic: str = "t"
) -> Settings:
    tables: dict[str, Any] = {
        "kafka": {"bootstrap_servers": "localhost:9092", "options": dict(kafka or {})},
        "schema_registry": {"url": "http://localhost:8081", "options": dict(registry or {})},
        "destination": {"url": "file:///var/out"},
        "streams": {"events": {"topic": topic}},
    }
    return settings_from(tables, folder, {}, "sink.toml")


@pytest.mark.parametrize(
    "name",
    ["plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.engine.id", "ssl.providers",
     "oauth_cb", "default.topic.config", "logger", "on_commit"],
)  # fmt: skip
def test_what_runs_code_or_is_no_setting_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"kafka\.options.*{name}.*cannot be set"):
        load(tmp_path, kafka={name: "x"})


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"basic.auth.user.info": "justuser"}, "basic.auth.user.info"),
        ({"ssl.ca.location": "/nowhere/ca.pem"}, "ssl.ca.location"),
        ({"timeout": "ten"}, "timeout"),
        ({"max.retries": True}, "max.retries"),
        ({"basic.auth.credentials.source": "SASL_INHERIT"}, "basic.auth.credentials.source"),
        ({"basic.auth.credentials.source": "USER_INFO"}, "basic.auth.user.info"),
        ({"ssl.key.password": "x"}, "ssl.certificate.location"),
        ({"timeuot": 5}, "timeuot"),
    ],
)
def test_registry_options_that_its_client_would_fall_over(tmp_path: Path, options: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, registry=options)
    assert "schema_registry.options" in str(caught.value)
    assert key in str(caught.value)
    assert "justuser" not in str(caught.value)


def test_the_vendors_own_lines_are_taken(tmp_path: Path) -> None:
    options = {"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": "reader:secret", "timeout": "7"}
    found = load(tmp_path, registry=options).schema_registry
    assert found is not None
    assert found.plain_options() == {"basic.auth.user.info": "reader:secret", "timeout": 7.0}


def test_a_topic_whose_keys_fit_no_store(tmp_path: Path) -> None:
    assert load(tmp_path, topic="t" * 200).streams[0].topic == "t" * 200
    with pytest.raises(UsageError, match=r"streams\.events\.topic.*200"):
        load(tmp_path, topic="t" * 201)


BEARER = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}


def test_bearer_tokens_need_a_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sasl\.mechanism.*has no source of tokens.*msk-iam"):
        load(tmp_path, kafka=BEARER)
    load(tmp_path, kafka={**BEARER, "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.client.id": "x"})
    load(tmp_path, kafka={**BEARER, "enable.sasl.oauthbearer.unsecure.jwt": True})


MSK = "b-1.sink.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9098,b-2.sink.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9098"


def iam(servers: str = MSK, region: str = "", environ: Mapping[str, str] | None = None, **kafka: Any) -> Settings:
    tables: dict[str, Any] = {
        "kafka": {"bootstrap_servers": servers, "auth": "msk-iam", **kafka},
        "destination": {"url": "s3://bucket", "region": region},
        "streams": {"events": {"topic": "t"}},
    }
    return settings_from(tables, Path("/etc"), environ or {}, "sink.toml")


def test_the_region_of_the_brokers() -> None:
    """What is written, else what their names say, else the bucket's, else the environment's."""
    assert iam(region="eu-central-1", environ={"AWS_REGION": "us-east-2"}).kafka.region == "eu-west-1"
    assert iam(MSK, region="eu-central-1").model_copy().kafka.region == "eu-west-1"
    assert iam("boot-x1.c3.kafka-serverless.ap-south-1.amazonaws.com:9098").kafka.region == "ap-south-1"
    private = "kafka.internal:9098"
    assert iam(private, region="eu-central-1", environ={"AWS_REGION": "us-east-2"}).kafka.region == "eu-central-1"
    assert iam(private, environ={"AWS_REGION": "us-east-2"}).kafka.region == "us-east-2"
    written = settings_from(
        {
            "kafka": {"bootstrap_servers": MSK, "auth": "msk-iam", "region": "us-west-2"},
            "destination": {"url": "s3://bucket"},
            "streams": {"events": {"topic": "t"}},
        },
        Path("/etc"),
        {},
        "sink.toml",
    )
    assert written.kafka.region == "us-west-2"
    with pytest.raises(UsageError, match=r"kafka\.region: is not known"):
        iam(private)


def test_what_comes_with_iam_is_not_written_beside_it() -> None:
    options = {"sasl.mechanism": "SCRAM-SHA-512", "security.protocol": "SASL_PLAINTEXT", "ssl.ca.location": "/ca.pem"}
    with pytest.raises(UsageError) as caught:
        iam(options=options)
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        'kafka.options."sasl.mechanism": is set by kafka.auth = "msk-iam"; leave it out',
        'kafka.options."security.protocol": is "SASL_SSL" with kafka.auth = "msk-iam"; leave it out',
    ]


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.settings.kafka.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r'kafka\.auth: "msk-iam" needs .*pip install "adapty-sink\[msk-iam\]"'):
        iam()
