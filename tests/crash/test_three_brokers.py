"""Three brokers, topics in three replicas: each is killed once while rows are read and a seal is under way.

By both group protocols at a time, so that a kill serves two workers: one of each, in a group of its own.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import _or_missing
from tests.harness.gate import Gate, Stop, gate, puts
from tests.harness.oracle import today
from tests.harness.sink import STATUS_SECONDS, Sink, await_true
from tests.harness.world import Stream, World
from tests.services.kafka import KafkaCluster
from tests.services.s3 import S3Address

DAYS = [today() - timedelta(days=n) for n in (3, 2, 1, 0)]
BEFORE, YESTERDAY = DAYS[1:3]
ROWS = 150
SECONDS = 120


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    made = KafkaCluster(tmp_path / "cluster")
    try:
        _or_missing(made.__enter__)
        yield made
    finally:
        made.stop()


class Site:
    """One worker: `sealed` has a partition for each broker, whose first seal is held at its record; `read` is read.

    Its session outlasts the loss of a coordinator: what is held is one seal, not one for each rebalance.
    """

    def __init__(self, world: World, store_gate: Gate, protocol: str, brokers: int) -> None:
        world.protocol = protocol
        if protocol == "classic":
            world.over = {"kafka": {"options": {"session.timeout.ms": 30_000}}}
        self.world = world
        self.sealed = world.add("events", partitions=brokers)
        self.read = world.add("paywall_views", "paywall_views")
        self.feed(self.sealed)
        self.feed(self.read)
        self.held = [Stop("before") for _ in range(brokers)]
        for partition, stop in enumerate(self.held):  # each try of it, until it is let go
            store_gate.order(stop, puts(f"/_seals/{self.sealed.topic}/{partition}/"), -1)
        self.sink: Sink = world.waiting()

    def feed(self, stream: Stream) -> None:
        """More rows, of days that are over and of one that is not."""
        self.world.fill(stream, DAYS, ROWS)

    def committed(self) -> bool:
        """Whether each seal is."""
        return not self.world.lagging()

    def await_read(self) -> None:
        """Wait until all of `read` is read: those of `sealed` stand still meanwhile."""
        end = max(sent.offset for sent in self.world.ledger.sent[(self.read.topic, 0)])

        def at() -> int:
            found = [p for p in self.sink.status()["partitions"] if p["topic"] == self.read.topic]
            return max((p["position"] or 0 for p in found), default=0)

        await_true(lambda: at() > end, SECONDS, f"{self.world.protocol}: offset {end} is read", STATUS_SECONDS)


@pytest.mark.timeout(600)
def test_each_broker_is_killed_while_reading_and_while_sealing(
    cluster: KafkaCluster, worlds: Callable[..., World], minio: S3Address
) -> None:
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        sites = [
            Site(worlds(cluster.address, minio, endpoint=store_gate.url), store_gate, protocol, len(cluster.brokers))
            for protocol in ("classic", "consumer")
        ]
        for number, broker in enumerate(cluster.brokers):
            for site in sites:
                site.held[number].wait(SECONDS)
                site.feed(site.read)
            broker.kill()
            for site in sites:
                site.feed(site.read)
                site.held[number].forward()
                site.await_read()
            broker.start()
            await_true(cluster.in_sync, SECONDS, "all replicas are in sync")
        for site in sites:
            for stream in (site.sealed, site.read):
                site.sink.until_said("day_published", stream=stream.name, day=str(BEFORE), seconds=SECONDS)
            await_true(site.committed, SECONDS, "each seal is committed")
            site.sink.terminate()
            site.sink.done(seconds=30)
            site.world.once(YESTERDAY).done()  # and what came late
            site.world.judge(YESTERDAY)
