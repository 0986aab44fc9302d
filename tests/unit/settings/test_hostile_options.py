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
