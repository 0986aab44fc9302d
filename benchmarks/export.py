"""`python -m benchmarks.export`: a manual export beside plain copying of the same objects, from MinIO into MinIO.

The objects are made here, with their manifests: what is measured never asks Kafka.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import orjson

from benchmarks.measure import Cost, compiled, measure
from consumer.domain.offsets import TopicPartition
from consumer.seal.keys import data_key, manifest_key
from consumer.settings.load import settings_from
from consumer.shape.csv_text import line
from consumer.store.port import Absent, BytesBody, StreamingStore
from consumer.streams.columns import column_names
from tests.services.s3 import MinIO, S3Address, unique_bucket

MIB = 1 << 20
FIRST = date(2024, 7, 1)
PARTITIONS = 4
PREFIX = "exported"
MODULES = ("benchmarks.plain_copy", "consumer.commands.main", "consumer.commands.export.command")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the days lie."""

    address: S3Address
    bucket: str
    days: tuple[date, ...]

    def tables(self, home: Path) -> dict[str, object]:
        """The settings as a file would give them."""
        return {
            "kafka": {"bootstrap_servers": "localhost:1"},
            "destination": {
                "url": f"s3://{self.bucket}/{PREFIX}",
                "endpoint_url": self.address.endpoint_url,
                "region": self.address.region,
                "access_key_id": self.address.access_key,
                "secret_access_key": self.address.secret_key,
                "addressing_style": "path",
            },
            "spool": {"directory": str(home / "spool")},
            "http": {"listen": ""},
            "streams": {"events": {"topic": "adapty.events"}},
        }


def fill(place: Place, home: Path, rows: int, *, alike: bool) -> int:
    """Put the days of `events`, each with rows of its own or all `alike`; returns the bytes of their objects."""
    from consumer.commands.wiring import store_of  # noqa: PLC0415 - after the arguments are known to be right

    settings = settings_from(place.tables(home), home, {}, "the benchmark's settings")
    stream = settings.streams[0]
    store, columns = store_of(stream.destination), column_names(stream.rules)
    if alike:
        bodies = _bodies(columns, FIRST, rows)
        return sum(_put_day(store, columns, day, bodies, rows) for day in place.days)
    return sum(_put_day(store, columns, day, _bodies(columns, day, rows), rows) for day in place.days)


def _bodies(columns: Sequence[str], day: date, rows: int) -> list[BytesBody]:
    """The objects of a day, one of each partition."""
    rng = random.Random(day.toordinal())
    header, count = line(columns), rows // PARTITIONS
    return [BytesBody(header + b"".join(_rows(columns, count, rng))) for _ in range(PARTITIONS)]


def _put_day(store: StreamingStore, columns: Sequence[str], day: date, bodies: Sequence[BytesBody], rows: int) -> int:
    objects = []
    count = rows // PARTITIONS
    for partition, body in enumerate(bodies):
        key = data_key("events", day, TopicPartition("adapty.events", partition), count, "none")
        store.put(key, body, condition=Absent())
        facts = {"rows": count, "bytes": body.size, "sha256": body.sha256, "first_offset": 0, "last_offset": count - 1}
        objects.append({"key": key, "partition": partition, **facts, "seal": 0})
    manifest = {
        "version": 1, "stream": "events", "day": day.isoformat(), "revision": 1, "complete": True, "why": [],
        "columns": list(columns), "rows": sum(int(str(one["rows"])) for one in objects),
        "bytes": sum(int(str(one["bytes"])) for one in objects), "objects": objects,
    }  # fmt: skip
    store.put(manifest_key("events", day), BytesBody(orjson.dumps(manifest)), condition=Absent())
    return sum(int(str(one["bytes"])) for one in objects)


def _rows(columns: Sequence[str], count: int, rng: random.Random) -> Iterator[bytes]:
    """Rows of 650 bytes or so; one in ten has a quoted cell, one in a hundred a line break in it."""
    for n in range(count):
        cells: list[str | None] = [
            f"{rng.getrandbits(48):x}"[: 4 + c % 12] if c % 5 else None for c in range(len(columns))
        ]
        if n % 10 == 0:
            cells[1] = 'Plan "plus", yearly\n' if n % 100 == 0 else "a, b"
        cells[-1] = "x" * 200
        yield line(cells)


def contenders(place: Place, home: Path) -> Mapping[str, list[str]]:
    """Command lines by title."""
    settings = home / "sink.toml"
    settings.write_text(_toml(place.tables(home)))
    told = home / "copy.json"
    told.write_text(json.dumps({
        "endpoint_url": place.address.endpoint_url, "region_name": place.address.region,
        "aws_access_key_id": place.address.access_key, "aws_secret_access_key": place.address.secret_key,
        "bucket": place.bucket, "prefix": f"{PREFIX}/events/", "target": f"{PREFIX}/copy.csv",
    }))  # fmt: skip
    program = str(Path(sys.executable).parent / "adapty-sink")
    period = ["--from", str(place.days[0]), "--to", str(place.days[-1])]
    export = [program, "--config", str(settings), "export", *period, "--force"]
    nowhere = ["sh", "-c", 'exec "$@" > /dev/null', "sh"]
    return {
        "plain copying, object after object": [sys.executable, "-m", "benchmarks.plain_copy", str(told)],
        "adapty-sink export, into the bucket": export,
        "adapty-sink export --output DIR": [*export, "--output", str(home / "local")],
        "adapty-sink export --output -, thrown away": [*nowhere, *export, "--output", "-"],
        "adapty-sink export --output DIR --columns (two)": [
            *export, "--output", str(home / "picked"), "--columns", "profile_id,event_datetime",
        ],
    }  # fmt: skip


def _toml(tables: Mapping[str, object], path: str = "") -> str:
    plain = {name: value for name, value in tables.items() if not isinstance(value, dict)}
    text = f"[{path}]\n" * bool(plain) + "".join(f"{name} = {json.dumps(value)}\n" for name, value in plain.items())
    for name, value in tables.items():
        if isinstance(value, dict):
            text += _toml(value, f"{path}.{name}".strip("."))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000, help="of each day")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--alike", action="store_true", help="the same rows every day: many days are soon made")
    parser.add_argument("--only", default="", help="what has this in its title")
    wanted = parser.parse_args()
    days = tuple(FIRST + timedelta(days=n) for n in range(wanted.days))
    with tempfile.TemporaryDirectory(prefix="adapty-sink-bench-") as name, MinIO(Path(name) / "minio") as server:
        home = Path(name)
        place = Place(server.address, unique_bucket("export"), days)
        server.address.make_bucket(place.bucket)
        size = fill(place, home, wanted.rows, alike=wanted.alike)
        print(f"{wanted.days} days of {wanted.rows:,} rows, {size / 1e6:,.0f} MB\n")
        print("| | CPU s | MB per CPU s | wall s | peak MiB |\n|---|--:|--:|--:|--:|")
        with compiled(MODULES) as environment:
            chosen = {title: each for title, each in contenders(place, home).items() if wanted.only in title}
            for title, command in chosen.items():
                for part in (home / "local", home / "picked"):
                    for path in part.glob("*/*"):
                        path.unlink()
                costs = [_cost(command, home / "log", environment) for _ in range(wanted.runs)]
                cpu, wall = median(cost.cpu for cost in costs), median(cost.wall for cost in costs)
                peak = max(cost.peak for cost in costs)
                print(f"| {title} | {cpu:.2f} | {size / 1e6 / cpu:,.0f} | {wall:.2f} | {peak / MIB:,.0f} |", flush=True)
        for part in (home / "local" / "events").glob("*.csv"):
            print(f"\nsha256 of the file: {hashlib.sha256(part.read_bytes()).hexdigest()[:16]}")


def _cost(command: list[str], log: Path, environment: Mapping[str, str]) -> Cost:
    return measure(command, log, environment)


if __name__ == "__main__":
    main()
