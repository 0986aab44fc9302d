"""The store fails in every way that stores fail: no offset moves before the objects stand, none is written twice."""

import configparser
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from tests.harness.gate import (
    Answer,
    Asked,
    Cut,
    Delay,
    Fault,
    Gate,
    Lose,
    Order,
    Redate,
    anything,
    gate,
    puts,
    puts_data,
)
from tests.harness.oracle import today
from tests.harness.sink import Sink, await_true
from tests.harness.world import Stream, World
from tests.services import s3
from tests.services.kafka import KafkaAddress
from tests.services.s3 import MinIO, VersityGW

ONE_DAY = timedelta(days=1)
DAYS = [today() - n * ONE_DAY for n in (4, 3, 2, 1, 0)]
CUTOFF, YESTERDAY = DAYS[2], DAYS[3]
ALERT_HOURS = 24
"""Of retention headroom: the shipped alert fires below it."""
SECONDS = 10
TERMINATED = 143
PROOF = "_checks/conditional-writes.json"
RACES = 20 * 32

FAULTS: dict[str, Fault] = {
    "503": Answer(503, "ServiceUnavailable"),
    "slow_down": Answer(503, "SlowDown"),
    "429": Answer(429, "TooManyRequests"),
    "500": Answer(500, "InternalError"),
    "409": Answer(409, "ConditionalRequestConflict"),
    "412": Answer(412, "PreconditionFailed"),
    "cut_in_the_body": Cut(100),
    "lost_answer": Lose(),
    "expired_token": Answer(400, "ExpiredToken"),
    "refused": Answer(403, "InvalidAccessKeyId"),
    "clock_skew": Answer(403, "RequestTimeTooSkewed"),
    "not_allowed": Answer(403, "AccessDenied"),
}


def filled(world: World, name: str = "events", count: int = 300) -> Stream:
    stream = world.add(name, "events")
    world.fill(stream, DAYS, count)
    world.ledger.send(stream.topic, 0, [stream.maker.bad(DAYS[0])])
    return stream


def committed(world: World, stream: Stream) -> str:
    """What partition 0 says of its last seal."""
    return world.committed()[(stream.topic, 0)].metadata or ""


def asks(method: str, *parts: str) -> Asked:
    """A request of this method whose path has all these parts."""
    return lambda asked, path: asked == method and all(part in path for part in parts)


def first_of_path(asked: Asked, taken: set[str]) -> Asked:
    """The first such request for a path that nobody took."""

    def claimed(method: str, path: str) -> bool:
        if not asked(method, path) or path in taken:
            return False
        taken.add(path)
        return True

    return claimed


def check_written_once(store_gate: Gate) -> None:
    """No object of rows, record or settings was taken twice by the store."""
    taken = [path.split("?")[0] for method, path, status in store_gate.seen if method == "PUT" and status == 200]
    again = {path for path in taken if taken.count(path) > 1 and "/_checks/" not in path}
    assert {path for path in again if not path.endswith(("_manifest.json", "_days.json"))} == set()


def stopped(sink: Sink) -> None:
    """It ends well when asked to."""
    sink.terminate()
    sink.done(seconds=20)


# Each answer, at each write


def test_each_write_fails_once_in_each_way(world: World, store_gate: Gate) -> None:
    """Twelve streams, each with a fault of its own at each of its writes; all is made good without a restart."""
    settings: set[str] = set()
    orders: dict[tuple[str, str], Order] = {}
    for name, fault in FAULTS.items():
        stream = filled(world, name, 60)
        targets: dict[str, Asked] = {
            "settings": first_of_path(puts("/_seals/_settings/"), settings),
            "record": puts(f"/{stream.topic}/0/00000000.json"),
            "object": puts_data(name),
            "quarantine": puts(f"/_quarantine/{name}/"),
            "manifest": asks("PUT", f"/{name}/dt=", "/_manifest.json"),
            "mark": asks("PUT", f"/{name}/dt=", "/_SUCCESS"),
            "list": puts(f"/{name}/_days.json"),
        }
        orders |= {(name, target): store_gate.order(fault, asked) for target, asked in targets.items()}
    world.once(CUTOFF).done()
    assert {place for place, order in orders.items() if not order.met} == set()
    world.judge(CUTOFF)
    check_written_once(store_gate)
    assert world.lagging() == []


def test_each_step_of_a_multipart_upload_fails_once(world: World, store_gate: Gate) -> None:
    """Begin, part, completion: four streams, each with a fault of its own at each. Before that: SIGTERM in a part."""
    world.over = {"destination": {"multipart_threshold": "5MiB"}}
    large_stream(world, "sigterm")
    stop = store_gate.stop(asks("PUT", "partNumber=2"))
    sink = world.once(CUTOFF)
    stop.wait()
    sink.terminate()
    sink.done(TERMINATED, SECONDS)
    stop.drop()

    orders = {}
    steps = {"begin": ("POST", "?uploads"), "part": ("PUT", "partNumber=2"), "end": ("POST", "uploadId=")}
    for name in ("503", "lost_answer", "cut_in_the_body", "409"):
        large_stream(world, name)
        for step, (method, part) in steps.items():
            orders[name, step] = store_gate.order(FAULTS[name], asks(method, f"/{name}/dt=", part))
    world.once(CUTOFF).done()
    assert {place for place, order in orders.items() if order.met != 1} == set()
    world.judge(CUTOFF)


def large_stream(world: World, name: str) -> None:
    """A stream with one object of three parts."""
    stream = world.add(name, "events")
    world.ledger.send(stream.topic, 0, [stream.maker.row(DAYS[0], fat=300_000) for _ in range(40)])


# For a while


def test_offsets_stand_still_as_long_as_the_store_refuses(world: World, store_gate: Gate) -> None:
    """Reading goes on, nothing is committed; once the store is right again all goes on without a restart."""
    streams = {name: filled(world, name) for name in ("503", "expired_token", "refused", "not_allowed")}
    orders = [store_gate.order(FAULTS[name], puts_data(name), times=-1) for name in streams]
    sink = world.start("run")
    sink.until(lambda: all(order.met >= 3 for order in orders), 60, "it tries again")
    assert [name for name, stream in streams.items() if "chain" in committed(world, stream)] == []
    assert {str(line["where"]).rsplit(":", 1)[0] for line in sink.said("outage")} >= {s.topic for s in streams.values()}
    assert sink.page("/livez")[0] == 200
    store_gate.clear()
    for name in streams:
        sink.until_said("day_published", stream=name, day=str(YESTERDAY))
    sink.until_said("outage_over", count=len(streams))
    stopped(sink)
    world.judge(YESTERDAY)


def test_once_gives_up_when_the_store_stays_away_and_races_are_run_once(world: World, store_gate: Gate) -> None:
    """Exit 4, the offset where it was, and the next run makes good: without racing the store again.

    SIGTERM ends it in the midst of the races, too.
    """
    world.folder.delete(PROOF)
    stream = filled(world)
    stop = store_gate.stop(puts("/_checks/"))
    sink = world.start("run")
    stop.wait()
    sink.terminate()
    sink.done(0, SECONDS)
    stop.drop()
    store_gate.seen.clear()
    store_gate.order(FAULTS["503"], puts_data("events"), times=-1)
    world.once(CUTOFF, over={"schedule": {"give_up_after": "3s"}}).done(4, 60)
    assert "chain" not in committed(world, stream)
    raced = sum("/_checks/" in path for _, path, _ in store_gate.seen)
    assert raced > RACES
    store_gate.clear()
    world.once(CUTOFF).done()
    assert sum("/_checks/" in path for _, path, _ in store_gate.seen) - raced < 20
    world.judge(CUTOFF)


def test_a_slow_store_whose_clock_is_behind(world: World, store_gate: Gate) -> None:
    """Our clock may be the wrong one: no day is sealed until both agree.

    Then each write outlasts the group's session: polling goes on, nobody is thrown out.
    """
    filled(world)
    store_gate.order(Redate(timedelta(minutes=-10)), anything, times=-1)
    sink = world.once(CUTOFF)
    sink.until_said("seal_considered")
    assert "ahead of the store's" in sink.said("seal_considered")[-1]["reason"]
    assert world.folder.keys("_seals/") == []
    store_gate.clear()
    slow = store_gate.order(Delay(4), puts_data("events"), times=2)
    sink.done()
    assert slow.met == 2
    assert len(sink.said("rebalanced")) == 1
    world.judge(CUTOFF)


def write_keys(path: Path, key: str, secret: str) -> None:
    """A credentials file as the AWS chain reads it."""
    keys = configparser.ConfigParser()
    keys["default"] = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    with path.open("w") as out:
        keys.write(out)


def test_a_store_that_goes_hangs_and_takes_other_keys(
    worlds: Callable[..., World],
    own_minio: Callable[[], MinIO],
    kafka: KafkaAddress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One worker, never restarted, no offset moves meanwhile, and what is put right takes effect by itself.

    Wrong keys at first; then, each time before an object, the store dies, hangs, and comes back with other keys.
    """
    path, env = tmp_path / "credentials", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    env |= {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    server = own_minio()
    server.make_bucket("bucket")
    with gate(server.upstream) as before:
        world = worlds(kafka, server.address, bucket="bucket", endpoint=before.url)
        stream = filled(world)
        stops = [before.stop(asks("PUT", f"/events/dt={day}/", ".csv")) for day in DAYS[:3]]
        write_keys(path, "nobody", "wrong")
        sink = world.start("run", over={"destination": {"access_key_id": "", "secret_access_key": ""}}, env=env)
        assert "InvalidAccessKeyId" in sink.until_said("outage")["error"]
        assert world.committed()[(stream.topic, 0)].offset < 0
        write_keys(path, server.access_key, server.secret_key)

        stops[0].wait()
        server.kill()
        stops[0].forward()
        sink.until(lambda: "InvalidAccessKeyId" not in sink.said("outage")[-1]["error"], 30, "it is away")
        server.start()

        stops[1].wait()
        server.pause()
        stops[1].forward()
        sink.until(lambda: sink.page("/livez")[0] == 200, 5, "it is alive")
        server.resume()

        stops[2].wait()
        server.kill()
        monkeypatch.setattr(s3, "_PASSWORD", "another-secret")
        server.start()
        stops[2].forward()
        sink.until(lambda: "SignatureDoesNotMatch" in sink.said("outage")[-1]["error"], 30, "its keys are refused")
        assert "chain" not in committed(world, stream)
        write_keys(path, server.access_key, server.secret_key)
        sink.until_said("day_published", day=str(YESTERDAY), seconds=60)
        stopped(sink)
        said = sink.log.read_text()
        assert server.secret_key not in said
        world.store = server.address
        world.judge(YESTERDAY)


# Refused


def test_a_store_that_lets_two_workers_win_is_refused(
    worlds: Callable[..., World], versitygw: VersityGW, kafka: KafkaAddress
) -> None:
    """Before anything is read or written: by `run --once` with 3, by `run`, which stays up and shows it."""
    versitygw.make_bucket("unsafe")
    world = worlds(kafka, versitygw.address, bucket="unsafe")
    world.folder.delete(PROOF)
    stream = filled(world)
    once = world.once(CUTOFF).done(3, 60)
    assert "unsafe_store" in list(once.lines())[-1]["message"]
    assert "conditional writes" in list(once.lines())[-1]["message"]
    sink = world.start("run")
    assert sink.until_said("halted")["reason"] == "unsafe_store"
    await_true(lambda: sink.status()["halted"] != [], 20, "its page shows it")
    stopped(sink)
    assert world.committed()[(stream.topic, 0)].offset < 0
    assert [key for key in world.folder.keys() if not key.startswith("_checks/")] == []


def test_one_streams_trouble_stops_that_stream_alone(world: World) -> None:
    """A missing bucket, a missing topic, too many bad records: each halts its stream, the fourth is sealed.

    What the halted stream still needs comes close to the end of its retention, and the page and metrics say so.
    """
    good, lost, unknown = filled(world, "good"), filled(world, "lost"), filled(world, "unknown")
    kept = YESTERDAY + 2 * ONE_DAY - DAYS[0]  # the first record goes with the end of today
    bad = world.add("bad", "events", config={"retention.ms": str(kept // timedelta(milliseconds=1))})
    oldest = replace(bad.maker.bad(DAYS[0]), timestamp=int(datetime.combine(DAYS[0], time(), UTC).timestamp() * 1000))
    world.ledger.send(bad.topic, 0, [oldest, *(bad.maker.bad(DAYS[0]) for _ in range(60))])
    world.fill(bad, DAYS, 300)
    settings = {
        "lost": {"destination": {"url": "s3://no-such-bucket/folder"}},
        "unknown": {"topic": f"{unknown.topic}-missing"},
    }
    reasons = {"bad": "quarantine_ratio", "lost": "missing_bucket", "unknown": "missing_topic"}
    sink = world.start("run", over={"streams": settings})
    sink.until_said("day_published", stream="good", day=str(YESTERDAY))
    await_true(
        lambda: {h["stream"]: h["reason"] for h in sink.status()["halted"]} == reasons, 30, "the halts are shown"
    )
    await_true(lambda: hours_left(sink, "bad") is not None, 30, "the headroom is shown")
    assert 0 <= (hours_left(sink, "bad") or 0) <= ALERT_HOURS
    assert sink.page("/readyz")[0] == 200
    stopped(sink)

    once = world.once(over={"streams": settings}).done(3, 60)
    told = {str(line["reason"]): str(line["message"]) for line in once.said("halted")}
    assert set(told) == set(reasons.values())
    assert "no-such-bucket" in told["missing_bucket"]
    assert f"{unknown.topic}-missing" in told["missing_topic"]
    offsets = world.committed()
    assert offsets[(good.topic, 0)].offset > 0
    assert "chain" not in committed(world, bad)
    assert (offsets[(lost.topic, 0)].offset, offsets[(unknown.topic, 0)].offset) == (-1001, -1001)
    world.once(over={"quarantine": {"max_ratio": 0.5}}).done()
    world.judge(YESTERDAY)


def hours_left(sink: Sink, stream: str) -> float | None:
    """What its page says of the time until retention reaches what is needed."""
    found: list[float] = [p["retention_hours"] for p in sink.status()["partitions"] if p["stream"] == stream]
    return found[0] if found else None
