"""Settings for the eye of an operator: everything but the secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from pydantic import SecretStr

from consumer.domain.redaction import without_userinfo
from consumer.settings.model import Settings
from consumer.streams.rules import RowRules

_SHORTEST = 4


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values for the start banner. Of the row rules it has all but the schemas' text."""
    shown: dict[str, Any] = _plain(settings.model_dump(mode="json", exclude={"streams": {"__all__": {"rules"}}}))
    for stream, entry in zip(settings.streams, shown["streams"], strict=True):
        entry["rules"] = _plain(_rules(stream.rules))
    return shown


def _rules(rules: RowRules) -> dict[str, Any]:
    part = rules.filter
    return {
        "digest": rules.digest,
        "format": rules.format.value,
        "time_field": rules.time_field,
        "day_by": rules.day_by.value,
        "event_types": {"default": part.event_type_default, **part.event_types},
        "include_without_profile": part.include_without_profile,
        "exclude_historical": part.exclude_historical,
        "historical_before": part.historical_before.isoformat() if part.historical_before else None,
        "environments": list(part.environments) if part.environments is not None else None,
        "send_user_attributes": rules.send_user_attributes,
        "send_integration_ids": rules.send_integration_ids,
        "event_names": dict(rules.event_names),
        "line_breaks": rules.line_breaks.value,
        "privacy": {
            "columns": {name: method.value for name, method in rules.privacy.columns.items()},
            "key": rules.privacy.key,
            "fingerprint": rules.privacy.fingerprint,
        },
        "oldest_day": rules.oldest_day.isoformat() if isinstance(rules.oldest_day, date) else rules.oldest_day,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return without_userinfo(value) if isinstance(value, str) else value


def secret_values(settings: Settings) -> set[str]:
    """Every secret in the settings, in clear: to strike it out of a text. Never print it."""
    return {secret for secret in _secrets(settings.model_dump()) if len(secret) >= _SHORTEST}


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item)
