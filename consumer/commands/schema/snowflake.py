"""Snowflake: a stage over the folder, columns by name."""

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

FILES = 1_000
"""COPY takes no more names in one statement."""
CASTS = guarded(
    "REGEXP_LIKE({}, '<pattern>')",
    {
        ColumnKind.INTEGER: "TRY_TO_NUMBER({}, 38, 0)",
        ColumnKind.REAL: "TRY_TO_DOUBLE({})",
        ColumnKind.REAL32: "TRY_TO_DOUBLE({})",
        ColumnKind.INSTANT: "TRY_TO_TIMESTAMP_TZ({})",
        ColumnKind.DATE: "TRY_TO_DATE({})",
    },
)


def ddl(target: DataSource) -> list[str]:
    """Format, stage and tables. The stage's path ends with a slash: it is a prefix, not a folder."""
    return [
        *comment(
            "The stage needs credentials: add STORAGE_INTEGRATION = <name>.",
            "Snowpipe remembers a path for 14 days: a replaced day must be deleted and loaded again.",
        ),
        (
            "CREATE FILE FORMAT IF NOT EXISTS adapty_csv TYPE = CSV FIELD_DELIMITER = ',' RECORD_DELIMITER = '\\n'\n"
            "  FIELD_OPTIONALLY_ENCLOSED_BY = '\"' ESCAPE = NONE ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = ()\n"
            "  EMPTY_FIELD_AS_NULL = TRUE PARSE_HEADER = TRUE ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE"
            " MULTI_LINE = TRUE\n"
            "  ENCODING = 'UTF8' COMPRESSION = AUTO;"
        ),
        f"CREATE STAGE IF NOT EXISTS {quoted(target.stream + '_stage')} URL = {literal(target.url + '/')};",
        f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n  {text_columns(target, 'VARCHAR')},\n  dt DATE\n);",
        typed_view(target, CASTS),
    ]


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """FORCE: the same names may have been loaded before."""
    raw, stage = quoted(target.raw), quoted(f"{target.stream}_stage")
    keys = [item.key for item in day.objects]
    copies = [
        f"COPY INTO {raw} FROM @{stage} FILES = ({', '.join(map(literal, keys[at : at + FILES]))})\n"
        "  FILE_FORMAT = (FORMAT_NAME = adapty_csv) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE FORCE = TRUE;"
        for at in range(0, len(keys), FILES)
    ]
    return [
        "BEGIN;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        *(copies or loads_nothing(day)),
        f"UPDATE {raw} SET dt = DATE '{day.day}' WHERE dt IS NULL;",
        "COMMIT;",
    ]


ENGINE = Dialect(ddl, load)
