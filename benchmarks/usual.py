"""The usual script, as one writes it in an afternoon: poll, fastavro, csv.writer, upload. No promise of any kind.

`python -m benchmarks.usual TASK`.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer

from benchmarks.events import SCHEMA_FILE
from benchmarks.task import Task


def main(task: Task) -> None:
    schema: Any = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))
    columns = [field["name"] for field in schema["fields"]]
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
    seen = 0
    while seen < task.records:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(message.error())
        event: Any = fastavro.schemaless_reader(io.BytesIO(message.value() or b""), schema, None)
        day = event["event_datetime"].date()
        if day not in files:
            path = task.home / f"{day}.csv"
            file = path.open("w", newline="")
            files[day] = path, file, csv.writer(file)
            files[day][2].writerow(columns)
        files[day][2].writerow([event[name] for name in columns])
        seen += 1
    client = task.client()
    for path, file, _ in files.values():
        file.close()
        client.upload_file(str(path), task.bucket, f"{task.prefix}/{path.name}")
    consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(Task.from_arguments())
