"""PostgreSQL 15 or later: COPY by position under a header that must match, casts that no cell can break."""

from __future__ import annotations

from consumer.commands.schema.table import (
    DataSource,
    DayToLoad,
    Dialect,
    comment,
    guarded,
    literal,
    loads_nothing,
    names_of,
    quoted,
    text_columns,
    typed_view,
)
from consumer.streams.columns import ColumnKind

BIGINT = "-9223372036854775808 AND 9223372036854775807"
DAY = "substr({}, 1, 4) > '0000' AND substr({}, 6, 2) BETWEEN '01' AND '12'"
TIME = " AND substr({}, 12, 2) < '24' AND substr({}, 15, 2) < '60' AND substr({}, 18, 2) < '60'"
LAST = "extract(day FROM (substr({}, 1, 7) || '-01')::date + interval '1 month - 1 day')"


def casts(last: str, instant: str) -> dict[ColumnKind, str]:
    """Casts of text that cannot fail, as there is no safe cast. CASE within CASE, as AND guarantees no order.

    `last` is the last day of the cell's month, `instant` the cell as cast to timestamptz.
    """
    day = f"CASE WHEN substr({{}}, 9, 2)::int BETWEEN 1 AND {last}"
    real = (
        "CASE WHEN length(split_part(ltrim({}, '-'), '.', 1)) <= 308 AND length({}) <= 330"
        " THEN {}::double precision END"
    )
    return guarded(
        "{} ~ '^<pattern>$'",
        {
            ColumnKind.INTEGER: (
                f"CASE WHEN length({{}}) <= 20 THEN CASE WHEN {{}}::numeric(38, 0) BETWEEN {BIGINT}"
                " THEN {}::bigint END END"
            ),
            ColumnKind.REAL: real,
            ColumnKind.REAL32: real,
            ColumnKind.INSTANT: f"CASE WHEN {DAY}{TIME} THEN {day} THEN {instant}::timestamptz END END",
            ColumnKind.DATE: f"CASE WHEN {DAY} THEN {day} THEN {{}}::date END END",
        },
    )


CASTS = casts(LAST, "{}")
UNPACK = {".gz": "gzip -dc", ".zst": "zstd -dc"}


def ddl(target: DataSource) -> list[str]:
    """The tables; days come with `schema --load DAY --for postgres`."""
    return [
        f"CREATE TABLE IF NOT EXISTS {quoted(target.raw)} (\n  {text_columns(target, 'text')},\n  dt date NOT NULL\n);",
        f"CREATE INDEX IF NOT EXISTS {quoted(target.raw + '_dt')} ON {quoted(target.raw)} (dt);",
        typed_view(target, CASTS),
    ]


def load(target: DataSource, day: DayToLoad) -> list[str]:
    """Into a separate staging table, so that a day is loaded atomically."""
    raw, stage = quoted(target.raw), quoted(f"{target.stream}_stage")
    copies = [
        f"COPY {stage} ({names_of(item.columns)}) FROM {_source(target, item.key)}\n"
        "  WITH (FORMAT csv, HEADER MATCH, NULL '', ENCODING 'UTF8');"
        for item in day.objects
    ]
    names = names_of(target.names)
    return [
        *comment(
            "The server reads the files: it needs pg_read_server_files, for PROGRAM pg_execute_server_program.",
            "With only psql, write each COPY as one line of \\copy.",
        ),
        "BEGIN;",
        f"DELETE FROM {raw} WHERE dt = DATE '{day.day}';",
        f"CREATE TEMPORARY TABLE {stage} (\n  {text_columns(target, 'text')}\n) ON COMMIT DROP;",
        *(copies or loads_nothing(day)),
        f"INSERT INTO {raw} ({names}, dt) SELECT {names}, DATE '{day.day}' FROM {stage};",
        "COMMIT;",
    ]


def _source(target: DataSource, key: str) -> str:
    where = target.where(key)
    unpack = next((command for end, command in UNPACK.items() if key.endswith(end)), "")
    if target.local:
        return f"PROGRAM {literal(f'{unpack} {_shell(where)}')}" if unpack else literal(where)
    endpoint = f" --endpoint-url {_shell(target.endpoint_url)}" if target.endpoint_url else ""
    fetch = f"aws s3 cp --only-show-errors{endpoint} {_shell(where)} -"
    return f"PROGRAM {literal(f'{fetch} | {unpack}' if unpack else fetch)}"


def _shell(text: str) -> str:
    """One word of a shell."""
    escaped = text.replace("'", "'\"'\"'")
    return f"'{escaped}'"


ENGINE = Dialect(ddl, load)
