"""Hostile records of every format and hostile documents, from a seed: each has its verdict; no crash, hang or growth.

A campaign, with what it has done so far printed after each round:

FUZZ_RECORDS=10000000 FUZZ_SEED=7 .venv/bin/pytest -s -n0 tests/fuzz/test_campaign.py --timeout 0
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from consumer.decode.references import complete
from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import Counts, TransformOptions
from consumer.domain.errors import HaltError
from consumer.seal.keys import days_key, manifest_key
from consumer.seal.manifest import listing_from, manifest_from
from consumer.seal.record import RecordError, record_from
from consumer.seal.replacements.record import ReplacementError, replacement_from
from consumer.shape.bounds import TURN, InHalves
from consumer.shape.native.extension import EXACT
from consumer.shape.transform import make_transformer
from consumer.spool.checkpoint import Checkpoint, ReadProgress, SpoolBasis, SpoolFile, sealed_text
from consumer.spool.checkpoint import read as checkpoint_from
from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format, RowRules, rules_from_document
from tests.builders.mutations import mangle, mutate
from tests.builders.sealed import DAY, STREAM, StoppedClock, at, next_day, three_days
from tests.builders.transforming import (
    AvroText,
    as_json,
    batch_of,
    custom,
    plain,
    records_of,
    rules_of,
    wire,
)
from tests.fakes.store import MemoryStore

INPUTS = int(os.environ.get("FUZZ_RECORDS", "15000"))
SEED = os.environ.get("FUZZ_SEED", "1")
BATCH = 250
MOST_GROWTH = 64 << 20
"""Bytes that the process may grow by after its first rounds, however many inputs follow."""
WARM = 3
"""Rounds before that: caches fill."""

NESTED: list[dict[str, Any]] = [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "list", "type": {"type": "array", "items": ["null", "string"]}},
    {"name": "map", "type": {"type": "map", "values": "double"}},
    {"name": "size", "type": {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 20}},
    {"name": "sort", "type": {"type": "enum", "name": "Sort", "symbols": ["a", "b"]}},
    {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}},
    {"name": "on", "type": ["null", {"type": "int", "logicalType": "date"}]},
]
ONE_OF_EACH = {"at": 1_721_001_600_000_000, "list": ["a", None], "map": {"k": 1.5}, "size": b"\1\2", "sort": "b"}
ONE_OF_EACH |= {"id": b"0123456789abcdef", "on": 19_900}
JSON_OF_EACH = (
    b'{"at":1721001600000000,"list":["a",null],"map":{"k":1.5},"size":1.25,"sort":"b","id":"x","on":"2024-07-15"}'
)

Target = Callable[[random.Random, int], None]
"""Judges so many hostile inputs."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Hostile records of one stream in one format: every tenth batch is judged by the exact engine too."""

    rules: RowRules
    bodies: Sequence[bytes]

    def __call__(self, chance: random.Random, number: int) -> None:
        values = [self._hostile(chance) for _ in range(number)]
        batch = batch_of(values)
        registry = MemoryRegistry({1: self.rules.schema, 2: UNIONS, 3: "no schema", 4: '{"type":"string"}'})
        worker = InHalves(make_transformer(self.rules, registry, bounds=TURN))
        how = TransformOptions(worker.columns)
        found = worker.transform(batch, how)
        counts = found.counts
        assert counts.read == number == counts.kept + counts.filtered + counts.quarantined
        assert sum(day.rows for day in found.days) == counts.kept + counts.quarantined
        if chance.random() < 0.1:
            exact = make_transformer(self.rules, registry, engine=EXACT)
            assert plain(exact.transform(batch, how)) == plain(found)

    def _hostile(self, chance: random.Random) -> bytes:
        if not self.rules.format.has_schema_id:
            return mutate(chance, self.bodies)
        if chance.random() < 0.1:
            return mutate(chance, [wire(1, body) for body in self.bodies])
        return wire(chance.choices((1, 2, 3, 4, 5), (90, 4, 2, 2, 2))[0], mutate(chance, self.bodies))


UNIONS = orjson.dumps(["null", {"type": "record", "name": "Own", "fields": NESTED}]).decode()


def streams() -> dict[str, Target]:
    found: dict[str, Target] = {}
    for form in Format:
        for kind in KINDS:
            rules = rules_of(kind, form)
            records = records_of(rules.schema, 40)
            write = AvroText(rules.schema)
            found[f"{kind} {form.value}"] = Stream(
                rules,
                [orjson.dumps(as_json(record, rules.schema)) if form.is_json else write(record) for record in records],
            )
        own = custom(NESTED, "at", form)
        body = JSON_OF_EACH if form.is_json else AvroText(own.schema)(ONE_OF_EACH)
        found[f"own {form.value}"] = Stream(own, [body])
    return found


def documents() -> dict[str, Target]:
    """The readers of what lies in the bucket, in the spool, and what a registry answers."""
    store = MemoryStore(StoppedClock(at(next_day(DAY, 4))))
    bucket = three_days(store)
    entry = bucket.head().objects[0]
    assert entry.first_offset is not None
    bucket.replay({entry: range(entry.first_offset, entry.first_offset + entry.rows)})
    texts = {key: stored.data for key, stored in store._objects.items() if key.endswith(".json")}
    manifest, days = store.get(manifest_key(STREAM, DAY)), store.get(days_key(STREAM))
    assert manifest is not None
    assert days is not None
    readers: dict[str, tuple[list[bytes], Callable[[bytes], object], tuple[type[Exception], ...]]] = {
        "seal records": (under(texts, "_seals/t/"), record_from, (RecordError,)),
        "settings": (under(texts, "_seals/_settings/"), rules_from_document, (ValueError, KeyError, TypeError)),
        "replacements": (under(texts, "_replays/"), replacement_from, (ReplacementError,)),
        "manifests": ([manifest.data], lambda text: manifest_from(type(manifest)(manifest.facts, text)), (HaltError,)),
        "lists of days": ([days.data], lambda text: listing_from(type(days)(days.facts, text)), (HaltError,)),
        "checkpoints": (
            [checkpoint()],
            lambda text: checkpoint_from(sealed_text(text)),
            (ValueError, KeyError, TypeError, AttributeError),
        ),
        "schemas": ([UNIONS.encode(), *(kind.schema.encode() for kind in KINDS.values())], schema, (SchemaError,)),
    }
    return {name: partial(read_all, *reader) for name, reader in readers.items()}


def checkpoint() -> bytes:
    """The text of one, behind its checksum."""
    days = [SpoolFile(f"t-3/{DAY}.{n}.csv", DAY, n == 1, 5, 1, 9, 40, 7) for n in range(2)]
    progress = ReadProgress(9, Counts(5, 5), {7: 8}, {DAY: 6}, 1_000)
    return Checkpoint(3, SpoolBasis("id", "settings", "chain", 3, 5), progress, days).document().partition(b"\n")[2]


def under(texts: Mapping[str, bytes], prefix: str) -> list[bytes]:
    found = [text for key, text in texts.items() if key.startswith(prefix)]
    assert found
    return found


def schema(text: bytes) -> object:
    return parse(complete(text.decode("utf-8", "replace"), ['{"type":"record","name":"n.X","fields":[]}']))


def read_all(
    originals: Sequence[bytes],
    read: Callable[[bytes], object],
    refusals: tuple[type[Exception], ...],
    chance: random.Random,
    number: int,
) -> None:
    """Each original is read, each hostile one is read or refused."""
    for text in originals:
        read(text)
    for _ in range(number):
        with suppress(*refusals):
            read(mangle(chance, originals))


def resident() -> int:
    """Bytes of memory that this process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def test_no_input_is_too_much() -> None:
    targets = {**streams(), **documents()}
    chance = random.Random(f"{SEED} campaign")
    done = number = 0
    base, began = 0, time.monotonic()
    slowest = (0.0, "")
    while done < INPUTS or number < WARM:
        for name, judge in targets.items():
            before = time.process_time()
            judge(chance, BATCH)
            slowest = max(slowest, (time.process_time() - before, name))
            done += BATCH
        number += 1
        held = resident()
        base = max(base, held) if number <= WARM else base
        print(  # noqa: T201 - a campaign is watched
            f"{done:>10,} inputs {time.monotonic() - began:8.0f} s {held >> 20:5} MiB"
            f"  slowest batch {slowest[0]:.2f} s ({slowest[1]})",
            flush=True,
        )
    assert resident() - base < MOST_GROWTH
