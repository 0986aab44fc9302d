"""Avro bodies of one writer schema into values, one at a time and exact.

Fields are matched only by name, over all branches of a top-level union of records. Of the reader's schema only the
defaults matter here: a field that the writer lacks has its default, one without a column is unknown, and whether a
value fits is decided at the cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from consumer.decode.avro_scalar import OUTPUT_FOR_A_BYTE, SPARE_OUTPUT, decode, names_size, reader
from consumer.decode.defaults import defaults_of
from consumer.decode.primitives import EMPTY_VALUE, Budget, Reader, bad, long
from consumer.decode.values import Decoded, Value, labels
from consumer.domain.errors import BadRecordError
from consumer.streams.avro_types import AvroRecord, Node, Primitive, Reference, Schema, Union
from consumer.streams.columns import Column
from consumer.streams.rules import ROWS_VERSION

MOST_WIDTH = 20_000
"""More values than a datum may have without bytes."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """One record type of a writer: how it is read, which of its fields are inputs of columns, which are not.

    `absent` are the defaults of columns for which it has no input. `names` is the size of its own fields' names, which
    become columns and not cells. `width` is the number of values read, as `_width` counts them.
    """

    read: Reader
    inputs: Mapping[str, Sequence[str]]
    absent: Mapping[str, Value]
    unknown: tuple[str, ...]
    names: int
    width: int

    def decode(self, body: bytes, *, bounded: bool) -> Decoded:
        output = self.names + SPARE_OUTPUT + OUTPUT_FOR_A_BYTE * len(body) if bounded else None
        fields, mended = decode(self.read, body, output)
        if not isinstance(fields, dict):
            raise bad("no record")
        values = pick(fields, self.inputs)
        values.update(self.absent)
        return Decoded(values, self.unknown, mended)


class Writer:
    """One writer schema, seen from the columns that are wanted."""

    def __init__(
        self, schema: Schema, columns: Sequence[Column], known: Collection[str], version: int = ROWS_VERSION
    ) -> None:
        """`known` are the input names that do not count as unknown, `version` is that of the row rules."""
        self._bounded = version > 1
        self.union, self.names = schema.union is not None, schema.names
        self.types: Sequence[Node] = schema.union.branches if schema.union is not None else (schema.root,)
        """Its records; of a union of records at the top one for each branch, null among them."""
        self._branches = [
            _branch(node, schema, columns, known, version) if isinstance(node, AvroRecord) else None
            for node in self.types
        ]
        self.unknown = [branch.unknown if branch else () for branch in self._branches]
        """Of each its fields that belong to no column."""
        self.width = max((branch.width for branch in self._branches if branch), default=1)
        """Values of its widest record: each costs time, whether it takes bytes or not."""

    def exact(self, body: bytes) -> Decoded:
        """Decode one body. Raises BadRecordError (undecodable; empty_value for a null at the top)."""
        index = 0
        if self.union:
            index, start = _index(body)
            body = body[start:]
        if not 0 <= index < len(self._branches):
            raise bad(f"branch {index} of {len(self._branches)}")
        if (branch := self._branches[index]) is not None:
            return branch.decode(body, bounded=self._bounded)
        raise bad(f"{len(body)} bytes after null") if body else BadRecordError(EMPTY_VALUE, "null")


def _index(body: bytes) -> tuple[int, int]:
    """The branch of a union at the top, and where its value begins."""
    try:
        return long(body, 0, Budget(0, 0))
    except IndexError:
        raise bad("it ends too early") from None


def _branch(
    node: AvroRecord, schema: Schema, columns: Sequence[Column], known: Collection[str], version: int
) -> _Branch:
    names = [field.name for field in node.fields]
    having = set(names)
    inputs = {column.name: found for column in columns if (found := [name for name in column.inputs if name in having])}
    wanted = {name for found in inputs.values() for name in found}
    fields = node.fields
    if version > 1:  # without what takes no bytes and fills nothing: a record of a few bytes may have thousands of it
        fields = tuple(field for field in fields if field.name in wanted or field.type != Primitive("null"))
    return _Branch(
        read=reader(AvroRecord(node.name, fields), schema.names, version),
        inputs=inputs,
        absent={name: value for name, value in defaults_of(columns).items() if name not in inputs},
        unknown=labels(name for name in names if name not in known),
        names=names_size(field.name for field in fields),
        width=_width(AvroRecord(node.name, fields), schema.names, {}),
    )


def _width(node: Node, names: Mapping[str, Node], known: dict[str, int]) -> int:
    """Values of one datum of this type, up to `MOST_WIDTH`. `known` are the named types met so far.

    Those in lists, maps and types within themselves do not count: its bytes account for them.
    """
    if isinstance(node, Reference):
        if node.name not in known:
            known[node.name] = 1  # within itself
            known[node.name] = _width(names[node.name], names, known)
        return known[node.name]
    if isinstance(node, AvroRecord):
        return min(MOST_WIDTH, 1 + sum(_width(field.type, names, known) for field in node.fields))
    return 1 + max(_width(one, names, known) for one in node.branches) if isinstance(node, Union) else 1


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
    """A schema that the registry knows, but that cannot give rows: not Avro, or not a record."""

    def exact(self, body: bytes) -> Decoded:
        """Never returns. Raises BadRecordError (schema_unusable)."""
        raise BadRecordError("schema_unusable", f"{len(body)} bytes")
