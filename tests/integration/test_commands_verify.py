"""`verify` by its command line: after real runs into a real store, after changes, beside a worker, in a folder."""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import BucketFactory
from tests.harness.oracle import today
from tests.harness.world import World, closing
from tests.integration.commands import command
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FIRST = today() - timedelta(days=4)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]


@pytest.fixture
def world(tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as made:
        yield made


def sealed(world: World) -> None:
    """Two streams, sealed twice, with late rows, quarantine and days that are not due."""
    streams = [
        world.add("events", "events", "avro", partitions=2),
        world.add("paywall_views", "paywall_views", "json", partitions=1, compression="zstd"),
    ]
    for stream in streams:
        world.fill(stream, DAYS, 300)
    world.once(DAYS[1]).done()
    for stream in streams:
        world.fill(stream, DAYS, 200)
    world.once().done()


def test_a_bucket_is_sound_until_somebody_changes_it(world: World) -> None:
    sealed(world)
    settings = world.settings()
    ended = command(settings, "verify", "--json")
    assert (ended.code, ended.document["sound"]) == (0, True)
    streams = {stream["stream"]: stream for stream in ended.document["streams"]}
    assert (streams["events"]["partitions"], streams["paywall_views"]["partitions"]) == (2, 1)
    listed = [
        facts
        for day in world.folder.keys("events/")
        if day.endswith("_manifest.json")
        for facts in [world.folder.document(day)]
    ]
    assert streams["events"]["rows"] == sum(manifest["rows"] for manifest in listed)
    assert streams["events"]["quarantined"] > 0
    told = command(settings, "verify")
    assert (told.code, "no problems found" in told.out) == (0, True)
    topic = world.streams["events"].topic
    newest = world.folder.keys(f"_seals/{topic}/1/")[-1]
    data = next(key for key in world.folder.keys("paywall_views/") if ".csv" in key)
    bad = world.folder.keys("_quarantine/events/")[-1]
    for key in (data, bad, newest, "events/_days.json"):
        stored = world.folder.read(key)
        body = bytearray(stored.body)
        body[len(body) // 2] ^= 1
        world.folder.put(key, bytes(body), stored.metadata)
        red = command(settings, "verify", "--json")
        assert red.code == 1, key
        found = [finding["key"] for stream in red.document["streams"] for finding in stream["findings"]]
        assert key in found
        world.folder.put(key, stored.body, stored.metadata)
    stored = world.folder.read(data)
    world.folder.delete(data)
    red = command(settings, "verify")
    assert red.code == 1
    assert f"{data}\n  missing: the object is missing" in red.out
    assert "to do: " in red.out
    world.folder.put(data, stored.body, stored.metadata)
    assert command(settings, "verify").code == 0


def test_every_field_of_the_newest_record_is_pinned(world: World) -> None:
    """Its digest in the metadata is made to fit: what is left to notice it is the manifest, and its own sense."""
    stream = world.add("events", "events", "avro")
    world.fill(stream, DAYS, 100)
    world.once().done()
    settings = world.settings()
    (key,) = world.folder.keys(f"_seals/{stream.topic}/0/")
    stored = world.folder.read(key)
    raw = {**json.loads(stored.body), "writer": "somebody"}
    body = json.dumps(raw, indent=2, ensure_ascii=False).encode()
    world.folder.put(key, body, {"sha256": hashlib.sha256(body).hexdigest()})
    assert command(settings, "verify").code == 1


def test_only_the_days_asked_for(world: World) -> None:
    sealed(world)
    settings = world.settings()
    data = next(key for key in world.folder.keys(f"events/dt={DAYS[0]}/") if ".csv" in key)
    world.folder.delete(data)
    assert command(settings, "verify", "--from", str(DAYS[1])).code == 0
    assert command(settings, "verify", "--to", str(DAYS[0])).code == 1
    assert command(settings, "verify", "--from", "yesterday").code == 2
    assert command(settings, "verify", "--from", str(DAYS[1]), "--to", str(DAYS[0])).code == 2


def test_beside_a_worker_nothing_is_wrong(world: World) -> None:
    stream = world.add("events", "events", "avro", partitions=2)
    world.fill(stream, DAYS, 400)
    settings = world.settings("b")
    worker = world.start("run")
    codes = []
    while not worker.said("day_published", day=str(today() - timedelta(days=1))):
        codes.append(command(settings, "verify").code)
        assert worker.code is None, worker.tail()
    codes.append(command(settings, "verify").code)
    assert set(codes) == {0}


def test_a_missing_bucket_and_a_store_out_of_reach(world: World) -> None:
    world.add("events", "events", "avro")
    gone = world.settings(over={"destination": {"url": "s3://no-such-bucket-here/folder"}})
    ended = command(gone, "verify")
    assert (ended.code, "the bucket does not exist" in ended.out) == (1, True)
    down = world.settings(
        "b", over={"destination": {"endpoint_url": "http://127.0.0.1:1"}, "schedule": {"give_up_after": "1s"}}
    )
    ended = command(down, "verify")
    assert (ended.code, "gave up" in ended.err) == (4, True)


def test_a_local_folder(tmp_path: Path) -> None:
    """What `demo` leaves: four streams, three formats, late rows, quarantine."""
    folder = tmp_path / "out"
    settings = tmp_path / "sink.toml"
    settings.write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[schema_registry]\nurl = "http://127.0.0.1:1"\n'
        f'[destination]\nurl = "{folder.as_uri()}"\n[spool]\ndirectory = "spool"\n'
        + "".join(
            f'[streams.{name}]\ntopic = "adapty.{name}"\n'
            for name in ("events", "paywall_views", "ua_events", "ua_campaign_metrics")
        )
    )
    assert command(settings, "demo", "--output", str(folder)).code == 0
    assert command(settings, "verify").code == 0
    record = max((folder / "_seals" / "adapty.events" / "0").iterdir())
    bad = max((folder / "_quarantine").rglob("*.jsonl"))
    for path in (record, bad):
        good = path.read_bytes()
        at = good.index(b'"lso": ') + 7 if path is record else len(good) // 2
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        red = command(settings, "verify")
        assert (red.code, path.name in red.out) == (1, True)
        path.write_bytes(good)
