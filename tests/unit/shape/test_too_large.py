"""Records beyond `max_record`: not looked into, not kept, and told by size, digest and first bytes."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace

import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import RawBatch, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span
from consumer.shape.transform import make_transformer
from consumer.streams.rules import Format, RowRules
from tests.builders.transforming import ENGINES, LATER, batch_of, custom, quarantined

AT = {"name": "at", "type": "long"}
ROW = b'{"at":1721044800}'
LARGE = b'{"at":1721044800,"x":"' + b"x" * 2_000 + b'"}'


def rules(form: Format = Format.JSON) -> RowRules:
    return custom([AT], "at", form, max_record=1_000)


def judged(batch: RawBatch, engine: str, made: RowRules | None = None) -> TransformedBatch:
    transformer = make_transformer(made or rules(), MemoryRegistry(), engine=engine)
    return transformer.transform(batch, TransformOptions(transformer.columns))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_record_that_is_too_large_is_told_and_not_kept(engine: str) -> None:
    found = judged(batch_of([ROW, LARGE, ROW]), engine)
    (line,) = quarantined(found)
    assert line == {
        "reason": "too_large",
        "topic": "topic",
        "partition": 3,
        "offset": 101,
        "timestamp": LATER,
        "key": None,
        "value": None,
        "size": len(LARGE) + 3,
        "sha256": hashlib.sha256(LARGE).hexdigest(),
        "head": b64encode(LARGE[:1_024]).decode(),
    }
    assert (found.counts.read, found.counts.kept, found.counts.quarantined, found.counts.tombstones) == (3, 2, 1, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_value_key_and_headers_count_together(engine: str) -> None:
    batch = replace(batch_of([ROW] * 4), keys=[b"k" * 983, None, b"k" * 984, None], headers=[0, 983, 0, 984])
    lines = quarantined(judged(batch, engine))
    assert [(line["offset"], line["size"]) for line in lines] == [(102, 1_001), (103, 1_001)]
    assert {line["head"] for line in lines} == {b64encode(ROW).decode()}


@pytest.mark.parametrize("engine", ENGINES)
def test_tombstones_have_no_size_and_the_empty_value_has_one(engine: str) -> None:
    batch = replace(batch_of([None, b""]), headers=[5_000, 5_000])
    found = judged(batch, engine)
    assert [(line["reason"], line["size"]) for line in quarantined(found)] == [("too_large", 5_003)]
    assert found.counts.tombstones == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_the_registry_is_not_asked_for_what_is_too_large(engine: str) -> None:
    found = judged(batch_of([b"\x00\x00\x00\x00\x07" + b"x" * 2_000]), engine, rules(Format.AVRO_REGISTRY))
    assert [line["reason"] for line in quarantined(found)] == ["too_large"]
    assert found.unknown_schemas == {}


def test_the_first_release_knew_no_bound() -> None:
    value = b'{"at":1721044800,"x":"' + b"x" * (17 << 20) + b'"}'
    batch = batch_of([value])
    assert judged(batch, "exact", custom([AT], "at", version=1)).counts.kept == 1
    assert judged(batch, "exact", custom([AT], "at")).counts.quarantined == 1


def test_headers_follow_their_records() -> None:
    batch = replace(batch_of([b"a", b"b", b"c"]), headers=[1, 2, 3])
    assert batch.clip(Span(101, 103)).headers == [2, 3]
    assert batch_of([b"a", b"b"]).clip(Span(101, 102)).headers == ()
    assert [half.headers for half in batch.halves()] == [[1], [2, 3]]
    assert [batch.size(place) for place in range(3)] == [2, 6, 4]
