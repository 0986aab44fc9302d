"""The monitor over a worker whose outside is in memory: what it sees, what it says, and what it survives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from consumer.commands.wiring import Ports, worker_of
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import LogEnds, TopicPartition
from consumer.monitor.gauges import Gauges
from consumer.monitor.listener import TelemetryListener
from consumer.monitor.monitor import Monitor, Rounds
from consumer.monitor.probes import LATE_SECONDS, Liveness
from consumer.observe.calendar import DayState
from consumer.observe.metrics import Metrics, declare
from consumer.observe.snapshot import Snapshot, SnapshotHolder
from consumer.settings.load import settings_from
from consumer.source.retention import Headroom, find_headroom, retention, stamp_at
from consumer.source.stats import SourceStats
from consumer.store.port import Body, Condition, ObjectInfo, Refused, Written
from consumer.worker.executor import run_into
from consumer.worker.loop import Worker
from tests.fakes.disk import MemoryDisk
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.kafka.broker import MemoryBroker
from tests.fakes.store import MemoryStore

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
CLICKS, SHOPS = "adapty.clicks", "adapty.shops"
SCHEMA = {
    "type": "record",
    "name": "Any",
    "fields": [{"name": "id", "type": "string"}, {"name": "at", "type": "string"}],
}
WEEK = timedelta(days=7)

T = TypeVar("T")


@dataclass
class Times:
    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class HangingExecutor:
    """Runs a call when it is submitted; one that hangs is never run."""

    hang: bool = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        if not self.hang:
            run_into(future, call)
        return future


@dataclass
class Trouble:
    """Raised before the calls of a view that it names."""

    calls: set[str] = field(default_factory=set)
    error: Exception = field(default_factory=lambda: TransientError("Kafka: no broker is reachable"))

    def before(self, call: str) -> None:
        if call in self.calls:
            raise self.error

    def after(self, call: str) -> None:
        pass


class TroubledStore(MemoryStore):
    """A store whose answers to `head` a test takes away."""

    error: Exception | None = None
    refusals = 0

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        if key.endswith(".csv") and self.refusals:
            self.refusals -= 1
            raise TransientError("403 AccessDenied")
        return super().put(key, body, condition=condition, metadata=metadata)

    def head(self, key: str) -> ObjectInfo | None:
        if self.error is not None and key.endswith("_days.json"):
            raise self.error
        return super().head(key)


@dataclass
class Scene:
    times: Times
    cluster: MemoryCluster
    admin: Trouble
    stores: dict[str, TroubledStore]
    metrics: Metrics
    worker: Worker
    monitor: Monitor
    executor: HangingExecutor
    stats: list[SourceStats]
    broker: MemoryBroker

    def run(self, seconds: float) -> Snapshot:
        """Turn the loop for so long."""
        end = self.times.seconds + seconds
        while self.times.seconds < end:
            self.worker.step(0)
            self.monitor.advance()
            self.times.seconds += 0.5
        assert self.monitor.snapshots.snapshot is not None
        return self.monitor.snapshots.snapshot

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"adapty_sink_{name}", labels)


def click(number: int, at: datetime) -> bytes:
    return json.dumps({"id": f"c{number}", "at": at.isoformat()}).encode()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Two streams; the first one's partition 0 has three rows of yesterday and two of today."""
    (tmp_path / "any.avsc").write_text(json.dumps(SCHEMA))
    stream = {"schema": "any.avsc", "time_field": "at", "format": "json"}
    document = {
        "kafka": {"bootstrap_servers": "localhost:9092", "group_id": "group"},
        "destination": {"url": "s3://bucket/folder"},
        "streams": {"clicks": {"topic": CLICKS, **stream}, "shops": {"topic": SHOPS, **stream}},
    }
    settings = settings_from(document, tmp_path, {}, "sink.toml")
    times, admin, executor = Times(), Trouble(), HangingExecutor()
    cluster = MemoryCluster()
    for topic, partitions in ((CLICKS, 2), (SHOPS, 1)):
        cluster.create_topic(topic, partitions, {"retention.ms": str(int(WEEK.total_seconds() * 1000))})
    for number, hours in enumerate((-20, -19, -18, -3, -2)):
        at = START + timedelta(hours=hours)
        cluster.produce(TopicPartition(CLICKS, 0), click(number, at), timestamp=int(at.timestamp() * 1000))
    broker = MemoryBroker(cluster, "group", clock=times)
    stores = {name: TroubledStore(times) for name in ("clicks", "shops")}
    ports = Ports(
        broker, MemoryAdmin(cluster, admin), MemoryDisk(), times, stores, None, tmp_path,
    )  # fmt: skip
    monkeypatch.setattr("consumer.commands.wiring.ThreadExecutor", lambda *_, **__: HangingExecutor())
    monkeypatch.setattr("consumer.commands.wiring.OncePerFolder", lambda: lambda _: None)
    metrics = declare()
    worker = worker_of(settings, ports, TelemetryListener(metrics, {CLICKS: "clicks", SHOPS: "shops"}))
    stats: list[SourceStats] = []
    gauges = Gauges(metrics, times, broker.alive_at, lambda: stats[-1] if stats else None)
    monitor = Monitor(worker, SnapshotHolder(0.0), gauges, executor, times, lambda: False, Rounds())
    worker.start()
    yield Scene(times, cluster, admin, stores, metrics, worker, monitor, executor, stats, broker)
    monitor.close()
    worker.stop()


def test_it_sees_where_every_partition_stands(scene: Scene) -> None:
    snapshot = scene.run(60)
    found = {(status.partition.topic, status.partition.partition): status for status in snapshot.status.partitions}
    busy = found[CLICKS, 0]
    assert (busy.committed, busy.position, busy.end, busy.lag, busy.held) == (3, 5, 5, 0, 2)
    assert busy.open_days == (date(2026, 11, 22),)
    assert busy.last_cutoff == date(2026, 11, 21)
    assert busy.phase == "reading"
    assert busy.next_seal == datetime(2026, 11, 23, 4, tzinfo=UTC)
    assert busy.retention_hours == pytest.approx(7 * 24 - 3, abs=0.05)
    assert found[SHOPS, 0].open_days == ()
    assert found[SHOPS, 0].retention_hours == 7 * 24
    assert snapshot.unready == ()
    clicks = snapshot.streams[0]
    assert (clicks.name, clicks.partitions_total, clicks.last_complete) == ("clicks", 2, date(2026, 11, 21))
    assert [(cell.state, cell.published and cell.published.rows) for cell in clicks.days[-2:]] == [
        (DayState.COMPLETE, 3),
        (DayState.PENDING, None),
    ]


def test_it_sets_the_gauges_that_nobody_tells(scene: Scene) -> None:
    scene.run(60)
    place = {"stream": "clicks", "topic": CLICKS, "partition": "0"}
    assert scene.value("read_lag_records", **place) == 0
    assert scene.value("held_records", **place) == 2
    assert scene.value("committed_offset", **place) == 3
    assert scene.value("retention_headroom_seconds", **place) == pytest.approx(165 * 3600, abs=120)
    assert scene.value("last_sealed_day_timestamp_seconds", **place) == datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    assert (
        scene.value("last_complete_day_timestamp_seconds", stream="clicks")
        == datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    )
    assert scene.value("assigned_partitions", stream="clicks", topic=CLICKS) == 2
    assert scene.value("broker_reachable") == 1
    assert scene.value("store_reachable", stream="shops") == 1
    assert scene.value("spool_limit_bytes") == 20 << 30
    assert scene.value("spool_floor_bytes") == 2 << 30
    last_poll = scene.value("last_poll_timestamp_seconds")
    assert last_poll == pytest.approx(scene.times.now().timestamp(), abs=2)
    assert scene.value("uploads_total", stream="shops", outcome="failed") == 0
    assert scene.value("commits_total", **place, outcome="failed") == 0


def test_the_clients_statistics_are_shown_and_a_new_client_counts_on(scene: Scene) -> None:
    for rebalances in (2, 5, 1):
        scene.stats.append(SourceStats(3, 0.004, 70, 900, rebalances, "steady"))
        scene.run(1.5)
    assert scene.value("rebalances_total") == 6
    assert scene.value("broker_round_trip_seconds") == 0.004
    assert scene.value("fetch_queue_records") == 70
    assert scene.value("fetch_queue_bytes") == 900


def test_a_broker_out_of_reach_makes_it_unready_until_it_answers(scene: Scene) -> None:
    scene.run(30)
    scene.admin.calls = {"topic"}
    assert scene.run(10).unready == ("broker: Kafka: no broker is reachable",)
    assert scene.value("broker_reachable") == 0
    scene.admin.calls = set()
    assert scene.run(10).unready == ()
    assert scene.value("broker_reachable") == 1


def test_one_store_out_of_reach_leaves_the_others_at_work(scene: Scene) -> None:
    scene.run(30)
    scene.stores["clicks"].error = HaltError(HaltReason.MISSING_BUCKET, "bucket is gone")
    snapshot = scene.run(20)
    assert snapshot.unready == ()
    assert snapshot.streams[0].troubles == ("store: missing_bucket: bucket is gone",)
    assert scene.value("store_reachable", stream="clicks") == 0
    scene.stores["shops"].error = TransientError("down")
    assert scene.run(20).unready == ("store of clicks: missing_bucket: bucket is gone", "store of shops: down")
    scene.stores["clicks"].error = scene.stores["shops"].error = None
    assert scene.run(20).unready == ()


def test_a_question_without_an_answer_counts_as_out_of_reach(scene: Scene) -> None:
    scene.run(30)
    scene.executor.hang = True
    snapshot = scene.run(LATE_SECONDS + 20)
    assert any(text.startswith("broker: no answer for ") for text in snapshot.unready)
    assert scene.value("store_reachable", stream="clicks") == 0


def test_a_worker_outside_the_group_is_not_ready(scene: Scene) -> None:
    scene.monitor.advance()
    assert scene.monitor.snapshots.snapshot is not None
    assert scene.monitor.snapshots.snapshot.unready[0] == "not a member of the consumer group yet"


def test_a_mistake_of_its_own_is_logged_and_ends_nothing(scene: Scene) -> None:
    scene.run(30)
    scene.admin.calls, scene.admin.error = {"topic"}, RuntimeError("a bug")
    with capture_logs() as lines:
        assert scene.run(10).unready == ("broker: RuntimeError: a bug",)
    assert "monitor_failed" in {line["event"] for line in lines}
    scene.admin.calls = set()
    assert scene.run(10).unready == ()


def test_uploads_that_fail_are_counted_until_one_succeeds(scene: Scene) -> None:
    scene.stores["clicks"].refusals = 3
    snapshot = scene.run(2)
    assert any("403 AccessDenied" in text for text in snapshot.streams[0].troubles)
    snapshot = scene.run(60)
    assert scene.value("uploads_total", stream="clicks", outcome="failed") == 3
    assert scene.value("uploads_total", stream="clicks", outcome="written") == 1
    assert snapshot.streams[0].troubles == ()


def test_a_halted_partition_is_shown_beside_the_running_ones(scene: Scene) -> None:
    topic = scene.cluster.topic(SHOPS)
    assert topic is not None
    topic.settings["cleanup.policy"] = "compact"
    snapshot = scene.run(30)
    (halt,) = snapshot.status.halted
    assert (halt.stream, halt.partition, halt.reason) == ("shops", TopicPartition(SHOPS, 0), "compacted_topic")
    assert snapshot.unready == ()
    shops = snapshot.streams[1]
    assert [partition.phase for partition in shops.partitions] == ["halted"]
    assert any("cleanup.policy" in text for text in shops.troubles)
    assert shops.days[-1].state is DayState.HALTED
    assert snapshot.streams[0].days[-1].state is DayState.PENDING


def test_a_topic_that_is_gone_hides_nothing_of_the_others(scene: Scene) -> None:
    scene.run(30)
    scene.cluster.delete_topic(SHOPS)
    snapshot = scene.run(10)
    assert snapshot.unready == ()
    assert snapshot.streams[1].partitions_total is None
    assert snapshot.streams[0].partitions[0].end == 5


def test_a_topic_that_was_never_there_halts_its_stream_in_metrics_and_status(scene: Scene) -> None:
    """It has no partition to be shown at, and must not wait for yesterday to be missed."""
    place = {"stream": "shops", "topic": SHOPS, "partition": "", "reason": "missing_topic"}
    scene.cluster.delete_topic(SHOPS)
    snapshot = scene.run(10)
    assert [halt.to_json() for halt in snapshot.status.halted] == [
        {"stream": "shops", "partition": None, "reason": "missing_topic"}
    ]
    assert SHOPS in snapshot.status.halted[0].message
    assert scene.value("halted", **place) == 1
    scene.cluster.create_topic(SHOPS, 1)
    snapshot = scene.run(90)
    assert snapshot.status.halted == ()
    assert scene.value("halted", **place) is None


def test_what_is_known_of_a_partition_that_left_is_forgotten(scene: Scene) -> None:
    scene.run(30)
    place = {"stream": "clicks", "topic": CLICKS, "partition": "0"}
    other = MemoryBroker(scene.cluster, "group", clock=scene.times)
    other.subscribe([CLICKS, SHOPS])
    for _ in range(20):
        other.poll(0)
        scene.run(2)
    left = {partition.name for partition in scene.worker.partitions.values()}
    assert len(left) < 3
    shown = {status.partition for status in scene.run(5).status.partitions}
    assert shown == left
    assert (scene.value("read_lag_records", **place) is None) == (TopicPartition(CLICKS, 0) not in left)


def test_a_long_catch_up_is_logged_with_its_end(scene: Scene) -> None:
    scene.run(30)
    scene.broker.batch = 10
    for number in range(1200):
        scene.cluster.produce(PLACE, click(number, START), timestamp=int(START.timestamp() * 1000))
    with capture_logs() as lines:
        scene.run(120)
    told = [line for line in lines if line["event"] in {"catching_up", "caught_up"}]
    assert {line["event"] for line in told[:-1]} == {"catching_up"}
    assert told[-1]["event"] == "caught_up"
    assert told[-2]["per_second"] == pytest.approx(20, abs=2)
    assert told[-2]["seconds_left"] == pytest.approx(told[-2]["records_left"] / 20, rel=0.1)
    assert told[-1]["records_left"] == 0


# -- headroom ----------------------------------------------------------------------------------------------------

PLACE = TopicPartition(CLICKS, 0)


def stamped(*hours_ago: float) -> MemoryAdmin:
    cluster = MemoryCluster()
    cluster.create_topic(CLICKS, 1, {})
    for number, hours in enumerate(hours_ago):
        at = START - timedelta(hours=hours)
        cluster.produce(PLACE, click(number, at), timestamp=int(at.timestamp() * 1000))
    return MemoryAdmin(cluster)


def test_the_stamp_of_what_is_needed_is_found() -> None:
    admin = stamped(100, 50, 20, 10)
    found = stamp_at(admin, PLACE, 1, since=START - WEEK, until=START)
    assert found <= START - timedelta(hours=50)
    assert START - timedelta(hours=50) - found <= timedelta(minutes=1)


def test_an_older_record_with_a_newer_stamp_keeps_the_segment() -> None:
    found = stamp_at(stamped(100, 20, 50, 10), PLACE, 2, since=START - WEEK, until=START)
    assert START - timedelta(hours=20) - found <= timedelta(minutes=1)


def test_headroom_by_where_the_commit_stands() -> None:
    admin = stamped(100, 50)
    ends = LogEnds(0, 2, 2)
    assert find_headroom(admin, PLACE, ends, 2, WEEK, START).left(START) == WEEK
    assert find_headroom(admin, PLACE, LogEnds(1, 2, 2), 0, WEEK, START).left(START) == timedelta()
    left = find_headroom(admin, PLACE, ends, 1, WEEK, START).left(START)
    assert timedelta() <= WEEK - timedelta(hours=50) - left <= timedelta(minutes=1)
    assert find_headroom(admin, PLACE, ends, 1, timedelta(hours=30), START).left(START) == timedelta()


def test_little_headroom_is_warned_of_once_each_time(scene: Scene) -> None:
    """Three hours lie between the oldest row that is needed and now."""

    def keep(hours: int) -> None:
        topic = scene.cluster.topic(CLICKS)
        assert topic is not None
        topic.settings["retention.ms"] = str(hours * 3_600_000)
        scene.run(30)

    scene.run(30)
    with capture_logs() as lines:
        for hours in (28, 26, 25, 28, 26):
            keep(hours)
    told = [line for line in lines if line["event"] == "retention_near"]
    assert [(line["log_level"], line["partition"]) for line in told] == [("warning", str(PLACE))] * 2
    assert told[0]["hours_left"] == pytest.approx(23, abs=0.2)


def test_headroom_is_looked_for_again_when_it_may_have_changed() -> None:
    found = Headroom(5, START, WEEK)
    ends = LogEnds(0, 9, 9)
    assert found.holds(5, ends, WEEK)
    assert not found.holds(6, ends, WEEK)
    assert not found.holds(5, ends, WEEK / 2)
    assert not found.holds(5, LogEnds(6, 9, 9), WEEK)
    assert not Headroom(5, None, WEEK).holds(5, ends, WEEK)


def test_retention_by_age() -> None:
    admin = stamped()
    facts = admin.topic(CLICKS)
    assert facts is not None
    assert retention(facts) is None
    cluster = MemoryCluster()
    cluster.create_topic("kept", 1, {"retention.ms": "-1"})
    cluster.create_topic("short", 1, {"retention.ms": "60000"})
    kept, short = MemoryAdmin(cluster).topic("kept"), MemoryAdmin(cluster).topic("short")
    assert kept is not None
    assert short is not None
    assert retention(kept) is None
    assert retention(short) == timedelta(minutes=1)


def test_a_probe_says_what_is_wrong() -> None:
    times = Times()
    probe = Liveness(times)
    assert probe.trouble == "not asked yet"
    probe.answered("refused")
    assert probe.trouble == "refused"
    probe.answered()
    assert probe.trouble == ""
    times.seconds += LATE_SECONDS + 1
    assert probe.trouble == "no answer for 31 s"
