"""`status` and `accept-gap` by their command lines, around a hole that retention tore."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.conftest import BucketFactory, KafkaFactory
from tests.harness.oracle import today
from tests.harness.world import World, closing
from tests.integration.commands import Ended, command
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FIRST = today() - timedelta(days=3)
SECOND = FIRST + timedelta(days=1)
YESTERDAY = today() - timedelta(days=1)
WEEK_HOURS = 7 * 24


@pytest.fixture
def world(tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as made:
        yield made


def delete_below(world: World, topic: str, offset: int) -> None:
    """What retention does."""
    admin = world.kafka.admin()
    place = TopicPartition(topic, 0, offset)
    for answer in admin.delete_records([place]).values():
        assert answer.result(30).low_watermark == offset


def first_of(ended: Ended) -> dict[str, object]:
    assert ended.code == 0, ended.err
    found: dict[str, object] = ended.document["partitions"][0]
    return found


def test_a_hole_is_shown_halts_and_is_accepted(world: World) -> None:
    stream = world.add("events", "events", "avro")
    settings = world.settings()
    new = first_of(command(settings, "status", "--json"))
    assert (new["committed"], new["end"], new["held"], new["last_cutoff"]) == (None, 0, None, None)
    world.ledger.send(stream.topic, 0, [stream.maker.row(FIRST) for _ in range(40)])
    world.once(FIRST).done()
    world.ledger.send(stream.topic, 0, [stream.maker.row(SECOND) for _ in range(60)])
    before = first_of(command(settings, "status", "--json"))
    assert (before["committed"], before["end"], before["held"]) == (40, 100, 60)
    assert (before["stream"], before["topic"], before["partition"]) == ("events", stream.topic, 0)
    assert (before["last_cutoff"], before["retention_hours"]) == (str(FIRST), None)
    assert (before["position"], before["lag"], before["open_days"]) == (None, None, None)
    gap = ("accept-gap", f"{stream.topic}:0")
    refused = command(settings, *gap, "40", "70")
    assert (refused.code, "nothing is lost: offset 40" in refused.err) == (2, True)

    delete_below(world, stream.topic, 70)
    halted = world.once(YESTERDAY).done(3)
    assert "retention_hole" in halted.tail()
    shown = command(settings, "status", "--json").document
    assert shown["halted"] == [{"stream": "events", "partition": 0, "reason": "retention_hole"}]
    assert f"accept-gap {stream.topic}:0 40 70" in command(settings, "status").out
    for first, end in (("39", "70"), ("40", "71"), ("0", "70")):
        refused = command(settings, *gap, first, end)
        assert (refused.code, "the lost offsets are 40 to 70" in refused.err) == (2, True)
    records = world.folder.keys(f"_seals/{stream.topic}/")
    accepted = command(settings, *gap, "40", "70", "--json")
    key = f"_seals/{stream.topic}/0/{1:08d}.json"
    assert accepted.document == {"partition": f"{stream.topic}:0", "lost": [40, 70], "record": key, "n": 1}
    assert world.folder.keys(f"_seals/{stream.topic}/") == [*records, key]
    again = command(settings, *gap, "40", "70")
    assert (again.code, "nothing is lost: offset 70" in again.err) == (2, True)

    world.once(YESTERDAY).done()
    manifest = world.folder.document(f"events/dt={SECOND}/_manifest.json")
    assert (manifest["rows"], manifest["why"], manifest["complete"]) == (30, ["gap"], False)
    after = command(settings, "status", "--json").document
    assert (after["halted"], after["partitions"][0]["committed"]) == ([], 100)
    assert command(settings, "verify").code == 0


def test_without_a_chain_the_commit_is_what_is_needed(world: World) -> None:
    stream = world.add("events", "events", "avro")
    settings = world.settings()
    world.ledger.send(stream.topic, 0, [stream.maker.row(SECOND) for _ in range(50)])
    delete_below(world, stream.topic, 20)
    gap = ("accept-gap", f"{stream.topic}:0")
    refused = command(settings, *gap, "0", "20")
    assert (refused.code, "nothing was sealed or committed" in refused.err) == (2, True)
    consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": world.group})
    consumer.commit(offsets=[TopicPartition(stream.topic, 0, 5)], asynchronous=False)
    consumer.close()
    assert command(settings, *gap, "5", "20").code == 0
    world.once(YESTERDAY).done()
    assert world.folder.records(stream.topic, 0)[0]["lost"] == [5, 20]
    assert command(settings, "verify").code == 0


def test_hours_until_retention(world: World) -> None:
    stream = world.add("events", "events", "avro", config={"retention.ms": str(WEEK_HOURS * 3_600_000)})
    settings = world.settings()
    stamp = datetime.now(UTC) - timedelta(hours=48)
    producer = Producer({"bootstrap.servers": world.bootstrap})
    for n in range(30):
        at = stamp + timedelta(hours=n)
        value = stream.maker.row(FIRST).value
        producer.produce(stream.topic, value, partition=0, timestamp=int(at.timestamp() * 1000))
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": world.group})
    consumer.commit(offsets=[TopicPartition(stream.topic, 0, 10)], asynchronous=False)
    consumer.close()
    found = first_of(command(settings, "status", "--json"))
    assert found["retention_hours"] == pytest.approx(WEEK_HOURS - 38, abs=0.1)


def test_a_cluster_that_never_had_a_group(own_kafka: KafkaFactory, tmp_path: Path) -> None:
    """It answers NOT_COORDINATOR at first, which librdkafka's admin client does not survive."""
    kafka = own_kafka()
    kafka.create_topic("fresh")
    settings = tmp_path / "sink.toml"
    url = (tmp_path / "out").as_uri()
    settings.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\n[destination]\nurl = "{url}"\n'
        '[spool]\ndirectory = "spool"\n[schedule]\ngive_up_after = "30s"\n[streams.events]\ntopic = "fresh"\n'
    )
    assert first_of(command(settings, "status", "--json"))["committed"] is None


def test_other_streams_and_outages(world: World) -> None:
    world.add("events", "events", "avro")
    over = {"streams": {"views": {"kind": "paywall_views", "topic": "no-such-topic"}}}
    shown = command(world.settings(over=over), "status", "--json")
    assert shown.document["halted"] == [{"stream": "views", "partition": None, "reason": "missing_topic"}]
    assert len(shown.document["partitions"]) == 1
    assert command(world.settings(over=over), "accept-gap", "no-such-topic:0", "0", "1").code == 3
    down = world.settings(
        "b", over={"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "schedule": {"give_up_after": "1s"}}
    )
    ended = command(down, "status")
    assert (ended.code, "gave up" in ended.err) == (4, True)
