"""The schema registry: writer schemas by id, as self-contained Avro text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from consumer.domain.errors import TransientError


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
