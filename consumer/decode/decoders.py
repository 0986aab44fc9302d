"""Which decoder reads which record: one for all, or one per schema id."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from consumer.decode.avro_decoder import Unusable, Writer
from consumer.decode.json_decoder import Objects
from consumer.decode.registry import Registry
from consumer.decode.values import Decoded
from consumer.decode.wire_format import HEAD, schema_id, wire_head
from consumer.domain.batches import RawBatch, SealedSchemas
from consumer.domain.errors import BadRecordError, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.columns import columns_of, known_inputs
from consumer.streams.rules import Format, RowRules

SCHEMA_UNKNOWN = "schema_unknown"
MOST_DECODERS = 1_000
"""Decoders of one stream that are kept."""
MOST_TEXT = 8 << 20
"""Characters of their schemas: what is made of a schema takes many times its text."""
NO_PARTITION = TopicPartition("", 0)
"""Requests a decoder again that was evicted in the middle of a batch."""
Decoder = Writer | Unusable | Objects


@dataclass(slots=True)
class Split:
    """A batch by decoder: those that its values name by schema id, 0 if all have one.

    `refused` are places that have none, with the reason; `known` and `unknown` as in `TransformedBatch`.
    """

    writers: dict[int, Decoder] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    known: dict[int, int] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)


class Decoders(Protocol):
    """The decoders of one stream."""

    def split(self, batch: RawBatch, sealed: SealedSchemas | None) -> Split:
        """The decoders of the records that have a value. `sealed` as in `TransformOptions`.

        Raises TransientError while the registry is out of reach, or its answer is still waited for.
        """

    def exact(self, value: bytes) -> Decoded:
        """Decode a value that `split` gave to a decoder. Raises BadRecordError."""


def decoders_for(rules: RowRules, registry: Registry | None) -> Decoders:
    """The decoders that the rules ask for. Raises ValueError (SchemaError among it)."""
    columns = columns_of(rules)
    known = known_inputs(rules, columns)
    if rules.format is Format.JSON:
        return OneDecoder(Objects(columns, known, rules.version))
    if rules.format is Format.JSON_REGISTRY:
        return Framed(Objects(columns, known, rules.version))
    if rules.format is Format.AVRO:
        schema = parse(rules.writer_schema or rules.schema, rules.version)
        return OneDecoder(Writer(schema, columns, known, rules.version))
    if registry is None:
        raise ValueError("format avro-registry needs a schema registry")
    return ByRegistry(registry, rules)


class OneDecoder:
    """All records are read in one way."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def split(self, batch: RawBatch, sealed: SealedSchemas | None) -> Split:  # noqa: ARG002 - the shape of `Decoders`
        return Split({0: self._decoder})

    def exact(self, value: bytes) -> Decoded:
        return self._decoder.exact(value)


class Framed:
    """JSON behind a zero byte and a schema id, which is not looked up."""

    def __init__(self, decoder: Objects) -> None:
        self._decoder = decoder

    def split(self, batch: RawBatch, sealed: SealedSchemas | None) -> Split:  # noqa: ARG002 - the shape of `Decoders`
        return Split({0: self._decoder})

    def exact(self, value: bytes) -> Decoded:
        """Decode a value. Raises BadRecordError (not_wire_format, undecodable)."""
        schema_id(value)
        return self._decoder.exact(value[HEAD:])


class ByRegistry:
    """Each record names its writer schema. An id never changes its meaning, so the decoders used last are kept."""

    def __init__(self, registry: Registry, rules: RowRules) -> None:
        self._registry = registry
        self._version = rules.version
        self._columns = columns_of(rules)
        self._known = known_inputs(rules, self._columns)
        self._lock = Lock()
        self._decoders: OrderedDict[int, tuple[Writer | Unusable, int]] = OrderedDict()
        self._text = 0

    def split(self, batch: RawBatch, sealed: SealedSchemas | None) -> Split:
        split, places = Split(), _Places(batch)
        wanted: dict[int, int] = {}
        for head, count in Counter(value[:HEAD] for value in batch.values if value).items():
            try:
                number = schema_id(head)
            except BadRecordError as error:
                split.refused.update(dict.fromkeys(places.of(head), error.reason))
            else:
                if sealed is None or _sealed_as_known(batch, number, sealed, split, places):
                    wanted[number] = count
        for number, decoder in self._decoders_of(batch.partition, wanted).items():
            if decoder is not None:
                split.writers[number] = decoder
                split.known[number] = batch.offsets[places.first(wire_head(number))]
            elif sealed is not None:
                raise TransientError(
                    f"schema {number} was registered when records with it were sealed, but the registry does not know"
                    " it any more"
                )
            else:
                having = places.of(wire_head(number))
                split.refused.update(dict.fromkeys(having, SCHEMA_UNKNOWN))
                split.unknown[number] = batch.offsets[having[-1]] + 1
        return split

    def _decoders_of(
        self, partition: TopicPartition, wanted: Mapping[int, int]
    ) -> Mapping[int, Writer | Unusable | None]:
        """The decoder of each id; None if the registry does not know it."""
        found: dict[int, Writer | Unusable | None] = {}
        with self._lock:
            for number in wanted:
                if (kept := self._decoders.get(number)) is not None:
                    self._decoders.move_to_end(number)
                    found[number] = kept[0]
        missing = {number: count for number, count in wanted.items() if number not in found}
        for number, text in (self._registry.schemas(partition, missing) if missing else {}).items():
            found[number] = None if text is None else self._made(number, text)
        return found

    def _made(self, number: int, text: str) -> Writer | Unusable:
        try:
            made: Writer | Unusable = Writer(parse(text, self._version), self._columns, self._known, self._version)
        except (SchemaError, RecursionError):
            made = Unusable()
        with self._lock:
            if number not in self._decoders:
                self._decoders[number] = (made, len(text))
                self._text += len(text)
            while len(self._decoders) > MOST_DECODERS or (self._text > MOST_TEXT and len(self._decoders) > 1):
                self._text -= self._decoders.popitem(last=False)[1][1]
        return made

    def exact(self, value: bytes) -> Decoded:
        number = schema_id(value)
        decoder = self._decoders_of(NO_PARTITION, {number: 1})[number]
        if decoder is None:
            raise TransientError(f"the schema registry no longer has schema {number}")
        return decoder.exact(value[HEAD:])


def _sealed_as_known(batch: RawBatch, number: int, sealed: SealedSchemas, split: Split, places: _Places) -> bool:
    """Refuse the records whose id was unknown when they were sealed; False if that is all of them."""
    having = places.of(wire_head(number))
    refused = [place for place in having if not sealed.knows(number, batch.offsets[place])]
    split.refused.update(dict.fromkeys(refused, SCHEMA_UNKNOWN))
    return len(refused) < len(having)


class _Places:
    """The places of values with the same prefix in a batch; computed once, on first use."""

    def __init__(self, batch: RawBatch) -> None:
        self._values = batch.values
        self._by_head: dict[bytes, list[int]] = {}

    def first(self, head: bytes) -> int:
        """The first of them: nearly always near the start."""
        if self._by_head:
            return self._by_head[head][0]
        return next(place for place, value in enumerate(self._values) if value and value.startswith(head))

    def of(self, head: bytes) -> list[int]:
        """The places of values with this head, or of those that are shorter and end so."""
        if not self._by_head:
            for place, value in enumerate(self._values):
                if value:
                    self._by_head.setdefault(value[:HEAD], []).append(place)
        return self._by_head[head]
