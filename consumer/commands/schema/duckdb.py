"""DuckDB: a table that reads the folder by column name. Run by our tests."""

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

READ = (
    "header = true, delim = ',', quote = '\"', escape = '\"', all_varchar = true, allow_quoted_nulls = false,"
    " union_by_name = true, max_line_size = 16777216"
)
"""Without union_by_name columns of later files vanish, without allow_quoted_nulls = false "" becomes null."""
CASTS = guarded(
    "regexp_full_match({}, '<pattern>')",
    {
        ColumnKind.INTEGER: "TRY(CAST({} AS BIGINT))",
        ColumnKind.REAL: "TRY(CAST({} AS DOUBLE))",
        ColumnKind.REAL32: "TRY(CAST({} AS DOUBLE))",
        ColumnKind.INSTANT: "TRY(CAST({} AS TIMESTAMPTZ))",
        ColumnKind.DATE: "TRY(CAST({} AS DATE))",
    },
)
"""TRY(CAST()) and not TRY_CAST: that one is pushed into the CSV reader, and ends the query at a bad cell."""


def ddl(target: DataSource) -> list[str]:
    """All days in the folder now; later ones come with `schema --load DAY --for duckdb`."""
    return [
        *(
            []
            if target.local
            else comment("s3:// needs INSTALL httpfs; LOAD httpfs; and a secret, such as", _secret(target))
        ),
        f"CREATE OR REPLACE TABLE {quoted(target.raw)} (\n  {text_columns(target, 'VARCHAR')},\n  dt DATE\n);",
        (
            f"INSERT INTO {quoted(target.raw)} BY NAME SELECT * FROM "
            f"read_csv({literal(target.folder + '/dt=*/*.csv*')},\n"
            f"  {READ},\n  hive_partitioning = true, hive_types = {{'dt': DATE}});"
        ),
        typed_view(target, CASTS),
    ]


def _secret(target: DataSource) -> str:
    parts = ["TYPE s3", "PROVIDER credential_chain", f"REGION {literal(target.region or 'us-east-1')}"]
    if target.endpoint_url:
        scheme, _, host = target.endpoint_url.rpartition("://")
        tls = str(scheme != "http").lower()
        parts = [
            "TYPE s3",
            "KEY_ID '...'",
            "SECRET '...'",
            f"ENDPOINT {literal(host)}",
            "URL_STYLE 'path'",
            f"USE_SSL {tls}",
        ]
    return f"CREATE SECRET ({', '.join(parts)});"


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """Exactly the objects of the manifest."""
    raw, date = quoted(target.raw), f"DATE '{day.day}'"
    files = ", ".join(literal(target.where(item.key)) for item in day.objects)
    insert = [
        (
            f"INSERT INTO {raw} BY NAME SELECT *, {date} AS dt FROM read_csv([{files}],\n"
            f"  {READ}, hive_partitioning = false);"
        )
    ]
    return [
        "BEGIN TRANSACTION;",
        f"DELETE FROM {raw} WHERE dt = {date};",
        *(insert if files else loads_nothing(day)),
        "COMMIT;",
    ]


ENGINE = Dialect(ddl, load)
