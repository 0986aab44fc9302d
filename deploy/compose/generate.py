"""Sends made-up rows to four topics, each in the format that compose/sink.toml names."""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
import io
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import fastavro
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from consumer.domain.backoff import pauses
from consumer.streams.kinds import KINDS, Kind

Encode = Callable[[dict[str, Any]], bytes]
PEOPLE = 500
QUEUED = 10_000
REGISTRY_SECONDS = 120.0
"""How long a registry that does not answer is waited for."""
MISSING = 0.3
"""Share of the cells that may be null and are."""


def main() -> None:
    """Send one day of rows and end, or so many a second until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--prefix", default="adapty", help="what the topics' names begin with, before a dot")
    parser.add_argument("--registry", required=True, help="URL of the schema registry, for ua_events")
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--yesterday", type=int, metavar="ROWS", help="so many rows per topic, all of yesterday (UTC)")
    amount.add_argument("--per-second", type=int, metavar="ROWS", help="so many rows per topic and second, from now on")
    given = parser.parse_args()
    producer = Producer({"bootstrap.servers": given.bootstrap_servers, "linger.ms": 50})
    encoders = {name: _encoder(kind, given.registry) for name, kind in KINDS.items()}
    moments = _moments_of_yesterday(given.yesterday) if given.yesterday else _moments_from_now(given.per_second)
    _send(producer, given.prefix, encoders, moments)


def _moments_of_yesterday(rows: int) -> Iterator[datetime]:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    for row in range(rows):
        yield midnight + timedelta(days=1) * (row / rows)


def _moments_from_now(per_second: int) -> Iterator[datetime]:
    """One moment per row until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    begin, sent = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - begin) * per_second)
        for _ in range(due - sent):
            yield datetime.now(UTC)
        sent = due
        stop.wait(0.1)


def _send(producer: Producer, prefix: str, encoders: dict[str, Encode], moments: Iterator[datetime]) -> None:
    rng = random.Random(20240715)  # noqa: S311 - the same made-up rows each time
    for moment in moments:
        for name, encode in encoders.items():
            row = _row(KINDS[name], moment, rng)
            key = str(row.get("profile_id") or "").encode() or None
            producer.produce(f"{prefix}.{name}", encode(row), key, on_delivery=_delivered)
        while producer.poll(0) or len(producer) > QUEUED:
            producer.poll(0.1)
    if left := producer.flush(60):
        sys.exit(f"{left} rows could not be sent in 60 s")


def _delivered(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        sys.exit(f"a row could not be sent: {error}")


def _row(kind: Kind, moment: datetime, rng: random.Random) -> dict[str, Any]:
    """A row of that moment: plausible where people look, else something of the right type."""
    schema = json.loads(kind.schema)
    row = {field["name"]: _cell(field["name"], field["type"], moment, rng) for field in schema["fields"]}
    row[kind.time_field] = moment.date() if kind.time_field == "date" else moment
    row["profile_id"] = str(UUID(int=rng.randrange(PEOPLE), version=4))
    if kind.event_types:
        row["event_type"] = rng.choice(sorted(kind.event_types))
    if "environment" in row:
        row["environment"] = rng.choices(["Production", "Sandbox"], [9, 1])[0]
    return {field["name"]: row[field["name"]] for field in schema["fields"]}


def _cell(name: str, of: Any, moment: datetime, rng: random.Random) -> Any:
    if isinstance(of, list):  # null or something
        return None if rng.random() < MISSING else _cell(name, of[-1], moment, rng)
    if isinstance(of, dict):
        before = moment - timedelta(seconds=rng.randrange(30 * 86400))
        return before.date() if of.get("logicalType") == "date" else before
    if of == "double":
        return round(rng.uniform(0.5, 120), 2)
    if of in {"int", "long"}:
        return rng.randrange(1, 500)
    return json.dumps({name: rng.randrange(100)}) if name == "custom_parameters" else f"{name}-{rng.randrange(50)}"


def _encoder(kind: Kind, registry: str) -> Encode:
    """How compose/sink.toml says that rows of this kind are encoded."""
    if kind.name == "paywall_views":
        return lambda row: json.dumps(row, default=_iso).encode()
    schema = fastavro.parse_schema(json.loads(kind.schema))
    prefix = _registered(kind, registry) if kind.name == "ua_events" else b""

    def encode(row: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        out.write(prefix)
        fastavro.schemaless_writer(out, schema, row)
        return out.getvalue()

    return encode


def _registered(kind: Kind, registry: str) -> bytes:
    """What stands before each datum: a zero byte and the schema's id. The registry may be starting still."""
    client, end = SchemaRegistryClient({"url": registry}), time.monotonic() + REGISTRY_SECONDS
    for pause in pauses(0.5, 5.0):
        try:
            number = client.register_schema(f"adapty.{kind.name}-value", Schema(kind.schema, "AVRO"))
        except Exception:  # the client lets its HTTP library's errors through, whichever that is
            if time.monotonic() > end:
                raise
            time.sleep(pause)
        else:
            return b"\0" + number.to_bytes(4, "big")
    raise AssertionError("pauses end never")


def _iso(value: date) -> str:
    return value.isoformat()


if __name__ == "__main__":
    main()
