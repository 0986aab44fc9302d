"""SIGTERM in every phase: `run` ends with 0 within seconds, `run --once` with 143, and nothing is lost by it."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.conftest import ProxiedKafka
from tests.harness.gate import Asked, Gate, anything, puts, puts_data
from tests.harness.oracle import today
from tests.harness.sink import Sink
from tests.harness.world import World
from tests.services.s3 import S3Address

ONE_DAY = timedelta(days=1)
YESTERDAY = today() - ONE_DAY
DAYS = [today() - n * ONE_DAY for n in (3, 2, 1, 0)]
SECONDS = 10
TERMINATED = 143


def check_stops(sink: Sink, code: int) -> None:
    """It ends at once when asked to."""
    began = time.monotonic()
    sink.terminate()
    sink.done(code, SECONDS + 20)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(puts("/_seals/"), id="record"),
        pytest.param(puts_data("events"), id="object"),
        pytest.param(puts("_manifest.json"), id="manifest"),
        pytest.param(lambda method, _: method == "GET", id="looking"),
    ],
)
def test_while_a_request_hangs(world: World, store_gate: Gate, asked: Asked, once: bool) -> None:
    """The store has the request and does not answer; SIGTERM does not wait for it."""
    stream = world.add("events", partitions=2)
    world.fill(stream, DAYS, 400)
    stop = store_gate.stop(asked)
    sink = world.once() if once else world.start("run")
    stop.wait()
    check_stops(sink, TERMINATED if once else 0)
    stop.drop()
    world.once().done()
    world.judge(YESTERDAY)


def test_while_it_waits_for_its_day(world: World) -> None:
    """The next start goes on from the checkpoint, which was written at the end."""
    stream = world.add("events", partitions=2)
    world.fill(stream, DAYS, 400)
    sink = world.start("run", over={"spool": {"checkpoint_seconds": 600}})
    sink.until_said("day_published")
    world.fill(stream, [DAYS[-1]], 200)
    world.await_read(sink)
    check_stops(sink, 0)
    again = world.start("run", worker="a")
    again.until_said("partition_recovered", count=2, notes=["spool kept"])
    check_stops(again, 0)
    world.judge(YESTERDAY)


def test_while_the_store_is_away(world: World, store_gate: Gate) -> None:
    stream = world.add("events")
    world.fill(stream, DAYS, 200)
    from tests.harness.gate import Answer  # noqa: PLC0415

    store_gate.order(Answer(503, "ServiceUnavailable"), anything, times=-1)
    sink = world.start("run")
    sink.until_said("outage")
    check_stops(sink, 0)
    store_gate.clear()
    world.once().done()
    world.judge(YESTERDAY)


@pytest.mark.parametrize("how", ["cut", "black_hole"])
def test_while_kafka_is_away(
    worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: S3Address, how: str
) -> None:
    world = worlds(proxied_kafka.direct, minio, bootstrap=proxied_kafka.bootstrap_servers)
    stream = world.add("events")
    world.fill(stream, DAYS, 200)
    sink = world.start("run")
    sink.until_said("day_published")
    getattr(proxied_kafka.proxy, how)()
    check_stops(sink, 0)
    proxied_kafka.proxy.reset()
    world.once().done()
    world.judge(YESTERDAY)


def test_before_it_has_found_kafka(worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: S3Address) -> None:
    world = worlds(proxied_kafka.direct, minio, bootstrap=proxied_kafka.bootstrap_servers)
    stream = world.add("events")
    world.fill(stream, DAYS, 200)
    proxied_kafka.proxy.cut()
    sink = world.start("run")
    sink.until_said("starting")
    check_stops(sink, 0)
