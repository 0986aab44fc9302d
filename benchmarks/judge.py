"""`python -m benchmarks.judge`: CPU microseconds per row of judging, and the share of rows that take the exact path.

Beside it what the usual script spends on the same: fastavro or orjson, then csv.writer, record by record.

The same made-up events as the large benchmark for the time, ordinary records of every shipped stream for the share.
Each time is the least of several rounds: another process on the machine makes a round slower, nothing makes one faster.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Callable, Sequence
from functools import partial

import orjson

from benchmarks import usual
from benchmarks.events import COLUMNS, Plan, events
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
    print(f"engine: {found.engine}{f' ({found.reason})' if found.reason else ''}; us CPU per row")
    for form in Format:
        made = list(events(Plan(given.rows, mixed=given.mixed, format=form, head=_head("events", form))))
        print(f"{form}: {given.rows} events, mean value {sum(len(one.value) for one in made) / len(made):.0f} B")
        bodies, stamps = [one.value for one in made], [one.timestamp for one in made]
        batch = _batch(bodies, stamps)
        for size in (100, 2_500, given.rows):
            part = _judging("events", form, batch.clip(Span(0, size)))
            _show(f"native engine, batches of {size}", part, given.rounds)
        _show("usual script", (partial(_usual, form, bodies), len(bodies)), given.rounds)
        part = _judging("events", form, batch.clip(Span(0, 300)), engine=extension.EXACT)
        _show("exact engine", part, max(2, given.rounds // 4))
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


def _head(name: str, form: Format) -> bytes:
    return b"\0" + IDS[name].to_bytes(4, "big") if form.has_schema_id else b""


def _usual(form: Format, bodies: Sequence[bytes]) -> None:
    out = csv.writer(io.StringIO())
    for body in bodies:
        event = usual.decode(form, body)
        out.writerow([event[name] for name in COLUMNS])


def _share(name: str, form: Format, rows: int) -> float:
    """The share of ordinary records of a stream that the native engine leaves; in JSON attributes are objects."""
    schema = KINDS[name].schema
    records = records_of(schema, rows)
    if form.is_json:
        attributes = {"attributes": {"plan": "gold", "visits": 12, "score": 0.75, "tags": ["a", "é"], "last": None}}
        values = [orjson.dumps({**as_json(record, schema), **attributes}) for record in records]
    else:
        write = AvroText(schema)
        values = [write(record) for record in records]
    batch = _batch([_head(name, form) + value for value in values], [1_721_500_000_000] * rows)
    transformer = make_transformer(_rules(name, form), REGISTRY)
    found = transformer.transform(batch, TransformOptions(transformer.columns))
    if found.counts.kept != rows - found.counts.filtered:
        raise SystemExit(f"{name} {form}: {found.counts}")
    return sum(found.exact_path.values()) / rows


def _judging(
    name: str, form: Format, batch: RawBatch, *, engine: str = extension.NATIVE
) -> tuple[Callable[[], object], int]:
    transformer = make_transformer(_rules(name, form), REGISTRY, engine=engine)
    how = TransformOptions(transformer.columns)
    return lambda: transformer.transform(batch, how), len(batch)


def _show(title: str, work: tuple[Callable[[], object], int], rounds: int) -> None:
    (call, rows), least = work, float("inf")
    for _ in range(rounds):
        began = time.process_time()
        call()
        least = min(least, time.process_time() - began)
    print(f"  {title:36} {least / rows * 1e6:8.2f}")


if __name__ == "__main__":
    main()
