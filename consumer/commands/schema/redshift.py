"""Redshift: COPY by position from a manifest of its own form."""

from __future__ import annotations

import json

from consumer.commands.schema.table import (
    Engine,
    PublishedDay,
    Target,
    comment,
    literal,
    loads_nothing,
    names_of,
    quoted,
    text_columns,
    typed_view,
)
from consumer.streams.columns import ColumnKind

INSTANT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}[+]00:00$"
CASTS = {
    ColumnKind.INTEGER: "CASE WHEN {} ~ '^-?[0-9]{1,18}$' THEN {}::bigint END",
    ColumnKind.REAL: "CASE WHEN {} ~ '^-?[0-9]{1,255}([.][0-9]+)?$' THEN {}::double precision END",
    ColumnKind.REAL32: "CASE WHEN {} ~ '^-?[0-9]{1,255}([.][0-9]+)?$' THEN {}::double precision END",
    ColumnKind.BOOLEAN: "CASE {} WHEN 'true' THEN true WHEN 'false' THEN false END",
    ColumnKind.INSTANT: f"CASE WHEN {{}} ~ '{INSTANT}' THEN replace({{}}, 'T', ' ')::timestamptz END",
    ColumnKind.DATE: "CASE WHEN {} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN {}::date END",
}
PACKED = {".gz": " GZIP", ".zst": " ZSTD"}


def ddl(target: Target) -> list[str]:
    """The tables; days come with `schema --load DAY --for redshift`."""
    return [
        *comment(
            "Null and the empty text are not told apart: both come as null. A cell above 65,535 bytes ends COPY.",
            "A COPY JOB takes no manifest and remembers names: a day that was replaced would stay as it was.",
        ),
        (
            f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n"
            f"  {text_columns(target, 'varchar(65535)')},\n  dt date\n)"
            " SORTKEY (dt);"
        ),
        typed_view(target, CASTS),
    ]


def load(target: Target, day: PublishedDay) -> list[str]:
    """The manifest to put stands in the comment. A day without objects needs no COPY, which would fail."""
    raw, stage = quoted(target.raw), quoted(f"{target.stream}_stage")
    entries = [
        {"url": target.where(item.key), "mandatory": True, "meta": {"content_length": item.size}}
        for item in day.objects
    ]
    place = target.where(f"exports/manifests/{target.stream}-{day.day}.json")
    packed = next((word for end, word in PACKED.items() if day.objects and day.objects[0].key.endswith(end)), "")
    copy = [
        *comment(f"put this as {place}:", json.dumps({"entries": entries})),
        (
            f"COPY {stage} FROM {literal(place)} IAM_ROLE default MANIFEST FORMAT AS CSV QUOTE AS '\"'"
            f" IGNOREHEADER 1 NULL AS '' FILLRECORD{packed};"
        ),
    ]
    names = names_of(target.names)
    return [
        "BEGIN;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        f"CREATE TEMP TABLE {stage} (\n  {text_columns(target, 'varchar(65535)')}\n);",
        *(copy if entries else loads_nothing(day)),
        f"INSERT INTO {raw} ({names}, dt) SELECT {names}, DATE '{day.day}' FROM {stage};",
        f"DROP TABLE {stage};",
        "COMMIT;",
    ]


ENGINE = Engine(ddl, load)
