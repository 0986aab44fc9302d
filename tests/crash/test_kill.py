"""Kill -9 at every moment of a seal, with the spool as it was, gone or spoilt: the next start mends what is left."""

import shutil
import sqlite3
from collections.abc import Callable
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from tests.conftest import ProxiedKafka
from tests.harness.gate import Asked, Gate, Where, nth, puts, puts_data, puts_record
from tests.harness.oracle import today
from tests.harness.sink import await_true
from tests.harness.world import Stream, World

ONE_DAY = timedelta(days=1)
DAYS = [today() - n * ONE_DAY for n in (6, 5, 4, 3, 2)]
CLOSED, OPEN = DAYS[:3], DAYS[3:]
CUTOFF = CLOSED[-1]
COUNT = 1200


def prepared(world: World, count: int = COUNT) -> Stream:
    """A stream with rows of closed and of open days."""
    stream = world.add("events", partitions=2)
    world.fill(stream, DAYS, count)
    return stream


def nth_object(n: int) -> Asked:
    """The n-th PUT of a data object of partition 0."""
    return nth(lambda method, path: puts_data("events")(method, path) and "-0-0000" in path, n)


MOMENTS: dict[str, tuple[Callable[[], Asked], Where]] = {
    "before the settings": (lambda: puts("/_seals/_settings/"), "before"),
    "before the record": (lambda: puts_record(0), "before"),
    "after the record": (lambda: puts_record(0), "after"),
    "before the first object": (lambda: nth_object(1), "before"),
    "after the first object": (lambda: nth_object(1), "after"),
    "before the last object": (lambda: nth_object(3), "before"),
    "before a quarantine object": (lambda: puts("/_quarantine/"), "before"),
    "before the manifest": (lambda: puts("_manifest.json"), "before"),
    "after the manifest": (lambda: puts("_manifest.json"), "after"),
    "before the mark": (lambda: puts("_SUCCESS"), "before"),
    "before the list of days": (lambda: puts("_days.json"), "before"),
}


def kept(_spool: Path) -> None:
    """The spool as the dead worker left it."""


def deleted(spool: Path) -> None:
    """A new machine."""
    shutil.rmtree(spool)


def truncated(spool: Path) -> None:
    """Files shorter than the checkpoint says, as after a power cut on a disk that lies."""
    for path in rows_in(spool):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)


def flipped(spool: Path) -> None:
    """One bit of each file is another."""
    for path in rows_in(spool):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def swapped(spool: Path) -> None:
    """The files of two partitions in each other's place."""
    folders = sorted(path for path in spool.iterdir() if path.is_dir() and path.name != "aside")
    assert len(folders) == 2
    folders[0].rename(spool / "between")
    folders[1].rename(folders[0])
    (spool / "between").rename(folders[1])


def without_checkpoints(spool: Path) -> None:
    """Files that no checkpoint speaks of."""
    with sqlite3.connect(spool / "checkpoints.sqlite") as connection:
        connection.execute("DELETE FROM checkpoints")
    connection.close()


def with_noise_for_checkpoints(spool: Path) -> None:
    """The checkpoints are no database any more."""
    (spool / "checkpoints.sqlite").write_bytes(b"noise" * 1000)


SPOILT = [kept, deleted, truncated, flipped, swapped, without_checkpoints, with_noise_for_checkpoints]


def rows_in(spool: Path) -> list[Path]:
    """The spool's files of rows."""
    return [path for path in spool.rglob("*") if path.suffix in {".csv", ".jsonl"} and "aside" not in path.parts]


def check_after(world: World, before: dict[str, tuple[str, str]], cutoff: date = CUTOFF) -> None:
    """All is where it belongs, and nothing that stood at the crash was written again."""
    findings = world.judge(cutoff)["events"]
    assert findings.rows > 0
    assert all(sent.made.day > cutoff for sent in findings.held)
    after = world.folder.listing()
    rewritten = [key for key, facts in before.items() if after.get(key) != facts]
    assert [key for key in rewritten if not key.endswith(("_manifest.json", "_days.json"))] == []


def killed_at(world: World, store_gate: Gate, moment: str) -> None:
    """A world whose worker was killed there; the request that it stood at is lost."""
    prepared(world)
    asked, where = MOMENTS[moment]
    stop = store_gate.stop(asked(), where)
    sink = world.once(CUTOFF)
    stop.wait()
    sink.kill()
    stop.drop()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_in_the_middle_of_a_seal(world: World, store_gate: Gate, moment: str) -> None:
    killed_at(world, store_gate, moment)
    before = world.folder.listing()
    world.once(CUTOFF).done()
    check_after(world, before)


@pytest.mark.parametrize(
    ("spoil", "moment"), list(zip(SPOILT, cycle(["after the record", "before the last object"]), strict=False))
)
def test_a_kill_with_what_becomes_of_the_spool(
    world: World, store_gate: Gate, spoil: Callable[[Path], None], moment: str
) -> None:
    """A pending seal is finished from the spool, or from Kafka where the spool is worth nothing."""
    killed_at(world, store_gate, moment)
    spoil(world.spool())
    before = world.folder.listing()
    world.once(CUTOFF).done()
    check_after(world, before)
    world.once(DAYS[-1]).done()
    world.judge(DAYS[-1])


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_kill_while_reading(world: World, spoil: Callable[[Path], None]) -> None:
    """A worker that waits for its day has rows of both partitions in the spool, which no seal has decided yet."""
    stream = prepared(world)
    sink = world.waiting()
    sink.until_said("day_published")
    world.fill(stream, [today() - ONE_DAY, today(), DAYS[0]], 400)
    world.await_read(sink)
    sink.kill()
    assert rows_in(world.spool())
    spoil(world.spool())
    world.fill(stream, [today() - ONE_DAY, today()], 100)
    before = world.folder.listing()
    world.once().done()
    check_after(world, before, today() - ONE_DAY)


def test_a_disk_that_comes_back_from_a_snapshot(world: World) -> None:
    """Its spool knows nothing of the seals made since."""
    stream = prepared(world)
    world.once(DAYS[0]).done()
    shutil.copytree(world.spool(), world.home / "snapshot")
    world.fill(stream, DAYS, 100)
    world.once(DAYS[1]).done()
    shutil.rmtree(world.spool())
    shutil.copytree(world.home / "snapshot", world.spool())
    world.fill(stream, DAYS, 100)
    before = world.folder.listing()
    world.once(DAYS[2]).done()
    check_after(world, before)


@pytest.mark.parametrize("asked", [lambda: puts_record(0), lambda: nth_object(1)], ids=["record", "object"])
def test_a_request_that_arrives_after_its_worker_died(
    world: World, store_gate: Gate, asked: Callable[[], Asked]
) -> None:
    """It comes late, when the next worker is about to write the same: the same number of record, the same object."""
    prepared(world)
    late = store_gate.stop(asked())
    first = world.once(CUTOFF)
    late.wait()
    first.kill()
    mine = store_gate.stop(asked())
    second = world.once(CUTOFF, worker="b")
    mine.wait()
    late.forward()
    late.done.wait(10)
    mine.forward()
    second.done()
    check_after(world, {})


@pytest.mark.parametrize("answered", [False, True])
def test_a_kill_between_objects_and_commit(
    worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: object, answered: bool
) -> None:
    """The commit does not reach the broker, or its answer does not reach the worker."""
    from tests.harness.gate import gate  # noqa: PLC0415
    from tests.services.s3 import S3Address  # noqa: PLC0415

    assert isinstance(minio, S3Address)
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(proxied_kafka.direct, endpoint=store_gate.url, bootstrap=proxied_kafka.bootstrap_servers)
        stream = world.add("events", partitions=1)
        world.fill(stream, DAYS, COUNT)
        stop = store_gate.stop(nth_object(3), "after")
        sink = world.once(CUTOFF)
        stop.wait()
        toxic = proxied_kafka.proxy.black_hole(direction="downstream" if answered else "upstream")
        stop.forward()
        if answered:
            await_true(lambda: "seal" in (world.committed()[(stream.topic, 0)].metadata or ""), 30, "the commit")
        else:
            sink.until_said("object_stands", count=len([k for k in world.folder.keys() if "/dt=" in k]))
        sink.kill()
        assert not world.folder.keys("events/dt=") or not any("_manifest" in k for k in world.folder.keys())
        proxied_kafka.proxy.remove(toxic)
        before = world.folder.listing()
        world.once(CUTOFF).done()
        check_after(world, before)


@pytest.mark.parametrize(
    ("method", "part", "where"),
    [
        ("POST", "uploads", "before"),
        ("POST", "uploads", "after"),
        ("PUT", "partNumber=1", "before"),
        ("PUT", "partNumber=2", "before"),
        ("POST", "uploadId=", "before"),
        ("POST", "uploadId=", "after"),
    ],
)
def test_a_kill_in_a_multipart_upload(world: World, store_gate: Gate, method: str, part: str, where: Where) -> None:
    world.over = {"destination": {"multipart_threshold": "5MiB"}}
    stream = world.add("events")
    world.ledger.send(stream.topic, 0, [stream.maker.row(CLOSED[0], fat=300_000) for _ in range(60)])
    stop = store_gate.stop(lambda m, path: m == method and part in path, where)
    sink = world.once(CUTOFF)
    stop.wait()
    sink.kill()
    stop.drop()
    before = world.folder.listing()
    world.once(CUTOFF).done()
    check_after(world, before)
    assert max(len(found.body) for found in world.folder.read_all(world.folder.keys("events/dt=")).values()) > 16 << 20
