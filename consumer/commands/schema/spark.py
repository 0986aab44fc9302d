"""Spark, a table over the folder; Databricks, a Delta table that takes days from it."""

from __future__ import annotations

from consumer.commands.schema.table import (
    DataSource,
    DayToLoad,
    Dialect,
    comment,
    guarded,
    literal,
    loads_nothing,
    quoted,
    text_columns,
    typed_view,
)
from consumer.streams.columns import ColumnKind

TICK = "`"
NEVER = "\\u0001"
"""A text that never occurs: with it an empty cell is null and "" the empty text; without one both are null."""
CASTS = guarded(
    "{} RLIKE '^<pattern>$'",
    {
        ColumnKind.INTEGER: "TRY_CAST({} AS BIGINT)",
        ColumnKind.REAL: "TRY_CAST({} AS DOUBLE)",
        ColumnKind.REAL32: "TRY_CAST({} AS DOUBLE)",
        ColumnKind.INSTANT: "TRY_CAST({} AS TIMESTAMP)",
        ColumnKind.DATE: "TRY_CAST({} AS DATE)",
    },
)


def spark_ddl(target: DataSource) -> list[str]:
    """An external table: columns by position, valid as long as new columns are only added at the end."""
    raw = quoted(target.raw, TICK)
    return [
        *([] if target.local else comment("Outside EMR and Databricks write s3a:// for s3://.")),
        *comment(
            "Columns are read by position. When the folder gets a new column: DROP TABLE, then run this again.",
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {raw} (\n  {text_columns(target, 'STRING', TICK)},\n  dt DATE\n) USING CSV\n"
            "OPTIONS (header 'true', multiLine 'true', quote '\"', escape '\"', "
            f"nullValue '{NEVER}', emptyValue '', mode 'PERMISSIVE')\n"
            f"PARTITIONED BY (dt) LOCATION {literal(_place(target))};"
        ),
        f"MSCK REPAIR TABLE {raw};",
        typed_view(target, CASTS, mark=TICK),
    ]


def spark_load(target: DataSource, day: DayToLoad) -> list[str]:
    """The table reads the folder: the day's partition is made known again, and what was cached of it forgotten."""
    raw, dt = quoted(target.raw, TICK), f"dt = DATE '{day.day}'"
    return [
        f"ALTER TABLE {raw} DROP IF EXISTS PARTITION ({dt});",
        f"ALTER TABLE {raw} ADD IF NOT EXISTS PARTITION ({dt}) LOCATION {literal(f'{_place(target)}/dt={day.day}')};",
        f"REFRESH TABLE {raw};",
    ]


def databricks_ddl(target: DataSource) -> list[str]:
    """The tables; days come with `schema --load DAY --for databricks`."""
    return [
        *comment("Auto Loader loads each path once: a replaced day must be deleted and loaded again."),
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw, TICK)} (\n"
            f"  {text_columns(target, 'STRING', TICK)},\n  dt DATE\n)"
            " CLUSTER BY (dt);"
        ),
        typed_view(target, CASTS, mark=TICK),
    ]


def databricks_load(target: DataSource, day: DayToLoad) -> list[str]:
    """Delete, then exactly the objects of the manifest, by column name."""
    raw = quoted(target.raw, TICK)
    inserts = [
        f"INSERT INTO {raw} BY NAME SELECT * EXCEPT (_rescued_data), DATE '{day.day}' AS dt FROM read_files(\n"
        f"  {literal(target.where(item.key))}, format => 'csv', header => true, multiLine => true, escape => '\"',\n"
        f"  nullValue => '{NEVER}', emptyValue => '', inferColumnTypes => false);"
        for item in day.objects
    ]
    return [f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';", *(inserts or loads_nothing(day))]


def _place(target: DataSource) -> str:
    return f"file://{target.folder}" if target.local else target.folder


SPARK = Dialect(spark_ddl, spark_load)
DATABRICKS = Dialect(databricks_ddl, databricks_load)
