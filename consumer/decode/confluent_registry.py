"""The schema registry behind a URL. Its client is large: imported only where a registry is named."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError

from consumer.decode.references import complete
from consumer.decode.registry import INCOMPLETE, TOO_LARGE, UNKNOWN, RegistryAnswer
from consumer.decode.registry_http import (
    MOST_BYTES,
    BoundedClient,
    PackedError,
    TooLargeError,
    bound,
    deadline,
    remaining,
)
from consumer.domain.errors import TransientError
from consumer.domain.redaction import MASK, is_secret_name

NOT_FOUND = 404
SPEAK_OF_SCHEMAS = (40401, 40402, 40403)
"""`error_code` of an unknown subject, version or schema. Any other 404 is not about a schema.

No set, which could not be asked about a list: the code is whatever JSON the answer has.
"""
LONGEST_ANSWER = 500
"""Characters of an answer that a message repeats."""
MOST_REFERENCES = 1_000
"""Schemas that one schema refers to, directly or through others: a registry must not keep us asking forever."""
FAST = {"timeout": 10, "max.retries": 1, "retries.wait.ms": 200}
"""A request fails within seconds: waiting out an outage is for the worker, which continues polling."""

T = TypeVar("T")


class _IncompleteError(Exception):
    """A schema, or one that it refers to, cannot be had."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A schema as it came: it may be incomplete. Raises _IncompleteError if it is not valid."""

    raw: Any
    references: Any

    @property
    def text(self) -> str:
        if not isinstance(self.raw, str):
            raise _IncompleteError
        return self.raw

    def refers_to(self) -> list[tuple[str, int]]:
        """Subjects and versions."""
        try:
            found = [(one["subject"], one["version"]) for one in self.references]
        except (TypeError, KeyError):
            raise _IncompleteError from None
        if not all(isinstance(subject, str) and isinstance(version, int) for subject, version in found):
            raise _IncompleteError
        return found


class ConfluentRegistry:
    """`SchemaSource` of the registry at `url`. Without a cache: callers cache what they ask often."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """`options` are those of confluent-kafka's registry client. Raises ValueError or TypeError for bad ones."""
        self._client = client_of(url, options or {})
        self._secrets = _spellings(options or {})

    def ask(self, schema_id: int) -> RegistryAnswer:
        what = f"schema {schema_id}"
        try:
            with deadline():
                found = self._asked(what, lambda: self._read(f"schemas/ids/{schema_id}"))
                return UNKNOWN if found is None else RegistryAnswer(self._whole(found))
        except TooLargeError:
            return TOO_LARGE
        except _IncompleteError:
            return INCOMPLETE

    def newest(self, subject: str) -> RegistryAnswer:
        """The newest schema under this subject. Raises TransientError."""
        path = f"subjects/{quote(subject, safe='')}/versions/latest"
        try:
            with deadline():
                found = self._asked(f"the newest version of {subject}", lambda: self._read(path))
                return UNKNOWN if found is None else RegistryAnswer(self._whole(found))
        except TooLargeError:
            return TOO_LARGE
        except _IncompleteError:
            return INCOMPLETE

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read(self, path: str, query: dict[str, Any] | None = None) -> _Text:
        """A schema as the registry has it now; the client's own methods would keep it forever."""
        raw = self._client._rest_client.get(path, query)  # noqa: SLF001 - the public ones fill a cache without bounds
        if not isinstance(raw, dict) or "schema" not in raw:
            raise ValueError(f"that is not a schema: {raw!r:.100}")
        return _Text(raw["schema"], raw.get("references") or ())

    def _whole(self, schema: _Text) -> str:
        """The text of a schema with everything that it refers to, directly or through others."""
        parts: dict[tuple[str, int], str] = {}
        pending = schema.refers_to()
        size = len(schema.text)
        while pending and len(parts) < MOST_REFERENCES:
            key = pending.pop()
            if key in parts:
                continue
            found = self._referenced(*key)
            parts[key] = found.text
            size += len(found.text)
            if size > MOST_BYTES:
                raise TooLargeError
            pending.extend(found.refers_to())
        whole = complete(schema.text, parts.values()) if parts else schema.text
        if len(whole) > MOST_BYTES:
            raise TooLargeError
        return whole

    def _referenced(self, subject: str, version: int) -> _Text:
        path = f"subjects/{quote(subject, safe='')}/versions/{version}"
        found = self._asked(f"version {version} of {subject}", lambda: self._read(path, {"deleted": True}))
        if found is None:
            raise _IncompleteError
        return found

    def _asked(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer; None if the registry does not know it."""
        try:
            remaining()
            return question()
        except (TooLargeError, _IncompleteError):
            raise
        except PackedError:
            raise _IncompleteError from None
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND and error.error_code in SPEAK_OF_SCHEMAS:
                return None
            raise TransientError(f"the schema registry does not return {what}: {self._cleaned(str(error))}") from None
        except Exception as error:  # noqa: BLE001 - the client lets its HTTP library's errors through, whichever that is
            text = self._cleaned(repr(error))
            raise TransientError(f"the schema registry does not answer ({what}): {text}") from None

    def _cleaned(self, text: str) -> str:
        """The error text of the registry or a proxy; some repeat the credentials that were sent."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text[:LONGEST_ANSWER]


def client_of(url: str, options: Mapping[str, Any]) -> SchemaRegistryClient:
    """The client library's own, bounded. Raises ValueError, TypeError, OSError or ssl errors for bad options."""
    client = SchemaRegistryClient({**FAST, **options, "url": url})
    rest = client._rest_client  # noqa: SLF001 - it has no public way to hand a session in
    rest.session.close()
    rest.session = BoundedClient(verify=rest.verify, auth=rest.auth, proxy=rest.proxy, timeout=rest.timeout)
    bound(rest.session)
    return client


def _spellings(options: Mapping[str, Any]) -> list[str]:
    """The secrets among the options, as they may come back; longer ones first."""
    found: set[str] = set()
    for name, value in options.items():
        if is_secret_name(name) and isinstance(value, str):
            found |= {value, b64encode(value.encode()).decode(), value.partition(":")[2]}
    return sorted((text for text in found if text), key=len, reverse=True)
