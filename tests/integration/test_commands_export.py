"""`export` by its command line: beside a live worker, to all three targets, and killed half-way."""

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.conftest import BucketFactory, ProxiedStore
from tests.harness.forkserver import PROGRAM
from tests.harness.oracle import first_drop, today
from tests.harness.world import Stream, World, closing
from tests.integration.commands import command
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

YESTERDAY = today() - timedelta(days=1)
FIRST = today() - timedelta(days=3)
DAYS = [FIRST, FIRST + timedelta(days=1), YESTERDAY]


@pytest.fixture
def world(tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as made:
        yield made


def expected(world: World, stream: Stream, first: date, last: date) -> bytes:
    """What the producer sent of these days, by day, partition and offset."""
    rows: list[tuple[date, int, int, bytes]] = []
    for partition in range(stream.partitions):
        for sent in world.ledger.in_order(stream.topic, partition):
            made = sent.made
            if made.fate == "row" and first_drop(made, {}) is None and first <= made.day <= last:
                rows.append((made.day, partition, sent.offset, made.line))
    return stream.judged.header() + b"".join(line for *_, line in sorted(rows))


def test_sealed_and_open_days_beside_a_live_worker(world: World, tmp_path: Path) -> None:
    stream = world.add("events", "events", "avro", partitions=3)
    zipped = world.add("paywall_views", "paywall_views", "json", partitions=2, compression="zstd")
    for each in (stream, zipped):
        world.fill(each, DAYS, 1500)
    world.once(YESTERDAY).done()
    for each in (stream, zipped):
        world.fill(each, [today()], 400)
    worker = world.waiting("b")
    world.await_read(worker)
    settings = world.settings()
    period = ("--from", str(FIRST), "--to", str(today()))
    done = command(settings, "export", *period, "--json")
    assert done.code == 0, done.err
    one, other = done.document["streams"]
    name = f"{FIRST}_{today()}-incomplete"
    for facts, each in ((one, stream), (other, zipped)):
        assert (facts["stream"], facts["wrote"], facts["complete"]) == (each.name, True, False)
        assert [day["source"] for day in facts["days"]] == ["bucket", "bucket", "bucket", "kafka"]
        assert [day["why"] for day in facts["days"]] == [[], [], [], ["not_sealed"]]
        suffix = ".zst" if each is zipped else ""
        stored = world.folder.read(f"exports/{each.name}/{name}.csv{suffix}")
        assert (facts["bytes"], facts["sha256"]) == (len(stored.body), stored.sha256)
        assert stored.content == expected(world, each, FIRST, today())
        assert world.folder.document(f"exports/{each.name}/{name}.json")["rows"] == facts["rows"]
    assert f"events: {FIRST} to {today()}, 4 days: 3 sealed (" in done.err
    again = command(settings, "export", *period)
    assert (again.code, again.out.count("nothing to do")) == (0, 2)
    assert not world.lagging()

    piped = subprocess.run(
        [PROGRAM, "--config", settings, "export", "--day", str(FIRST), "--stream", "events", "--output", "-"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert piped.stdout == expected(world, stream, FIRST, FIRST)
    folder = tmp_path / "local"
    local = command(settings, "export", "--day", str(YESTERDAY), "--stream", "events", "--output", str(folder))
    assert local.code == 0, local.err
    assert (folder / "events" / f"{YESTERDAY}_{YESTERDAY}.csv").read_bytes() == expected(
        world, stream, YESTERDAY, YESTERDAY
    )
    late = [stream.maker.row(FIRST) for _ in range(5)]
    world.ledger.send(stream.topic, 0, late)
    moved = command(settings, "export", *period, "--stream", "events")
    assert (moved.code, "Kafka has moved on" in moved.err) == (2, True)
    forced = command(settings, "export", *period, "--stream", "events", "--force", "--json")
    assert forced.code == 0, forced.err
    assert forced.document["streams"][0]["rows"] == one["rows"]  # late rows wait for their seal
    assert command(settings, "verify").code == 0


def test_bad_usage_writes_nothing(world: World) -> None:
    world.add("events", "events", "avro")
    settings = world.settings()
    tomorrow = str(today() + timedelta(days=1))
    for wrong in (
        (),
        ("--from", str(today())),
        ("--day", str(today()), "--to", str(today())),
        ("--from", str(today()), "--to", str(FIRST)),
        ("--day", tomorrow),
        ("--day", f"{FIRST}T00:00:00"),
        ("--day", str(FIRST), "--stream", "nonsense"),
        ("--day", str(FIRST), "--columns", "nonsense"),
        ("--day", str(FIRST), "--output", "-", "--json"),
    ):
        ended = command(settings, "export", *wrong)
        assert ended.code == 2, (wrong, ended.err)
    assert world.folder.keys("exports/") == []


def test_killed_half_way_it_leaves_nothing_and_may_be_repeated(
    tmp_path: Path, kafka: KafkaAddress, proxied_minio: ProxiedStore, bucket: BucketFactory
) -> None:
    with closing(World(tmp_path / "world", kafka, proxied_minio.direct, bucket())) as world:
        world.endpoint = proxied_minio.address.endpoint_url
        world.prove()
        stream = world.add("events", "events", "avro", partitions=2)
        world.fill(stream, DAYS, 3000)
        world.once(YESTERDAY).done()
        settings = world.settings()
        arguments = ("export", "--from", str(FIRST), "--to", str(YESTERDAY))
        folder = tmp_path / "local"
        proxied_minio.proxy.bandwidth(200)
        for target in ((), ("--output", str(folder))):
            export = subprocess.Popen(
                [PROGRAM, "--config", settings, *arguments, *target], stderr=subprocess.PIPE, text=True
            )
            assert export.stderr is not None
            assert next(line for line in export.stderr if line.startswith(f"events {FIRST}:"))
            os.kill(export.pid, signal.SIGKILL)
            assert export.wait(30) == -signal.SIGKILL
            export.stderr.close()
        proxied_minio.proxy.reset()
        assert world.folder.keys("exports/") == []
        assert [path.suffix for path in (folder / "events").iterdir()] == [".part"]
        for target in ((), ("--output", str(folder))):
            done = command(settings, *arguments, *target)
            assert done.code == 0, done.err
        rows = expected(world, stream, FIRST, YESTERDAY)
        name = f"{FIRST}_{YESTERDAY}"
        assert world.folder.read(f"exports/events/{name}.csv").content == rows
        assert (folder / "events" / f"{name}.csv").read_bytes() == rows
        assert sorted(path.name for path in (folder / "events").iterdir()) == [f"{name}.csv", f"{name}.json"]
