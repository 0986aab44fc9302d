"""The schema registry behind a URL. Its client is large: imported only where a registry is named."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, SchemaRegistryError

from consumer.decode.references import complete
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import TransientError
from consumer.domain.redaction import MASK, is_secret_name

NOT_FOUND = 404
REMEMBER_UNKNOWN = 30.0
"""Seconds for which a 404 is not asked again; short, so that a schema registered later is found."""
LONGEST_ANSWER = 500
"""Characters of an answer that a message repeats."""
MOST_REFERENCES = 1_000
"""Schemas that one schema refers to, directly or through others: a registry must not keep us asking for ever."""
FAST = {"timeout": 10, "max.retries": 1, "retries.wait.ms": 200}
"""A request fails within seconds: waiting out an outage is for the worker, which goes on polling."""


class ConfluentRegistry:
    """The registry behind `url`. Schemas are kept for ever (an id never changes its meaning), a 404 for a moment."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, clock: Clock | None = None) -> None:
        """`options` are those of confluent-kafka's registry client. Raises ValueError or TypeError for bad ones."""
        self._client = SchemaRegistryClient({**FAST, **(options or {}), "url": url})
        self._secrets = _spellings(options or {})
        self._clock = clock or SystemClock()
        self._known: dict[int, str] = {}
        self._unknown: dict[int, float] = {}

    def schema(self, schema_id: int) -> str | None:
        if (text := self._known.get(schema_id)) is not None:
            return text
        if self._clock.monotonic() < self._unknown.get(schema_id, float("-inf")):
            return None
        found = self._ask(f"schema {schema_id}", lambda: self._client.get_schema(schema_id))
        if found is None:
            self._unknown[schema_id] = self._clock.monotonic() + REMEMBER_UNKNOWN
            return None
        self._known[schema_id] = text = self._whole(found)
        return text

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _whole(self, schema: Schema) -> str:
        """The text of a schema with everything that it refers to, directly or through others."""
        text = schema.schema_str or ""
        parts: dict[tuple[str, int], str] = {}
        pending = list(schema.references or ())
        while pending and len(parts) < MOST_REFERENCES:
            one = pending.pop()
            key = (one.subject or "", one.version or 0)
            if key in parts:
                continue
            found = self._referenced(one)
            parts[key] = found.schema_str or ""
            pending.extend(found.references or ())
        return complete(text, parts.values()) if parts else text

    def _referenced(self, reference: SchemaReference) -> Schema:
        subject, version = reference.subject or "", reference.version or 0
        what = f"version {version} of {subject}"
        found = self._ask(what, lambda: self._client.get_version(subject, version, deleted=True).schema)
        if found is None:
            raise TransientError(f"the schema registry has lost {what}, which other schemas refer to")
        return found

    def _ask(self, what: str, question: Callable[[], Schema]) -> Schema | None:
        try:
            return question()
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND:
                return None
            raise TransientError(f"the schema registry does not give {what}: {self._cleaned(str(error))}") from None
        except Exception as error:  # noqa: BLE001 - the client lets its HTTP library's errors through, whichever that is
            text = self._cleaned(repr(error))
            raise TransientError(f"the schema registry does not answer ({what}): {text}") from None

    def _cleaned(self, text: str) -> str:
        """What the registry, or a proxy before it, said; some repeat the credentials that they were sent."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text[:LONGEST_ANSWER]


def _spellings(options: Mapping[str, Any]) -> list[str]:
    """The secrets among the options, as they may come back; longer ones first."""
    found: set[str] = set()
    for name, value in options.items():
        if is_secret_name(name) and isinstance(value, str):
            found |= {value, b64encode(value.encode()).decode(), value.partition(":")[2]}
    return sorted((text for text in found if text), key=len, reverse=True)
