"""The schema registry: writer schemas by id, as self-contained Avro text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, SchemaRegistryError

from consumer.decode.references import complete
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import TransientError

NOT_FOUND = 404
REMEMBER_UNKNOWN = 30.0
"""Seconds for which a 404 is not asked again; short, so that a schema registered later is found."""
FAST = {"timeout": 10, "max.retries": 1, "retries.wait.ms": 200}
"""A request fails within seconds: waiting out an outage is for the worker, which goes on polling."""


class Registry(Protocol):
    """Writer schemas by id. Any thread may ask."""

    def schema(self, schema_id: int) -> str | None:
        """The Avro text, with the types it refers to in it; None where the registry answers 404.

        Raises TransientError while the registry is down, answers 5xx, or refuses our credentials.
        """


class MemoryRegistry:
    """A registry of a test or a demo. `down` makes every question an outage."""

    def __init__(self, schemas: Mapping[int, str] | None = None) -> None:
        self.schemas = dict(schemas or {})
        self.down = False

    def schema(self, schema_id: int) -> str | None:
        if self.down:
            raise TransientError("the schema registry is down")
        return self.schemas.get(schema_id)


class ConfluentRegistry:
    """The registry behind `url`. Schemas are kept for ever (an id never changes its meaning), a 404 for a moment."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, clock: Clock | None = None) -> None:
        """`options` are those of confluent-kafka's registry client. Raises ValueError or TypeError for bad ones."""
        self._client = SchemaRegistryClient({**FAST, **(options or {}), "url": url})
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
        while pending:
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
            raise TransientError(f"the schema registry does not give {what}: {error}") from error
        except Exception as error:  # the client lets its HTTP library's errors through, whichever library that is
            raise TransientError(f"the schema registry does not answer ({what}): {error!r}") from error
