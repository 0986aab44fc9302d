"""What the tests of decode and shape share: batches, rules, records of every kind, both engines."""

from __future__ import annotations

import csv
import io
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import fastavro
import orjson
import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import RawBatch, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span, TopicPartition
from consumer.shape.exact.row import ODDITIES
from consumer.shape.native import extension
from consumer.shape.native.extension import EXACT, NATIVE
from consumer.shape.quarantine import REASONS
from consumer.shape.transform import make_transformer
from consumer.streams.kinds import CUSTOM, KINDS
from consumer.streams.rules import Format, RowRules

PARTITION = TopicPartition("topic", 3)
DAY_ONE = 1_721_001_600_000_000
"""2024-07-15T00:00:00Z in microseconds."""
_ALWAYS = frozenset({"profile_id", "install_date"})
LATER = DAY_ONE // 1_000 + 3 * 86_400_000
"""A record timestamp three days later."""


def rules_of(kind: str, form: Format = Format.AVRO, **more: Any) -> RowRules:
    """Rules of a shipped kind."""
    found = KINDS[kind]
    return RowRules(kind, kind, "topic", form, more.pop("schema", found.schema), found.time_field, **more)


def custom(fields: Sequence[Mapping[str, Any]], time_field: str, form: Format = Format.JSON, **more: Any) -> RowRules:
    """Rules of a stream of the user's own."""
    return RowRules("own", CUSTOM, "topic", form, record_schema(fields), time_field, **more)


def record_schema(fields: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps({"type": "record", "name": "Own", "fields": list(fields)}).decode()


def batch_of(values: Sequence[bytes | None], *, start: int = 100, timestamps: Sequence[int] | None = None) -> RawBatch:
    """A batch at offsets from `start` on; every other record has a key."""
    number = len(values)
    return RawBatch(
        PARTITION,
        Span(start, start + number),
        list(range(start, start + number)),
        list(timestamps) if timestamps is not None else [LATER] * number,
        list(values),
        [b"key" if place % 2 else None for place in range(number)],
    )


def raw_types(schema: Any) -> Any:
    """A schema without logical types, so that fastavro writes numbers as they are given."""
    if isinstance(schema, list):
        return [raw_types(one) for one in schema]
    if isinstance(schema, dict):
        return {key: raw_types(value) for key, value in schema.items() if key != "logicalType"}
    return schema


class AvroText:
    """Writes records by one schema, numbers of logical types as numbers."""

    def __init__(self, schema: str) -> None:
        self._schema = fastavro.parse_schema(raw_types(orjson.loads(schema)))

    def __call__(self, record: Mapping[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema, record)
        return out.getvalue()


def wire(schema_id: int, body: bytes) -> bytes:
    """A body in the Confluent wire format."""
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def records_of(schema: str, number: int, seed: int = 1) -> list[dict[str, Any]]:
    """Ordinary records of a schema of primitives: about a quarter of the optional fields is null."""
    chance = random.Random(seed)
    makers = [(field["name"], *_ordinary(field["name"], field["type"])) for field in orjson.loads(schema)["fields"]]
    return [
        {
            name: None if nullable and chance.random() < 0.25 and name not in _ALWAYS else make(chance)
            for name, nullable, make in makers
        }
        for _ in range(number)
    ]


def _ordinary(name: str, kind: Any) -> tuple[bool, Callable[[random.Random], Any]]:
    """Whether a field may be null, and what makes its other values."""
    nullable = isinstance(kind, list)
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    logical = kind.get("logicalType") if isinstance(kind, dict) else None
    plain = kind["type"] if isinstance(kind, dict) else kind
    if logical == "date":
        return nullable, lambda chance: DAY_ONE // 86_400_000_000 + chance.randrange(3)
    if plain == "long" and logical:
        return nullable, lambda chance: DAY_ONE + chance.randrange(3 * 86_400_000_000)
    if plain in {"int", "long"}:
        return nullable, lambda chance: chance.randrange(1, 90)
    if plain == "double":
        return nullable, lambda chance: chance.choice([round(chance.random() * 100, 2), -chance.random() * 50, 7.0])
    return nullable, lambda chance: _ordinary_text(name, chance)


def _ordinary_text(name: str, chance: random.Random) -> str:
    if name in {"profile_id", "idfa", "idfv"}:
        return str(uuid.UUID(int=chance.getrandbits(128)))
    if name == "event_type":
        return chance.choice(["subscription_started", "trial_started", "subscription_paused"])
    if name == "environment":
        return chance.choice(["Production", "Sandbox"])
    return chance.choice(["weekly_8.99", 'quoted "x", and comma', "120209639320320333", "", "two\nlines", "naïve"])


def as_json(record: Mapping[str, Any], schema: str) -> dict[str, Any]:
    """The record as JSON producers write it: instants and dates as text."""
    made = dict(record)
    for name, instant in _times_of(schema):
        value = made.get(name)
        if isinstance(value, int):
            made[name] = iso(value) if instant else iso(value * 86_400_000_000)[:10]
    return made


@cache
def _times_of(schema: str) -> list[tuple[str, bool]]:
    """The fields that are instants, and those that are dates."""
    types = [(field["name"], str(field["type"])) for field in orjson.loads(schema)["fields"]]
    return [(name, "timestamp" in kind) for name, kind in types if "timestamp" in kind or "date" in kind]


def iso(micros: int) -> str:
    """`2024-07-15T13:45:18.755258+0000`, as webhooks have it."""
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}+0000"


ENGINES = [
    pytest.param(EXACT, id=EXACT),
    pytest.param(
        NATIVE, id=NATIVE, marks=pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
    ),
]
"""Both engines, for tests that say what is right; the native one is skipped where it is not installed."""


def judged(rules: RowRules, values: Sequence[bytes | None], *, engine: str = EXACT, **how: Any) -> TransformedBatch:
    """The values judged by one engine, all columns, every day wanted."""
    transformer = make_transformer(rules, how.pop("registry", None) or MemoryRegistry(), engine=engine)
    columns = how.pop("columns", transformer.columns)
    timestamps = how.pop("timestamps", None)
    return transformer.transform(batch_of(values, timestamps=timestamps), TransformOptions(columns, **how))


def plain(found: TransformedBatch) -> TransformedBatch:
    """What is judged but for the way it took."""
    return replace(found, exact_path={})


def both(rules: RowRules, values: Sequence[bytes | None], **how: Any) -> TransformedBatch:
    """The values judged by both engines, which must agree. Without the extension it is the exact one twice."""
    exact = judged(rules, values, **how)
    fast = judged(rules, values, **how, engine=NATIVE)
    assert plain(fast) == plain(exact)
    assert set(fast.oddities) <= set(ODDITIES)
    assert {line["reason"] for line in quarantined(fast)} <= set(REASONS)
    return fast


def table(found: TransformedBatch, names: Sequence[str]) -> list[dict[str, str]]:
    """The rows of all days, as cells by column name. Null and the empty text look alike here."""
    text = b"".join(day.body for day in found.days if not day.quarantine).decode()
    return [dict(zip(names, row, strict=True)) for row in csv.reader(io.StringIO(text, newline=""))]


def quarantined(found: TransformedBatch) -> list[dict[str, Any]]:
    """The quarantine lines of all days."""
    return [orjson.loads(line) for day in found.days if day.quarantine for line in day.body.splitlines()]
