"""Avro bodies of one writer schema: into values, one at a time and exact, or into raw columns, many at a time.

Fields are matched by name alone. What the reader's schema says of types and defaults plays no part here: a field that
the writer lacks is missing, one that no column wants is unknown, and whether a value fits is decided at the cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from consumer.decode.avro_block import Layout, layout_of, read_frames
from consumer.decode.avro_scalar import decode, reader
from consumer.decode.columns import Fast, Held, Raw
from consumer.decode.primitives import UNDECODABLE, Reader, bad
from consumer.decode.values import Decoded, Value, labels
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_types import Schema
from consumer.streams.columns import Column

ODD_SCHEMA = "schema"
"""Why records take the exact path: polars has no columns for what the writer's schema says."""


class Writer:
    """One writer schema, seen from the columns that are wanted."""

    def __init__(self, schema: Schema, columns: Sequence[Column], known: Collection[str]) -> None:
        """`known` are the input names that do not count as unknown."""
        names = {field.name for field in schema.root.fields}
        self._read: Reader = reader(schema.root, schema.names)
        self._inputs = {
            column.name: found for column in columns if (found := [name for name in column.inputs if name in names])
        }
        self._unknown = labels(field.name for field in schema.root.fields if field.name not in known)
        self._layout = layout_of(schema.root)
        self._held = _held(self._layout, self._inputs) if self._layout else None

    def exact(self, body: bytes) -> Decoded:
        """Decode one body. Raises BadRecordError (undecodable)."""
        fields, mended = decode(self._read, body)
        if not isinstance(fields, dict):
            raise bad("no record")
        return Decoded(pick(fields, self._inputs), self._unknown, mended)

    def fast(self, bodies: Sequence[bytes], places: Sequence[int], into: Fast) -> None:
        """Decode bodies, which stand at `places` of the batch, as columns as far as that is certain."""
        if self._layout is None or self._held is None:
            into.left.update(dict.fromkeys(places, ODD_SCHEMA))
            return
        good, failed = read_frames(self._layout, bodies, places)
        into.left.update(dict.fromkeys(failed, UNDECODABLE))
        for rows, frame in good:
            into.raws.append(Raw(rows, frame, self._held, dict.fromkeys(self._unknown, rows)))


def pick(fields: Mapping[str, Value], inputs: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    """The values of columns: of a column's inputs the first that is not null."""
    values: dict[str, Value] = {}
    for column, names in inputs.items():
        value = fields.get(names[0])
        if value is None and len(names) > 1:
            value = next((fields[name] for name in names if fields.get(name) is not None), None)
        values[column] = value
    return values


def _held(layout: Layout, inputs: Mapping[str, Sequence[str]]) -> Mapping[str, Held] | None:
    """Where the frame holds each column, or None where the writer has more than one input of a column."""
    found = {}
    for column, names in inputs.items():
        places = [layout.fields[name] for name in names if name in layout.fields]
        if len(places) > 1:
            return None
        if places:
            found[column] = Held(places[0].name, places[0].source)
    return found


class Unusable:
    """A schema that the registry knows and nobody can read rows with: not Avro, or no record."""

    def exact(self, body: bytes) -> Decoded:
        """Never returns. Raises BadRecordError (schema_unusable)."""
        raise BadRecordError("schema_unusable", f"{len(body)} bytes")

    def fast(self, bodies: Sequence[bytes], places: Sequence[int], into: Fast) -> None:
        """Leave all to the exact path."""
        into.left.update(dict.fromkeys(places[: len(bodies)], ODD_SCHEMA))
