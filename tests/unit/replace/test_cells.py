"""Rows of our own CSV, read back to the cells that they were written from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.replace.cells import rows_of
from consumer.shape.csv_text import line

CELLS = st.none() | st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))
ROWS = st.integers(2, 4).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=5))


@given(ROWS)
def test_what_was_written_is_read_back(rows: list[tuple[str | None, ...]]) -> None:
    assert list(rows_of(b"".join(map(line, rows)).decode())) == rows


@pytest.mark.parametrize("text", ['"a', 'a"b\n', "a,b", '"a"b\n', "a\rb\n"])
def test_what_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not CSV as we write it|has no end"):
        list(rows_of(text))
