"""Five readers of CSV: Python's and those of four libraries, which take a second to load."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

Cells = Sequence[tuple[str | None, ...]]


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
    with _duckdb().cursor() as connection:
        return connection.execute(
            "select * from read_csv(?, header=true, all_varchar=true, delim=',', quote='\"', escape='\"',"
            " new_line='\\n', max_line_size=10000000, parallel=false)",
            [str(path)],
        ).fetchall()


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """A base in memory takes longer to open than a few rows to read."""
    return duckdb.connect()


READERS: Mapping[str, Callable[[bytes, Path], Cells]] = {
    "python": with_python,
    "polars": with_polars,
    "pandas": with_pandas,
    "pyarrow": with_pyarrow,
    "duckdb": with_duckdb,
}
