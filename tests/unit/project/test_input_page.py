"""docs/input.md says how each input becomes a cell: every row of its tables is judged by both engines."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from consumer.shape.exact.row import ODDITIES
from consumer.shape.quarantine import REASONS
from consumer.streams.rules import Format, RowRules
from tests.builders.transforming import both, custom, quarantined, record_schema

PAGE = (Path(__file__).parents[3] / "docs" / "input.md").read_text()
AT = {"name": "at", "type": "long"}
NOON = 1_721_044_800
HEAD = b"\x80\x9c\xa9\xe9\x0c"
"""`NOON` as Avro writes it."""


def table(*header: str) -> list[list[str]]:
    """The rows of the table with this header."""
    section = PAGE[PAGE.index(f"\n| {' | '.join(header)} |") + 1 :]
    section = section[: section.index("\n\n")]
    return [[cell.strip() for cell in re.split(r" ?\| ?", line)[1:-1]] for line in section.splitlines()[2:]]


def code(cell: str) -> str:
    return cell.removeprefix("`").removesuffix("`")


def cell_and_oddities(rules: RowRules, value: bytes) -> tuple[str, list[str]]:
    found = both(rules, [value])
    if lines := quarantined(found):
        return str(lines[0]["reason"]), []
    (day,) = found.days
    return day.body.decode().partition(",")[2].removesuffix("\n"), sorted(found.oddities)


@pytest.mark.parametrize("row", table("column", "value", "cell", "counted"), ids=" ".join)
def test_json(row: list[str]) -> None:
    kind, value, cell, counted = map(code, row)
    rules = custom([AT, {"name": "x", "type": orjson.loads(kind)}], "at")
    expected = (cell, [counted] if counted else [])
    assert cell_and_oddities(rules, b'{"at":%d,"x":%s}' % (NOON, value.encode())) == expected
    assert not counted or counted in ODDITIES


@pytest.mark.parametrize("row", table("value", "cell", "counted"), ids=" ".join)
def test_json_text(row: list[str]) -> None:
    value, cell, counted = map(code, row)
    rules = custom([AT, {"name": "x", "type": "string", "adapty.type": "json"}], "at")
    expected = (cell, [counted] if counted else [])
    assert cell_and_oddities(rules, b'{"at":%d,"x":%s}' % (NOON, value.encode())) == expected


@pytest.mark.parametrize("row", table("writer's type", "bytes", "cell"), ids=" ".join)
def test_avro(row: list[str]) -> None:
    kind, value, cell = map(code, row)
    fields = [AT, {"name": "x", "type": orjson.loads(kind)}]
    rules = RowRules("own", "custom", "topic", Format.AVRO, record_schema(fields), "at")
    assert cell_and_oddities(rules, HEAD + bytes.fromhex(value))[0] == cell


@pytest.mark.parametrize("row", table("format", "value", "reason"), ids=" ".join)
def test_quarantine(row: list[str]) -> None:
    form, value, reason = map(code, row)
    rules = RowRules("own", "custom", "topic", Format(form), record_schema([AT]), "at")
    raw = value.encode().decode("unicode_escape").encode("latin-1")
    (line,) = quarantined(both(rules, [raw]))
    assert line["reason"] == reason
    assert reason in REASONS
