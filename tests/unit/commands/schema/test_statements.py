"""`schema`: statements are run where the engine can be had, on days with nasty cells, and every cell is compared.

DuckDB and PostgreSQL run here, ClickHouse and Spark where `make engines` brought them. What is made for the others is
parsed in their dialect: it was not run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import duckdb
import orjson
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from consumer.commands import main
from consumer.commands.schema.differences import bucket_differences, registry_differences
from consumer.commands.schema.engines import ENGINES
from consumer.commands.schema.names import EngineName
from consumer.commands.schema.table import DataSource, DayObject, DayToLoad, TypedColumn
from consumer.settings.load import settings_from
from consumer.streams.columns import ColumnKind, columns_of
from tests.builders.loading import DAY, FIELDS, LATER, NAMES, Folder, ordered, schema_of
from tests.services.ports import free


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def said(folder: Folder, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main.run(["--config", str(folder.settings()), "schema", *words]) == code
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)


# -- DuckDB ------------------------------------------------------------------------------------------------------------

QUOTED = ", ".join(f'"{name}"' for name in NAMES)
DUCKDB_TYPED = (
    'SELECT epoch_us("at"), id, units, price, paid, CAST(installed AS VARCHAR), epoch_us(seen), note FROM clicks'
)


def duck_cells(base: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    return ordered(base.execute(f"SELECT {QUOTED}, CAST(dt AS VARCHAR) FROM clicks_raw").fetchall())


def test_duckdb_has_every_cell_and_types_that_no_cell_breaks(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    base = duckdb.connect()
    base.execute(said(folder, capsys, "--ddl", "duckdb"))
    assert duck_cells(base) == folder.expected()
    assert ordered(base.execute(DUCKDB_TYPED).fetchall()) == folder.typed()


def test_duckdb_loads_a_day_again_once(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    base = duckdb.connect()
    base.execute(said(folder, capsys, "--ddl", "duckdb"))
    base.execute("UPDATE clicks_raw SET id = 'stale' WHERE dt = '2026-11-21'")
    for _ in range(2):
        base.execute(said(folder, capsys, "--load", "2026-11-21", "--for", "duckdb"))
    assert duck_cells(base) == folder.expected()


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def binaries() -> Path | None:
    """The newest server of the Debian package."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[list[str]]:
    """A psql command line for a server of our own on the loopback, which ends with the module's tests."""
    tools = binaries()
    if tools is None or shutil.which("runuser") is None or os.getuid() != 0:
        pytest.skip("PostgreSQL's server is not installed, or this is not root")
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    home.chmod(0o755)
    data, port = home / "data", free()
    data.mkdir()
    shutil.chown(data, "postgres")
    as_user = ["runuser", "-u", "postgres", "--"]
    log = home / "data" / "log"
    try:
        run([*as_user, tools / "initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"])
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -p {port} -c fsync=off -c timezone=UTC"
        run([*as_user, tools / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start"])
        psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        yield [*psql, "-At", "-f", "-"]
    finally:
        subprocess.run([*as_user, str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"], check=False)
        shutil.rmtree(home)


def run(command: list[Any], text: str | None = None) -> str:
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def opened(path: Path) -> None:
    """Let the server's user read what the test wrote."""
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755 if each.is_dir() else 0o644)
    for above in path.parents:
        if above.owner() == "root" and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o055)


def test_postgres_has_every_cell_and_types_that_no_cell_breaks(
    folder: Folder, capsys: pytest.CaptureFixture[str], postgres: list[str]
) -> None:
    opened(folder.home)
    run(postgres, "DROP TABLE IF EXISTS clicks_raw CASCADE;")
    run(postgres, said(folder, capsys, "--ddl", "postgres"))
    for day in ("2026-11-21", "2026-11-22", "2026-11-21"):
        run(postgres, said(folder, capsys, "--load", day, "--for", "postgres"))
    found = run(postgres, f"SELECT json_build_array({QUOTED}, dt::text) FROM clicks_raw;")
    assert ordered(map(orjson.loads, found.splitlines())) == folder.expected()
    typed = run(
        postgres,
        "SELECT json_build_array((extract(epoch FROM at) * 1000000)::bigint, id, units, price, paid, installed,"
        " (extract(epoch FROM seen) * 1000000)::bigint, note) FROM clicks;",
    )
    assert ordered(map(orjson.loads, typed.splitlines())) == folder.typed(largest=9.99e307)


# -- ClickHouse and Spark: where `make engines` brought them -----------------------------------------------------------


def answers(engine: str, statements: Iterable[str]) -> list[list[tuple[Any, ...]]]:
    """Run all of them in a process of the engine's own; the rows of those that are asked with SELECT."""
    told = orjson.dumps([one for text in statements for one in text.split(";\n") if one.strip()])
    command = [sys.executable, "-m", "tests.builders.engine_process", engine]
    done = subprocess.run(command, input=told, capture_output=True, check=False, timeout=850)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return [ordered(rows) for rows in orjson.loads(done.stdout.splitlines()[-1])]


@pytest.mark.timeout(900)
def test_clickhouse_has_every_cell_and_types_that_no_cell_breaks(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("chdb", reason="make engines brings it: 550 MB")
    days = ("2026-11-21", "2026-11-22", "2026-11-21")
    cells, typed = answers(
        "clickhouse",
        [
            said(folder, capsys, "--ddl", "clickhouse"),
            *(said(folder, capsys, "--load", day, "--for", "clickhouse") for day in days),
            f"SELECT {QUOTED}, toString(dt) FROM clicks_raw",
            (
                'SELECT toUnixTimestamp64Micro("at"), id, units, price, paid, toString(installed),'
                " toUnixTimestamp64Micro(seen), note FROM clicks"
            ),
        ],
    )
    assert cells == folder.expected()
    assert typed == folder.typed(years=(1900, 2299))


@pytest.mark.timeout(900)
def test_spark_has_every_cell_and_types_that_no_cell_breaks(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyspark", reason="make engines brings it: 550 MB")
    cells, typed = answers(
        "spark",
        [
            said(folder, capsys, "--ddl", "spark"),
            said(folder, capsys, "--load", "2026-11-21", "--for", "spark"),
            f"SELECT {', '.join(f'`{name}`' for name in NAMES)}, CAST(dt AS STRING) FROM clicks_raw",
            (
                "SELECT unix_micros(`at`), id, units, price, paid, CAST(installed AS STRING), unix_micros(seen), note"
                " FROM clicks"
            ),
        ],
    )
    assert cells == folder.expected()
    assert typed == folder.typed()


@pytest.mark.timeout(900)
def test_athenas_reader_has_every_cell_but_line_breaks(folder: Folder) -> None:
    pytest.importorskip("pyspark", reason="make engines brings it: 550 MB")
    target = DataSource("clicks", f"file://{folder.home}", tuple(TypedColumn(name, None) for name in NAMES))
    (table,) = (one for one in ENGINES["athena"].ddl(target) if one.startswith("CREATE EXTERNAL TABLE"))
    days = ("2026-11-21", "2026-11-22")
    (rows,) = answers(
        "hive",
        [
            table,
            *(
                f"ALTER TABLE clicks_raw ADD PARTITION (dt = '{day}') LOCATION '{target.url}/clicks/dt={day}'"
                for day in days
            ),
            f"SELECT {', '.join(f'`{name}`' for name in NAMES)}, dt FROM clicks_raw",
        ],
    )
    # Spark does not skip the header; a row with line breaks comes as several, none of them with time and id
    whole = [row for row in rows if (row[0] or "").startswith("2026-") and row[1] is not None]
    assert nulls_as_text(whole) == nulls_as_text(row for row in folder.expected() if "\n" not in (row[1] or ""))


def nulls_as_text(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return ordered(["" if cell is None else cell for cell in row] for row in rows)


# -- the others: not run -----------------------------------------------------------------------------------------------

KINDS = tuple(TypedColumn(kind.value, kind) for kind in ColumnKind)
S3 = DataSource(
    "clicks", "s3://adapty-events/com.sample-app", (*KINDS, TypedColumn("id", None), TypedColumn("at", None))
)
KEY = "clicks/dt=2026-11-21/t-0-00000000000000000001.csv"
PACKED = KEY.replace("t-0", "t-1") + ".gz"
EMPTY = DayToLoad(DAY, 1, 0, ())
ONE = DayToLoad(DAY, 1, 2, (DayObject(KEY, 9, ("id", "at")), DayObject(PACKED, 9, S3.names)))
UNKNOWN_TO_THE_PARSER = ("CALL system.sync_partition_metadata(", "MSCK REPAIR TABLE ")
RUN: set[EngineName] = {"postgres"}
"""Run above, and more than the parser knows."""


@pytest.mark.parametrize("name", sorted(ENGINES.keys() - RUN))
def test_statements_are_of_their_dialect(name: EngineName) -> None:
    made = [*ENGINES[name].ddl(S3), *ENGINES[name].load(S3, ONE), *ENGINES[name].load(S3, EMPTY)]
    statements = [one for one in made if not one.startswith("-- ")]
    assert len(statements) > 3
    for one in statements:
        assert one.endswith(";")
        (tree,) = sqlglot.parse(one, dialect=name, error_level=ErrorLevel.RAISE)
        assert not isinstance(tree, exp.Command) or one.startswith(UNKNOWN_TO_THE_PARSER), one


TOUGH = (
    "price, usd",
    'a"b',
    "a`b",
    "a'b",
    "a\\b",
    'a\\"b',
    "a\nb",
    "a--b",
    "a/*b",
    "$$",
    "x;y",
    "{}",
    "%s",
    "*",
    "a b)",
    "<pattern>",
)
"""Names that a schema may have, and that mean something in a syntax."""


@pytest.mark.parametrize("name", sorted(ENGINES.keys() - RUN))
def test_a_name_stays_a_name(name: EngineName) -> None:
    columns = tuple(TypedColumn(one, kind) for one, kind in zip(TOUGH, cycle(ColumnKind), strict=False))
    source = DataSource("clicks", S3.url, columns)
    made = [*ENGINES[name].ddl(source), *ENGINES[name].load(source, DayToLoad(DAY, 1, 2, (DayObject(KEY, 9, TOUGH),)))]
    trees = [sqlglot.parse(one, dialect=name, error_level=ErrorLevel.RAISE) for one in made if one[:3] != "-- "]
    assert {len(found) for found in trees} == {1}
    made_of_names = [tree for (tree,) in trees if isinstance(tree, exp.Create) and tree.kind in {"TABLE", "VIEW"}]
    assert len(made_of_names) > 1
    for tree in made_of_names:
        assert {one.name for one in tree.find_all(exp.Identifier)} >= set(TOUGH)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_a_raw_table_a_view_and_a_load(name: EngineName) -> None:
    made, load = "\n".join(ENGINES[name].ddl(S3)), "\n".join(ENGINES[name].load(S3, ONE))
    assert "clicks_raw" in made
    assert "VIEW" in made
    assert made.rstrip().endswith(";")
    assert load.rstrip().endswith(";")
    assert "2026-11-21" in load
    empty = "\n".join(ENGINES[name].load(S3, EMPTY))
    assert ".csv'" not in empty


def test_a_store_that_is_not_awss_is_named() -> None:
    minio = DataSource("clicks", "s3://days", S3.columns, "http://localhost:9000", "eu-central-1")
    assert "ENDPOINT 'localhost:9000', URL_STYLE 'path', USE_SSL false" in "\n".join(ENGINES["duckdb"].ddl(minio))
    assert " --endpoint-url ''http://localhost:9000'' " in "\n".join(ENGINES["postgres"].load(minio, ONE))
    assert "s3('http://localhost:9000/days/clicks/dt=" in "\n".join(ENGINES["clickhouse"].load(minio, ONE))


def test_the_command_line_names_every_engine() -> None:
    assert get_args(EngineName) == tuple(ENGINES)


def test_redshift_names_a_manifest_for_each_compression() -> None:
    load = "\n".join(ENGINES["redshift"].load(S3, ONE))
    entries = [orjson.loads(line[3:])["entries"] for line in load.splitlines() if line.startswith('-- {"entries"')]
    assert entries == [
        [{"url": f"{S3.url}/{key}", "mandatory": True, "meta": {"content_length": 9}}] for key in (KEY, PACKED)
    ]
    assert load.count("COPY ") == 2
    assert load.count("FILLRECORD GZIP;") == 1


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_columns_are_shown(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    columns = orjson.loads(said(folder, capsys, "--json"))["streams"]["clicks"]
    assert columns[0] == {"name": "at", "kind": "instant", "sources": ["at"], "privacy": None, "since": "2026-11-21"}
    assert columns[-1]["since"] == "2026-11-22"
    assert "instant" in said(folder, capsys, "--stream", "clicks")


@pytest.mark.parametrize(
    "words",
    [
        ("--ddl", "oracle"),
        ("--load", "2026-11-23", "--for", "duckdb"),
        ("--load", "2026-11-21"),
        ("--for", "duckdb"),
        ("--load", "yesterday", "--for", "duckdb"),
        ("--diff", "kafka"),
        ("--diff", "registry"),
        ("--diff", "bucket", "--ddl", "duckdb"),
        ("--stream", "nobody"),
    ],
)
def test_bad_usage(folder: Folder, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert said(folder, capsys, *words, code=2) == ""


def test_differences_from_the_folder(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no differences" in said(folder, capsys, "--diff", "bucket")
    assert list(bucket_differences(("id", "at", "old"), ("id", "price", "at"))) == [
        "price: will be appended, not at its place in the schema",
        "old: kept, empty",
    ]
    assert list(bucket_differences(("id",), ("id", "price"))) == ["price: will be appended"]
    assert main.run(["--config", str(folder.settings(FIELDS)), "schema", "--diff", "bucket"]) == 1
    assert "note: kept, empty" in capsys.readouterr().out


def test_without_names_a_registry_is_asked_about_its_streams_only(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.settings()
    registered = '[streams.more]\ntopic = "m"\nformat = "avro-registry"\nschema = "clicks.avsc"\ntime_field = "at"\n'
    path.write_text(f'{path.read_text()}{registered}[schema_registry]\nurl = "http://localhost:1"\n')
    monkeypatch.setattr("consumer.commands.schema.command.newest_schema", lambda *_: schema_of(LATER))
    assert main.run(["--config", str(path), "schema", "--diff", "registry"]) == 0
    assert capsys.readouterr().out == "more: no differences\n"
    assert main.run(["--config", str(path), "schema", "--diff", "registry", "--stream", "clicks"]) == 0
    assert capsys.readouterr().out == "clicks: no differences\n"


def test_differences_from_what_producers_register(folder: Folder) -> None:
    stream = settings_from(
        {
            "kafka": {"bootstrap_servers": "localhost:1"},
            "destination": {"url": folder.home.as_uri()},
            "spool": {"directory": str(folder.home.parent / "spool")},
            "streams": {
                "clicks": {"topic": "t", "schema": str(folder.settings().parent / "clicks.avsc"), "time_field": "at"}
            },
        },
        folder.home.parent,
        {},
        "test",
    ).streams[0]
    written = [("at", "string"), ("id", "string"), ("device", "string"), *LATER[2:-1]]
    text = schema_of(written)
    assert list(registry_differences(columns_of(stream.rules), stream, text)) == [
        "device: written, not exported",
        "at: written as text, exported as instant",
        "note: not written by t-value, empty",
    ]
