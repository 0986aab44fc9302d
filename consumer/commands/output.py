"""What commands print on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.domain.redaction import document_without_hidden, visible, without_hidden

WIDE = 200
"""Columns of a table that goes into a file or a pipe: nothing is folded there."""


def say(text: str = "", *, err: bool = False) -> None:
    """One line for people. Names from outside may contain control characters: they are made visible."""
    typer.echo(visible(without_hidden(text)), err=err)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document."""
    typer.echo(orjson.dumps(document_without_hidden(document), option=orjson.OPT_INDENT_2).decode())


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[str] = ()) -> None:
    """A table; the columns in `numbers` are set to the right. None is a dash."""
    right = set(numbers)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold", no_wrap=head in right)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)
    console.print(table)


def _cell(value: object) -> Text:
    """Plain text: a key may contain what rich takes for markup."""
    return Text(
        "-" if value is None else f"{value:,}" if isinstance(value, int) else visible(without_hidden(str(value)))
    )


def size_text(size: int) -> str:
    """Bytes for people."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004 - what the units mean
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
