"""Athena and Trino: tables over the folder, by Hive's CSV reader."""

from __future__ import annotations

from consumer.commands.schema.table import (
    DataSource,
    DayToLoad,
    Dialect,
    comment,
    guarded,
    literal,
    quoted,
    text_columns,
    typed_view,
)
from consumer.streams.columns import ColumnKind

CASTS = guarded(
    "regexp_like({}, '^<pattern>$')",
    {
        ColumnKind.INTEGER: "TRY(CAST({} AS bigint))",
        ColumnKind.REAL: "TRY(CAST({} AS double))",
        ColumnKind.REAL32: "TRY(CAST({} AS double))",
        ColumnKind.INSTANT: "CAST(TRY(from_iso8601_timestamp_nanos({})) AS timestamp(6) with time zone)",
        ColumnKind.DATE: "TRY(CAST({} AS date))",
    },
)
"""from_iso8601_timestamp would cut microseconds to milliseconds."""
LIMITS = (
    'Line breaks inside cells are not read: set line_breaks = "space" on the stream.',
    "Null and the empty string are both read as the empty string. Columns are read by position.",
)
NEVER = "\\u0001"
"""An escape that never occurs. The backslash is the default, and a row with \\" in a cell comes as nulls then."""


def athena_ddl(target: DataSource) -> list[str]:
    """Partition projection: a day is there as soon as its objects are."""
    columns = text_columns(target, "string", "`")
    return [
        *comment(*LIMITS),
        (
            f"CREATE EXTERNAL TABLE IF NOT EXISTS `{target.raw}` (\n  {columns}\n)\n"
            "PARTITIONED BY (dt string)\n"
            "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\n"
            "WITH SERDEPROPERTIES ('separatorChar' = ',', 'quoteChar' = '\"',"
            f" 'escapeChar' = '{NEVER}')\n"
            f"LOCATION {literal(f'{target.url}/{target.stream}/')}\n"
            "TBLPROPERTIES ('skip.header.line.count' = '1', 'projection.enabled' = 'true',\n"
            "  'projection.dt.type' = 'date', 'projection.dt.format' = 'yyyy-MM-dd',\n"
            "  'projection.dt.range' = '2008-07-10,NOW');"
        ),
        typed_view(target, CASTS),
    ]


def trino_ddl(target: DataSource) -> list[str]:
    """For a Hive catalog: run it in the schema where the tables are to be."""
    return [
        *comment(*LIMITS, "Run this in USE <hive catalog>.<schema>."),
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n"
            f"  {text_columns(target, 'varchar')},\n  dt varchar\n)\n"
            "WITH (format = 'CSV', csv_separator = ',', csv_quote = '\"', csv_escape = U&'\\0001',\n"
            "  skip_header_line_count = 1,\n"
            f"  partitioned_by = ARRAY['dt'], external_location = {literal(f'{target.url}/{target.stream}')});"
        ),
        f"CALL system.sync_partition_metadata(CURRENT_SCHEMA, {literal(target.raw)}, 'FULL');",
        typed_view(target, CASTS),
    ]


def athena_load(target: DataSource, day: DayToLoad) -> list[str]:
    """Nothing is copied: the folder is read with each query."""
    return [
        *comment(f"The table reads the folder: nothing to delete or load. The manifest says {day.rows} rows."),
        f"SELECT count(*) FROM {quoted(target.raw)} WHERE dt = '{day.day}';",
    ]


def trino_load(target: DataSource, day: DayToLoad) -> list[str]:
    """Only the partition has to be known."""
    return [
        *comment(f"The table reads the folder: nothing to delete or load. The manifest says {day.rows} rows."),
        f"CALL system.sync_partition_metadata(CURRENT_SCHEMA, {literal(target.raw)}, 'ADD');",
        f"SELECT count(*) FROM {quoted(target.raw)} WHERE dt = '{day.day}';",
    ]


ATHENA = Dialect(athena_ddl, athena_load)
TRINO = Dialect(trino_ddl, trino_load)
