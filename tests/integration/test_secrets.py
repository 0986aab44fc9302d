"""No record's content and no secret shows anywhere but where rows belong: a worker that meets all kinds of trouble."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.conftest import BucketFactory, TopicFactory
from tests.harness.sink import Sink, await_true
from tests.harness.toml import merged, toml
from tests.integration.commands import command
from tests.integration.observed import SCHEMA, fetch
from tests.services import ports
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FIELD, LATER, KEY, BAD, HEADER = (
    "planted-cell-71c",
    "planted-later-82d",
    "planted-key-93e",
    "planted-bad-a4f",
    "planted-b5",
)
PII, PII_KEY = "planted-person-c94", "planted-privacy-key-0123456789abcdef"
PII_FORMS = (PII_KEY, PII_KEY.encode().hex(), b64encode(PII_KEY.encode()).decode())
PLAIN = (FIELD, LATER, KEY, BAD, HEADER)
PAYLOAD = (*PLAIN, *(b64encode(text.encode()).decode() for text in PLAIN))
SASL, REGISTRY, WRONG = "planted-sasl-c61d", "planted-registry-d72e", "planted-wrong-e83f"
REGISTRY_HEADER = b64encode(f"sink:{REGISTRY}".encode()).decode()
PAGES = ("/metrics", "/status", "/livez", "/readyz", "/", "/nothing", f"/{'x' * 50}?token=1")
CRASH = """
import consumer.worker.loop as loop
step = loop.Worker.step
def fail(self, timeout):
    step(self, timeout)
    if any(partition.phase.recovered for partition in self.partitions.values()):
        values = "never printed: {local}"
        raise RuntimeError("made by the test with {secret}")
loop.Worker.step = fail
"""


class _Refusing(BaseHTTPRequestHandler):
    """A registry that refuses everybody, and repeats what it was sent."""

    def do_GET(self) -> None:
        said = json.dumps({"error_code": 401, "message": f"not you: {self.headers['Authorization']}"}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@dataclass(slots=True)
class Place:
    """Settings, worker processes, and all that they said."""

    home: Path
    tables: dict[str, Any]
    env: dict[str, str]
    said: list[tuple[str, str]] = field(default_factory=list)
    number: int = 0

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    def settings(self, **over: Any) -> Path:
        self.number += 1
        path = self.home / f"{self.number}.toml"
        path.write_text(toml(merged(self.tables, over)))
        return path

    @contextmanager
    def worker(self, *arguments: str, env: Mapping[str, str] | None = None, **over: Any) -> Iterator[Sink]:
        port = ports.free()
        path = self.settings(**merged({"http": {"listen": f"127.0.0.1:{port}"}}, over))
        sink = Sink(path, self.home / f"{self.number}.log", *arguments, env={**self.env, **(env or {})})
        try:
            yield sink
        finally:
            sink.close()
            self.said.append((f"log {self.number}", sink.log.read_text()))

    def look(self, sink: Sink) -> None:
        """Keep what its pages say."""
        address = sink.until_said("listening")["address"]
        for path in PAGES:
            for accept in ("application/json", "text/html"):
                self.said.append((f"{path} as {accept}", fetch(address, path, accept)[1]))

    def ask(self, *arguments: str, **over: Any) -> int:
        ended = command(self.settings(**over), "--log-level", "debug", *arguments, env=self.env)
        self.said.append((" ".join(arguments), ended.out + ended.err))
        return ended.code

    def open_modes(self) -> list[str]:
        """Files and folders of the spool that others may look into."""
        found = []
        for path in [self.spool, *self.spool.rglob("*")]:
            try:
                mode = stat.S_IMODE(path.lstat().st_mode)
            except FileNotFoundError:  # it went while we looked
                continue
            if mode != (0o700 if path.is_dir() else 0o600):
                found.append(f"{path.relative_to(self.home)} {mode:o}")
        return found


@pytest.fixture
def loose_umask() -> Iterator[None]:
    """What the program makes is closed by itself, not by a careful caller."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def place(
    tmp_path: Path,
    kafka: KafkaAddress,
    minio: S3Address,
    topic: TopicFactory,
    bucket: BucketFactory,
    refusing: str,
    loose_umask: None,
) -> Place:
    clicks = topic(prefix="clicks", config={"retention.ms": "-1"})
    views = topic(prefix="views", config={"retention.ms": "-1"})
    produce(kafka, clicks, views)
    text = {"type": ["null", "string"], "default": None}
    fields = [*SCHEMA["fields"], *({"name": name, **text} for name in ("person", "address", "ip"))]
    (tmp_path / "clicks.avsc").write_text(json.dumps({**SCHEMA, "fields": fields}))
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id={minio.access_key}\naws_secret_access_key={minio.secret_key}\n"
    )
    one = {"schema": "clicks.avsc", "time_field": "clicked_at"}
    tables = {
        "kafka": {
            "bootstrap_servers": kafka.bootstrap_servers,
            "group_id": clicks,
            "options": {
                "session.timeout.ms": 3000,
                "heartbeat.interval.ms": 500,
                "fetch.wait.max.ms": 100,
                "security.protocol": "PLAINTEXT",
                "sasl.username": "sink",
                "sasl.password": "${PLANTED_SASL}",
            },
        },
        "schema_registry": {"url": refusing.replace("://", "://sink:${PLANTED_REGISTRY}@")},
        "destination": {
            "url": f"s3://{bucket()}/folder",
            "endpoint_url": minio.endpoint_url,
            "region": minio.region,
            "addressing_style": "path",
            "compression": "gzip",
        },
        "spool": {"directory": str(tmp_path / "spool"), "min_free_bytes": 1000, "checkpoint_seconds": 0.2},
        "schedule": {"give_up_after": "3s"},
        "quarantine": {"max_ratio": 1.0},
        "privacy": {"keys": {"k1": "${PLANTED_PII_KEY}"}},
        "streams": {
            "clicks": {
                "topic": clicks,
                "format": "json",
                "privacy": {"key": "k1", "columns": {"person": "hash", "address": "drop", "ip": "truncate_ip"}},
                **one,
            },
            "views": {"topic": views, "format": "avro-registry", **one},
        },
    }
    env = {"PLANTED_SASL": SASL, "PLANTED_REGISTRY": REGISTRY, "PLANTED_WRONG": WRONG}
    env |= {"PLANTED_PII_KEY": PII_FORMS[1]}
    env |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    return Place(tmp_path, tables, env)


def produce(kafka: KafkaAddress, clicks: str, views: str) -> None:
    """Rows of two days ago and of today, bad records, and records whose schema nobody will give out."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 5})
    now = datetime.now(UTC)
    for number in range(60):
        for when, cell in ((now - timedelta(days=2), FIELD), (now, LATER)):
            row = {"id": f"{cell}-{number}", "clicked_at": when.isoformat(), "amount": cell, "other": cell}
            row |= {"person": f"{PII}-{number}", "address": PII, "ip": PII}
            producer.produce(clicks, json.dumps(row).encode(), key=KEY.encode(), headers={"h": HEADER.encode()})
        bad = (f'{{"id": "{BAD}', f'{{"id": "x", "clicked_at": "{BAD}"}}', BAD, f'["{BAD}"]')[number % 4]
        producer.produce(clicks, bad.encode(), key=KEY.encode())
        producer.produce(views, b"\0\0\0\0\1" + BAD.encode(), key=KEY.encode())
    assert producer.flush(30) == 0


def test_nothing_planted_shows(place: Place, minio: S3Address) -> None:
    open_modes: set[str] = set()
    # sealing, with a registry that refuses the other stream; today's rows stay in the spool
    with place.worker("run") as sink:
        sink.until(lambda: objects(place, minio, "clicks/dt="), 60, "a day is sealed")
        sink.until(lambda: "registry" in json.dumps(sink.status()) + sink.log.read_text(), 30, "the registry refuses")
        await_true(lambda: any(LATER.encode() in path.read_bytes() for path in files(place)), 30, "today's rows wait")
        open_modes.update(place.open_modes())
        place.look(sink)
        sink.terminate()
        assert sink.wait(30) == 0
    open_modes.update(place.open_modes())
    assert FIELD.encode() in whole(place, minio), "planted values do arrive where they belong"
    assert any(b64encode(BAD.encode()) in path.read_bytes() for path in place.spool.rglob("*.jsonl"))
    # a checkpoint that is none, so that files are set aside; then a store that refuses us
    spoil(place.spool)
    wrong = {"destination": {"access_key_id": minio.access_key, "secret_access_key": "${PLANTED_WRONG}"}}
    with place.worker("run", **wrong) as sink:
        sink.until(lambda: "refused" in sink.log.read_text(), 30, "the store refuses")
        open_modes.update(place.open_modes())
        place.look(sink)
        sink.terminate()
        assert sink.wait(30) == 0
    assert place.ask("run", "--once", **wrong) == 4
    assert place.ask("check", **wrong) == 1
    assert place.ask("status") == 0
    assert place.ask("verify") in {0, 1}
    # an unexpected error in the midst of records, with a secret in its text
    crash = place.home / "crash"
    crash.mkdir()
    right = {"destination": {"access_key_id": minio.access_key, "secret_access_key": "${PLANTED_RIGHT}"}}
    place.env["PLANTED_RIGHT"] = minio.secret_key
    (crash / "sitecustomize.py").write_text(CRASH.format(local=FIELD, secret=minio.secret_key))
    with place.worker("run", env={"PYTHONPATH": str(crash)}, **right) as sink:
        assert sink.wait(60) == 70
    open_modes.update(place.open_modes())
    details = "".join(path.read_text() for path in (place.spool / "crashes").iterdir())
    assert "made by the test with **********" in details
    place.said.append(("crash file", details))
    for key, document in documents(place.spool):
        place.said.append((f"checkpoint {key}", document))
    assert open_modes == set()
    assert list((place.spool / "aside").rglob("*.csv")), "a spool was set aside"
    judge(place, minio)


def judge(place: Place, minio: S3Address) -> None:
    secrets = (SASL, REGISTRY, REGISTRY_HEADER, WRONG, PII, *PII_FORMS, minio.secret_key)
    assert len(place.said) > 30
    shown = [
        f"{what} shows {planted}: ...{text[max(0, text.index(planted) - 200) : text.index(planted) + 80]}..."
        for what, text in place.said
        for planted in (*PAYLOAD, *secrets)
        if planted in text
    ]
    assert not shown, "\n".join(shown)
    # neither a privacy key nor a raw value of a treated column lies in the bucket or in the spool
    stored = whole(place, minio)
    spooled = b"".join(path.read_bytes() for path in place.spool.rglob("*") if path.is_file())
    assert b",k1:" in stored
    assert b",k1:" in spooled
    assert [form for form in (PII, *PII_FORMS) if form.encode() in stored + spooled] == []


def files(place: Place) -> Iterator[Path]:
    return (path for path in place.spool.rglob("*.csv") if path.is_file())


def objects(place: Place, minio: S3Address, under: str) -> list[str]:
    name = place.tables["destination"]["url"].removeprefix("s3://").partition("/")[0]
    found = minio.client().list_objects_v2(Bucket=name, Prefix=f"folder/{under}").get("Contents", [])
    return [item["Key"] for item in found]


def whole(place: Place, minio: S3Address) -> bytes:
    """All objects, unpacked."""
    import gzip  # noqa: PLC0415 - here alone

    name = place.tables["destination"]["url"].removeprefix("s3://").partition("/")[0]
    found = b""
    for key in objects(place, minio, ""):
        body = minio.client().get_object(Bucket=name, Key=key)["Body"].read()
        found += gzip.decompress(body) if key.endswith(".gz") else body
    return found


def documents(spool: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(spool / "checkpoints.sqlite")) as connection:
        return [(key, bytes(text).decode()) for key, text in connection.execute("SELECT * FROM checkpoints")]


def spoil(spool: Path) -> None:
    with closing(sqlite3.connect(spool / "checkpoints.sqlite")) as connection, connection:
        connection.execute("UPDATE checkpoints SET document = ?", (b"00000000\n{}",))
