"""Privacy in the settings: keys are masked and never repeated, rules are held to the stream's columns."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from consumer.domain.errors import UsageError
from consumer.settings.load import settings_from
from consumer.settings.masking import masked, secret_values
from consumer.settings.model import Settings
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import LineBreaks, Method, Privacy

KEY = "5e" * 32
BASE64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="


def load(stream: dict[str, Any], keys: dict[str, Any] | None = None, **tables: Any) -> Settings:
    written = {
        "kafka": {"bootstrap_servers": "localhost:1"},
        "destination": {"url": "file:///tmp/out"},
        "streams": {"events": {"topic": "t", **stream}},
        **({"privacy": {"keys": keys}} if keys is not None else {}),
        **tables,
    }
    return settings_from(written, Path("/nowhere"), {"PII": KEY}, "test")


def mistakes(*given: Any, **tables: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(*given, **tables)
    return str(caught.value)


HASH = {"privacy": {"key": "k1", "columns": {"idfa": "hash", "ip_address": "truncate_ip"}}}


def test_rules_name_key_and_fingerprint() -> None:
    settings = load(HASH, {"k1": "${PII}", "old": BASE64})
    rules = settings.streams[0].rules
    assert rules.privacy == Privacy(
        {"idfa": Method.HASH, "ip_address": Method.TRUNCATE_IP}, "k1", fingerprint(bytes.fromhex(KEY))
    )
    assert settings.privacy.key_bytes() == {"k1": bytes.fromhex(KEY), "old": b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"}
    assert KEY not in rules.document().decode()


def test_keys_are_secrets() -> None:
    settings = load(HASH, {"k1": KEY, "old": BASE64})
    shown = json.dumps(masked(settings)) + repr(settings)
    assert KEY not in shown
    assert BASE64 not in shown
    assert {KEY, BASE64} <= secret_values(settings)


def test_a_key_that_nothing_is_hashed_with_is_not_needed() -> None:
    settings = load({"privacy": {"key": "k1", "columns": {"idfa": "drop"}}}, {"k1": KEY})
    assert settings.streams[0].rules.privacy == Privacy({"idfa": Method.DROP})


def test_columns_about_a_person_are_those_of_the_schema_or_those_that_are_named() -> None:
    assert "customer_user_id" in load({}).streams[0].personal
    assert load({"privacy": {"personal": ["device"]}}).streams[0].personal == ("device",)
    assert load({"privacy": {"personal": []}}).streams[0].personal == ()


def test_what_else_makes_rows() -> None:
    stream = {
        "format": "json-registry",
        "line_breaks": "space",
        "oldest_day": "2026-01-01",
        "event_names": {" Subscription_Renewed ": "renewal"},
        "filter": {"send_integration_ids": True},
    }
    rules = load(stream).streams[0].rules
    assert rules.line_breaks is LineBreaks.SPACE
    assert rules.oldest_day == date(2026, 1, 1)
    assert rules.event_names == {"subscription_renewed": "renewal"}
    assert rules.send_integration_ids
    assert load({"oldest_day": date(2026, 1, 1)}).streams[0].rules.oldest_day == date(2026, 1, 1)
    assert load({"oldest_day": 400}).streams[0].rules.oldest_day == 400
    settings = load({}, quarantine={"min_records": 3, "value": "omit"})
    assert (settings.quarantine.min_records, settings.quarantine.value) == (3, "omit")


@pytest.mark.parametrize(
    ("stream", "keys", "says"),
    [
        (HASH, None, "streams.events.privacy.key"),
        ({"privacy": {"columns": {"idfa": "hash"}}}, None, "'idfa' is hashed, which needs a key"),
        ({"privacy": {"columns": {"nope": "drop"}}}, None, "the stream has no column 'nope'"),
        ({"privacy": {"columns": {"event_datetime": "drop"}}}, None, "is the time field"),
        ({"privacy": {"columns": {"idfa": "shred"}}}, None, '"drop", "hash", "truncate_ip"'),
        ({"privacy": {"columns": ["idfa"]}}, None, "must be a table"),
        ({"privacy": {"personal": ["nope"]}}, None, "the stream has no column 'nope'"),
        ({"privacy": {"personal": "nope"}}, None, "must be a list of columns"),
        ({}, {"a b": KEY}, "is not a valid key name"),
        ({}, {"k1": KEY[:-2]}, "has 31 bytes"),
        ({}, {"k1": KEY[:-1] + "!"}, "neither hexadecimal nor base64"),
        ({}, {"k1": 5}, "put the key in quotes"),
        ({"event_names": {"a": ""}}, None, "must not be empty"),
        ({"event_names": {"a": "x", " A": "y"}}, None, "with the other name"),
        ({"kind": "paywall_views", "event_names": {"a": "x"}}, None, "no column 'event_type'"),
        ({"oldest_day": -1}, None, "is not a valid day"),
        ({"oldest_day": "soon"}, None, "is not a valid day"),
        ({"oldest_day": 3, "day_by": "record"}, None, 'applies only to day_by = "event"'),
        ({"line_breaks": "tabs"}, None, "is not a valid value"),
    ],
)
def test_mistakes_are_told_without_the_key(stream: dict[str, Any], keys: dict[str, Any] | None, says: str) -> None:
    told = mistakes(stream, keys)
    assert says in told
    assert "has 1 problem" in told
    assert KEY[:-2] not in told


def test_a_key_that_is_not_set_is_one_mistake() -> None:
    told = mistakes(HASH, {"k1": "${NOT_SET}"})
    assert "has 1 problem" in told
    assert "NOT_SET" in told


def test_an_unknown_table_of_privacy_is_a_mistake() -> None:
    assert "privacy.key: unknown key" in mistakes({}, None, privacy={"key": "x"})
