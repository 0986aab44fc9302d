"""Which decoder reads which record: one for all, or one for each schema id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consumer.decode.avro_decoder import Unusable, Writer
from consumer.decode.json_decoder import Objects
from consumer.decode.registry import Registry
from consumer.decode.values import Decoded
from consumer.decode.wire_format import HEAD, schema_id
from consumer.domain.batches import RawBatch
from consumer.domain.errors import BadRecordError, TransientError
from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.columns import columns_of, known_inputs
from consumer.streams.rules import Format, RowRules

SCHEMA_UNKNOWN = "schema_unknown"
Decoder = Writer | Unusable | Objects


@dataclass(frozen=True, slots=True)
class Group:
    """Bodies that one decoder reads, and their places in the batch."""

    decoder: Decoder
    places: Sequence[int]
    bodies: Sequence[bytes]


@dataclass(slots=True)
class Split:
    """A batch by decoder. `refused` are places that have none, with the reason; `unknown` as in `TransformedBatch`."""

    groups: list[Group] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)


class Decoders(Protocol):
    """The decoders of one stream."""

    def split(self, batch: RawBatch, places: Sequence[int], unknown: Mapping[int, int] | None) -> Split:
        """The records at these places, which have a value, by decoder. `unknown` as in `TransformOptions`.

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

    def split(self, batch: RawBatch, places: Sequence[int], unknown: Mapping[int, int] | None) -> Split:  # noqa: ARG002 - the shape of `Decoders`
        bodies = [value for value in batch.values if value]
        return Split([Group(self._decoder, places, bodies)])

    def exact(self, value: bytes) -> Decoded:
        return self._decoder.exact(value)


class ByRegistry:
    """Each record names its writer schema. Schemas are kept once known: an id never changes its meaning."""

    def __init__(self, registry: Registry, rules: RowRules) -> None:
        self._registry = registry
        self._columns = columns_of(rules)
        self._known = known_inputs(rules, self._columns)
        self._writers: dict[int, Writer | Unusable] = {}

    def split(self, batch: RawBatch, places: Sequence[int], unknown: Mapping[int, int] | None) -> Split:
        split = Split()
        values = batch.values
        by_head: dict[bytes, list[int]] = {}
        for place in places:
            by_head.setdefault((values[place] or b"")[:HEAD], []).append(place)
        for head, having in by_head.items():
            try:
                number = schema_id(head)
            except BadRecordError as error:
                split.refused.update(dict.fromkeys(having, error.reason))
            else:
                self._group(batch, number, having, unknown, split)
        return split

    def _group(
        self, batch: RawBatch, number: int, places: list[int], unknown: Mapping[int, int] | None, split: Split
    ) -> None:
        """The records with one schema id."""
        if unknown is not None and number in unknown:
            refused = [place for place in places if batch.offsets[place] < unknown[number]]
            split.refused.update(dict.fromkeys(refused, SCHEMA_UNKNOWN))
            places = places[len(refused) :]
        if not places:
            return
        writer = self._writer(number)
        if writer is not None:
            bodies = [(batch.values[place] or b"")[HEAD:] for place in places]
            split.groups.append(Group(writer, places, bodies))
        elif unknown is not None:
            raise TransientError(
                f"schema {number} was known when the records with it were sealed; the registry says 404"
            )
        else:
            split.refused.update(dict.fromkeys(places, SCHEMA_UNKNOWN))
            split.unknown[number] = batch.offsets[places[-1]] + 1

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
