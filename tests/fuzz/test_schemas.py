"""Hostile answers of a registry, and hostile checkpoints: an error of their own, soon, and nothing else."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode.avro_decoder import Writer
from consumer.decode.references import complete
from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import Counts, DayRows
from consumer.domain.errors import BadRecordError
from consumer.domain.offsets import TopicPartition
from consumer.spool.checkpoint import ReadProgress, SpoolBasis, sealed_text
from consumer.spool.files import PartitionSpool
from consumer.streams.avro_schema import MOST_FIELDS, SchemaError, parse
from consumer.streams.columns import columns_of, known_inputs
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format
from tests.builders.chains import restored
from tests.builders.mutations import FEW, mangled
from tests.builders.transforming import custom, judged, quarantined, rules_of, wire
from tests.fakes.disk import MemoryDisk
from tests.fuzz.test_records import NESTED_RULES

TREES = (
    '{"type":"record","name":"R","fields":[{"name":"a","type":{"type":["null","X"]}}]}',
    '{"type":"record","name":"R","namespace":"n.m","fields":[{"name":"a","type":{"type":{"type":"array","items":"X"}}}]}',
    '{"type":"record","name":"R","fields":[{"name":"a","type":["null","R","other.Y"],"default":null}]}',
)
SCHEMAS = [*(kind.schema.encode() for kind in KINDS.values()), NESTED_RULES.schema.encode()]
SCHEMAS += [tree.encode() for tree in TREES]
X = '{"type":"enum","name":"X","symbols":["a","b"]}'
BODIES = st.binary(max_size=60)


@given(mangled(SCHEMAS), BODIES)
@FEW
def test_a_schema_is_one_or_an_error_and_reads_any_body(text: bytes, body: bytes) -> None:
    rules = rules_of("events")
    try:
        schema = parse(text.decode("utf-8", "replace"))
    except SchemaError:
        return
    writer = Writer(schema, columns_of(rules), known_inputs(rules, columns_of(rules)))
    with suppress(BadRecordError):
        writer.exact(body)


@given(mangled(SCHEMAS), mangled([X.encode(), *SCHEMAS]))
@FEW
def test_references(whole: bytes, part: bytes) -> None:
    """A text that cannot be completed comes back as it is."""
    text = whole.decode("utf-8", "replace")
    assert isinstance(complete(text, [part.decode("utf-8", "replace")]), str)


@pytest.mark.parametrize("tree", TREES)
def test_a_type_inside_an_object_is_a_type(tree: str) -> None:
    made = complete(tree, [X, '{"type":"record","name":"other.Y","fields":[]}'])
    assert parse(made).root.name.endswith("R")


def test_too_deep_to_be_written_comes_back_as_it_is() -> None:
    text = '{"type":"record","name":"R","fields":[{"name":"a","type":' + '{"items":' * 300 + '"X"' + "}" * 300 + "}]}"
    assert complete(text, [X]) == text


def record(name: str, *types: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(types)]}


@pytest.mark.parametrize("leaf", ["null", {"type": "fixed", "name": "F", "size": 0}, record("Empty")])
def test_a_schema_cannot_make_a_world_of_one_byte(leaf: Any) -> None:
    """Each type holds the one before it twice: 2 to the power of 40 values without a byte."""
    kind, last = leaf, leaf if isinstance(leaf, str) else leaf["name"]
    for level in range(40):
        kind, last = record(f"L{level}", kind, last), f"L{level}"
    own = custom([{"name": "at", "type": "long"}], "at", Format.AVRO_REGISTRY)
    whole = {**record("R", kind), "fields": [{"name": "at", "type": "long"}, {"name": "x", "type": kind}]}
    begun = time.process_time()
    found = judged(own, [wire(1, b"\x02")], registry=MemoryRegistry({1: orjson.dumps(whole).decode()}))
    assert [line["reason"] for line in quarantined(found)] == ["undecodable"]
    assert time.process_time() - begun < 5


def test_a_schema_of_very_many_fields_is_refused_at_once() -> None:
    begun = time.process_time()
    with pytest.raises(SchemaError, match=f"more than {MOST_FIELDS} fields"):
        parse(orjson.dumps(record("R", *["int"] * 100_000)).decode())
    assert parse(orjson.dumps(record("R", *["null"] * MOST_FIELDS)).decode())
    assert time.process_time() - begun < 5


def checkpoint() -> tuple[MemoryDisk, bytes]:
    """A spool of two files, and the text of its checkpoint without the checksum."""
    disk = MemoryDisk()
    spool = PartitionSpool(disk, PLACE)
    spool.begin(SpoolBasis("id", "settings", "chain", 3, 5), 5)
    rows = [
        DayRows(date(2026, 3, 1), False, 2, 5, 6, b"a\nb\n"),
        DayRows(date(2026, 3, 1), True, 1, 7, 7, b"{}\n"),
    ]
    spool.take(rows, ReadProgress(8, Counts(3, 2, 0, 1), {7: 8}, {date(2026, 3, 2): 6}, 1_000))
    spool.checkpoint()
    return disk, disk.documents["t-0"].partition(b"\n")[2]


PLACE = TopicPartition("t", 0)
TEXT = checkpoint()[1]


@given(mangled([TEXT]), st.booleans())
@FEW
def test_a_checkpoint_is_taken_up_or_set_aside(text: bytes, sealed: bool) -> None:
    """Also with a checksum that fits; and whatever it names, no file outside the partition's folder is touched."""
    disk, _ = checkpoint()
    disk.append("u-0/2026-03-01.1.csv", b"another partition's\n")
    disk.documents["t-0"] = sealed_text(text) if sealed else text
    spool = PartitionSpool(disk, PLACE)
    if restored(spool):
        assert isinstance(spool.progress.position, int)
        assert all(file.length <= (disk.length(file.name) or 0) for file in spool.files)
        spool.checkpoint()
        spool.drop(lambda _: True)
    assert disk.length("u-0/2026-03-01.1.csv") == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "u-0/2026-03-01.1.csv"),
        ("name", "t-0/../u-0/2026-03-01.1.csv"),
        ("name", "/etc/passwd"),
        ("length", -1),
        ("rows", "2"),
        ("rows", True),
        ("first_offset", "5"),
        ("last_offset", None),
        ("crc", None),
        ("quarantine", 0),
    ],
)
def test_a_checkpoint_with_one_wrong_field_is_set_aside(name: str, value: object) -> None:
    disk, text = checkpoint()
    raw = orjson.loads(text)
    raw["files"][0][name] = value
    disk.documents["t-0"] = sealed_text(orjson.dumps(raw))
    spool = PartitionSpool(disk, PLACE)
    assert not restored(spool)
    assert (spool.files, spool.basis) == ([], None)
