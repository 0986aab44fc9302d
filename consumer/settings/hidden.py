"""What came by `${NAME}`: which of it is masked where."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import SecretStr

from consumer.domain.redaction import SHORTEST

Taken = Iterable[tuple[str, SecretStr]]
"""Keys of the file, and what they took from the environment."""

_NAMES = frozenset(
    {"bootstrap_servers", "group_id", "instance_id", "region", "topic", "kind", "directory", "listen", "schema"}
    | {"writer_schema", "time_field", "start", "seal_at"}
)
_ADDRESSES = frozenset({"destination.url", "destination.endpoint_url", "schema_registry.url"})
"""Keys whose values name things that messages, metrics and documents are about: they would say nothing without."""


def maskable(taken: Taken) -> list[str]:
    """All of it that is long enough, longer ones first: masked where the settings are shown."""
    return _longest_first(value.get_secret_value() for _, value in taken)


def hidden(taken: Taken) -> list[str]:
    """What is masked in everything that is said: all but names of topics, groups, folders and addresses."""
    return _longest_first(value.get_secret_value() for key, value in taken if not _is_name(key))


def _longest_first(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)


def _is_name(key: str) -> bool:
    parts = key.split(".")
    return "options" not in parts and (parts[-1] in _NAMES or ".".join(parts[-2:]) in _ADDRESSES)
