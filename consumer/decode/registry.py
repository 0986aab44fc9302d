"""The schema registry as seen by decoders and commands: writer schemas by id, as self-contained Avro text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from consumer.domain.errors import TransientError
from consumer.domain.offsets import TopicPartition


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """The registry's answer for one schema id.

    `text` is None for an unknown schema, and empty for one that cannot give rows. An answer that is not `final` may
    soon change (a schema registered just now, a replica that lags behind): it is only accepted after it has been the
    same for the whole grace.
    """

    text: str | None
    final: bool = True


UNKNOWN = RegistryAnswer(None, final=False)
TOO_LARGE = RegistryAnswer("")
INCOMPLETE = RegistryAnswer("", final=False)
"""The schema, or one that it refers to, cannot be had in one piece."""


class SchemaSource(Protocol):
    """Asks a registry one question, and waits for the answer. Any thread may ask."""

    def ask(self, schema_id: int) -> RegistryAnswer:
        """The answer. Raises TransientError while nothing that speaks of the schema comes back."""


class Registry(Protocol):
    """Writer schemas by id, at once. Any thread may look."""

    def schemas(self, partition: TopicPartition, wanted: Mapping[int, int]) -> Mapping[int, str | None]:
        """The Avro text of each wanted id, None if it is unknown; `wanted` has the number of records of each.

        Raises PendingError while an answer is under way, GraceError while it is not believed yet, TransientError
        while the registry is down, answers 5xx, or refuses our credentials.
        """


class MemoryRegistry:
    """A registry of a test or a demo. `down` makes every question an outage."""

    def __init__(self, schemas: Mapping[int, str] | None = None) -> None:
        self.known = dict(schemas or {})
        self.down = False

    def ask(self, schema_id: int) -> RegistryAnswer:
        if self.down:
            raise TransientError("the schema registry is down")
        text = self.known.get(schema_id)
        return UNKNOWN if text is None else RegistryAnswer(text)

    def schemas(self, partition: TopicPartition, wanted: Iterable[int]) -> Mapping[int, str | None]:  # noqa: ARG002 - the shape of `Registry`
        return {schema_id: self.ask(schema_id).text for schema_id in wanted}
