"""The floor: `consume(10000)` until all records came, each dropped at once. `python -m benchmarks.floor TASK`."""

from __future__ import annotations

import json
import time

from confluent_kafka import Consumer

from benchmarks.task import Task


def main(task: Task) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": task.brokers,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([task.topic])
    seen, began = 0, 0.0
    while seen < task.records:
        seen += len(consumer.consume(10_000, 1.0))
        began = began or (time.monotonic() if seen else 0.0)
    print(json.dumps({"read_seconds": time.monotonic() - began}))
    consumer.close()


if __name__ == "__main__":
    main(Task.from_arguments())
