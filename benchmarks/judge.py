"""`python -m benchmarks.transform`: CPU microseconds per row of judging, stage by stage.

The same made-up events as the large benchmark, in batches of one partition. Each number is the least of several rounds:
another process on the machine makes a round slower, nothing makes one faster. `POLARS_MAX_THREADS` in the environment
sets polars' threads.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, TypeVar

import fastavro
import orjson
import polars as pl

from benchmarks.events import SCHEMA, Plan, events
from consumer.decode.avro_block import layout_of, read_frame
from consumer.decode.avro_decoder import Writer
from consumer.decode.avro_validation import certain
from consumer.decode.columns import Fast
from consumer.decode.decoders import decoders_for
from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import RawBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.shape.classify import Sorter
from consumer.shape.day_writer import DayWriter, Kept
from consumer.shape.exact.row import ExactRules
from consumer.shape.filters import filters_of
from consumer.shape.table import table_of
from consumer.shape.transform import make_transformer
from consumer.streams.avro_schema import parse
from consumer.streams.columns import columns_of
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format, RowRules

Found = TypeVar("Found")
REGISTRY = MemoryRegistry({1: KINDS["events"].schema})


def main() -> None:
    given = _arguments()
    plan = Plan(given.rows, mixed=given.mixed)
    found = list(events(plan))
    bodies, stamps = [event.value for event in found], [event.timestamp for event in found]
    print(f"polars {pl.__version__}, {pl.thread_pool_size()} threads, {given.rows} rows, days mixed: {given.mixed}")
    print(f"mean body {sum(map(len, bodies)) / len(bodies):.0f} B Avro; least of {given.rounds} rounds, us CPU per row")
    for form, values in (
        (Format.AVRO, bodies),
        (Format.AVRO_REGISTRY, [b"\x00\x00\x00\x00\x01" + body for body in bodies]),
        (Format.JSON, [_as_json(body) for body in bodies]),
    ):
        batch = _batch(values, stamps)
        print(f"\n{form}")
        _stages(_rules(form), batch, given.rounds)
        for size in (100, 500, 2_500):
            part = batch.clip(Span(0, size))
            _show(f"judge, batches of {size}", _judging(_rules(form), part), size, given.rounds)
        part = batch.clip(Span(0, 300))
        _show("exact path", _judging(_rules(form), part, exact_only=True), 300, max(2, given.rounds // 4))
    _inside_avro(bodies[:2_500], given.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each measurement (%(default)s)")
    parser.add_argument("--mixed", action="store_true", help="three days in no order, not one after the other")
    return parser.parse_args()


def _rules(form: Format) -> RowRules:
    kind = KINDS["events"]
    return RowRules("events", "events", "events", form, kind.schema, kind.time_field)


def _batch(values: Sequence[bytes], stamps: Sequence[int]) -> RawBatch:
    number = len(values)
    return RawBatch(TopicPartition("events", 0), Span(0, number), range(number), stamps, values, [b"key"] * number)


def _as_json(body: bytes) -> bytes:
    """The event as a webhook has it."""
    record: Any = fastavro.schemaless_reader(io.BytesIO(body), SCHEMA, None)
    return orjson.dumps(
        {
            name: f"{value:%Y-%m-%dT%H:%M:%S.%f%z}" if isinstance(value, datetime) else value
            for name, value in record.items()
        }
    )


def _judging(rules: RowRules, batch: RawBatch, *, exact_only: bool = False) -> Callable[[], object]:
    transformer = make_transformer(rules, REGISTRY, exact_only=exact_only)
    how = TransformOptions(transformer.columns)
    return lambda: transformer.transform(batch, how)


def _stages(rules: RowRules, batch: RawBatch, rounds: int) -> None:
    """The stages one by one, each with what the one before it gave, then all of it."""
    columns, number = columns_of(rules), len(batch)
    filters, decoders = filters_of(rules, columns), decoders_for(rules, REGISTRY)
    sorter, writer = Sorter(rules, columns, filters), DayWriter(columns, filters, ExactRules(rules, columns, filters))

    def decode() -> Fast:
        fast = Fast()
        for group in decoders.split(batch, range(number), None).groups:
            group.decoder.fast(group.bodies, group.places, fast)
        return fast

    fast = _show("decode to columns", decode, number, rounds)
    table = _show("fit and vouch", lambda: table_of(fast, columns), number, rounds)
    if table is None or fast.left:
        raise SystemExit(f"{len(fast.left)} rows left the fast path: nothing to compare")
    found = _show("day and filters", lambda: sorter.sort_out(table, batch.timestamps), number, rounds)
    how = TransformOptions(tuple(column.name for column in columns))
    _show("slice and write CSV", lambda: writer.write(batch, how, _kept(found.kept)), number, rounds)
    _show(f"judge, batches of {number}", _judging(rules, batch), number, rounds)


def _kept(table: pl.DataFrame) -> Kept:
    def never(place: int) -> Any:
        raise LookupError(place)

    return Kept(table, {}, never)


def _inside_avro(bodies: Sequence[bytes], rounds: int) -> None:
    """What decoding Avro consists of, for one block."""
    print(f"\none Avro block of {len(bodies)} rows")
    layout = layout_of(parse(KINDS["events"].schema).root)
    if layout is None:
        raise SystemExit("no layout")
    number, lengths = len(bodies), list(map(len, bodies))
    starts = list(accumulate(lengths[:-1], initial=0))
    data = _show("join", lambda: b"".join(bodies), number, rounds)
    frame = _show("join, decode and check", lambda: read_frame(layout, bodies), number, rounds)
    assert frame is not None
    _show("certain", lambda: certain(frame, layout.places, [data], starts, lengths), number, rounds)
    writer = Writer(parse(KINDS["events"].schema), columns_of(_rules(Format.AVRO)), ())
    _show("datum by datum", lambda: [writer.exact(body) for body in bodies[:300]], 300, max(2, rounds // 4))


def _show(title: str, work: Callable[[], Found], rows: int, rounds: int) -> Found:
    found = work()
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        found = work()
        least = min(least, time.process_time() - began)
    print(f"  {title:28} {least / rows * 1e6:8.2f}")
    return found


if __name__ == "__main__":
    main()
