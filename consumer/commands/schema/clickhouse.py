"""ClickHouse: one partition per day, read by column name."""

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

SETTINGS = (
    "input_format_csv_empty_as_default = 1, format_csv_null_representation = '\\\\1',"
    " input_format_csv_trim_whitespaces = 0, input_format_with_names_use_header = 1,"
    " input_format_csv_use_best_effort_in_schema_inference = 0"
)
"""\\N stays text, blanks stay, an unquoted empty cell is null and "" is the empty text."""
_INSTANT = "parseDateTime64BestEffortOrNull({}, 6, 'UTC')"
_DATE = "toDate32OrNull({})"
CASTS = guarded(
    "match({}, '^<pattern>$')",
    {
        ColumnKind.INTEGER: "toInt64OrNull({})",
        ColumnKind.REAL: "toFloat64OrNull({})",
        ColumnKind.REAL32: "toFloat64OrNull({})",
        ColumnKind.INSTANT: (
            f"if(concat(replaceOne(toString({_INSTANT}), ' ', 'T'), '+00:00') = {{}}, {_INSTANT}, NULL)"
        ),
        ColumnKind.DATE: f"if(toString({_DATE}) = {{}}, {_DATE}, NULL)",
    },
)
"""Its dates run over into the next month, and stop at 1900 and 2299: one that does not read as the cell is null."""


def ddl(target: DataSource) -> list[str]:
    """The tables; days come with `schema --load DAY --for clickhouse`."""
    return [
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n"
            f"  {text_columns(target, 'Nullable(String)')},\n  dt Date\n)"
            " ENGINE = MergeTree PARTITION BY dt ORDER BY tuple();"
        ),
        typed_view(target, CASTS),
    ]


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """The day's partition is dropped, then filled. There is no transaction: a query in between does not see the day."""
    raw = quoted(target.raw)
    inserts = [
        f"INSERT INTO {raw} ({names_of(item.columns)}, dt)\n"
        f"SELECT {names_of(item.columns)}, toDate('{day.day}') FROM {_source(target, item.key, item.columns)}\n"
        f"SETTINGS {SETTINGS};"
        for item in day.objects
    ]
    return [f"ALTER TABLE {raw} DROP PARTITION '{day.day}';", *(inserts or loads_nothing(day))]


def _source(target: DataSource, key: str, columns: tuple[str, ...]) -> str:
    structure = literal(", ".join(f"{quoted(name)} Nullable(String)" for name in columns).replace("\\", "\\\\"))
    if target.local:
        return f"file({literal(target.where(key))}, 'CSVWithNames', {structure})"
    bucket, _, folder = target.url.removeprefix("s3://").partition("/")
    region = f".{target.region}" if target.region else ""
    base = f"{target.endpoint_url}/{bucket}" if target.endpoint_url else f"https://{bucket}.s3{region}.amazonaws.com"
    place = "/".join(part for part in (base.rstrip("/"), folder, key) if part)
    return f"s3({literal(place)}, 'CSVWithNames', {structure})"


LIMITS = comment(
    "S3Queue: MODE = 'unordered' only; 'ordered' skips late files of older days.",
    "Dates and times before 1900 or after 2299 are null in the view.",
)
ENGINE = escaping(Dialect(lambda target: [*LIMITS, *ddl(target)], load))
