"""What `benchmarks.hostile` sends: one kind of hostile input each."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOPIC = "hostile"
STAMP = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
LATE_STAMP = 253_402_300_000_000
"""The last day of the year 9999: any day may lie before it."""
AT = {"name": "at", "type": "string"}
NOON = "2026-03-01T12:00:00Z"
NOON_AVRO = bytes([len(NOON) * 2]) + NOON.encode()
JSON_ROW = json.dumps({"at": NOON}).encode()

Record = dict[str, Any]
"""What a producer is given."""


@dataclass(frozen=True, slots=True)
class Case:
    """Records, the columns, and what the producer is told.

    `registry` is the body of each of the registry's answers, `packed` where it is gzip; `documents` lie in the bucket
    from the start; `strangers` come to the worker's port while it works.
    """

    records: Callable[[], Iterable[Record]]
    fields: list[dict[str, Any]] = field(default_factory=lambda: [AT])
    writer: list[dict[str, Any]] | None = None
    format: str = "json"
    producer: dict[str, Any] = field(default_factory=dict)
    registry: Callable[[], bytes] | None = None
    packed: bool = False
    documents: Callable[[], dict[str, bytes]] = dict
    strangers: bool = False


def _rows() -> Iterator[Record]:
    return ({"value": JSON_ROW} for _ in range(20_000))


def _days(first: date, number: int, stamp: int = STAMP) -> Iterator[Record]:
    for place in range(number):
        yield {"value": json.dumps({"at": f"{first + timedelta(days=place)}T00:00:00Z"}).encode(), "timestamp": stamp}


def _by_ids(number: int) -> Iterator[Record]:
    return ({"value": b"\0" + one.to_bytes(4, "big") + b"\x02"} for one in range(number))


def _varint(value: int) -> bytes:
    value, made = value << 1, b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


def _array(items: int, each: bytes) -> bytes:
    return NOON_AVRO + _varint(items) + each * items + b"\0"


ENUM = {"type": "enum", "name": "E", "symbols": ["x" * 1_000]}
LARGE_DOUBLE = bytes.fromhex("a0c8eb85f3cce17f")
NAMED = {"type": "record", "name": "I", "fields": [{"name": "n" * 1_000, "type": "int"}]}
SHORT = {"type": "record", "name": "I", "fields": [{"name": "n" * 20, "type": "int"}]}
CASES = {
    "rows": Case(_rows),
    "unknown-ids": Case(lambda: _by_ids(2_000), format="avro-registry", registry=lambda: b'{"error_code":40403}'),
    "days": Case(lambda: _days(date(2009, 1, 1), 6_200)),
    "future-days": Case(lambda: _days(date(2030, 1, 1), 20_000, LATE_STAMP)),
    "null-fields": Case(
        lambda: ({"value": NOON_AVRO} for _ in range(20_000)),
        writer=[AT, *({"name": f"n{number}", "type": "null"} for number in range(9_900))],
        format="avro",
    ),
    "symbols": Case(
        lambda: ({"value": NOON_AVRO + b"\0" * 4} for _ in range(20_000)),
        [AT, *({"name": f"e{n}", "type": "string"} for n in range(4))],
        [AT, {"name": "e0", "type": ENUM}, *({"name": f"e{n}", "type": "E"} for n in range(1, 4))],
        "avro",
    ),
    "long-names": Case(
        lambda: ({"value": _array(100_000, b"\2")} for _ in range(20)),
        [AT, {"name": "x", "type": {"type": "array", "items": NAMED}}],
        format="avro",
    ),
    "short-names": Case(
        lambda: ({"value": _array(1_000_000, b"\2")} for _ in range(8)),
        [AT, {"name": "x", "type": {"type": "array", "items": SHORT}}],
        format="avro",
    ),
    "doubles": Case(
        lambda: ({"value": NOON_AVRO + LARGE_DOUBLE * 100} for _ in range(20_000)),
        [AT, *({"name": f"d{number}", "type": "double"} for number in range(100))],
        format="avro",
    ),
    "large-json": Case(
        lambda: ({"value": b'{"at":"%s","x":[%s1]}' % (NOON.encode(), b"1," * 4_000_000)} for _ in range(8)),
        producer={"compression.codec": "lz4"},
    ),
    "answer-400MiB": Case(lambda: _by_ids(1), format="avro-registry", registry=lambda: b" " * (400 << 20)),
    "answer-gzip": Case(
        lambda: _by_ids(1), format="avro-registry", registry=lambda: gzip.compress(b" " * 629_000_000, 6), packed=True
    ),
    "headers": Case(
        lambda: ({"value": JSON_ROW, "headers": [("h", b"\0" * 200_000)]} for _ in range(4_000)),
        producer={"compression.codec": "gzip"},
    ),
    "zstd-95MiB": Case(lambda: [{"value": b" " * (95 << 20)}], producer={"compression.codec": "zstd"}),
    "gzip-400MiB": Case(lambda: [{"value": b" " * 419_430_000}], producer={"compression.codec": "gzip"}),
    "strangers": Case(_rows, strangers=True),
    "listing-63MiB": Case(
        _rows, documents=lambda: {"s/_days.json": b'{"version":1,"days":[%s{}]}' % (b"{}," * 22_000_000)}
    ),
    "record-63MiB": Case(
        _rows, documents=lambda: {f"_seals/{TOPIC}/0/00000000.json": b'{"objects":[%s{}]}' % (b"{}," * 22_000_000)}
    ),
}


@contextmanager
def registry(body: bytes, *, packed: bool) -> Iterator[str]:
    """The address of a registry that answers each question so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if body.startswith(b'{"error_code"') else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with suppress(OSError):  # who has read enough closes
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def strangers(port: int) -> Iterator[None]:
    """150 connections that send headers of 64 kB each without end, and 400 that say nothing, until it is left."""
    over = threading.Event()

    def come() -> None:
        line = b"h: " + b"x" * 64_000 + b"\r\n"
        while not over.wait(0.05):
            opened = []
            for number in range(550):
                with suppress(OSError):
                    one = socket.create_connection(("127.0.0.1", port), 0.2)
                    one.settimeout(0.2)
                    opened.append(one)
                    if number < 150:
                        one.sendall(b"GET /status HTTP/1.1\r\n" + line * 98)
            over.wait(1)
            for one in opened:
                one.close()

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def lay(documents: dict[str, bytes], folder: Path) -> None:
    """Put documents where the worker's bucket will be."""
    for key, text in documents.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(text)
