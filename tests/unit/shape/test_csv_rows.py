"""Rows picked and widened as they are written: held against Python's csv module, block borders anywhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.shape.csv_rows import CellRule, cells_of, fitted, parsed, picked, rows_of, widened, without_header
from consumer.shape.csv_text import line

CELLS = st.none() | st.text(alphabet='a",\r\n0é', max_size=6)
TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))
CUTS = st.lists(st.integers(0, 200), max_size=12)


def in_blocks(text: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The text, cut in pieces at these places."""
    places = sorted({min(cut, len(text)) for cut in cuts})
    for low, high in zip([0, *places], [*places, len(text)], strict=True):
        yield text[low:high]


def table(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


def plain(rows: list[list[str | None]]) -> list[list[str]]:
    return [[cell or "" for cell in row] for row in rows]


def no_rules(_columns: object) -> Mapping[int, CellRule]:
    return {}


@given(TABLES, CUTS, st.integers(0, 2))
def test_widened_rows_have_empty_cells_at_their_ends(rows: list[list[str | None]], cuts: list[int], more: int) -> None:
    text = b"".join(map(line, rows))
    made = b"".join(widened(in_blocks(text, cuts), more))
    assert made == b"".join(line(row)[:-1] + b"," * more + b"\n" for row in rows)
    assert table(made) == [[*row, *[""] * more] for row in plain(rows)]


@given(TABLES, CUTS)
def test_rows_and_cells_are_as_they_were_written(rows: list[list[str | None]], cuts: list[int]) -> None:
    text = b"".join(map(line, rows))
    found = [cells_of(row) for row in rows_of(in_blocks(text, cuts))]
    assert found == [[line([cell, None])[:-2] for cell in row] for row in rows]


@given(TABLES, CUTS)
def test_what_was_written_is_read_back(rows: list[list[str | None]], cuts: list[int]) -> None:
    text = b"".join(map(line, rows))
    assert list(parsed(in_blocks(text, cuts))) == [tuple(row) for row in rows]


@given(TABLES, CUTS)
def test_picked_cells_stand_in_the_order_asked_for(rows: list[list[str | None]], cuts: list[int]) -> None:
    text = b"".join(map(line, rows))
    width = len(rows[0]) if rows else 2
    made = b"".join(picked(in_blocks(text, cuts), [1, None, 0], {1: lambda cell: cell.replace(b"a", b"b")}, width))
    assert made == b"".join(line([row[1] and row[1].replace("a", "b"), None, row[0]]) for row in rows)


@given(TABLES, CUTS)
def test_the_header_comes_off_wherever_blocks_end(rows: list[list[str | None]], cuts: list[int]) -> None:
    body = b"".join(map(line, rows))
    head = line(["a", 'price, "usd"\n', "c"])
    found, rest = without_header(in_blocks(head + body, cuts))
    assert (found + b"\n", b"".join(rest)) == (head, body)


def test_an_object_under_its_folders_header() -> None:
    text = b'id,name\n1,"a\nb"\n2,""\n'
    assert b"".join(fitted([text], ["id", "name"], no_rules)) == b'1,"a\nb"\n2,""\n'
    assert b"".join(fitted([text], ["id", "name", "new"], no_rules)) == b'1,"a\nb",\n2,"",\n'
    assert b"".join(fitted([text], ["name", "id"], no_rules)) == b'"a\nb",1\n"",2\n'
    assert b"".join(fitted([text], ["new", "id"], no_rules)) == b",1\n,2\n"
    assert b"".join(fitted([text], ["name"], no_rules)) == b'"a\nb"\n""\n'
    assert b"".join(fitted([b"id\n7\n"], ["new"], no_rules)) == b'""\n'  # no blank line


def test_rules_are_looked_up_by_the_objects_own_columns() -> None:
    def rules(columns: object) -> Mapping[int, CellRule]:
        assert columns == ["id", "name"]
        return {1: lambda cell: b"" if cell == b"secret" else cell}

    assert b"".join(fitted([b"id,name\n1,secret\n2,open\n"], ["id", "name"], rules)) == b"1,\n2,open\n"


@pytest.mark.parametrize("text", [b"", b"id,name", b'id,"na\nme'])
def test_a_text_without_a_header_line_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no header line"):
        without_header([text])


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="a row has 3 cells, the header has 2"):
        b"".join(fitted([b"id,name\n1,2,3\n"], ["name"], no_rules))
    with pytest.raises(ValueError, match="is incomplete"):
        b"".join(fitted([b"id,name\n1,2"], ["name"], no_rules))


@pytest.mark.parametrize("text", [b'"a', b'a"b\n', b"a,b", b'"a"b\n', b'a,"b"c,d\n'])
def test_what_is_not_ours_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"which the sink never writes|is incomplete"):
        list(parsed([text]))
