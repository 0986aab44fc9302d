"""`python -m benchmarks.judge`: CPU microseconds per row of judging, and the share of rows that take the exact path.

The same made-up events as the large benchmark for the time, ordinary records of every shipped stream for the share.
Each time is the least of several rounds: another process on the machine makes a round slower, nothing makes one faster.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import fastavro
import orjson

from benchmarks.events import SCHEMA, Plan, events
from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import RawBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.shape.native import extension
from consumer.shape.transform import make_transformer
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format, RowRules
from tests.builders.transforming import AvroText, as_json, records_of

REGISTRY = MemoryRegistry({number: kind.schema for number, kind in enumerate(KINDS.values())})
IDS = {name: number for number, name in enumerate(KINDS)}


def main() -> None:
    given = _arguments()
    found = extension.find()
    print(f"engine: {found.engine}{f' ({found.reason})' if found.reason else ''}")
    made = list(events(Plan(given.rows, mixed=given.mixed)))
    bodies, stamps = [event.value for event in made], [event.timestamp for event in made]
    print(f"{given.rows} events, mean body {sum(map(len, bodies)) / len(bodies):.0f} B Avro; us CPU per row")
    for form in Format:
        batch = _batch([_value("events", form, body) for body in bodies], stamps)
        for size in (100, 2_500, given.rows):
            _show(f"{form}, batches of {size}", _rules("events", form), batch.clip(Span(0, size)), given.rounds)
        part = batch.clip(Span(0, 300))
        _show(f"{form}, exact engine", _rules("events", form), part, max(2, given.rounds // 4), engine=extension.EXACT)
    print("\nshare of rows on the exact path")
    for name in KINDS:
        for form in Format:
            print(f"  {name:22} {form:16} {_share(name, form, given.rows):.4%}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each measurement (%(default)s)")
    parser.add_argument("--mixed", action="store_true", help="three days in no order, not one after the other")
    return parser.parse_args()


def _rules(name: str, form: Format) -> RowRules:
    kind = KINDS[name]
    return RowRules(name, name, name, form, kind.schema, kind.time_field, send_user_attributes=kind.attributes)


def _batch(values: Sequence[bytes], stamps: Sequence[int]) -> RawBatch:
    number = len(values)
    return RawBatch(TopicPartition("events", 0), Span(0, number), range(number), stamps, values, [b"key"] * number)


def _value(name: str, form: Format, body: bytes) -> bytes:
    """An event in this format; JSON as a webhook has it."""
    head = b"\0" + IDS[name].to_bytes(4, "big") if form.value.endswith("-registry") else b""
    return head + (_as_json(body) if form.value.startswith("json") else body)


def _as_json(body: bytes) -> bytes:
    record: Any = fastavro.schemaless_reader(io.BytesIO(body), SCHEMA, None)
    return orjson.dumps(
        {
            name: f"{value:%Y-%m-%dT%H:%M:%S.%f%z}" if isinstance(value, datetime) else value
            for name, value in record.items()
        }
    )


def _share(name: str, form: Format, rows: int) -> float:
    """The share of ordinary records of a stream that the native engine leaves; in JSON attributes are objects."""
    schema = KINDS[name].schema
    records = records_of(schema, rows)
    if form.value.startswith("json"):
        attributes = {"attributes": {"plan": "gold", "visits": 12, "score": 0.75, "tags": ["a", "é"], "last": None}}
        values = [orjson.dumps({**as_json(record, schema), **attributes}) for record in records]
    else:
        write = AvroText(schema)
        values = [write(record) for record in records]
    head = b"\0" + IDS[name].to_bytes(4, "big") if form.value.endswith("-registry") else b""
    batch = _batch([head + value for value in values], [1_721_500_000_000] * rows)
    transformer = make_transformer(_rules(name, form), REGISTRY)
    found = transformer.transform(batch, TransformOptions(transformer.columns))
    if found.counts.kept != rows - found.counts.filtered:
        raise SystemExit(f"{name} {form}: {found.counts}")
    return sum(found.exact_path.values()) / rows


def _show(title: str, rules: RowRules, batch: RawBatch, rounds: int, *, engine: str = extension.NATIVE) -> None:
    transformer = make_transformer(rules, REGISTRY, engine=engine)
    how, least = TransformOptions(transformer.columns), float("inf")
    for _ in range(rounds):
        began = time.process_time()
        transformer.transform(batch, how)
        least = min(least, time.process_time() - began)
    print(f"  {title:36} {least / len(batch) * 1e6:8.2f}")


if __name__ == "__main__":
    main()
