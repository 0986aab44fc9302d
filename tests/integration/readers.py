"""CSV as five readers see it: a table of text each, null where the reader can tell null from the empty text."""

import csv
import gzip
import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import zstandard

csv.field_size_limit(1 << 30)


def by_csv(path: Path) -> pa.Table:
    """Python's own reader, which knows no null."""
    rows = list(csv.reader(io.StringIO(_text(path), newline=""), strict=True))
    columns = zip(*rows[1:], strict=True) if rows[1:] else [() for _ in rows[0]]
    return pa.table({name: pa.array(column, pa.large_string()) for name, column in zip(rows[0], columns, strict=True)})


def by_pyarrow(path: Path) -> pa.Table:
    """With nulls."""
    names = _header(path)
    convert = pcsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.large_string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    parse = pcsv.ParseOptions(newlines_in_values=True)
    read = pcsv.ReadOptions(block_size=1 << 26)
    return pcsv.read_csv(path, convert_options=convert, parse_options=parse, read_options=read)


def by_polars(path: Path) -> pa.Table:
    """With nulls."""
    frame = pl.read_csv(path, infer_schema=False, empty_string_is_null=True)
    return _large(frame.to_arrow())


def by_pandas(path: Path) -> pa.Table:
    """Without nulls: as one reads ids and other text."""
    frame = pd.read_csv(path, dtype="object", keep_default_na=False, na_values=[], lineterminator="\n")
    return pa.table({name: pa.array(frame[name].tolist(), pa.large_string()) for name in frame.columns})


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """One for all files: to open a database takes longer than to read most of them."""
    return duckdb.connect(config={"threads": 1})


def by_duckdb(path: Path) -> pa.Table:
    """With nulls."""
    found = _duckdb().sql(
        "SELECT * FROM read_csv(?, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', "
        "nullstr = '', allow_quoted_nulls = false, max_line_size = 10000000, hive_partitioning = false)",
        params=[str(path)],
    )
    return _large(found.to_arrow_table())


WITH_NULLS: Mapping[str, Callable[[Path], pa.Table]] = {"polars": by_polars, "duckdb": by_duckdb}
WITHOUT_NULLS: Mapping[str, Callable[[Path], pa.Table]] = {"csv": by_csv, "pandas": by_pandas}


def disagreement(path: Path) -> str:
    """Where the readers differ on this file; "" where they agree on every cell."""
    truth = by_pyarrow(path)
    for name, read in WITH_NULLS.items():
        if difference := _difference(read(path), truth):
            return f"{path.name}: {name} and pyarrow: {difference}"
    plain = pa.table({name: pc.fill_null(truth[name], "") for name in truth.column_names})
    for name, read in WITHOUT_NULLS.items():
        if difference := _difference(read(path), plain):
            return f"{path.name}: {name} and pyarrow: {difference}"
    return ""


def _difference(one: pa.Table, other: pa.Table) -> str:
    if one.column_names != other.column_names:
        return f"columns {one.column_names} and {other.column_names}"
    if one.num_rows != other.num_rows:
        return f"{one.num_rows} rows and {other.num_rows}"
    for name in one.column_names:
        here, there = one[name].to_pylist(), other[name].to_pylist()
        if here != there:
            row = next(n for n, (a, b) in enumerate(zip(here, there, strict=True)) if a != b)
            return f"row {row}, {name}: {here[row]!r} and {there[row]!r}"
    return ""


def _large(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([(name, pa.large_string()) for name in table.column_names]))


def _header(path: Path) -> list[str]:
    return _text(path).split("\n", 1)[0].split(",")


def _text(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.decode()
