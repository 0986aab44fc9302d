"""Rows of our own CSV as cells, and back, to the byte: null is an empty cell, the empty text is `""`."""

from __future__ import annotations

import re
from collections.abc import Iterator

Row = tuple[str | None, ...]
_CELL = re.compile(r'("(?:[^"]|"")*"|[^",\r\n]*)([,\n])')


def rows_of(text: str) -> Iterator[Row]:
    """The rows of a text that we wrote, without its header. Raises ValueError where it is not ours."""
    at, row = 0, []
    while at < len(text):
        match = _CELL.match(text, at)
        if match is None:
            raise ValueError(f"not CSV as we write it, from character {at} on")
        row.append(_plain(match[1]))
        at = match.end()
        if match[2] == "\n":
            yield tuple(row)
            row = []
    if row:
        raise ValueError("its last row has no end")


def _plain(cell: str) -> str | None:
    if not cell:
        return None
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
