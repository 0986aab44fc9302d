"""docs/format.md: each example is read by the release's own parsers, each table lists the fields that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.domain.batches import RawBatch
from consumer.domain.offsets import LogEnds, Span, TopicPartition
from consumer.seal.folder_columns import claim_columns, list_from
from consumer.seal.gap import gap_record
from consumer.seal.manifest import listing_from, manifest_from
from consumer.seal.record import record_from
from consumer.seal.recover import RecoveryFacts
from consumer.seal.replacements.record import Erasure, ReplacementKind, replacement_from
from consumer.shape.quarantine import TOO_LARGE, quarantine_line
from consumer.spool.checkpoint import Checkpoint, ReadProgress, SpoolBasis, SpoolFile, opened_text, read, sealed_text
from consumer.store.port import ObjectInfo, Stored
from consumer.streams.rules import rules_from_document
from tests.builders.chains import data
from tests.builders.replacements import anew, replacement
from tests.builders.sealed import COLUMNS, DAY, STREAM, Bucket, at, next_day
from tests.fakes.store import MemoryStore

TEXT = (Path(__file__).parents[3] / "docs" / "format.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
MAPS = {
    "known_schemas",
    "seals",
    "heads",
    "event_types",
    "event_names",
    "privacy.columns",
    "dropped",
    "pins.seals",
    "pins.objects",
}
"""Fields whose keys are data: a schema id, a partition, a day."""


def examples(section: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", SECTIONS[section], re.DOTALL)]


def told(section: str) -> set[str]:
    rows = re.findall(r"^\| (`.+?) \|", SECTIONS[section], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def fields(value: object, above: str = "") -> Iterator[str]:
    """The paths of all fields in a document: `objects[].key`."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield from fields(item, f"{above}[]")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            path = f"{above}.{name}" if above else name
            yield path
            if not any(path == one or path.endswith(f".{one}") for one in MAPS):
                yield from fields(inner, path)


def all_fields(documents: Iterable[object]) -> set[str]:
    return {path for document in documents for path in fields(document)}


def stored(document: object, key: str = "key") -> Stored:
    data = json.dumps(document).encode()
    return Stored(ObjectInfo(key, len(data), '"e"'), data)


PARSERS: dict[str, Callable[[Any], object]] = {
    "Seal record": lambda document: record_from(json.dumps(document).encode()),
    "Settings document": lambda document: rules_from_document(json.dumps(document).encode()),
    "Manifest": lambda document: manifest_from(stored(document, "events/dt=2026-11-20/_manifest.json")),
    "Replacement": lambda document: replacement_from(json.dumps(document).encode()),
    "`_days.json`": lambda document: listing_from(stored(document)),
    "`_schema.json`": lambda document: list_from(stored(document), "events").names,
    "Spool checkpoint": lambda document: read(sealed_text(json.dumps(document).encode())),
}


@pytest.mark.parametrize("section", PARSERS)
def test_examples_are_read_by_the_parsers(section: str) -> None:
    assert examples(section)
    for example in examples(section):
        assert PARSERS[section](example)


@pytest.mark.parametrize("section", [*PARSERS, "Quarantine line"])
def test_tables_list_the_fields_of_the_examples(section: str) -> None:
    assert told(section) == all_fields(examples(section))


@pytest.fixture(scope="module")
def written() -> dict[str, list[Any]]:
    """Documents as the release writes them, by section."""
    bucket = Bucket(MemoryStore(versioned=True))
    assert claim_columns(bucket.store, STREAM, COLUMNS, DAY, DAY)
    seal = bucket.seal({DAY: [0, 2]}, cutoff=DAY, through=3, bad={DAY: [1]}, columns=2)
    later = bucket.seal({next_day(DAY): [3]}, cutoff=next_day(DAY), through=4)
    bucket.publish()
    changed = replace(seal.objects[0], rows=1, first_offset=2)
    bucket.replay({changed: [2]})
    bucket.rewrite(changed, [2], 0)
    bucket.publish()
    bucket.publisher().mark(DAY, 1)
    found: dict[str, list[Any]] = {"Seal record": [json.loads(_gap(bucket))], "Quarantine line": _quarantined()}
    for info in bucket.store.list(""):
        item = bucket.store.get(info.key)
        assert item is not None
        section = (
            "Settings document" if "_settings/" in info.key
            else "Seal record" if info.key.startswith("_seals/")
            else "Manifest" if info.key.endswith("_manifest.json")
            else "`_schema.json`" if info.key.endswith("_schema.json")
            else "Replacement" if info.key.startswith("_replays/")
            else "`_days.json`" if info.key.endswith("_days.json")
            else ""
        )  # fmt: skip
        if section:
            found.setdefault(section, []).append(json.loads(item.data))
    erasure = Erasure("id", "cells", "k1", "0a1b2c3d", frozenset({"d"}), ("id",))
    found["Replacement"] += [
        json.loads(replacement(kind=ReplacementKind.ERASE, erasure=erasure).document()),
        json.loads(
            replacement(kind=ReplacementKind.UNDO, undoes=0, objects=(anew(data(0, 9, 1), columns=2),)).document()
        ),
    ]
    file = SpoolFile("t-0/2026-11-21.1.csv", DAY, False, 1, 0, 0, 9, 7)
    checkpoint = Checkpoint(1, SpoolBasis("id", later.settings, "", -1, 0), ReadProgress(1), [file])
    found["Spool checkpoint"] = [json.loads(opened_text(checkpoint.document()))]
    return found


def _gap(bucket: Bucket) -> bytes:
    chain = bucket.log().read()
    head = chain.head
    found = RecoveryFacts(
        head.partition, head.stream, head.group, bucket.rules, chain, bucket.rules, True, None, head.topic_id,
        LogEnds(9, 9, 9), None, 0,
    )  # fmt: skip
    return gap_record(found, Span(4, 9), settings=head.settings, now=at(DAY), writer="test").document()


def _quarantined() -> list[Any]:
    batch = RawBatch(TopicPartition("t", 0), Span(7, 8), [7], [1], [b"x"], [None])
    return [json.loads(quarantine_line(batch, 0, reason)) for reason in ("undecodable", TOO_LARGE)]


@pytest.mark.parametrize("section", [*PARSERS, "Quarantine line"])
def test_tables_list_the_fields_that_are_written(section: str, written: dict[str, list[Any]]) -> None:
    assert told(section) == all_fields(written[section])
