"""Settings for the eye of an operator: everything but the secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
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


_SCHEMAS = ("schema", "writer_schema")
"""What is left out of the rules: pages of text, which their digest stands for."""


def _rules(rules: RowRules) -> dict[str, Any]:
    """Every field of the rules, also one that is added tomorrow."""
    shown = {each.name: getattr(rules, each.name) for each in fields(rules) if each.name not in _SCHEMAS}
    return {"digest": rules.digest, **shown}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return without_userinfo(str(value))


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
