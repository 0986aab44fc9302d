"""Which decoder reads which record: one for all, or one for each schema id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from consumer.decode.avro_decoder import Unusable, Writer
from consumer.decode.json_decoder import Objects
from consumer.decode.registry import Registry
from consumer.decode.values import Decoded
from consumer.decode.wire_format import HEAD, schema_id, wire_head
from consumer.domain.batches import RawBatch
from consumer.domain.errors import BadRecordError, TransientError
from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.columns import columns_of, known_inputs
from consumer.streams.rules import Format, RowRules

SCHEMA_UNKNOWN = "schema_unknown"
Decoder = Writer | Unusable | Objects


@dataclass(slots=True)
class Split:
    """A batch by decoder: those that its values name by schema id, 0 where all have one.

    `refused` are places that have none, with the reason; `unknown` as in `TransformedBatch`.
    """

    writers: dict[int, Decoder] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)


class Decoders(Protocol):
    """The decoders of one stream."""

    def split(self, batch: RawBatch, unknown: Mapping[int, int] | None) -> Split:
        """The decoders of the records that have a value. `unknown` as in `TransformOptions`.

        Raises TransientError while the registry is out of reach.
        """

    def exact(self, value: bytes) -> Decoded:
        """Decode a value that `split` gave to a decoder. Raises BadRecordError."""


def decoders_for(rules: RowRules, registry: Registry | None) -> Decoders:
    """The decoders that the rules ask for. Raises ValueError (SchemaError among it)."""
    columns = columns_of(rules)
    known = known_inputs(rules, columns)
    if rules.format is Format.JSON:
        return OneDecoder(Objects(columns, known))
    if rules.format is Format.AVRO:
        return OneDecoder(Writer(parse(rules.writer_schema or rules.schema), columns, known))
    if registry is None:
        raise ValueError("format avro-registry needs a schema registry")
    return ByRegistry(registry, rules)


class OneDecoder:
    """All records are read in one way."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def split(self, batch: RawBatch, unknown: Mapping[int, int] | None) -> Split:  # noqa: ARG002 - the shape of `Decoders`
        return Split({0: self._decoder})

    def exact(self, value: bytes) -> Decoded:
        return self._decoder.exact(value)


class ByRegistry:
    """Each record names its writer schema. Schemas are kept once known: an id never changes its meaning."""

    def __init__(self, registry: Registry, rules: RowRules) -> None:
        self._registry = registry
        self._columns = columns_of(rules)
        self._known = known_inputs(rules, self._columns)
        self._writers: dict[int, Writer | Unusable] = {}

    def split(self, batch: RawBatch, unknown: Mapping[int, int] | None) -> Split:
        split, places = Split(), _Places(batch)
        for head in dict.fromkeys(value[:HEAD] for value in batch.values if value):
            try:
                number = schema_id(head)
            except BadRecordError as error:
                split.refused.update(dict.fromkeys(places.of(head), error.reason))
            else:
                self._find(batch, number, unknown, split, places)
        return split

    def _find(
        self, batch: RawBatch, number: int, unknown: Mapping[int, int] | None, split: Split, places: _Places
    ) -> None:
        """The decoder of the records with one schema id."""
        head = wire_head(number)
        if unknown is not None and number in unknown:
            refused = [place for place in places.of(head) if batch.offsets[place] < unknown[number]]
            split.refused.update(dict.fromkeys(refused, SCHEMA_UNKNOWN))
            if len(refused) == len(places.of(head)):
                return
        writer = self._writer(number)
        if writer is not None:
            split.writers[number] = writer
        elif unknown is not None:
            raise TransientError(
                f"schema {number} was known when the records with it were sealed; the registry says 404"
            )
        else:
            split.refused.update(dict.fromkeys(places.of(head), SCHEMA_UNKNOWN))
            split.unknown[number] = batch.offsets[places.of(head)[-1]] + 1

    def _writer(self, number: int) -> Writer | Unusable | None:
        """The decoder for a schema id, or None where the registry does not know it."""
        if (found := self._writers.get(number)) is not None:
            return found
        text = self._registry.schema(number)
        if text is None:
            return None
        try:
            made: Writer | Unusable = Writer(parse(text), self._columns, self._known)
        except (SchemaError, RecursionError):
            made = Unusable()
        self._writers[number] = made
        return made

    def exact(self, value: bytes) -> Decoded:
        return self._writers[schema_id(value)].exact(value[HEAD:])


class _Places:
    """Where the values of a batch stand that begin alike; looked for once, when it is first asked."""

    def __init__(self, batch: RawBatch) -> None:
        self._values = batch.values
        self._by_head: dict[bytes, list[int]] = {}

    def of(self, head: bytes) -> list[int]:
        """The places of values with this head, or of those that are shorter and end so."""
        if not self._by_head:
            for place, value in enumerate(self._values):
                if value:
                    self._by_head.setdefault(value[:HEAD], []).append(place)
        return self._by_head[head]
