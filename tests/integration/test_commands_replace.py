"""`replay` on real servers: against a folder sealed under the new settings from the start, and undone."""

import csv
import hmac
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BucketFactory
from tests.harness.oracle import today
from tests.harness.world import World, closing
from tests.integration.commands import command
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FIRST = today() - timedelta(days=4)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
WIDER: Mapping[str, Any] = {
    "streams": {
        "events": {
            "event_types": {"default": True, "subscription_paused": True},
            "filter": {"exclude_historical": False, "include_without_profile": True},
        }
    }
}

PRIVATE: Mapping[str, Any] = {
    "privacy": {"keys": {"k1": "6b" * 32}},
    "streams": {"events": {"privacy": {"key": "k1", "columns": {"ip_address": "truncate_ip", "profile_id": "hash"}}}},
}


@pytest.fixture
def world(tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as made:
        yield made


@pytest.fixture
def twin(tmp_path: Path, world: World) -> Iterator[World]:
    """The same topic, in another folder of another group, under the wider filter from the start."""
    with closing(World(tmp_path / "twin", world.kafka, world.store, world.bucket, prefix="twin")) as made:
        made.over = dict(WIDER)
        yield made


def filled(world: World, twin: World, compression: str) -> None:
    stream = world.add("events", "events", "avro", partitions=2, compression=compression)
    world.fill(stream, DAYS, 300)
    twin.streams = {"events": replace(stream)}
    world.once().done()
    twin.once().done()


def data(world: World) -> dict[str, bytes]:
    """The text of every data object that has rows."""
    keys = [key for key in world.folder.keys("events/dt=") if ".csv" in key]
    found = {key: world.folder.read(key).content for key in keys}
    return {key: text for key, text in found.items() if text.count(b"\n") > 1}


def cells(objects: Mapping[str, bytes], column: str) -> set[str]:
    """The cells of a column in these objects."""
    rows = (row for text in objects.values() for row in csv.DictReader(io.StringIO(text.decode())))
    return {row[column] for row in rows}


def hashed(cell: str) -> str:
    """A cell under the key of PRIVATE."""
    return f"k1:{hmac.digest(b'k' * 32, cell.encode(), 'sha256').hex()[:32]}" if cell else ""


def whole_range(world: World) -> tuple[str, ...]:
    days = sorted({key.split("dt=")[1][:10] for key in world.folder.keys("events/dt=")})
    return ("--from", days[0], "--to", max(days[-1], str(today())))


def sound(settings: Path) -> None:
    """`verify --deep` finds nothing."""
    checked = command(settings, "verify", "--deep")
    assert checked.code == 0, checked.out


def test_all_replacements_in_a_row(world: World, twin: World, tmp_path: Path) -> None:
    """A replay gives what the new settings would have sealed, its undo the old bytes; then rewrite and erase."""
    filled(world, twin, "zstd")
    before = data(world)
    wide = world.settings(over=WIDER)
    days = whole_range(twin)
    assert command(wide, "replay", *days).code == 2, "nobody to ask"
    planned = command(wide, "replay", *days, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert data(world) == before
    done = command(wide, "replay", *days, "--yes", "--json")
    assert done.code == 0, done.err
    assert data(world) == data(twin)
    assert done.document["streams"][0]["days"] == planned.document["streams"][0]["days"]
    sound(wide)
    again = command(wide, "replay", *days, "--yes")
    assert "nothing would change" in again.out
    undone = command(wide, "replay", "--undo", "0", "--stream", "events", "--yes")
    assert undone.code == 0, undone.err
    assert data(world) == before
    sound(wide)
    private = world.settings(over=PRIVATE)
    rewritten = command(private, "rewrite", *days, "--yes")
    assert rewritten.code == 0, rewritten.err
    assert cells(data(world), "profile_id") == {hashed(cell) for cell in cells(before, "profile_id")}
    sound(private)
    person = min(cells(before, "profile_id") - {""})
    (tmp_path / "persons.txt").write_text(person)
    person_named = ("--column", "profile_id", "--values", str(tmp_path / "persons.txt"))
    erased = command(private, "erase", *person_named, "--mode", "rows", "--yes")
    assert erased.code == 0, erased.err
    assert cells(data(world), "profile_id") == {hashed(cell) for cell in cells(before, "profile_id") - {person}}
    sound(private)
