"""Avro bodies of one writer schema into values, one at a time and exact.

Fields are matched by name alone. What the reader's schema says of types and defaults plays no part here: a field that
the writer lacks is missing, one that no column wants is unknown, and whether a value fits is decided at the cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from consumer.decode.avro_scalar import decode, reader
from consumer.decode.primitives import Reader, bad
from consumer.decode.values import Decoded, Value, labels
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_types import Schema
from consumer.streams.columns import Column


class Writer:
    """One writer schema, seen from the columns that are wanted."""

    def __init__(self, schema: Schema, columns: Sequence[Column], known: Collection[str]) -> None:
        """`known` are the input names that do not count as unknown."""
        names = {field.name for field in schema.root.fields}
        self._read: Reader = reader(schema.root, schema.names)
        self._inputs = {
            column.name: found for column in columns if (found := [name for name in column.inputs if name in names])
        }
        self.root = schema.root
        self.unknown = labels(field.name for field in schema.root.fields if field.name not in known)
        """The fields that belong to no column."""

    def exact(self, body: bytes) -> Decoded:
        """Decode one body. Raises BadRecordError (undecodable)."""
        fields, mended = decode(self._read, body)
        if not isinstance(fields, dict):
            raise bad("no record")
        return Decoded(pick(fields, self._inputs), self.unknown, mended)


def pick(fields: Mapping[str, Value], inputs: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    """The values of columns: of a column's inputs the first that is not null."""
    values: dict[str, Value] = {}
    for column, names in inputs.items():
        value = fields.get(names[0])
        if value is None and len(names) > 1:
            value = next((fields[name] for name in names if fields.get(name) is not None), None)
        values[column] = value
    return values


class Unusable:
    """A schema that the registry knows and nobody can read rows with: not Avro, or no record."""

    def exact(self, body: bytes) -> Decoded:
        """Never returns. Raises BadRecordError (schema_unusable)."""
        raise BadRecordError("schema_unusable", f"{len(body)} bytes")
