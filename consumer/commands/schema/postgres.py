"""PostgreSQL 15 or later: COPY by position under a header that must match, casts that no cell can break."""

from __future__ import annotations

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

DAY = "(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
TIME = "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?([+]00:00|Z)"
NUMBER = "-?[0-9]{1,255}([.][0-9]{1,255})?"


def _dated(pattern: str, kind: str) -> str:
    """A cast of what looks so and names a day of the calendar. CASE in CASE: AND promises no order."""
    last = "extract(day FROM (substr({}, 1, 7) || '-01')::date + interval '1 month - 1 day')"
    return f"CASE WHEN {{}} ~ '^{pattern}$' THEN CASE WHEN substr({{}}, 9, 2)::int <= {last} THEN {{}}::{kind} END END"


CASTS = {
    ColumnKind.INTEGER: "CASE WHEN {} ~ '^-?[0-9]{1,18}$' THEN {}::bigint END",
    ColumnKind.REAL: f"CASE WHEN {{}} ~ '^{NUMBER}$' THEN {{}}::double precision END",
    ColumnKind.REAL32: f"CASE WHEN {{}} ~ '^{NUMBER}$' THEN {{}}::double precision END",
    ColumnKind.BOOLEAN: "CASE {} WHEN 'true' THEN true WHEN 'false' THEN false END",
    ColumnKind.INSTANT: _dated(DAY + TIME, "timestamptz"),
    ColumnKind.DATE: _dated(DAY, "date"),
}
UNPACK = {".gz": "gzip -dc", ".zst": "zstd -dc"}


def ddl(target: Target) -> list[str]:
    """The tables; days come with `schema --load DAY --for postgres`."""
    return [
        f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n  {text_columns(target, 'text')},\n  dt date NOT NULL\n);",
        f"CREATE INDEX IF NOT EXISTS {quoted(target.raw + '_dt')} ON {quoted(target.raw)} (dt);",
        typed_view(target, CASTS),
    ]


def load(target: Target, day: PublishedDay) -> list[str]:
    """Into a stage of its own, so that a day is there whole or not at all."""
    raw, stage = quoted(target.raw), quoted(f"{target.stream}_stage")
    copies = [
        f"COPY {stage} ({names_of(item.columns)}) FROM {_source(target, item.key)}\n"
        "  WITH (FORMAT csv, HEADER MATCH, NULL '', ENCODING 'UTF8');"
        for item in day.objects
    ]
    names = names_of(target.names)
    return [
        *comment(
            "The server reads the files: rights of pg_read_server_files, for PROGRAM pg_execute_server_program.",
            "With psql alone write each COPY as one line of \\copy.",
        ),
        "BEGIN;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        f"CREATE TEMPORARY TABLE {stage} (\n  {text_columns(target, 'text')}\n) ON COMMIT DROP;",
        *(copies or loads_nothing(day)),
        f"INSERT INTO {raw} ({names}, dt) SELECT {names}, DATE '{day.day}' FROM {stage};",
        "COMMIT;",
    ]


def _source(target: Target, key: str) -> str:
    where = target.where(key)
    unpack = next((command for end, command in UNPACK.items() if key.endswith(end)), "")
    if target.local:
        return f"PROGRAM {literal(f'{unpack} {_shell(where)}')}" if unpack else literal(where)
    fetch = f"aws s3 cp --only-show-errors {_shell(where)} -"
    return f"PROGRAM {literal(f'{fetch} | {unpack}' if unpack else fetch)}"


def _shell(text: str) -> str:
    """One word of a shell."""
    escaped = text.replace("'", "'\"'\"'")
    return f"'{escaped}'"


ENGINE = Engine(ddl, load)
