"""Reading the CSV text of objects: headers removed, rows widened, cells selected, rows split into cells.

The text is the sink's own (RFC 4180, rows end with a line feed): a line feed ends a row if an even number of quotes
precedes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

RawCell = bytes
"""A cell as it is written: `""` is the empty text, nothing at all is null."""
Row = tuple[str | None, ...]
"""A row as the texts of its cells; None is null."""
CellRule = Callable[[RawCell], RawCell]
"""The treatment of a cell."""

BLOCK = 1 << 20
"""Bytes of rows that `picked` gives at a time, about."""

_QUOTE = b'"'
_CELL = re.compile(rb'(?:\A|,)("[^"]*(?:""[^"]*)*"|[^,"]*)')


def without_header(blocks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The header line without its end, and the blocks of the rows. Raises ValueError if no line ends."""
    source, head = iter(blocks), b""
    for block in source:
        head += block
        end = head.find(b"\n")
        while end >= 0:
            if head.count(_QUOTE, 0, end) % 2 == 0:
                return head[:end], _chained(head[end + 1 :], source)
            end = head.find(b"\n", end + 1)
    raise ValueError("it has no header line")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def widened(blocks: Iterable[bytes], cells: int) -> Iterator[bytes]:
    """The rows with that many empty cells appended."""
    if not cells:
        yield from blocks
        return
    end, quoted = b"," * cells + b"\n", False
    for block in blocks:
        if not quoted and _QUOTE not in block:
            yield block.replace(b"\n", end)
            continue
        pieces = block.split(b"\n")
        last = pieces.pop()
        out: list[bytes] = []
        for piece in pieces:
            quoted ^= bool(piece.count(_QUOTE) % 2)
            out += (piece, b"\n" if quoted else end)
        quoted ^= bool(last.count(_QUOTE) % 2)
        yield b"".join((*out, last))


def rows_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Row by row, without line ends. Raises ValueError if the text ends inside a row."""
    open_row: list[bytes] = []
    quoted = False
    for block in blocks:
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            open_row.append(piece)
            quoted ^= bool(piece.count(_QUOTE) % 2)
            if quoted:
                open_row.append(b"\n")
            else:
                yield b"".join(open_row)
                open_row.clear()
        quoted ^= bool(pieces[-1].count(_QUOTE) % 2)
        open_row.append(pieces[-1])
    if any(open_row):
        raise ValueError("its last row is incomplete")


def cells_of(row: bytes) -> list[RawCell]:
    """The cells of a row, as they are written."""
    return _CELL.findall(row) if _QUOTE in row else row.split(b",")


def text_of(cell: RawCell) -> str:
    """The text of a cell."""
    return (cell[1:-1].replace(b'""', b'"') if cell.startswith(_QUOTE) else cell).decode()


def parsed(blocks: Iterable[bytes]) -> Iterator[Row]:
    """Row by row, as texts. Raises ValueError if the text is not CSV in the sink's form."""
    for row in rows_of(blocks):
        cells = cells_of(row)
        if _QUOTE in row and b",".join(cells) != row:
            raise ValueError("it has a quote in the middle of a cell, which the sink never writes")
        yield tuple(text_of(cell) if cell else None for cell in cells)


def picked(
    blocks: Iterable[bytes], places: Sequence[int | None], rules: Mapping[int, CellRule], width: int
) -> Iterator[bytes]:
    """The cells at these places of each row, in this order; None is an empty cell. `rules` are by place of the cell.

    Raises ValueError if a row has another number of cells than `width`.
    """
    made_rows: list[bytes] = []
    size = 0
    for row in rows_of(blocks):
        cells = cells_of(row)
        if len(cells) != width:
            raise ValueError(f"a row has {len(cells)} cells, the header has {width}")
        for place, rule in rules.items():
            cells[place] = rule(cells[place])
        made = b",".join([b"" if place is None else cells[place] for place in places])
        made_rows.append((made or b'""') + b"\n")  # a blank line would be no row to most readers
        size += len(made)
        if size >= BLOCK:
            yield b"".join(made_rows)
            made_rows, size = [], 0
    yield b"".join(made_rows)


def fitted(
    blocks: Iterable[bytes], columns: Sequence[str], rules_of: Callable[[Sequence[str]], Mapping[int, CellRule]]
) -> Iterator[bytes]:
    """An object's rows under the header `columns`: unchanged if possible, otherwise cell by cell.

    `rules_of` gives the rules for the object's own columns. Raises ValueError if the text is not such an object.
    """
    head, rows = without_header(blocks)
    own = [text_of(cell) for cell in cells_of(head)]
    rules = rules_of(own)
    if not rules and list(columns[: len(own)]) == own:
        yield from widened(rows, len(columns) - len(own))
        return
    place = {name: index for index, name in enumerate(own)}
    yield from picked(rows, [place.get(name) for name in columns], rules, len(own))
