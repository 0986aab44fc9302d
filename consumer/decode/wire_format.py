"""The Confluent wire format: a zero byte, the id of the writer schema in four bytes, the body."""

from __future__ import annotations

from consumer.domain.errors import BadRecordError

MAGIC = b"\0"
HEAD = 5
"""Bytes before the body."""


def schema_id(value: bytes) -> int:
    """The id of the schema that the value was written with. Raises BadRecordError (not_wire_format)."""
    if len(value) < HEAD or value[0] != 0:
        raise BadRecordError("not_wire_format", "it does not begin with a zero byte and a schema id")
    return int.from_bytes(value[1:HEAD], "big")


def wire_head(schema_id: int) -> bytes:
    """What values with this schema id begin with."""
    return b"\0" + schema_id.to_bytes(HEAD - 1, "big")
