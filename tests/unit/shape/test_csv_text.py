"""CSV text: one line, doubles as both engines write them, and five readers that agree on every cell."""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumer.shape.csv_text import line
from consumer.shape.exact.cells import NOT_FINITE, cell, real_text
from consumer.shape.native import extension
from consumer.streams.columns import ColumnKind
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Filter, Format
from tests.builders.transforming import ENGINES, as_json, judged, records_of, rules_of

Cells = Sequence[tuple[str | None, ...]]
Reader = Callable[[bytes, Path], Cells]
AWKWARD = [
    None,
    "",
    " ",
    " a ",
    "a,b",
    'say "hi"',
    '"',
    '""',
    "\n",
    "a\nb",
    "\r",
    "a\rb",
    "a\r\nb",
    "\r\n",
    "\t",
    "NA",
    "null",
    "NULL",
    "nan",
    "=1+1",
    "-5",
    "@x",
    "\\",
    "\\N",
    'back\\"slash',
    "a\u2028b",
    "a\u2029b",
    "a\u0085b",
    "a\x0bb\x0cc",
    "😀",
    "👨\u200d👩\u200d👧",
    "\ufeffbom",
    "1234e567",
    "17.10",
    "0007",
    "#comment",
    "'single'",
    ";",
    "|",
    "e\u0301",
    "\ufffd",
    "true",
    "2024-07-15",
    "x" * 200_000,
]


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ((None, "", "a"), b',"",a\n'),
        (("a,b", 'x"y', "c\nd", "e\rf"), b'"a,b","x""y","c\nd","e\rf"\n'),
        ((" a ", "\\", "é"), " a ,\\,é\n".encode()),
        ((None, None), b",\n"),
        ((None,), b'""\n'),
        (("",), b'""\n'),
        (("a",), b"a\n"),
    ],
)
def test_a_line(cells: Sequence[str | None], text: bytes) -> None:
    assert line(cells) == text


TEXT = st.none() | st.text() | st.sampled_from([one for one in AWKWARD if one is None or len(one) < 100])


DOUBLES = [0.0, -0.0, 1e-5, 9.999e-6, 1e15, 9999999999999998.0, 1e16, -1e16, 1e21, 5e-324, 1.7976931348623157e308, 7.0]


@pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(DOUBLES))
@settings(deadline=None)
def test_both_engines_write_a_double_alike(value: float) -> None:
    text = importlib.import_module(extension.MODULE).real_text(value)
    assert text == real_text(value)
    assert float(text) == value


def float_of(bits: int) -> float:
    """The float with these bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


POWERS = [exponent << 23 | sign << 31 for exponent in range(255) for sign in (0, 1)]
"""The bits of every power of two among the floats: beside them floats lie closer on one side."""


@pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
@given(st.lists(st.integers(0, (1 << 32) - 1), max_size=200))
@example(POWERS)
@settings(deadline=None)
def test_both_engines_write_a_float_alike(bits: list[int]) -> None:
    native = importlib.import_module(extension.MODULE)
    for value in filter(math.isfinite, map(float_of, bits)):
        assert native.single_text(value) == cell(ColumnKind.REAL32, value)[0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_float_that_is_no_number_is_empty(value: float) -> None:
    assert cell(ColumnKind.REAL32, value) == (None, NOT_FINITE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0**-96, "0.000000000000000000000000000012621775"),
        (2.0**87, "154742510000000000000000000.0"),
        (2.0**90, "1237940100000000000000000000.0"),
        (0.1, "0.1"),
        (16777216.0, "16777216.0"),
    ],
)
def test_a_float_has_the_shortest_text_that_reads_back(value: float, text: str) -> None:
    single = struct.unpack("<f", struct.pack("<f", value))[0]
    assert cell(ColumnKind.REAL32, single) == (text, None)
    assert struct.pack("<f", float(text)) == struct.pack("<f", value)


def readers() -> Mapping[str, Reader]:
    """Five, by name. Each worker of a run collects this module, and few run it: what is slow to load is loaded then."""
    from tests.builders.csv_readers import READERS  # noqa: PLC0415 - see above

    return READERS


TELL_NULL = {"polars", "pyarrow"}
"""The readers that tell null from the empty text."""


def agreed(rows: Cells, text: bytes, folder: Path) -> None:
    empty = [tuple("" if cell is None else cell for cell in row) for row in rows]
    for name, read in readers().items():
        found = read(text, folder)
        if name in TELL_NULL:
            assert [tuple(row) for row in found] == rows, name
        else:
            assert [tuple("" if cell is None else cell for cell in row) for row in found] == empty, name


def test_five_readers_agree_on_awkward_cells(tmp_path: Path) -> None:
    rows: Cells = [("first", text, "last") for text in AWKWARD]
    agreed(rows, b"a,b,c\n" + b"".join(line(row) for row in rows), tmp_path)


@given(rows=st.lists(st.tuples(st.just("x"), TEXT, TEXT), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_five_readers_agree_on_any_text(rows: Cells, tmp_path: Path) -> None:
    """Text without NUL, as every row of ours."""
    rows = [tuple(cell and cell.replace("\0", "") for cell in row) for row in rows]
    agreed(rows, b"a,b,c\n" + b"".join(line(row) for row in rows), tmp_path)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("engine", ENGINES)
def test_five_readers_agree_on_rows_of_every_kind(kind: str, engine: str, tmp_path: Path) -> None:
    schema = KINDS[kind].schema
    values = [orjson.dumps(as_json(record, schema)) for record in records_of(schema, 60)]
    rules = rules_of(kind, Format.JSON, filter=Filter())
    found = judged(rules, values, engine=engine)
    names = [field["name"] for field in orjson.loads(schema)["fields"]]
    with_polars = readers()["polars"]
    for day in found.days:
        text = ",".join(names).encode() + b"\n" + day.body
        rows = [tuple(row) for row in with_polars(text, tmp_path)]
        assert len(rows) == day.rows
        agreed(rows, text, tmp_path)
    assert found.counts.kept == 60
