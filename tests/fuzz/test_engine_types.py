"""Every writer's type in every column, and JSON of every kind: the same bytes from both engines.

What is ordinary among it is judged by the native engine alone. `ENGINE_BODIES=1000` for a campaign.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import TransformedBatch, TransformOptions
from consumer.shape.native import extension
from consumer.shape.transform import make_transformer
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Format, Method, Privacy, RowRules
from tests.builders.transforming import DAY_ONE, batch_of, custom, plain, record_schema, wire

pytestmark = pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
BODIES = int(os.environ.get("ENGINE_BODIES", "6"))
"""Bodies of each writer's type in each column."""
SEED = os.environ.get("ENGINE_SEED", "1")
KEY = b"k" * 32
AT: dict[str, Any] = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}


def logical(base: str, meaning: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": meaning, **more}


PLAIN: list[Any] = ["string", "bytes", "boolean", "int", "long", "float", "double", logical("string", "uuid")]
STAMPS: list[Any] = [
    logical("long", f"{zone}timestamp-{unit}") for zone in ("", "local-") for unit in ("millis", "nanos")
]
STAMPS += [logical("long", "timestamp-micros"), logical("int", "date")]
TIMES: list[Any] = [logical("int", "time-millis"), logical("long", "time-micros")]
DECIMALS: list[Any] = [
    logical("bytes", "decimal", precision=30, scale=4),
    logical("bytes", "decimal", precision=9, scale=0),
    logical("bytes", "decimal", precision=90, scale=70),
    logical("fixed", "decimal", name="D", size=5, precision=9, scale=2),
    logical("bytes", "big-decimal"),
]
NAMED: list[Any] = [
    {"type": "fixed", "name": "F", "size": 3},
    logical("fixed", "uuid", name="U", size=16),
    {"type": "enum", "name": "E", "symbols": ["A", "true", "_7"]},
]
INNER = {
    "type": "record",
    "name": "In",
    "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": ["null", "string"]}],
}
NESTED: list[Any] = [
    {"type": "array", "items": "long"},
    {"type": "array", "items": ["null", "double", "string", STAMPS[0], TIMES[0], DECIMALS[0]]},
    {"type": "map", "values": ["null", "float", "bytes", logical("int", "date")]},
    {"type": "array", "items": INNER},
    {"type": "array", "items": "null"},
    {"type": "record", "name": "Two", "fields": [{"name": "a", "type": INNER}, {"name": "b", "type": ["null", "In"]}]},
    {"type": "record", "name": "Tree", "fields": [{"name": "left", "type": ["null", "Tree"]}]},
]
UNIONS: list[Any] = [
    ["null", "long", "string"],
    ["string", "double", {"type": "array", "items": "int"}],
    ["null", "bytes"],
]
TYPES = [*PLAIN, *STAMPS, *TIMES, *DECIMALS, *NAMED, *NESTED, *UNIONS, "null"]
NUMBERS = [0, 1, -1, 7, 19_919, 86_399_999, 999_999, 1_000_000, 20_240_715, -(1 << 63), (1 << 63) - 1, 10**11, 10**14]
NUMBERS += [DAY_ONE, DAY_ONE + 1, DAY_ONE // 1_000, DAY_ONE // 1_000_000, DAY_ONE * 1_000, -62_135_596_800_000_001]
REALS = [0.0, -0.0, 7.0, 0.1, 1e-5, 1e15, 1e22, 2.0**63, -(2.0**63), float("nan"), float("inf"), 1_721_044_800.5]
TEXTS = [
    "",
    "a,b",
    'a"b\\',
    "7",
    "-7.50",
    "007",
    "7.00",
    "1e3",
    "true",
    "2024-07-15",
    "20240715",
    "19919",
    "\x00",
    "\x1f\n",
]
TEXTS += [
    "2024-07-15T13:45:18.7552589Z",
    "2024-07-15 13:45:18",
    "2024-07-16T02:00:00+05:30",
    "1721044800.25",
    "1721044800",
]
TEXTS += ["20241399", "é😀", "9" * 19, "13:45:18", "12345678901234567890.12", "-0", "-1", "1721044800123"]


def varint(number: int) -> bytes:
    raw, out = (number << 1) ^ (number >> 63), bytearray()
    raw &= (1 << 64) - 1
    while raw >= 128:
        out.append(raw & 127 | 128)
        raw >>= 7
    return bytes([*out, raw])


def chunk(data: bytes) -> bytes:
    return varint(len(data)) + data


def blob(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 2, 5, 12, 16, 17)))


def text(chance: random.Random) -> bytes:
    return chunk(chance.choice(TEXTS).encode() if chance.random() < 0.95 else b"\xff\xc3(")


def long(chance: random.Random) -> bytes:
    return varint(chance.choice(NUMBERS) if chance.random() < 0.8 else chance.randint(-(1 << 63), (1 << 63) - 1))


LEAVES: Mapping[str, Callable[[random.Random], bytes]] = {
    "null": lambda _: b"",
    "boolean": lambda chance: bytes([chance.choice((0, 1, 1, 2))]),
    "int": lambda chance: varint(chance.choice((0, 7, -1, 19_919, 86_399_999, 86_400_000, (1 << 31) - 1, -(1 << 31)))),
    "long": long,
    "float": lambda chance: struct.pack("<f", chance.choice((*REALS[:5], 0.3, 1e20, float("nan")))),
    "double": lambda chance: struct.pack("<d", chance.choice(REALS)),
    "bytes": lambda chance: chunk(blob(chance)),
    "string": text,
}


def written(kind: Any, chance: random.Random, names: dict[str, Any]) -> bytes:
    """A value of this type as Avro has it; now and then one that no writer would write."""
    if isinstance(kind, list):
        index = chance.randrange(len(kind))
        return varint(index) + written(kind[index], chance, names)
    if isinstance(kind, str):
        return LEAVES[kind](chance) if kind in LEAVES else written(names[kind], chance, names)
    if "name" in kind:
        names[kind["name"]] = kind
    if kind.get("logicalType") == "big-decimal":
        return chunk(chunk(blob(chance)) + varint(chance.choice((0, 2, 61, -1))))
    return LEAVES[kind["type"]](chance) if kind["type"] in LEAVES else parts(kind, chance, names)


def parts(kind: Any, chance: random.Random, names: dict[str, Any]) -> bytes:
    match kind["type"]:
        case "fixed":
            return chance.randbytes(kind["size"])
        case "enum":
            return varint(chance.randrange(len(kind["symbols"]) + (chance.random() < 0.1)))
        case "record":
            return b"".join(written(field["type"], chance, names) for field in kind["fields"])
    return blocks(kind, chance, names)


def blocks(kind: Any, chance: random.Random, names: dict[str, Any]) -> bytes:
    made = b""
    for _ in range(chance.randrange(3)):
        count, mapped = chance.randrange(1, 4), kind["type"] == "map"
        items = [
            (chunk(chance.choice((b"k", b'a"', b"m"))) if mapped else b"")
            + written(kind["values" if mapped else "items"], chance, names)
            for _ in range(count)
        ]
        made += (
            varint(count) + b"".join(items) if chance.random() < 0.5 else varint(-count) + varint(9) + b"".join(items)
        )
    return made + b"\0"


def compared(rules: RowRules, values: Sequence[bytes], registry: MemoryRegistry | None = None) -> TransformedBatch:
    """The batch by the native engine, which must be the exact one's."""
    keys = {"k1": KEY}
    native = make_transformer(rules, registry, keys=keys)
    exact = make_transformer(rules, registry, keys=keys, engine=extension.EXACT)
    how = TransformOptions(native.columns)
    found = native.transform(batch_of(values), how)
    if plain(found) != plain(exact.transform(batch_of(values), how)):
        for value in values:
            one = batch_of([value])
            assert plain(native.transform(one, how)) == plain(exact.transform(one, how)), value
        pytest.fail("the engines differ only on the batch")
    return found


def hashed(rules: RowRules, *, privacy: bool) -> RowRules:
    more = Privacy({"x": Method.HASH}, "k1", fingerprint(KEY)) if privacy else Privacy()
    return RowRules(rules.stream, rules.kind, rules.topic, rules.format, rules.schema, rules.time_field, privacy=more)


@pytest.mark.parametrize("privacy", [False, True], ids=["plain", "hashed"])
def test_every_writers_type_in_every_column(*, privacy: bool) -> None:
    """One registry with a schema for each type; those that a column refuses as well."""
    schemas = {
        number: record_schema([AT, {"name": "x", "type": kind}, {"name": "more", "type": ["null", "long"]}])
        for number, kind in enumerate(TYPES)
    }
    registry, native = MemoryRegistry(schemas), 0
    many = BODIES // 3 if privacy else BODIES
    for kind in TYPES:
        chance = random.Random(f"{SEED} {kind}")
        values = [
            wire(number, varint(DAY_ONE) + written(one, chance, {}) + chance.choice((b"\0", b"\2\2")))
            for number, one in enumerate(TYPES)
            for _ in range(many)
        ]
        chance.shuffle(values)
        rules = hashed(custom([AT, {"name": "x", "type": kind}], "at", Format.AVRO_REGISTRY), privacy=privacy)
        native += len(values) - sum(compared(rules, values, registry).exact_path.values())
    assert native > many * len(TYPES) ** 2 / 4


TIMELY = ["string", "long", "int", *STAMPS]


@pytest.mark.parametrize("kind", TIMELY, ids=str)
def test_every_writers_type_as_the_time_of_a_row(kind: Any) -> None:
    chance = random.Random(f"{SEED} time {kind}")
    registry = MemoryRegistry({n: record_schema([{"name": "x", "type": one}]) for n, one in enumerate(TYPES)})
    values = [wire(number, written(one, chance, {})) for number, one in enumerate(TYPES) for _ in range(BODIES)]
    compared(custom([{"name": "x", "type": kind}], "x", Format.AVRO_REGISTRY), values, registry)


JSON = [
    *map(str, NUMBERS),
    *(json.dumps(one) for one in TEXTS),
    "null",
    "true",
    "false",
    "-0",
    "-0.0",
    "5.00",
    "7.0",
    "1E2",
]
JSON += ["1e5", "1.5e3", "1e400", "12345678901234567890", "12345678901234567.89", "1721044800.25", "-1.5", "NaN", "3.7"]
JSON += [
    "[]",
    "{}",
    "[1, 2.50, -0, 1e5, 12345678901234567890123]",
    '{"a": {"b": [true, null, "\\u0001\\"x"]}}',
    '{"a":1,"a":2}',
]
JSON += [
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    "[NaN]",
    '{"' + '": 1, "'.join(f"k{n}" for n in range(80)) + '": 1}',
    "9" * 400,
    "1e-400",
]


@pytest.mark.parametrize("privacy", [False, True], ids=["plain", "hashed"])
def test_json_of_every_kind_in_every_column(*, privacy: bool) -> None:
    values = [f'{{"at": {DAY_ONE}, "x": {one}}}'.encode() for one in JSON]
    for kind in TYPES:
        compared(hashed(custom([AT, {"name": "x", "type": kind}], "at"), privacy=privacy), values)
    for kind in TIMELY:
        compared(custom([{"name": "x", "type": kind}], "x"), [f'{{"x": {one}}}'.encode() for one in JSON])


DEFAULTS: list[tuple[Any, Any]] = [
    *(
        ("string", "a,b"),
        ("string", ""),
        ("long", 7),
        ("double", 1e21),
        ("float", 0.1),
        ("boolean", True),
        ("bytes", "ÿ"),
    ),
    *((STAMPS[0], DAY_ONE // 1_000), (STAMPS[-1], 19_919), (TIMES[0], 1), (DECIMALS[0], "\u0001"), (NAMED[2], "A")),
    *((NESTED[0], [1, 2]), (NESTED[2], {"a": None}), (["string", "null"], "x"), (["null", "string"], None)),
]


@pytest.mark.parametrize("form", [Format.AVRO, Format.JSON])
@pytest.mark.parametrize(("kind", "default"), DEFAULTS, ids=str)
def test_defaults_are_filled_in_by_the_native_engine(kind: Any, default: Any, form: Format) -> None:
    fields = [AT, {"name": "x", "type": kind, "default": default, "aliases": ["y"]}]
    rules = custom(fields, "at", form, **({"writer_schema": record_schema([AT])} if form is Format.AVRO else {}))
    bodies = [f'{{"at": {DAY_ONE}{more}}}'.encode() for more in ("", ', "y": null', ', "x": null', ', "z": 1')]
    found = compared(rules, bodies if form is Format.JSON else [varint(DAY_ONE)] * 2)
    assert not found.exact_path


def test_a_default_of_the_time_field_counts() -> None:
    more: dict[str, Any] = {"name": "y", "type": ["null", "long"]}
    fields = [{"name": "x", "type": "string", "default": "2024-07-15"}, more]
    assert not compared(custom(fields, "x"), [b'{"y": 7}', b'{"x": null}', b'{"x": "2024-07-16"}']).exact_path
    stamp = [{"name": "x", "type": STAMPS[0], "default": DAY_ONE // 1_000}, more]
    assert compared(custom(stamp, "x"), [b'{"y": 7}']).counts.kept == 1


def test_of_a_name_and_its_alias_the_first_that_is_not_null_counts() -> None:
    maybe = ["null", "string"]
    writer = [AT, *({"name": name, "type": maybe} for name in ("z", "x", "y"))]
    rules = custom(
        [AT, {"name": "x", "type": maybe, "aliases": ["y", "z"]}],
        "at",
        Format.AVRO,
        writer_schema=record_schema(writer),
    )
    parts = [(b"\0", chunk(b"x")), (b"\0", chunk(b"y")), (b"\0", chunk(b"z"))]
    texts = [b"\0", *(b"\2" + part for _, part in parts)]
    values = [varint(DAY_ONE) + z + x + y for x in texts for y in texts for z in texts]
    assert not compared(rules, values).exact_path


def test_a_union_of_records_at_the_top() -> None:
    """Rows of all branches take turns; null and what is no branch are quarantined."""
    branches = [
        "null",
        {"type": "record", "name": "A", "fields": [AT, {"name": "x", "type": "long"}, {"name": "a", "type": "string"}]},
        {"type": "record", "name": "B", "fields": [{"name": "y", "type": "string"}, AT]},
    ]
    fields = [AT, {"name": "x", "type": ["null", "long"]}, {"name": "y", "type": "string", "default": "none"}]
    rules = custom(fields, "at", Format.AVRO, writer_schema=json.dumps(branches))
    stamp = varint(DAY_ONE)
    rows = [b"\2" + stamp + varint(7) + chunk(b"t"), b"\4" + chunk(b"why") + stamp]
    found = compared(rules, rows * 3)
    assert (found.counts.kept, found.exact_path, found.unknown_fields) == (6, {}, {"a": 3})
    odd = compared(rules, [b"\0", b"\6", b"\1", b"\x80", b"\0\0", rows[0] + b"x", *rows])
    assert (odd.counts.kept, odd.counts.quarantined) == (2, 6)


ORDINARY: list[tuple[Any, Any, bytes]] = [
    (logical("bytes", "decimal", precision=9, scale=2), None, chunk(b"\x01\xe2\x40")),
    ("bytes", None, chunk(b"\xff\x00")),
    (NAMED[1], None, bytes(16)),
    (UNIONS[0], None, b"\4" + chunk(b"a")),
    (NESTED[0], None, b"\4\2\4\0"),
    (NESTED[3], None, b"\2\2\2" + chunk(b"s") + b"\0"),
    (NESTED[5], None, b"\2\0\2\2\2" + chunk(b"s")),
    (TIMES[0], None, varint(1_000)),
    (STAMPS[0], "long", varint(DAY_ONE // 1_000)),
    (STAMPS[0], "string", chunk(b"1721044800123")),
    ("string", STAMPS[0], varint(DAY_ONE // 1_000)),
    ("string", "double", struct.pack("<d", 0.5)),
    (logical("int", "date"), STAMPS[0], varint(DAY_ONE // 1_000)),
]


@pytest.mark.parametrize(("kind", "writer", "body"), ORDINARY, ids=str)
def test_ordinary_values_stay_with_the_native_engine(kind: Any, writer: Any, body: bytes) -> None:
    schema = record_schema([AT, {"name": "x", "type": writer or kind}])
    rules = custom([AT, {"name": "x", "type": kind}], "at", Format.AVRO, writer_schema=schema)
    assert not compared(rules, [varint(DAY_ONE) + body]).exact_path


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (STAMPS[0], "1721044800123"),
        (STAMPS[0], '"1721044800123"'),
        ("long", "7.0"),
        ("long", '"7.00"'),
        ("boolean", '"true"'),
        (logical("int", "date"), '"2024-07-15T13:45:18+03:00"'),
        (DECIMALS[0], "5.00"),
        (TIMES[0], '"13:45"'),
        (UNIONS[0], "12345678901234567890"),
        (NESTED[0], "[1, 2.50]"),
        (NESTED[5], '{"a": {"n": 1e5, "price": 12345678901234567.89}}'),
    ],
    ids=str,
)
def test_ordinary_json_stays_with_the_native_engine(kind: Any, value: str) -> None:
    rules = custom([AT, {"name": "x", "type": kind}], "at")
    assert not compared(rules, [f'{{"at": {DAY_ONE}, "x": {value}}}'.encode()]).exact_path


def test_the_least_integer_is_no_misfit() -> None:
    rules = custom([AT, {"name": "x", "type": "long"}], "at")
    found = compared(rules, [f'{{"at": {DAY_ONE}, "x": {-(1 << 63) + less}}}'.encode() for less in (0, -1)])
    assert found.oddities == {"misfit": 1}
