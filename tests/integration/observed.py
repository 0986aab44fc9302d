"""A real worker process over real servers, and what its pages say."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from confluent_kafka import Producer

from tests.harness import forkserver
from tests.harness.bucket import Folder
from tests.services import http, ports
from tests.services.kafka import KafkaAddress
from tests.services.process import Process, Server
from tests.services.s3 import S3Address

SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "clicked_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "amount", "type": ["null", "double"], "default": None},
    ],
}
WAIT_SECONDS = 40.0


class Worker(Server):
    """`adapty-sink run` with one made-up stream of JSON records."""

    name: ClassVar[str] = "worker"
    start_seconds: ClassVar[float] = 30

    def __init__(
        self,
        folder: Path,
        kafka: str,
        store: S3Address,
        bucket: str,
        topic: str,
        *,
        more: str = "",
        options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._port = ports.free()
        self._destination = Folder(store, bucket, "folder")
        (folder / "clicks.avsc").write_text(json.dumps(SCHEMA))
        (folder / "sink.toml").write_text(
            f"""
[kafka]
bootstrap_servers = "{kafka}"
group_id = "group-{topic}"
options = {{ {", ".join(f'"{key}" = "{value}"' for key, value in (options or {}).items())} }}
[destination]
url = "s3://{bucket}/folder"
region = "{store.region}"
endpoint_url = "{store.endpoint_url}"
access_key_id = "{store.access_key}"
secret_access_key = "{store.secret_key}"
addressing_style = "path"
[spool]
directory = "{folder / "spool"}"
max_bytes = "100MiB"
min_free_bytes = "1MiB"
[http]
listen = "127.0.0.1:{self._port}"
[streams.clicks]
topic = "{topic}"
schema = "clicks.avsc"
time_field = "clicked_at"
format = "json"
{more}
"""
        )

    @property
    def upstream(self) -> str:
        """Host and port of its pages."""
        return f"{ports.HOST}:{self._port}"

    def command(self) -> list[str]:
        """The command that a deployment runs."""
        program = str(Path(sys.executable).with_name("adapty-sink"))
        return [program, "--config", str(self.folder / "sink.toml"), "--log-format", "json", "run"]

    def start(self) -> Self:
        """Start it, where conditional writes were tried before: these tests look at what comes after the races."""
        self._destination.prove(self._destination.address.endpoint_url)
        return super().start()

    def _launch(self, command: list[str], env: Mapping[str, str], log: IO[bytes]) -> Process:
        return forkserver.start(command[1:], env, log, log)

    def is_ready(self) -> bool:
        """Whether it answers at all."""
        return http.answers(self.upstream, "/livez")

    def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Status and body of a page."""
        return fetch(self.upstream, path, accept)

    def status(self) -> dict[str, Any]:
        """/status as programs see it."""
        found: dict[str, Any] = json.loads(self.get("/status")[1])
        return found

    def ready(self) -> tuple[int, dict[str, Any]]:
        """/readyz."""
        code, text = self.get("/readyz")
        return code, json.loads(text)

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        whole = self.log.read_text().rpartition("\n")[0]  # the last line may be half there
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def fetch(address: str, path: str, accept: str = "*/*", method: str = "GET") -> tuple[int, str]:
    """One request with an Accept header."""
    from http.client import HTTPConnection  # noqa: PLC0415 - `http` is the helper module here

    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def clicks(moments: Sequence[datetime]) -> Iterator[bytes]:
    """One record for each moment."""
    for number, moment in enumerate(moments):
        yield json.dumps({"id": f"c{number}", "clicked_at": moment.isoformat(), "amount": number / 4}).encode()


def send(kafka: KafkaAddress, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    """Send and wait for the acknowledgements."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 5})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0


def noon(days_ago: int) -> datetime:
    """Noon UTC of a day before today."""
    now = datetime.now(UTC)
    return now.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def until(holds: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """What `holds` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.1)
    return found
