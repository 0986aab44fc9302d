"""`schema`: statements are run where the engine can be had, on days with nasty cells, and every cell is compared.

DuckDB and PostgreSQL run here. What is made for the others is looked at as text: it was not run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from consumer.commands import main
from consumer.commands.schema.differences import bucket_differences, registry_differences
from consumer.commands.schema.engines import ENGINES
from consumer.commands.schema.table import DayObject, PublishedDay, Target, TypedColumn
from consumer.domain.batches import RawBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.folder_columns import claim_columns
from consumer.seal.keys import manifest_key
from consumer.settings.load import settings_from
from consumer.shape.transform import make_transformer
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody
from consumer.streams.columns import columns_of
from consumer.streams.rules import Format, RowRules
from tests.services.ports import free

DAY, NEXT = date(2026, 11, 21), date(2026, 11, 22)
FIELDS = [
    ("at", {"type": "long", "logicalType": "timestamp-micros"}),
    ("id", ["null", "string"]),
    ("units", ["null", "long"]),
    ("price", ["null", "double"]),
    ("paid", ["null", "boolean"]),
    ("installed", ["null", {"type": "int", "logicalType": "date"}]),
]
LATER = [*FIELDS, ("note", ["null", "string"])]
NASTY: list[dict[str, Any]] = [
    {"id": "plain", "units": 7, "price": 9.99, "paid": True, "installed": "2024-02-29"},
    {"id": None, "units": None, "price": None, "paid": None, "installed": None},
    {"id": "", "units": "rev-A", "price": "9,99", "paid": "maybe", "installed": "2024-02-30"},
    {"id": "\\N", "units": 9007199254740993, "price": 0.1, "paid": False, "installed": "1999-12-31"},
    {"id": 'back\\slash \\" and "quotes"', "units": -1, "price": 1e300, "paid": None, "installed": None},
    {"id": "a line\nbreak, and\r\nanother", "units": "1e5", "price": "NaN?", "paid": None, "installed": "tomorrow"},
    {"id": "  blanks  ", "units": 1, "price": -0.0, "paid": None, "installed": None},
    {"id": "NULL", "units": 1, "price": 7.0, "paid": None, "installed": None},
    {"id": "ünïcode 🚀 '; DROP TABLE clicks; --", "units": 1, "price": 7.0, "paid": None, "installed": None},
    {"id": "1234e567", "units": 0, "price": 1e-7, "paid": True, "installed": "2026-11-21"},
]


def rules_of(fields: list[tuple[str, Any]]) -> RowRules:
    schema = {"type": "record", "name": "Click", "fields": [{"name": n, "type": t} for n, t in fields]}
    return RowRules("clicks", "custom", "t", Format.JSON, orjson.dumps(schema).decode(), "at")


def csv_of(rules: RowRules, day: date, rows: list[dict[str, Any]]) -> bytes:
    """An object as the worker makes it of these records."""
    transformer = make_transformer(rules)
    at = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1_000_000)
    values = [orjson.dumps({"at": at + n, **row}) for n, row in enumerate(rows)]
    count = len(values)
    batch = RawBatch(TopicPartition("t", 0), Span(0, count), range(count), [at // 1000] * count, values, [None] * count)
    (made,) = transformer.transform(batch, TransformOptions(transformer.columns)).days
    return ",".join(transformer.columns).encode() + b"\n" + made.body


def put(store: FolderStore, key: str, body: bytes) -> None:
    store.put(key, BytesBody(body), condition=Absent())


class Folder:
    """Two published days: one before the folder got a column, one after it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = FolderStore(home)
        self.bodies: dict[date, bytes] = {}
        claim_columns(self.store, "clicks", [name for name, _ in FIELDS], DAY, DAY)
        claim_columns(self.store, "clicks", [name for name, _ in LATER], NEXT, NEXT)
        self.publish(DAY, rules_of(FIELDS), NASTY)
        self.publish(NEXT, rules_of(LATER), [{**row, "note": f"note {n}"} for n, row in enumerate(NASTY)])

    def publish(self, day: date, rules: RowRules, rows: list[dict[str, Any]]) -> None:
        body = self.bodies[day] = csv_of(rules, day, rows)
        key = f"clicks/dt={day}/t-0-{1:020d}.csv"
        put(self.store, key, body)
        names = [column.name for column in columns_of(rules)]
        item = {"key": key, "partition": 0, "rows": len(rows), "bytes": len(body), "sha256": BytesBody(body).sha256}
        item |= {"first_offset": 0, "last_offset": len(rows) - 1, "seal": 0}
        manifest = {"version": 1, "stream": "clicks", "day": str(day), "revision": 1, "complete": True, "why": []}
        manifest |= {"columns": names, "rows": len(rows), "bytes": len(body), "seals": {"0": 0}, "objects": [item]}
        put(self.store, manifest_key("clicks", day), orjson.dumps(manifest))

    def expected(self) -> list[tuple[str | None, ...]]:
        """Every cell, by day and row. A column that a day has not is null."""
        found: list[tuple[str | None, ...]] = []
        for day, body in self.bodies.items():
            found.extend((*(row.get(name) for name, _ in LATER), str(day)) for row in parsed(body))
        return sorted(found, key=repr)


def parsed(body: bytes) -> list[dict[str, str | None]]:
    """RFC 4180, with null apart from the empty text."""
    text, rows, row = body.decode(), [], []
    at = 0
    while at < len(text):
        cell, at = _cell(text, at)
        row.append(cell)
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    head = [name or "" for name in rows[0]]
    return [dict(zip(head, cells, strict=True)) for cells in rows[1:]]


def _cell(text: str, at: int) -> tuple[str | None, int]:
    if text[at] != '"':
        end = min(place for place in (text.find(",", at), text.find("\n", at)) if place >= 0)
        return text[at:end] or None, end
    end = at + 1
    while text[end : end + 2] == '""' or text[end] != '"':
        end += 2 if text[end] == '"' else 1
    return text[at + 1 : end].replace('""', '"'), end + 1


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def toml(folder: Folder, fields: list[tuple[str, Any]] = LATER) -> Path:
    schema = {"type": "record", "name": "Click", "fields": [{"name": n, "type": t} for n, t in fields]}
    (folder.home.parent / "clicks.avsc").write_bytes(orjson.dumps(schema))
    path = folder.home.parent / "sink.toml"
    path.write_text(
        f'[kafka]\nbootstrap_servers = "localhost:1"\n[destination]\nurl = "{folder.home.as_uri()}"\n'
        f'[spool]\ndirectory = "{folder.home.parent / "spool"}"\n[streams.clicks]\ntopic = "t"\nformat = "json"\n'
        'schema = "clicks.avsc"\ntime_field = "at"\n'
    )
    return path


def said(folder: Folder, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main.run(["--config", str(toml(folder)), "schema", *words]) == code
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)


# -- DuckDB ------------------------------------------------------------------------------------------------------------


def duck_cells(base: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name, _ in LATER)
    return sorted(base.execute(f"SELECT {names}, CAST(dt AS VARCHAR) FROM clicks_raw").fetchall(), key=repr)


def test_duckdb_has_every_cell_and_types_that_no_cell_breaks(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    base = duckdb.connect()
    base.execute(said(folder, capsys, "--ddl", "duckdb"))
    assert duck_cells(base) == folder.expected()
    rows = base.execute(
        "SELECT id, units, price, paid, installed FROM clicks WHERE dt = '2026-11-21' ORDER BY \"at\""
    ).fetchall()
    assert rows[0] == ("plain", 7, 9.99, True, date(2024, 2, 29))
    assert rows[2] == ("", None, None, None, None)
    assert rows[3] == ("\\N", 9007199254740993, 0.1, False, date(1999, 12, 31))
    instants = base.execute('SELECT epoch_us("at") FROM clicks WHERE dt = \'2026-11-21\' ORDER BY "at"').fetchall()
    assert [one for (one,) in instants] == [1795262400000000 + n for n in range(len(NASTY))]


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
    names = ", ".join(f'"{name}"' for name, _ in LATER)
    found = run(postgres, f"SELECT json_build_array({names}, dt::text) FROM clicks_raw;")
    assert sorted((tuple(orjson.loads(line)) for line in found.splitlines()), key=repr) == folder.expected()
    typed = run(
        postgres,
        "SELECT json_build_array(id, units, price, paid, installed, at AT TIME ZONE 'UTC') FROM clicks"
        " WHERE dt = '2026-11-21' ORDER BY at;",
    )
    rows = [orjson.loads(line) for line in typed.splitlines()]
    assert rows[0] == ["plain", 7, 9.99, True, "2024-02-29", "2026-11-21T12:00:00"]
    assert rows[2] == ["", None, None, None, None, "2026-11-21T12:00:00.000002"]
    assert rows[3][:2] == ["\\N", 9007199254740993]


# -- the others: not run -----------------------------------------------------------------------------------------------

S3 = Target("clicks", "s3://adapty-events/com.sample-app", (TypedColumn("id", None), TypedColumn("at", None)))
ONE = PublishedDay(DAY, 1, 2, (DayObject("clicks/dt=2026-11-21/t-0-00000000000000000001.csv", 9, ("id", "at")),))


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_a_raw_table_a_view_and_a_load(name: str) -> None:
    made, load = "\n".join(ENGINES[name].ddl(S3)), "\n".join(ENGINES[name].load(S3, ONE))
    assert "clicks_raw" in made
    assert "VIEW" in made
    assert made.rstrip().endswith(";")
    assert load.rstrip().endswith(";")
    assert "2026-11-21" in load
    empty = "\n".join(ENGINES[name].load(S3, PublishedDay(DAY, 1, 0, ())))
    assert ".csv'" not in empty


def test_redshift_names_its_manifest() -> None:
    load = "\n".join(ENGINES["redshift"].load(S3, ONE))
    (line,) = (line for line in load.splitlines() if line.startswith('-- {"entries"'))
    (entry,) = orjson.loads(line.removeprefix("-- "))["entries"]
    assert entry == {
        "url": "s3://adapty-events/com.sample-app/clicks/dt=2026-11-21/t-0-00000000000000000001.csv",
        "mandatory": True,
        "meta": {"content_length": 9},
    }


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
        "price: will be appended, not where it stands",
        "old: kept, empty",
    ]
    assert list(bucket_differences(("id",), ("id", "price"))) == ["price: will be appended"]
    assert main.run(["--config", str(toml(folder, FIELDS)), "schema", "--diff", "bucket"]) == 1
    assert "note: kept, empty" in capsys.readouterr().out


def test_differences_from_what_producers_register(folder: Folder) -> None:
    stream = settings_from(
        {
            "kafka": {"bootstrap_servers": "localhost:1"},
            "destination": {"url": folder.home.as_uri()},
            "spool": {"directory": str(folder.home.parent / "spool")},
            "streams": {
                "clicks": {"topic": "t", "schema": str(toml(folder).parent / "clicks.avsc"), "time_field": "at"}
            },
        },
        folder.home.parent,
        {},
        "test",
    ).streams[0]
    written = [("at", "string"), ("id", "string"), ("device", "string"), *LATER[2:-1]]
    text = rules_of(written).schema
    assert list(registry_differences(columns_of(stream.rules), stream, text)) == [
        "device: written, not exported",
        "at: written as text, exported as instant",
        "note: not written by t-value, empty",
    ]
