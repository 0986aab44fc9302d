"""`replay` on real servers: against a folder sealed under the new settings from the start, undone, and killed."""

import os
import time
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
KILLS = int(os.environ.get("REPLACE_KILLS", "4"))
"""How often the kill test kills; 100 take some minutes: `REPLACE_KILLS=100`."""
WIDER: Mapping[str, Any] = {
    "streams": {
        "events": {
            "event_types": {"default": True, "subscription_paused": True},
            "filter": {"exclude_historical": False, "include_without_profile": True},
        }
    }
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


def filled(world: World, twin: World, compression: str = "none") -> None:
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


def whole_range(world: World) -> tuple[str, ...]:
    days = sorted({key.split("dt=")[1][:10] for key in world.folder.keys("events/dt=")})
    return ("--from", days[0], "--to", max(days[-1], str(today())))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_replay_gives_what_the_new_settings_would_have_sealed(world: World, twin: World, compression: str) -> None:
    filled(world, twin, compression)
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
    checked = command(wide, "verify", "--json")
    assert checked.code == 0, checked.out
    again = command(wide, "replay", *days, "--yes")
    assert "nothing would change" in again.out
    undone = command(wide, "replay", "--undo", "0", "--stream", "events", "--yes")
    assert undone.code == 0, undone.err
    assert data(world) == before
    assert command(wide, "verify").code == 0


def test_a_replay_that_is_killed_ends_like_one_that_is_not(world: World, twin: World) -> None:
    """Back and forth between two filters, each time killed somewhere on the way and then finished."""
    filled(world, twin)
    ends = {"narrow": data(world), "wide": data(twin)}
    days = whole_range(twin)
    begun = time.monotonic()
    assert command(world.settings(over=WIDER), "replay", *days, "--yes").code == 0
    took = time.monotonic() - begun
    for number in range(KILLS):
        name, over = ("narrow", {}) if number % 2 == 0 else ("wide", WIDER)
        killed = world.start("replay", *days, "--yes", over=over)
        time.sleep(took * (0.4 + 0.6 * (number + 1) / (KILLS + 1)))  # no condition: any moment is one to be killed at
        killed.kill()
        settings = world.settings(over=over)
        finished = command(settings, "replay", *days, "--yes")
        assert finished.code == 0, finished.err
        assert data(world) == ends[name]
        checked = command(settings, "verify")
        assert checked.code == 0, checked.out
