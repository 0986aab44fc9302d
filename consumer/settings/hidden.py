"""Values from `${NAME}`: which of them are masked where."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import SecretStr

from consumer.domain.redaction import SHORTEST

Taken = Iterable[tuple[str, SecretStr]]
"""Keys of the file, and what they took from the environment."""

_PLAIN = re.compile(r"[0-9.]+|true|false")
"""Numbers and switches: they occur in too many other texts."""
_CREDENTIALS = frozenset({"access_key_id", "secret_access_key", "role_arn", "external_id", "kms_key_id", "ca_bundle"})
_TABLES = frozenset({"options", "keys"})
"""Options of client libraries, and privacy keys. Other keys have names of topics, groups, folders, addresses, or fixed
words, which messages, metrics and documents need."""


def maskable(taken: Taken) -> list[str]:
    """All of it that is text and long enough, longer ones first: masked where the settings are shown."""
    return _longest_first(value.get_secret_value() for _, value in taken)


def hidden(taken: Taken) -> list[str]:
    """The values that are masked in all output."""
    return _longest_first(value.get_secret_value() for key, value in taken if _may_be_secret(key))


def _longest_first(values: Iterable[str]) -> list[str]:
    long = {value for value in values if len(value) >= SHORTEST and not _PLAIN.fullmatch(value)}
    return sorted(long, key=len, reverse=True)


def _may_be_secret(key: str) -> bool:
    parts = key.split(".")
    return parts[-1] in _CREDENTIALS or not _TABLES.isdisjoint(parts[:-1])
