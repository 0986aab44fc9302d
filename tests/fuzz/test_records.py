"""Hostile records: each ends as a row or in quarantine, the same on both paths, and takes nobody else's row along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import TransformedBatch
from consumer.streams.rules import Format, RowRules
from tests.builders.mutations import FEW, mutated
from tests.builders.transforming import AvroText, as_json, both, custom, quarantined, records_of, rules_of, wire

NESTED: list[dict[str, Any]] = [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "list", "type": {"type": "array", "items": ["null", "string"]}},
    {"name": "map", "type": {"type": "map", "values": "double"}},
    {"name": "none", "type": {"type": "array", "items": "null"}},
    {"name": "size", "type": {"type": "bytes", "logicalType": "decimal", "precision": 400, "scale": 200}},
    {"name": "sort", "type": {"type": "enum", "name": "Sort", "symbols": ["a", "b"]}},
    {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}},
    {
        "name": "tree",
        "type": [
            "null",
            {
                "type": "record",
                "name": "Tree",
                "fields": [{"name": "left", "type": ["null", "Tree"]}, {"name": "right", "type": ["null", "Tree"]}],
            },
        ],
    },
]
TREE = {"left": {"left": None, "right": None}, "right": None}
ONE_OF_EACH = {"at": 1_721_001_600_000_000, "list": ["a", None], "map": {"k": 1.5}, "none": [None] * 3, "size": b"\1\2"}
ONE_OF_EACH |= {"sort": "b", "id": b"0123456789abcdef", "tree": TREE}
NESTED_RULES = custom(NESTED, "at", Format.AVRO)
ANY_JSON = custom(
    [
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "whole", "type": ["null", "long"]},
        {"name": "real", "type": ["null", "double"]},
        {"name": "small", "type": ["null", "float"]},
        {"name": "on", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "yes", "type": ["null", "boolean"]},
        {"name": "text", "type": ["null", "string"]},
        {"name": "list", "type": {"type": "array", "items": "string"}},
    ],
    "at",
)
JSON_LEAVES = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)) | st.sampled_from(
    [10**400, -(10**25), 2**63, 2**64, -(2**63) - 1, 1e308, 5e-324, "\ud800", "\0", "9" * 25, "1e5"]
)
JSON_VALUES = st.recursive(
    JSON_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def good(kind: str) -> tuple[RowRules, list[bytes]]:
    rules = rules_of(kind)
    write = AvroText(rules.schema)
    return rules, [write(record) for record in records_of(rules.schema, 12)]


def all_told(rules: RowRules, values: Sequence[bytes], registry: MemoryRegistry | None = None) -> TransformedBatch:
    """Judge on both paths; every record is a row, or filtered, or in quarantine as it came."""
    found = both(rules, values, registry=registry)
    counts = found.counts
    assert counts.read == len(values) == counts.kept + counts.filtered + counts.quarantined
    assert len(quarantined(found)) == counts.quarantined
    return found


@pytest.mark.parametrize("kind", ["events", "ua_campaign_metrics"])
def test_bare_avro(kind: str) -> None:
    rules, bodies = good(kind)

    @given(st.lists(mutated(bodies), min_size=1, max_size=8))
    @FEW
    def judge(hostile: list[bytes]) -> None:
        found = all_told(rules, [*bodies, *hostile])
        assert found.counts.quarantined <= len(hostile)

    judge()


@given(st.lists(mutated([AvroText(NESTED_RULES.schema)(ONE_OF_EACH)]), min_size=1, max_size=8))
@FEW
def test_nested_avro(hostile: list[bytes]) -> None:
    all_told(NESTED_RULES, [AvroText(NESTED_RULES.schema)(ONE_OF_EACH), *hostile])


def test_avro_by_registry() -> None:
    rules, bodies = good("paywall_views")
    by_registry = rules_of("paywall_views", Format.AVRO_REGISTRY)
    registry = MemoryRegistry({1: rules.schema, 2: NESTED_RULES.schema, 3: "no schema", 4: '{"type":"string"}'})

    @given(st.lists(mutated([wire(number, body) for number, body in enumerate(bodies[:6])]), min_size=1, max_size=8))
    @FEW
    def judge(hostile: list[bytes]) -> None:
        found = all_told(by_registry, [*(wire(1, body) for body in bodies), *hostile], registry)
        assert found.counts.quarantined <= len(hostile)

    judge()


def test_json_bytes() -> None:
    rules = rules_of("events", Format.JSON)
    texts = [orjson.dumps(as_json(record, rules.schema)) for record in records_of(rules.schema, 12)]

    @given(st.lists(mutated(texts), min_size=1, max_size=8))
    @FEW
    def judge(hostile: list[bytes]) -> None:
        found = all_told(rules, [*texts, *hostile])
        assert found.counts.quarantined <= len(hostile)

    judge()


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["at", "whole", "real", "small", "on", "yes", "text", "list", "other"]), JSON_VALUES
        ),
        min_size=1,
        max_size=8,
    )
)
@FEW
def test_json_values(records: list[dict[str, object]]) -> None:
    import json  # noqa: PLC0415 - writes what orjson refuses: NaN, lone surrogates, integers of any size

    all_told(ANY_JSON, [json.dumps({"at": 1_721_001_600_000_000, **record}).encode() for record in records])
