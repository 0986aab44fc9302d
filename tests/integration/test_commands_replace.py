"""`replay` on real servers: against a folder sealed under the new settings from the start, undone, and killed."""

import csv
import io
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BucketFactory
from tests.harness.forks import Forks
from tests.harness.oracle import today
from tests.harness.toml import merged
from tests.harness.world import World, closing
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FIRST = today() - timedelta(days=4)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
KILLS = int(os.environ.get("REPLACE_KILLS", "4"))
"""How often the kill test kills, at writes spread over all of a replay; 100: `REPLACE_KILLS=100`."""
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


def filled(world: World, twin: World, forks: Forks, compression: str = "none") -> None:
    stream = world.add("events", "events", "avro", partitions=2, compression=compression)
    world.fill(stream, DAYS, 300)
    twin.streams = {"events": replace(stream)}
    for one in (world, twin):
        assert forks.run(one.settings(), "run", "--once")[0] == 0, forks.all


def data(world: World) -> dict[str, bytes]:
    """The text of every data object that has rows."""
    keys = [key for key in world.folder.keys("events/dt=") if ".csv" in key]
    found = {key: world.folder.read(key).content for key in keys}
    return {key: text for key, text in found.items() if text.count(b"\n") > 1}


def whole_range(world: World) -> tuple[str, ...]:
    days = sorted({key.split("dt=")[1][:10] for key in world.folder.keys("events/dt=")})
    return ("--from", days[0], "--to", max(days[-1], str(today())))


@pytest.fixture
def forks(tmp_path: Path) -> Iterator[Forks]:
    with Forks(tmp_path) as made:
        yield made


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_replay_gives_what_the_new_settings_would_have_sealed(
    world: World, twin: World, forks: Forks, compression: str
) -> None:
    filled(world, twin, forks, compression)
    before, wide, days = data(world), world.settings(over=WIDER), whole_range(twin)

    def run(*arguments: str, code: int = 0) -> str:
        assert forks.run(wide, *arguments)[0] == code, forks.all
        return forks.out

    run("replay", *days, code=2)  # there is nobody to ask
    planned = json.loads(run("replay", *days, "--dry-run", "--json"))
    assert data(world) == before
    done = json.loads(run("replay", *days, "--yes", "--json"))
    assert data(world) == data(twin)
    assert done["streams"][0]["days"] == planned["streams"][0]["days"]
    run("verify")
    assert "nothing would change" in run("replay", *days, "--yes")
    run("replay", "--undo", "0", "--stream", "events", "--yes")
    assert data(world) == before
    run("verify")


def test_a_replay_that_is_killed_ends_like_one_that_is_not(world: World, twin: World, forks: Forks) -> None:
    """Back and forth between two filters, each time killed after one of its writes to the bucket, then finished."""
    filled(world, twin, forks)
    ends = {"narrow": data(world), "wide": data(twin)}
    settings = {"narrow": world.settings(), "wide": world.settings("b", over=WIDER)}
    replay = ("replay", *whole_range(twin), "--yes")
    code, writes = forks.run(settings["wide"], *replay)
    assert (code, writes > 20) == (0, True), forks.all
    for number in range(KILLS):
        name, at = ("wide" if number % 2 else "narrow"), 1 + number * writes // KILLS
        assert forks.run(settings[name], *replay, killed_after=at) == (-signal.SIGKILL, at)
        code, _ = forks.run(settings[name], *replay)
        assert code == 0, forks.all
        assert data(world) == ends[name], f"killed after write {at} of {writes}"
    assert forks.run(settings[name], "verify")[0] == 0, forks.all


def test_replay_undo_rewrite_and_erase_in_a_row(world: World, forks: Forks, tmp_path: Path) -> None:
    """After each of them every stored row is what Kafka's records give, by whatever made it; nobody comes back."""
    stream = world.add("events", "events", "json", partitions=2)
    world.fill(stream, DAYS, 200)
    keys = {"privacy": {"keys": {"k1": "31" * 32}}}
    narrow, wide = world.settings("a", over=keys), world.settings("b", over=merged(WIDER, keys))
    rule = {"streams": {"events": {"privacy": {"columns": {"ip_address": "drop"}}}}}
    private = world.settings("c", over=merged(merged(WIDER, keys), rule))

    def run(settings: Path, *arguments: str) -> str:
        assert forks.run(settings, *arguments)[0] == 0, forks.all
        return forks.out

    run(narrow, "run", "--once")
    days = whole_range(world)
    before = data(world)
    assert "done: replay 0" in run(wide, "replay", *days, "--yes")
    run(wide, "verify", "--deep")
    assert data(world) != before
    assert "done: undo 1" in run(wide, "replay", "--undo", "0", "--stream", "events", "--yes")
    run(narrow, "verify", "--deep")
    assert data(world) == before
    assert column("ip_address", data(world))
    assert "done: rewrite 2" in run(private, "rewrite", *days, "--yes")
    run(private, "verify", "--deep")
    assert not column("ip_address", data(world))
    persons = [one for one in sorted(column("profile_id", data(world))) if one.isascii() and one.isprintable()][:3]
    (tmp_path / "persons.txt").write_text("\n".join(persons))
    erased = run(private, "erase", "--column", "profile_id", "--values", str(tmp_path / "persons.txt"), *days, "--yes")
    assert "done: erase 3" in erased
    assert "_replays/events/00000000/old/events/dt=" in erased, "old bodies that somebody has to delete"
    run(private, "verify", "--deep")
    assert "done: replay 4" in run(wide, "replay", *days, "--yes")
    run(wide, "verify", "--deep")
    assert column("ip_address", data(world)), "the rows are made anew, by today's rules"
    assert column("profile_id", data(world)) & set(persons) == set()


def column(name: str, objects: Mapping[str, bytes]) -> set[str]:
    """The cells of a column that are not empty."""
    rows = (row for text in objects.values() for row in csv.DictReader(io.StringIO(text.decode(), newline="")))
    return {row[name] for row in rows} - {""}
