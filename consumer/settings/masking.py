"""Settings as shown to operators: everything but the secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import SecretStr

from consumer.domain.redaction import SHORTEST, without, without_userinfo
from consumer.settings.hidden import hidden, maskable
from consumer.settings.model import Settings
from consumer.streams.rules import RowRules


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values for the startup banner, with the row rules except the schemas' text.

    Every value from `${NAME}` is masked.
    """
    hide = maskable(settings.from_environment)
    kept_out: Any = {"streams": {"__all__": {"rules"}}, "from_environment": True}
    shown: dict[str, Any] = _plain(settings.model_dump(mode="json", exclude=kept_out), hide)
    for stream, entry in zip(settings.streams, shown["streams"], strict=True):
        entry["rules"] = _plain(_rules(stream.rules), hide)
    return shown


_SCHEMAS = ("schema", "writer_schema")
"""Left out of the rules: pages of text, represented by their digest."""


def _rules(rules: RowRules) -> dict[str, Any]:
    """Every field of the rules, also one that is added tomorrow."""
    shown = {each.name: getattr(rules, each.name) for each in fields(rules) if each.name not in _SCHEMAS}
    return {"digest": rules.digest, **shown}


def _plain(value: Any, hide: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, hide) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, hide) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name), hide) for each in fields(value)}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return without_userinfo(without(str(value), hide))


def secret_values(settings: Settings) -> set[str]:
    """Every secret in the settings, in clear, and what came by `${NAME}`: to strike them out of a text. Never print."""
    own = _secrets(settings.model_dump(exclude={"from_environment"}))
    return {secret for secret in own if len(secret) >= SHORTEST} | set(hidden(settings.from_environment))


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item)
