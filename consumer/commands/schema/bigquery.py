"""BigQuery: LOAD DATA from a list of URIs, columns by name. It reads the objects from Cloud Storage."""

from __future__ import annotations

from consumer.commands.schema.table import (
    DataSource,
    DayToLoad,
    Dialect,
    comment,
    escaping,
    guarded,
    literal,
    loads_nothing,
    names_of,
    quoted,
    text_columns,
    typed_view,
)
from consumer.streams.columns import ColumnKind

TICK = "`"
CASTS = guarded(
    "REGEXP_CONTAINS({}, r'^(?:<pattern>)$')",
    {
        ColumnKind.INTEGER: "SAFE_CAST({} AS INT64)",
        ColumnKind.REAL: "SAFE_CAST({} AS FLOAT64)",
        ColumnKind.REAL32: "SAFE_CAST({} AS FLOAT64)",
        ColumnKind.INSTANT: "SAFE_CAST({} AS TIMESTAMP)",
        ColumnKind.DATE: "SAFE_CAST({} AS DATE)",
    },
)


def ddl(target: DataSource) -> list[str]:
    """The tables; days come with `schema --load DAY --for bigquery`."""
    return [
        *comment(
            "The objects must be in Cloud Storage: copy the folder, or use the transfer service. No zstd.",
            "The transfer service in APPEND mode loads a replaced object again in full: delete the day first.",
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw, TICK)} (\n"
            f"  {text_columns(target, 'STRING', TICK)},\n  dt DATE\n)"
            " PARTITION BY dt;"
        ),
        typed_view(target, CASTS, mark=TICK),
    ]


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """Into its own stage, with the URIs of the manifest."""
    raw, stage = quoted(target.raw, TICK), quoted(f"{target.stream}_stage", TICK)
    uris = ", ".join(literal(_uri(target, item.key)) for item in day.objects)
    copy = [
        (
            f"LOAD DATA INTO {stage} FROM FILES (format = 'CSV', uris = [{uris}], skip_leading_rows = 1,"
            " quote = '\"',\n"
            "  allow_quoted_newlines = true, allow_jagged_rows = true, source_column_match = 'NAME');"
        )
    ]
    names = names_of(target.names, TICK)
    return [
        f"CREATE OR REPLACE TABLE {stage} (\n  {text_columns(target, 'STRING', TICK)}\n);",
        *(copy if uris else loads_nothing(day)),
        "BEGIN TRANSACTION;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        f"INSERT INTO {raw} ({names}, dt) SELECT {names}, DATE '{day.day}' FROM {stage};",
        "COMMIT TRANSACTION;",
        f"DROP TABLE {stage};",
    ]


def _uri(target: DataSource, key: str) -> str:
    return target.where(key).replace("s3://", "gs://", 1)


ENGINE = escaping(Dialect(ddl, load))
