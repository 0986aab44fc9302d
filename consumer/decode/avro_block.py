"""Many Avro bodies in one go: the items of an Avro file's block are nothing but bodies in a row.

N bodies, joined behind a file header, are one block that polars reads into columns without any Python per record.
What polars does not check is checked by `certain`: a frame is either right in every row or not given. A batch that
fails is halved until the records at fault stand in small groups; those go to the exact path. Where a body makes polars
panic, it writes to stderr before we catch that: see silence.py.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import orjson
import polars as pl
from polars.exceptions import PanicException, PolarsError

from consumer.decode.avro_validation import Place, certain
from consumer.decode.columns import Source
from consumer.decode.stderr import silence
from consumer.streams.avro_types import Enumeration, Node, Primitive, Record, Union

SMALLEST = 32
"""A group of this size that fails goes to the exact path whole."""
BLOCK_BYTES = 1_500_000
"""Bytes that one block should have: with larger ones the time goes into fresh memory (measured: 3.4 against 3.9 us)."""
MOST_BYTES = 1 << 30
"""Bytes in one block at most: positions are 32 bits wide, and so are the offsets inside polars' text columns."""
_SYNC = bytes(16)
_NULL = Primitive("null")


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read the bodies of one writer schema. `fields` maps a field's name to its place in the frame."""

    places: tuple[Place, ...]
    fields: dict[str, Place]
    header: bytes


def layout_of(record: Record) -> Layout | None:
    """The layout for a writer's record, or None where polars cannot read it or cannot be checked."""
    fields: dict[str, Place] = {}
    for number, field in enumerate(record.fields):
        if field.type == _NULL:  # takes no bytes; polars knows no such column
            continue
        place = _place(f"f{number}", field.type)
        if place is None:
            return None
        fields[field.name] = place
    places = tuple(fields.values())
    return Layout(places, fields, _header(places)) if places else None


PLAIN = {
    "string": ("string", Source.TEXT),
    "bytes": ("string", Source.TEXT),
    "boolean": ("long", Source.BOOLEAN),
    "int": ("long", Source.LONG),
    "long": ("long", Source.LONG),
    "float": ("float", Source.REAL),
    "double": ("double", Source.REAL),
}
LOGICAL = {
    "date": Source.DAYS,
    "timestamp-millis": Source.MILLIS,
    "timestamp-micros": Source.MICROS,
    "timestamp-nanos": Source.NANOS,
}


def _place(name: str, node: Node) -> Place | None:
    nullable = null_first = False
    if isinstance(node, Union):
        if len(node.branches) != 2 or _NULL not in node.branches:  # noqa: PLR2004 - null and one other
            return None
        nullable, null_first = True, node.branches[0] == _NULL
        node = node.branches[1 if null_first else 0]
    if isinstance(node, Enumeration):
        return Place(name, "long", Source.TEXT, nullable, null_first, node.symbols)
    if not isinstance(node, Primitive) or node == _NULL:
        return None
    kind, source = PLAIN[node.type]
    if node.logical not in {None, "uuid"}:
        known = LOGICAL.get((node.logical or "").removeprefix("local-"))
        if known is None:
            return None
        source = known
    return Place(name, kind, source, nullable, null_first)


def _header(places: Sequence[Place]) -> bytes:
    """The head of an Avro file: magic, the schema, no compression, the sync marker."""
    schema = {
        "type": "record",
        "name": "Row",
        "fields": [{"name": place.name, "type": place.avro} for place in places],
    }
    text = orjson.dumps(schema)
    entries = ((b"avro.schema", text), (b"avro.codec", b"null"))
    meta = b"".join(_counted(key) + _counted(value) for key, value in entries)
    return b"Obj\x01" + _varint(len(entries)) + meta + b"\x00" + _SYNC


def _varint(number: int) -> bytes:
    """A number >= 0 as a zigzag varint."""
    raw, out = number << 1, bytearray()
    while raw > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def _counted(data: bytes) -> bytes:
    return _varint(len(data)) + data


@dataclass(frozen=True, slots=True)
class _Block:
    """Bodies `low` to `high` of a batch as an Avro file, in which they begin at `head`, and what polars makes of it."""

    low: int
    high: int
    file: bytes
    head: int
    frame: pl.DataFrame


def read_frames(
    layout: Layout, bodies: Sequence[bytes], places: Sequence[int]
) -> tuple[list[tuple[Sequence[int], pl.DataFrame]], list[int]]:
    """Frames of the bodies that can be vouched for, each with the places of its rows, and the places left over."""
    good: list[tuple[Sequence[int], pl.DataFrame]] = []
    failed: list[int] = []
    lengths = list(map(len, bodies))
    blocks = [(span, _read(layout, bodies, lengths, *span)) for span in _spans(lengths)]
    whole = _vouched(layout, [block for _, block in blocks if block is not None], lengths)
    if whole is not None and all(block for _, block in blocks):
        return [(places, whole)], []
    for (low, high), block in blocks:
        frame = None if block is None else _vouched(layout, [block], lengths)
        if frame is not None:
            good.append((places[low:high], frame))
        elif high - low <= SMALLEST:
            failed.extend(places[low:high])
        else:
            for half in (slice(low, (low + high) // 2), slice((low + high) // 2, high)):
                found, lost = read_frames(layout, bodies[half], places[half])
                good += found
                failed += lost
    return good, failed


def _spans(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The bodies in blocks of about `BLOCK_BYTES`."""
    blocks = max(1, round(sum(lengths) / BLOCK_BYTES))
    step = max(1, -(-len(lengths) // blocks))
    return [(low, min(low + step, len(lengths))) for low in range(0, len(lengths), step)]


def read_frame(layout: Layout, bodies: Sequence[bytes]) -> pl.DataFrame | None:
    """The bodies as columns named by their places' names; None unless every row is certain."""
    lengths = list(map(len, bodies))
    block = _read(layout, bodies, lengths, 0, len(bodies))
    return None if block is None else _vouched(layout, [block], lengths)


def _read(layout: Layout, bodies: Sequence[bytes], lengths: Sequence[int], low: int, high: int) -> _Block | None:
    """One block, as far as polars can read it."""
    size = sum(lengths[low:high])
    if size > MOST_BYTES:
        return None
    head = b"".join((layout.header, _varint(high - low), _varint(size)))
    file = b"".join((head, *bodies[low:high], _SYNC))
    try:
        with silence():
            frame = pl.read_avro(io.BytesIO(file))
    except (PolarsError, PanicException, OSError, ValueError):
        return None
    return _Block(low, high, file, len(head), frame) if frame.height == high - low else None


def _vouched(layout: Layout, blocks: Sequence[_Block], lengths: Sequence[int]) -> pl.DataFrame | None:
    """The blocks' rows, unless one is doubtful. Together they cost less to check than one by one."""
    if not blocks or sum(len(block.file) for block in blocks) > MOST_BYTES:
        return None
    frame = pl.concat([block.frame for block in blocks], rechunk=True) if len(blocks) > 1 else blocks[0].frame
    starts: list[int] = []
    base = 0
    for block in blocks:
        starts += accumulate(lengths[block.low : block.high - 1], initial=base + block.head)
        base += len(block.file)
    wanted = [length for block in blocks for length in lengths[block.low : block.high]]
    if not certain(frame, layout.places, [block.file for block in blocks], starts, wanted):
        return None
    return _finished(frame, layout.places)


def _finished(frame: pl.DataFrame, places: Sequence[Place]) -> pl.DataFrame | None:
    """Booleans, symbols and floats as what they are; None where a number stands for none."""
    wrong, made = [], []
    for place in places:
        column = pl.col(place.name)
        if place.source is Source.BOOLEAN:
            wrong.append((column < -1) | (column > 0))
            made.append(column == -1)
        elif place.symbols:
            wrong.append((column < 0) | (column >= len(place.symbols)))
            made.append(column.replace_strict(list(range(len(place.symbols))), list(place.symbols), default=None))
        elif place.type == "float":
            made.append(column.cast(pl.Float64))
    if wrong and frame.select(pl.any_horizontal(wrong).any()).item():
        return None
    return frame.with_columns(made) if made else frame
