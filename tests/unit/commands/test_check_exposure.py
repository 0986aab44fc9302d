"""What `check` says of secrets in plain text, peers that are not verified, and folders of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumer.commands.check.exposure import exposure_lines
from consumer.settings.load import settings_from

CASES: dict[str, tuple[dict[str, Any], tuple[str, str] | None]] = {
    "nothing": ({}, None),
    "TLS": ({"kafka.options": {"security.protocol": "SASL_SSL", "sasl.password": "secret"}}, None),
    "a password to the brokers": ({"kafka.options": {"security.protocol": "SASL_PLAINTEXT"}}, ("kafka", "plain text")),
    "no certificate": (
        {"kafka.options": {"enable.ssl.certificate.verification": False}},
        ("kafka", "verification"),
    ),
    "no name": ({"kafka.options": {"ssl.endpoint.identification.algorithm": "none"}}, ("kafka", "verification")),
    "a registry without a password": ({"schema_registry": {"url": "http://registry"}}, None),
    "a password to the registry": (
        {"schema_registry": {"url": "http://user:secret@registry"}},
        ("registry http://registry", "plain text"),
    ),
    "any registry": (
        {"schema_registry": {"url": "https://registry", "options": {"ssl.ca.location": False}}},
        ("registry https://registry", "verification"),
    ),
    "rows": (
        {"destination": {"url": "s3://bucket/f", "endpoint_url": "http://minio:9000"}},
        ("destination s3://bucket/f", "plain text"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_for_each(tmp_path: Path, name: str) -> None:
    changes, expected = CASES[name]
    tables: dict[str, Any] = {
        "kafka": {"bootstrap_servers": "localhost:9092", "options": changes.get("kafka.options", {})},
        "destination": changes.get("destination", {"url": f"file://{tmp_path}/out"}),
        "spool": {"directory": str(tmp_path / "spool")},
        "streams": {"events": {"topic": "t"}},
    }
    if "schema_registry" in changes:
        tables["schema_registry"] = changes["schema_registry"]
    lines = list(exposure_lines(settings_from(tables, tmp_path, {}, "sink.toml")))
    assert [(line.subject, line.check) for line in lines] == ([expected] if expected else [])
    assert not any("secret" in f"{line.detail} {line.todo}" for line in lines)


@pytest.mark.parametrize(("mode", "warned"), [(0o700, False), (0o777, True), (0o750, True)])
def test_a_spool_of_others(tmp_path: Path, mode: int, warned: bool) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    spool.chmod(mode)
    tables = {
        "kafka": {"bootstrap_servers": "localhost:9092"},
        "destination": {"url": f"file://{tmp_path}/out"},
        "spool": {"directory": str(spool)},
        "streams": {"events": {"topic": "t"}},
    }
    lines = list(exposure_lines(settings_from(tables, tmp_path, {}, "sink.toml")))
    assert [line.check for line in lines] == (["mode"] if warned else [])
