"""Secrets in the settings are in no print of them, and nothing else is missing there."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.pretty import pretty_repr

from consumer.domain.errors import UsageError
from consumer.domain.redaction import (
    MASK,
    document_without_hidden,
    hide,
    is_secret_name,
    safe_echo,
    without_hidden,
    without_secrets,
    without_userinfo,
)
from consumer.settings.load import load_settings
from consumer.settings.masking import masked, secret_values
from consumer.settings.model import Settings

PLANTED = {
    name: f"planted-{name.lower()}-9f2c"
    for name in ("SASL", "KEY", "PEM", "JAAS", "OAUTH", "TOKEN", "PROXY", "USERINFO", "AWS", "OTHER_AWS", "CUSTOM")
}
TEXT = """
[kafka]
bootstrap_servers = "broker:9092"
[kafka.options]
"sasl.username" = "visible-user"
"sasl.password" = "${SASL}"
"ssl.key.password" = "${KEY}"
"ssl.key.pem" = "${PEM}"
"ssl.key.location" = "/visible/key.pem"
"sasl.jaas.config" = 'x required password="${JAAS}";'
"sasl.oauthbearer.config" = "${OAUTH}"
"my.secret.number" = 123456789
[schema_registry]
url = "https://visible-registry:${USERINFO}@registry:8081"
[schema_registry.options]
"bearer.auth.token" = "${TOKEN}"
"proxy" = "http://u:${PROXY}@proxy:3128"
"max.retries" = 3
[destination]
url = "s3://visible-bucket/folder"
access_key_id = "visible-id"
secret_access_key = "${AWS}"
[streams.events]
topic = "visible.topic"
[streams.events.destination]
secret_access_key = "${OTHER_AWS}"
[streams.paywall_views]
topic = "visible.views"
"""
VISIBLE = (
    "broker:9092",
    "visible-user",
    "/visible/key.pem",
    "registry:8081",
    "s3://visible-bucket/folder",
    "visible-id",
    "visible.topic",
    "visible.views",
)


@pytest.fixture
def loaded(tmp_path: Path) -> Settings:
    path = tmp_path / "sink.toml"
    path.write_text(TEXT)
    return load_settings(path, PLANTED)


def shown(settings: Settings) -> dict[str, str]:
    return {
        "repr": repr(settings),
        "str": str(settings),
        "format": f"{settings} {settings.kafka!r} {settings.streams[0].destination}",
        "dump": str(settings.model_dump()),
        "json": settings.model_dump_json(),
        "json values": json.dumps(settings.model_dump(mode="json")),
        "banner": json.dumps(masked(settings)),
        "rich": pretty_repr(settings, max_width=200),
        "copy": repr(copy.deepcopy(settings)),
    }


@pytest.mark.parametrize("way", ["repr", "str", "format", "dump", "json", "json values", "banner", "rich", "copy"])
def test_no_planted_secret_is_in_any_print(way: str, loaded: Settings) -> None:
    text = shown(loaded)[way]
    leaked = [name for name, secret in PLANTED.items() if secret in text]
    assert leaked == []
    assert "123456789" not in text
    assert MASK in text


@pytest.mark.parametrize("way", ["repr", "json", "banner"])
def test_what_is_no_secret_can_be_read(way: str, loaded: Settings) -> None:
    assert [part for part in VISIBLE if part not in shown(loaded)[way]] == []


def test_the_program_gets_the_secrets_themselves(loaded: Settings) -> None:
    options = loaded.kafka.plain_options()
    assert options["sasl.password"] == PLANTED["SASL"]
    assert options["my.secret.number"] == "123456789"
    assert options["sasl.username"] == "visible-user"
    assert loaded.schema_registry is not None
    registry = loaded.schema_registry.plain_options()
    assert registry["basic.auth.user.info"] == f"visible-registry:{PLANTED['USERINFO']}"
    assert registry["proxy"] == f"http://u:{PLANTED['PROXY']}@proxy:3128"
    assert registry["max.retries"] == 3
    secrets = [stream.destination.secret_access_key.get_secret_value() for stream in loaded.streams]
    assert secrets == [PLANTED["OTHER_AWS"], PLANTED["AWS"]]


def test_the_secrets_can_be_struck_out_of_a_text(loaded: Settings) -> None:
    found = secret_values(loaded)
    for name, secret in PLANTED.items():
        assert any(secret in value for value in found) is (name != "CUSTOM")
    assert not any("visible" in value and "planted" not in value for value in found)


def test_the_banner_is_plain_and_says_what_decides_rows(loaded: Settings) -> None:
    banner = masked(loaded)
    assert json.loads(json.dumps(banner)) == banner
    rules = banner["streams"][0]["rules"]
    assert rules["digest"] == loaded.streams[0].rules.digest
    assert rules["time_field"] == "event_datetime"
    assert (rules["filter"]["event_types"], rules["filter"]["event_type_default"]) == ({}, True)
    every = {each.name for each in fields(loaded.streams[0].rules)}
    assert rules.keys() == {"digest", *every} - {"schema", "writer_schema"}, "a field that is new is shown as well"
    assert banner["streams"][0]["destination"]["secret_access_key"] == MASK


def test_an_empty_secret_is_shown_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "sink.toml"
    path.write_text('[kafka]\nbootstrap_servers="b:1"\n[destination]\nurl="s3://bbb"\n[streams.events]\ntopic="t"')
    banner = masked(load_settings(path, {}))
    assert banner["streams"][0]["destination"]["secret_access_key"] == ""


def test_settings_survive_a_copy(loaded: Settings) -> None:
    again: Any = pickle.loads(pickle.dumps(loaded))  # noqa: S301 - our own bytes
    assert again == loaded


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.keystore.password", True),
        ("SASL_PASSWORD", True),
        ("secret_access_key", True),
        ("basic.auth.user.info", True),
        ("basic.auth.credentials.source", False),
        ("ssl.certificate.pem", True),
        ("ssl.key.location", False),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.client.id", False),
        ("sasl.mechanism", False),
        ("access_key_id", False),
        ("kms_key_id", False),
        ("api_key", True),
        ("apikey", True),
        ("private.key", True),
        ("topic", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    ("text", "masked_text"),
    [
        ("https://u:p@host/x", f"https://{MASK}@host/x"),
        ("s3://id:a/b+c@bucket", f"s3://{MASK}@bucket"),
        ("a https://u@h and http://v:w@i", f"a https://{MASK}@h and http://{MASK}@i"),
        ("https://host/a@b", "https://host/a@b"),
        ("me@example.com", "me@example.com"),
        ("plain", "plain"),
    ],
)
def test_users_in_urls(text: str, masked_text: str) -> None:
    assert without_userinfo(text) == masked_text


@pytest.mark.parametrize(
    ("text", "echo"),
    [
        ("u:p@host:9092", f"{MASK}@host:9092"),
        ("s3://id:a/b c@d@bucket", f"s3://{MASK}@bucket"),
        ("nothing here", "nothing here"),
    ],
)
def test_an_echo_has_nothing_before_the_last_at(text: str, echo: str) -> None:
    assert safe_echo(text) == echo


ENVIRONMENT = {
    "USER": "planted-user-71ac",
    "FOLDER": "planted-folder-83bd",
    "SALT": 'planted "quoted" 95ce/x',
    "RATIO": "0.25",
    "URL_USER": "user:p@ss-a7df",
}
FROM_ENVIRONMENT = """
[kafka]
bootstrap_servers = "broker:9092"
[kafka.options]
"sasl.username" = "${USER}"
"client.id" = "sink-${SALT}"
[schema_registry]
url = "http://${URL_USER}@registry:8081"
[destination]
url = "s3://visible-bucket/${FOLDER}"
[quarantine]
max_ratio = "${RATIO}"
[streams.events]
topic = "visible.topic"
"""


def from_environment(folder: Path, text: str = FROM_ENVIRONMENT) -> Settings:
    path = folder / "sink.toml"
    path.write_text(text)
    return load_settings(path, ENVIRONMENT)


def test_what_came_from_the_environment_is_masked_in_the_banner(tmp_path: Path) -> None:
    loaded = from_environment(tmp_path)
    banner = masked(loaded)
    text = json.dumps(banner)
    assert [value for value in ENVIRONMENT.values() if value in text and value != "0.25"] == []
    assert banner["kafka"]["options"] == {"sasl.username": MASK, "client.id": f"sink-{MASK}"}
    assert banner["streams"][0]["destination"]["url"] == f"s3://visible-bucket/{MASK}"
    assert banner["quarantine"]["max_ratio"] == 0.25
    assert "planted" not in repr(loaded.from_environment)


def test_what_came_from_the_environment_is_masked_in_all_that_is_said(tmp_path: Path) -> None:
    """But for names of what messages are about: they would say nothing without."""
    hide(secret_values(from_environment(tmp_path)))
    try:
        assert without_secrets(f"refused {ENVIRONMENT['USER']}, twice") == f"refused {MASK}, twice"
        assert without_hidden(json.dumps({"client": ENVIRONMENT["SALT"]})) == json.dumps({"client": MASK})
        assert document_without_hidden({"a": [ENVIRONMENT["USER"], 7, None]}) == {"a": [MASK, 7, None]}
        assert without_hidden(f"?user={quote(ENVIRONMENT['SALT'], safe='')}") == f"?user={MASK}"
        assert without_hidden(f"s3://visible-bucket/{ENVIRONMENT['FOLDER']}/x").endswith("83bd/x")
        assert without_secrets("http://user:p@ss-a7df@registry:8081 answers") == f"http://{MASK}@registry:8081 answers"
    finally:
        hide(())
    assert without_secrets(ENVIRONMENT["USER"]) == ENVIRONMENT["USER"]


def test_a_mistake_in_the_settings_repeats_nothing_of_the_environment(tmp_path: Path) -> None:
    wrong = FROM_ENVIRONMENT.replace('topic = "visible.topic"', 'topic = "${SALT}"\nkind = "${USER}"\n"${FOLDER}" = 1')
    with pytest.raises(UsageError) as caught:
        from_environment(tmp_path, wrong.replace("s3://visible-bucket", "gs://x"))
    assert "streams.events.topic" in str(caught.value)
    assert [value for value in ENVIRONMENT.values() if value in str(caught.value)] == []
