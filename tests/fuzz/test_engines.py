"""Both engines on seeded adversarial records of every stream and format: the same bytes, counts and reasons.

`ENGINE_RECORDS=10000000` for a campaign; `ENGINE_SEED` for other records.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import TransformOptions
from consumer.shape.native import extension
from consumer.shape.transform import make_transformer
from consumer.streams.kinds import KINDS
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import DayBy, Filter, Format, LineBreaks, Method, Privacy, RowRules
from tests.builders.mutations import TEXTS as PIECES
from tests.builders.mutations import VARINTS
from tests.builders.transforming import (
    DAY_ONE,
    LATER,
    AvroText,
    as_json,
    batch_of,
    custom,
    plain,
    record_schema,
    records_of,
    rules_of,
    wire,
)

pytestmark = pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
RECORDS = int(os.environ.get("ENGINE_RECORDS", "200000"))
SEED = int(os.environ.get("ENGINE_SEED", "1"))
BATCH = 500
STAMP = {"type": "long", "logicalType": "timestamp-millis"}
OWN: list[dict[str, Any]] = [
    {"name": "at", "type": "string"},
    {"name": "ratio", "type": ["null", "float"]},
    {"name": "real", "type": ["double", "null"]},
    {"name": "ok", "type": ["null", "boolean"]},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "seen", "type": ["null", STAMP]},
    {"name": "big", "type": ["long", "null"]},
    {"name": "letter", "type": {"type": "enum", "name": "L", "symbols": ["A", "B"]}},
    {"name": "data", "type": ["null", "string"], "adapty.type": "json"},
    {"name": "environment", "type": ["null", "string"]},
    {"name": "install_date", "type": ["null", "long"]},
]
KINDS_AND_OWN = [*KINDS, "own"]
SCHEMAS = {**{name: kind.schema for name, kind in KINDS.items()}, "own": record_schema(OWN)}
TEXTS = [
    *(
        "",
        " ",
        "NA",
        'a"b',
        "a,b",
        "a\rb",
        "a\nb",
        "a\r\nb",
        "a\0b",
        "\0",
        "😀",
        "\u2028",
        "x" * 70,
        "é" * 300,
        "\\",
        "/",
    ),
    *(" Trial_Started", "trial_\0started", "mine", "ÉTÉ", "\u2003x\u2003", "İ", "0", "0-0", "0\0", "0a", "PRODUCTION"),
    *(" production ", "Sandbox", "1", "-0", "007", "1.0", "1.50", "9,99", "1e3", "9" * 18, "9" * 19, "9" * 40, "+1"),
    *("0." + "3" * 40, " 1", "٣", "nan", "2024-07-15T13:45:18.755258+0000", "2024-07-15T13:45:18Z", "2024-07-15"),
    *("2024-07-15T23:59:60Z", "2024-07-15T24:00:00Z", "2024-07-15 13:45:18", "2024-07-15T13:45:18.7552589999+05:30"),
    *("2024-02-30T00:00:00Z", "0000-07-15T13:45:18Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("20240715", "1721051118755", "1721051118.5", "1721051118", "-1721051118755", "2024-07-18T23:59:59.999999Z"),
    *(
        "203.0.113.77",
        "::ffff:203.0.113.77",
        "2001:db8:1:2::3",
        "fe80::1%eth0",
        "01.2.3.4",
        "::",
        "1::2:3:4:5:6:7",
        "k1:",
    ),
    *("k1:" + "0a" * 16, "k1:" + "0A" * 16, "\r", "\r\n\r\n", " \n "),
    *("2024-07-15T13:45:18.7-0800", "2024-07-15t13:45:18z", "2024-07-15T13:45", "soon", '{"a": 1}', "true", "19000"),
]
LONGS = [
    *(0, 1, -1, 63, 64, 1 << 31, 1 << 40, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63), 1_721_044_800, 999_999, 1_000_000),
    *(sign * (10**power + less) for sign in (1, -1) for power in (5, 11, 14, 17, 18) for less in (-1, 0, 1)),
    *(DAY_ONE, DAY_ONE - 1, LATER * 1_000 + 86_400_000_000, 253_402_300_800_000_000, -62_135_596_800_000_001, 19_000),
]
REALS = [0.0, -0.0, 1e-5, 9.9e-6, 1e-4, 1e15, 1e16, 1e21, 5e-324, 1.8e308, 3.7, 7.0, 0.1, 2.0**-96, 2.0**87, 16777217.0]
REALS += [float("nan"), float("inf"), float("-inf"), 3.4028234663852886e38, 1e-45, -349.29999999999995]
ODD_JSON: list[Any] = [
    *(
        None,
        True,
        False,
        1 << 64,
        -(1 << 63) - 1,
        10**30,
        {"a": 1.0},
        {"a": 1e22},
        {"a": 10**25},
        [1, "é\0"],
        {},
        [[[]]],
    ),
    *(
        {"b": [0.1, 5.5, -0.0], "a": {"c": None, "d": 'x\ty"z'}},
        {"a": "\ud83d"},
        "\ud800",
        [1e-7],
        [True, 12],
        {"": ""},
    ),
    *({"n" * 20: {str(turn): turn for turn in range(70)}}, [[[[[[[[1]]]]]]]]),
]


def long_of(chance: random.Random) -> int:
    return chance.choice(LONGS) if chance.random() < 0.7 else chance.randint(-(1 << 63), (1 << 63) - 1)


def real_of(chance: random.Random) -> float:
    if chance.random() < 0.5:
        return chance.choice(REALS)
    return float(struct.unpack("<d", chance.randbytes(8))[0])


def text_of(chance: random.Random) -> str:
    if chance.random() < 0.8:
        return chance.choice(TEXTS)
    return "".join(map(chr, chance.choices((*range(1, 300), 0x2028, 0xFFFD, 0x1F600), k=chance.randrange(40))))


def int_of(chance: random.Random) -> int:
    return chance.choice((0, -1, 64, (1 << 31) - 1, -(1 << 31), chance.randint(-800_000, 3_000_000)))


def float_of(chance: random.Random) -> float:
    return float(struct.unpack("<f", chance.randbytes(4))[0])


MAKERS: Mapping[str, Callable[[random.Random], Any]] = {
    "null": lambda _: None,
    "string": text_of,
    "int": int_of,
    "long": long_of,
    "float": float_of,
    "double": real_of,
    "boolean": lambda chance: chance.random() < 0.5,
}


def odd_value(kind: Any, chance: random.Random) -> Any:
    """A value that a writer of this type can write."""
    if isinstance(kind, list):
        kind = chance.choice(kind)
    make = MAKERS.get(kind["type"] if isinstance(kind, dict) else kind)
    return make(chance) if make else chance.choice(kind["symbols"])


def odd_json(chance: random.Random) -> Any:
    make: Callable[[random.Random], Any] = chance.choice((long_of, real_of, text_of, lambda _: chance.choice(ODD_JSON)))
    return make(chance)


def own_records(number: int, chance: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "at": f"2024-07-{chance.randrange(14, 17)}T{chance.randrange(24):02d}:00:00{chance.choice(('', '.5'))}Z",
            "ratio": struct.unpack("<f", struct.pack("<f", chance.random()))[0],
            "real": chance.random(),
            "ok": chance.choice((None, True, False)),
            "day": chance.choice((None, 19_000 + chance.randrange(9))),
            "seen": DAY_ONE // 1_000 + chance.randrange(86_400_000),
            "big": chance.randrange(10**9),
            "letter": chance.choice("AB"),
            "data": chance.choice((None, '{"a": 1}')),
            "environment": "Production",
            "install_date": DAY_ONE // 1_000_000 + chance.randrange(86_400),
        }
        for _ in range(number)
    ]


def damaged(value: bytes, chance: random.Random) -> bytes:
    """The value after an edit or two."""
    for _ in range(chance.randrange(1, 3)):
        at = chance.randrange(len(value) + 1)
        piece = chance.choice((chance.randbytes(1), chance.choice(PIECES), chance.choice(VARINTS)))
        edits = (
            value[:at],
            value + piece,
            value[:at] + piece + value[at + len(piece) :],
            value[:at] + piece + value[at:],
        )
        value = chance.choice((*edits, value[:at] + value[at + 1 :]))
    return value


FILTERS = {
    "events": Filter({"trial_started": False}, exclude_historical=True, environments=("production",)),
    "paywall_views": Filter(exclude_historical=True),
    "ua_events": Filter(exclude_historical=True, historical_before=datetime(2024, 7, 15, 6, tzinfo=UTC)),
    "ua_campaign_metrics": Filter(),
    "own": Filter(exclude_historical=True, environments=("production",)),
}


KEY = b"k" * 32
PERSONAL: Mapping[str, Mapping[str, Method]] = {
    "events": {"ip_address": Method.TRUNCATE_IP, "customer_user_id": Method.HASH, "idfa": Method.DROP}
    | {"revenue_usd": Method.HASH, "event_type": Method.HASH},
    "paywall_views": {"customer_user_id": Method.HASH, "install_date": Method.DROP},
    "ua_events": {"ip_address": Method.TRUNCATE_IP, "user_agent": Method.HASH, "attributes": Method.HASH},
    "ua_campaign_metrics": {"campaign_id": Method.TRUNCATE_IP},
    "own": {"environment": Method.HASH, "data": Method.DROP, "ok": Method.HASH, "seen": Method.HASH},
}
VARIANTS = ("plain", "day of the record", "finished")


def rules_for(kind: str, form: Format, variant: str) -> RowRules:
    more: dict[str, Any] = {"filter": FILTERS[kind]}
    if variant == "day of the record":
        more["day_by"] = DayBy.RECORD
    if variant == "finished":
        more["privacy"] = Privacy(PERSONAL[kind], "k1", fingerprint(KEY))
        more["line_breaks"] = LineBreaks.SPACE
        more["oldest_day"] = date(2024, 7, 15) if kind == "own" else 2
        if kind in {"events", "ua_events"}:
            more["event_names"] = {"subscription_started": 'a "start",', "mine": "theirs"}
    if kind == "own":
        return custom(OWN, "at", form, **more)
    more |= {"send_user_attributes": KINDS[kind].attributes, "send_integration_ids": KINDS[kind].integration_ids}
    return rules_of(kind, form, **more)


def written(kind: str, form: Format, chance: random.Random) -> list[bytes]:
    """A batch of records, about a third of them odd in a value, an eighth damaged."""
    schema = orjson.loads(SCHEMAS[kind])["fields"]
    records = (
        own_records(BATCH, chance) if kind == "own" else records_of(SCHEMAS[kind], BATCH, chance.randrange(1 << 30))
    )
    if form.is_json:
        records = [as_json(record, SCHEMAS[kind]) for record in records]
        names = [
            *(field["name"] for field in schema),
            "profile_country",
            "attributes",
            "user_attributes",
            "integration_ids",
        ]
        names += ["more", "é"]
        for record in chance.sample(records, BATCH // 3):
            record[chance.choice(names)] = odd_json(chance)
        ascii_only = chance.random() < 0.5
        values = [json.dumps(one, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for one in records]
    else:
        for record in chance.sample(records, BATCH // 3):
            field = chance.choice(schema)
            record[field["name"]] = odd_value(field["type"], chance)
        write = AvroText(SCHEMAS[kind])
        values = [write(record) for record in records]
    for place in chance.sample(range(BATCH), BATCH // 8):
        values[place] = damaged(values[place], chance)
    return values


def headed(values: Sequence[bytes], form: Format, chance: random.Random) -> list[bytes]:
    """With schema ids where the format has them; some unknown, some of no schema of ours."""
    if not form.has_schema_id:
        return list(values)
    return [wire(chance.choices((1, 2, 3, 4), (90, 5, 3, 2))[0], value) for value in values]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("kind", KINDS_AND_OWN)
def test_the_engines_agree(kind: str, form: Format, variant: str) -> None:
    chance = random.Random(f"{SEED} {kind} {form} {variant}")
    rules = rules_for(kind, form, variant)
    other = orjson.loads(SCHEMAS[kind])
    other["fields"].append({"name": "more", "type": ["null", "string"]})
    registry = MemoryRegistry({1: SCHEMAS[kind], 2: orjson.dumps(other).decode(), 3: '{"type":"string"}'})
    keys = {"k1": KEY}
    native = make_transformer(rules, registry, keys=keys)
    exact = make_transformer(rules, registry, keys=keys, engine=extension.EXACT)
    how = TransformOptions(native.columns)
    left = 0
    for _ in range(max(1, RECORDS // (BATCH * len(KINDS_AND_OWN) * len(Format) * len(VARIANTS)))):
        values = headed(written(kind, form, chance), form, chance)
        batch = batch_of(values, timestamps=[LATER - 86_400_000 * chance.randrange(4) for _ in values])
        found, expected = native.transform(batch, how), exact.transform(batch, how)
        if plain(found) != plain(expected):
            narrow(native.transform, exact.transform, values, batch.timestamps, how)
        left += sum(found.exact_path.values())
    assert left, "nothing odd was met"


def narrow(native: Any, exact: Any, values: Sequence[bytes], timestamps: Sequence[int], how: TransformOptions) -> None:
    """Fail with the first record that the engines judge differently by itself."""
    for value, timestamp in zip(values, timestamps, strict=True):
        one = batch_of([value], timestamps=[timestamp])
        assert plain(native(one, how)) == plain(exact(one, how)), value
    pytest.fail("the engines differ only on the batch")
