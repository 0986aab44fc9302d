"""Redshift: COPY by position from its own manifest format."""

from __future__ import annotations

import json

from consumer.commands.schema.postgres import casts
from consumer.commands.schema.table import (
    DataSource,
    DayToLoad,
    Dialect,
    comment,
    literal,
    loads_nothing,
    names_of,
    quoted,
    text_columns,
    typed_view,
)
from consumer.domain.compression import SUFFIXES, Compression, compression_of

CASTS = casts("extract(day FROM last_day((substr({}, 1, 7) || '-01')::date))", "replace({}, 'T', ' ')")


def ddl(target: DataSource) -> list[str]:
    """The tables; days come with `schema --load DAY --for redshift`."""
    return [
        *comment(
            "Null and the empty string are both read as null. A cell above 65,535 bytes makes COPY fail.",
            "A COPY JOB takes no manifest and remembers names: a replaced day would not be updated.",
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n"
            f"  {text_columns(target, 'varchar(65535)')},\n  dt date\n)"
            " SORTKEY (dt);"
        ),
        typed_view(target, CASTS),
    ]


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """The manifests to save are in comments. A day without objects needs no COPY, which would fail."""
    raw, stage = quoted(target.raw), quoted(f"{target.stream}_stage")
    names = names_of(target.names)
    return [
        "BEGIN;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        f"CREATE TEMP TABLE {stage} (\n  {text_columns(target, 'varchar(65535)')}\n);",
        *(line for compression in SUFFIXES for line in _copy(target, day, stage, compression)),
        *loads_nothing(day),
        f"INSERT INTO {raw} ({names}, dt) SELECT {names}, DATE '{day.day}' FROM {stage};",
        f"DROP TABLE {stage};",
        "COMMIT;",
    ]


def _copy(target: DataSource, day: DayToLoad, stage: str, compression: Compression) -> list[str]:
    """One COPY takes objects of one compression."""
    entries = [
        {"url": target.where(item.key), "mandatory": True, "meta": {"content_length": item.size}}
        for item in day.objects
        if compression_of(item.key) == compression
    ]
    if not entries:
        return []
    end = SUFFIXES[compression] or ".csv"
    place = target.where(f"exports/manifests/{target.stream}-{day.day}{end}.json")
    return [
        *comment(f"save this as {place}:", json.dumps({"entries": entries})),
        (
            f"COPY {stage} FROM {literal(place)} IAM_ROLE default MANIFEST FORMAT AS CSV QUOTE AS '\"'"
            f" IGNOREHEADER 1 NULL AS '' FILLRECORD{_packed(compression)};"
        ),
    ]


def _packed(compression: Compression) -> str:
    """What COPY needs to know of it."""
    match compression:
        case "none":
            return ""
        case "gzip":
            return " GZIP"
        case "zstd":
            return " ZSTD"


ENGINE = Dialect(ddl, load)
