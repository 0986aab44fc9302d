"""CSV by RFC 4180: comma, quote, rows end with a line feed, no header here.

Python's csv module cannot be used: before 3.11.9 it leaves a bare carriage return unquoted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile('[",\r\n]')


def line(cells: Sequence[str | None]) -> bytes:
    """One row. A row of one empty cell is written as `""`: a blank line would be no row to most readers."""
    if len(cells) == 1 and cells[0] is None:
        return b'""\n'
    return (",".join([quoted(cell) for cell in cells]) + "\n").encode()


def quoted(cell: str | None) -> str:
    """A cell as it is written, in quotes if it needs them; nothing at all for null."""
    if cell is None:
        return ""
    if not cell or _SPECIAL.search(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell
