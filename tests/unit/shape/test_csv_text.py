"""CSV text: one line, many lines alike, and five readers that agree on every cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.shape.csv_text import line, lines, writable, writable_reals
from consumer.shape.csv_writer import gap_column, interleave
from consumer.shape.exact.cells import real_text
from consumer.streams.columns import ColumnKind
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Filter, Format
from tests.builders.transforming import as_json, judged, records_of, rules_of

Cells = Sequence[tuple[str | None, ...]]
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


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
@settings(deadline=None)
def test_many_lines_are_the_lines_one_by_one(rows: list[tuple[str | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    assert lines(frame) == b"".join(line(row) for row in rows)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@settings(deadline=None)
def test_columns_of_doubles_are_the_doubles_one_by_one(values: list[float | None]) -> None:
    made = writable_reals([pl.Series("a", values, dtype=pl.Float64), pl.Series("b", [1.5] * len(values))])
    expected = b"".join(line((None if value is None else real_text(value), "1.5")) for value in values)
    assert lines(pl.DataFrame(made)) == expected


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        1e-5,
        9.999e-6,
        1e15,
        9999999999999998.0,
        1e16,
        -1e16,
        1e21,
        5e-324,
        1.7976931348623157e308,
        7.0,
        123456789.125,
    ],
)
def test_doubles_at_the_bounds(value: float) -> None:
    made = writable_reals([pl.Series("a", [value, None]), pl.Series("b", [1.0, 2.0])])
    assert lines(pl.DataFrame(made)) == f"{real_text(value)},1.0\n,2.0\n".encode()


def test_instants_and_dates() -> None:
    frame = pl.DataFrame(
        [
            writable(ColumnKind.INSTANT, pl.Series("a", [-62_135_596_800_000_000, 253_402_300_799_999_999, None])),
            writable(ColumnKind.DATE, pl.Series("b", [-719_162, 2_932_896, 0])),
            pl.Series("c", [True, False, None]),
        ]
    )
    assert lines(frame).decode().splitlines() == [
        "0001-01-01T00:00:00.000000+00:00,0001-01-01,true",
        "9999-12-31T23:59:59.999999+00:00,9999-12-31,false",
        ",1970-01-01,",
    ]


def test_exact_lines_stand_where_they_belong() -> None:
    frame = pl.DataFrame({"n": [1, 2, 3], "t": ["a", "b,\n", None]})
    at = pl.Series([2, 5, 9], dtype=pl.UInt32)
    exact = {9_000: b"last\n", 0: b"first\n", 7: b"x,y\n", 6: b"w\n"}
    assert gap_column(frame) == "t"
    assert interleave(frame, at, exact, "t") == b'first\n1,a\n2,"b,\n"\nw\nx,y\n3,\nlast\n'
    assert interleave(frame, at, {}, "t") == b'1,a\n2,"b,\n"\n3,\n'


def test_a_nul_is_noticed() -> None:
    at = pl.Series([0, 1], dtype=pl.UInt32)
    frame = pl.DataFrame({"n": [1, 2], "t": ["a\0", "b"]})
    assert interleave(frame, at, {}, "t") is None
    assert interleave(frame, at, {5: b"x\n"}, "t") is None


def test_a_frame_without_text_or_with_one_column_has_no_gap() -> None:
    assert gap_column(pl.DataFrame({"a": [1], "b": [2]})) is None
    assert gap_column(pl.DataFrame({"a": ["x"]})) is None


def with_python(text: bytes, _: Path) -> Cells:
    csv.field_size_limit(1 << 30)
    return [tuple(row) for row in csv.reader(io.StringIO(text.decode(), newline=""))][1:]


def with_polars(text: bytes, _: Path) -> Cells:
    return pl.read_csv(text, infer_schema=False).rows()


def with_pandas(text: bytes, _: Path) -> Cells:
    frame = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False, na_filter=False, lineterminator="\n")
    return list(frame.itertuples(index=False, name=None))


def with_pyarrow(text: bytes, _: Path) -> Cells:
    table = pa_csv.read_csv(
        io.BytesIO(text),
        read_options=pa_csv.ReadOptions(block_size=1 << 24),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in text.decode().split("\n")[0].split(",")},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return list(zip(*[column.to_pylist() for column in table.columns], strict=True))


def with_duckdb(text: bytes, folder: Path) -> Cells:
    path = folder / "rows.csv"
    path.write_bytes(text)
    with duckdb.connect() as connection:
        return connection.execute(
            "select * from read_csv(?, header=true, all_varchar=true, delim=',', quote='\"', escape='\"',"
            " new_line='\\n', max_line_size=10000000, parallel=false)",
            [str(path)],
        ).fetchall()


READERS: dict[str, Callable[[bytes, Path], Cells]] = {
    "python": with_python,
    "polars": with_polars,
    "pandas": with_pandas,
    "pyarrow": with_pyarrow,
    "duckdb": with_duckdb,
}
TELL_NULL = {"polars", "pyarrow"}
"""The readers that tell null from the empty text."""


def agreed(rows: Cells, text: bytes, folder: Path) -> None:
    empty = [tuple("" if cell is None else cell for cell in row) for row in rows]
    for name, read in READERS.items():
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
def test_five_readers_agree_on_rows_of_every_kind(kind: str, tmp_path: Path) -> None:
    schema = KINDS[kind].schema
    values = [orjson.dumps(as_json(record, schema)) for record in records_of(schema, 60)]
    rules = rules_of(kind, Format.JSON, filter=Filter())
    found = judged(rules, values, exact=False)
    names = [field["name"] for field in orjson.loads(schema)["fields"]]
    for day in found.days:
        text = ",".join(names).encode() + b"\n" + day.body
        rows = [tuple(row) for row in with_polars(text, tmp_path)]
        assert len(rows) == day.rows
        agreed(rows, text, tmp_path)
    assert found.counts.kept == 60
