"""The store fails in every way that stores fail: no offset moves before the objects stand, none is written twice."""

import configparser
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import BucketFactory
from tests.harness.gate import Answer, Asked, Cut, Delay, Fault, Gate, Lose, Redate, anything, gate, puts, puts_data
from tests.harness.oracle import today
from tests.harness.sink import Sink, await_true
from tests.harness.world import Stream, World
from tests.services.kafka import KafkaAddress
from tests.services.s3 import MinIO, S3Address, VersityGW, unique_bucket

ONE_DAY = timedelta(days=1)
DAYS = [today() - n * ONE_DAY for n in (4, 3, 2, 1, 0)]
CUTOFF = DAYS[2]

FAULTS: dict[str, Fault] = {
    "503": Answer(503, "ServiceUnavailable"),
    "slow down": Answer(503, "SlowDown"),
    "429": Answer(429, "TooManyRequests"),
    "500": Answer(500, "InternalError"),
    "409": Answer(409, "ConditionalRequestConflict"),
    "cut in the body": Cut(100),
    "lost answer": Lose(),
    "expired token": Answer(400, "ExpiredToken"),
    "refused": Answer(403, "InvalidAccessKeyId"),
    "clock skew": Answer(403, "RequestTimeTooSkewed"),
    "not allowed": Answer(403, "AccessDenied"),
}
TARGETS: dict[str, Asked] = {
    "settings": puts("/_seals/_settings/"),
    "record": lambda method, path: method == "PUT" and path.endswith("/0/00000000.json"),
    "object": puts_data("events"),
    "quarantine": puts("/_quarantine/"),
    "manifest": puts("_manifest.json"),
    "mark": puts("_SUCCESS"),
    "list": puts("_days.json"),
}


def filled(world: World, partitions: int = 1) -> Stream:
    stream = world.add("events", partitions=partitions)
    world.fill(stream, DAYS, 500)
    world.ledger.send(stream.topic, 0, [stream.maker.bad(DAYS[0])])
    return stream


def committed(world: World, stream: Stream) -> str:
    """What partition 0 says of its last seal."""
    return world.committed()[(stream.topic, 0)].metadata or ""


def check_written_once(store_gate: Gate) -> None:
    """No object of rows, record or settings was taken twice by the store."""
    taken = [path.split("?")[0] for method, path, status in store_gate.seen if method == "PUT" and status == 200]
    again = {path for path in taken if taken.count(path) > 1 and "/_checks/" not in path}
    assert {path for path in again if not path.endswith(("_manifest.json", "_days.json"))} == set()


@pytest.mark.parametrize("name", FAULTS)
def test_each_write_fails_once(world: World, store_gate: Gate, name: str) -> None:
    """The settings, the record, an object, the manifest: each meets the fault, and is made good without a restart."""
    filled(world)
    orders = {target: store_gate.order(FAULTS[name], asked) for target, asked in TARGETS.items()}
    world.once(CUTOFF).done()
    assert {target for target, order in orders.items() if not order.met} == set()
    world.judge(CUTOFF)
    check_written_once(store_gate)
    assert world.lagging() == []


@pytest.mark.parametrize("name", ["503", "lost answer", "cut in the body", "409"])
def test_each_step_of_a_multipart_upload_fails_once(world: World, store_gate: Gate, name: str) -> None:
    world.over = {"destination": {"multipart_threshold": "5MiB"}}
    stream = world.add("events")
    world.ledger.send(stream.topic, 0, [stream.maker.row(DAYS[0], fat=300_000) for _ in range(60)])
    steps: list[Asked] = [
        lambda method, path: method == "POST" and "?uploads" in path,
        lambda method, path: method == "PUT" and "partNumber=2" in path,
        lambda method, path: method == "POST" and "uploadId=" in path,
    ]
    orders = [store_gate.order(FAULTS[name], step) for step in steps]
    world.once(CUTOFF).done()
    assert [order.met for order in orders] == [1, 1, 1]
    world.judge(CUTOFF)


@pytest.mark.parametrize("fault", ["503", "expired token", "refused", "not allowed"])
def test_offsets_stand_still_as_long_as_the_store_refuses(world: World, store_gate: Gate, fault: str) -> None:
    """Reading goes on, nothing is committed; once the store is right again all goes on without a restart."""
    stream = filled(world)
    store_gate.order(FAULTS[fault], puts_data("events"), times=-1)
    sink = world.start("run")
    sink.until_said("outage")
    order = store_gate.orders[-1]
    await_true(lambda: order.met >= 3, 60, "it tries again")
    assert "chain" not in committed(world, stream)
    assert sink.page("/livez")[0] == 200
    store_gate.clear()
    sink.until_said("day_published", day=str(DAYS[3]))
    sink.until_said("outage_over")
    sink.terminate()
    sink.done()
    world.judge(DAYS[3])


def test_once_gives_up_when_the_store_stays_away(world: World, store_gate: Gate) -> None:
    """Exit 4, the offset where it was, and the next run makes good."""
    stream = filled(world)
    store_gate.order(FAULTS["503"], puts_data("events"), times=-1)
    sink = world.once(CUTOFF, over={"schedule": {"give_up_after": "3s"}})
    sink.done(4, 60)
    assert "chain" not in committed(world, stream)
    store_gate.clear()
    world.once(CUTOFF).done()
    world.judge(CUTOFF)


def test_a_slow_store(world: World, store_gate: Gate) -> None:
    """Each write takes longer than the group's session: polling goes on, nobody is thrown out."""
    filled(world)
    store_gate.order(Delay(4), puts_data("events"), times=-1)
    sink = world.once(CUTOFF).done()
    assert len(sink.said("rebalanced")) == 1
    world.judge(CUTOFF)


def test_a_store_whose_clock_is_behind(world: World, store_gate: Gate) -> None:
    """Our clock may be the wrong one: no day is sealed until both agree."""
    filled(world)
    store_gate.order(Redate(timedelta(minutes=-10)), anything, times=-1)
    sink = world.once(CUTOFF)
    sink.until_said("seal_considered")
    assert "ahead of the store's" in sink.said("seal_considered")[-1]["reason"]
    assert world.folder.keys("_seals/") == []
    store_gate.clear()
    sink.done()
    world.judge(CUTOFF)


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_the_store_itself_goes_and_comes_back(
    worlds: Callable[..., World], own_minio: Callable[[], MinIO], kafka: KafkaAddress, how: str
) -> None:
    """In the middle of an upload."""
    server = own_minio()
    server.make_bucket("bucket")
    with gate(server.upstream) as before:
        world = worlds(kafka, server.address, bucket="bucket", endpoint=before.url)
        stream = filled(world)
        stop = before.stop(puts_data("events"))
        sink = world.start("run")
        stop.wait()
        if how == "killed":
            server.kill()
            stop.forward()
            sink.until_said("outage")
            assert "chain" not in committed(world, stream)
            server.start()
        else:
            server.pause()
            stop.forward()
            sink.until(lambda: sink.page("/livez")[0] == 200, 5, "it is alive")
            server.resume()
        sink.until_said("day_published", day=str(DAYS[3]))
        sink.terminate()
        sink.done()
        world.judge(DAYS[3])


def write_keys(path: Path, key: str, secret: str) -> None:
    """A credentials file as the AWS chain reads it."""
    keys = configparser.ConfigParser()
    keys["default"] = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    with path.open("w") as out:
        keys.write(out)


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A credentials file, and the environment that names it."""
    path = tmp_path / "credentials"
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    return path, {**env, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_wrong_keys_that_are_put_right(world: World, minio: S3Address, chain: tuple[Path, dict[str, str]]) -> None:
    """Keys by the AWS chain: refused ones are an outage, shown and waited for; right ones take effect by themselves."""
    path, env = chain
    stream = filled(world)
    write_keys(path, "nobody", "wrong")
    env = {name: value for name, value in env.items() if value}
    over = {"destination": {"access_key_id": "", "secret_access_key": ""}}
    sink = world.start("run", over=over, env={**env, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    outage = sink.until_said("outage")
    assert "InvalidAccessKeyId" in outage["error"] or "credentials" in outage["error"]
    assert world.committed()[(stream.topic, 0)].offset < 0
    write_keys(path, minio.access_key, minio.secret_key)
    sink.until_said("day_published", day=str(DAYS[3]), seconds=90)
    sink.terminate()
    sink.done()
    assert minio.secret_key not in sink.log.read_text()
    world.judge(DAYS[3])


def refused(sink: Sink, reason: str) -> str:
    """It ends with 3 and names this reason; the message."""
    sink.done(3, 60)
    last = list(sink.lines())[-1]
    assert reason in last["message"]
    return str(last["message"])


def test_a_bucket_that_is_not_there(world: World, bucket: BucketFactory, minio: S3Address) -> None:
    """Exit 3 with the reason; nothing is committed; another stream with a good bucket is sealed all the same."""
    stream = filled(world)
    other = world.add("paywall_views", "paywall_views", "json")
    world.fill(other, DAYS, 100)
    missing = unique_bucket("missing")
    over = {"streams": {"events": {"destination": {"url": f"s3://{missing}/folder"}}}}
    message = refused(world.once(CUTOFF, over=over), "missing_bucket")
    assert missing in message
    assert world.committed()[(stream.topic, 0)].offset < 0
    assert world.folder.keys("paywall_views/dt=")
    world.once(CUTOFF).done()
    world.judge(CUTOFF)
    del bucket, minio


def test_a_store_that_lets_two_workers_win_is_refused(
    worlds: Callable[..., World], versitygw: VersityGW, kafka: KafkaAddress
) -> None:
    """Before anything is read or written."""
    versitygw.make_bucket("unsafe")
    world = worlds(kafka, versitygw.address, bucket="unsafe")
    world.folder.delete("_checks/conditional-writes.json")
    filled(world)
    message = refused(world.once(CUTOFF), "unsafe_store")
    assert "conditional writes" in message or "If-None-Match" in message
    assert [key for key in world.folder.keys() if not key.startswith("_checks/")] == []


def test_a_safe_store_is_proved_once(world: World, store_gate: Gate) -> None:
    """The races run before the first start, and not at each."""
    world.folder.delete("_checks/conditional-writes.json")
    filled(world)
    world.once(CUTOFF).done()
    raced = sum("/_checks/" in path for _, path, _ in store_gate.seen)
    assert raced > 20 * 32
    world.once(CUTOFF).done()
    assert sum("/_checks/" in path for _, path, _ in store_gate.seen) - raced < 20
    world.judge(CUTOFF)
