"""The usual script, as one writes it in an afternoon: poll, fastavro or orjson, csv.writer, upload. No promise.

`python -m benchmarks.usual TASK`.
"""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import fastavro
import orjson
from confluent_kafka import Consumer

from benchmarks.events import SCHEMA_FILE
from benchmarks.task import Task

SCHEMA: Any = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))


def decode(form: str, value: bytes) -> Any:
    """An event as a dictionary."""
    value = value[5:] if form.endswith("-registry") else value
    return (
        fastavro.schemaless_reader(io.BytesIO(value), SCHEMA, None) if form.startswith("avro") else orjson.loads(value)
    )


def main(task: Task) -> None:
    columns = [field["name"] for field in SCHEMA["fields"]]
    consumer = Consumer(
        {
            "bootstrap.servers": task.brokers,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([task.topic])
    files: dict[date, tuple[Path, TextIOWrapper, Any]] = {}
    seen, began = 0, 0.0
    while seen < task.records:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(message.error())
        began = began or time.monotonic()
        event = decode(task.format, message.value() or b"")
        at = event["event_datetime"]
        day = (at if isinstance(at, datetime) else datetime.fromisoformat(at)).date()
        if day not in files:
            path = task.home / f"{day}.csv"
            file = path.open("w", newline="")
            files[day] = path, file, csv.writer(file)
            files[day][2].writerow(columns)
        files[day][2].writerow([event[name] for name in columns])
        seen += 1
    read_seconds = time.monotonic() - began
    client = task.client()
    for path, file, _ in files.values():
        file.close()
        client.upload_file(str(path), task.bucket, f"{task.prefix}/{path.name}")
    consumer.commit(asynchronous=False)
    consumer.close()
    print(json.dumps({"read_seconds": read_seconds}))


if __name__ == "__main__":
    main(Task.from_arguments())
