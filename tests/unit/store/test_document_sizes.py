"""Documents have limits by kind, the same for readers and writers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from consumer.domain.errors import HaltError, HaltReason
from consumer.domain.offsets import TopicPartition
from consumer.seal.keys import (
    data_key,
    days_key,
    export_key,
    kept_key,
    manifest_key,
    quarantine_key,
    record_key,
    replacement_key,
    schema_key,
    settings_key,
)
from consumer.store import document_sizes
from consumer.store.document_sizes import MIB, MOST_WHOLE, most_bytes
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Store
from tests.fakes.store import MemoryStore

DAY, PARTITION = date(2026, 11, 21), TopicPartition("adapty.events", 3)


@pytest.mark.parametrize("stream", ["events", "old", "exports-of-old"])
def test_every_document_has_a_limit_and_no_data_has(stream: str) -> None:
    manifest = manifest_key(stream, DAY)
    limits = {
        days_key(stream): 1,
        manifest: 8,
        schema_key(stream): 16,
        record_key(PARTITION, 7): 8,
        settings_key("9f2c01ab"): 24,
        replacement_key(stream, 3): 16,
        export_key(stream, "2026-11-01_2026-11-02.json"): 8,
    }
    assert {key: (most_bytes(key) or 0) // MIB for key in limits} == limits
    data = [data_key(stream, DAY, PARTITION, 1, "none"), quarantine_key(stream, DAY, PARTITION, 1)]
    for key in [*data, kept_key(stream, 3, data[0]), kept_key(stream, 3, manifest), export_key(stream, "x.csv.gz")]:
        assert most_bytes(key) is None
    assert max(limits.values()) * MIB < MOST_WHOLE


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_what_nobody_reads_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A record that is put and then halts its partition forever by its own size would be the end of a chain."""
    store: Store = FolderStore(tmp_path) if kind == "folder" else MemoryStore()
    key, data = record_key(PARTITION, 0), data_key("events", DAY, PARTITION, 1, "none")
    store.put(key, BytesBody(bytes(11)), condition=Absent())
    store.put(data, BytesBody(bytes(11)), condition=Absent())
    monkeypatch.setattr(document_sizes, "_BY_FOLDER", {"_seals/": 10})
    with pytest.raises(HaltError, match="has 11 bytes, more than the 10 that such a document can have") as caught:
        store.get(key)
    assert caught.value.reason is HaltReason.OBJECT_MISMATCH
    assert store.head(key) is not None
    with pytest.raises(HaltError, match=r"nothing was written.*oldest_day"):
        store.put(record_key(PARTITION, 1), BytesBody(bytes(11)), condition=Absent())
    assert store.head(record_key(PARTITION, 1)) is None
    assert store.put(record_key(PARTITION, 1), BytesBody(bytes(10)), condition=Absent())
    assert store.get(data) is not None
