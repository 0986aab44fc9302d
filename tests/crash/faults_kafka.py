"""Kafka restarts, is cut off, and is changed by hand: offsets moved, groups and records deleted, topics made anew."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from shutil import rmtree
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # its stubs forget it

from tests.conftest import KafkaFactory, ProxiedKafka
from tests.harness.gate import Gate, gate, puts, puts_data
from tests.harness.oracle import Record, first_drop, today
from tests.harness.records import Made
from tests.harness.sink import Sink, await_true
from tests.harness.world import TOPIC_CONFIG, Stream, World
from tests.services.s3 import S3Address

ONE_DAY = timedelta(days=1)
DAYS = [today() - n * ONE_DAY for n in (5, 4, 3, 2, 1, 0)]
FIRST, SECOND, YESTERDAY = DAYS[1], DAYS[3], DAYS[4]


def filled(world: World, partitions: int = 1, count: int = 600) -> Stream:
    stream = world.add("events", partitions=partitions)
    world.fill(stream, DAYS, count)
    return stream


def refused(sink: Sink, reason: str) -> str:
    """It ends with 3 and names this reason; the message."""
    sink.done(3, 90)
    message = str(list(sink.lines())[-1]["message"])
    assert reason in message
    return message


def move(world: World, stream: Stream, offset: int, metadata: str = "") -> None:
    """Set the group's offset of partition 0 by hand, as one may while no member is there."""
    place = TopicPartition(stream.topic, 0, offset, metadata)
    admin = world.kafka.admin()  # a client that nobody holds is destroyed before it answers
    asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(world.group, [place])])
    assert asked[world.group].result(30).topic_partitions[0].error is None


# Outages


@pytest.mark.parametrize("asked", [puts("/_seals/events"), puts_data("events")], ids=["record", "object"])
def test_a_broker_that_restarts_in_the_middle_of_a_seal(
    worlds: Callable[..., World], own_kafka: KafkaFactory, minio: S3Address, asked: Any
) -> None:
    """Commits wait for it; no row is lost or doubled."""
    server = own_kafka()
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(server.address, minio, endpoint=store_gate.url)
        stream = filled(world, partitions=2)
        stop = store_gate.stop(asked)
        sink = world.start("run")
        stop.wait()
        server.kill()
        stop.forward()
        server.start()
        sink.until_said("day_published", day=str(YESTERDAY), seconds=120)
        world.fill(stream, DAYS, 200)
        world.await_read(sink, seconds=90)
        sink.terminate()
        sink.done()
        assert world.lagging() == []
        world.judge()


@pytest.mark.parametrize("phase", ["reading", "committing"])
def test_a_worker_cut_off_beyond_its_session(
    worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: S3Address, phase: str
) -> None:
    """Another takes its partitions and seals them; it comes back, and only one of them is right about each row."""
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(proxied_kafka.direct, minio, endpoint=store_gate.url)
        stream = filled(world)
        there = {"kafka": {"bootstrap_servers": proxied_kafka.bootstrap_servers}}
        if phase == "committing":
            stop = store_gate.stop(puts_data("events"), "after")
            cut_off = world.start("run", worker="far", over=there)
            stop.wait()
            proxied_kafka.proxy.cut()
            stop.forward()
        else:
            cut_off = world.waiting("far", over=there)
            cut_off.until_said("day_published")
            world.fill(stream, DAYS, 200)
            world.await_read(cut_off)
            proxied_kafka.proxy.cut()
        world.once(YESTERDAY, worker="b").done()
        proxied_kafka.proxy.restore()
        world.fill(stream, DAYS, 200)
        world.await_read(cut_off, seconds=90)
        cut_off.terminate()
        cut_off.done()
        assert world.lagging() == []
        world.judge()


def test_commits_whose_answers_are_lost(
    worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: S3Address
) -> None:
    """The broker takes the commit and the answer never comes: the offset is read back, not assumed."""
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(proxied_kafka.direct, minio, endpoint=store_gate.url, bootstrap=proxied_kafka.bootstrap_servers)
        stream = filled(world)
        stop = store_gate.stop(lambda m, p: puts_data("events")(m, p) and str(YESTERDAY) in p, "after")
        sink = world.start("run")
        stop.wait()
        toxic = proxied_kafka.proxy.black_hole()
        stop.forward()
        await_true(lambda: "chain" in (world.committed()[(stream.topic, 0)].metadata or ""), 60, "the commit")
        proxied_kafka.proxy.cut()
        proxied_kafka.proxy.remove(toxic)
        proxied_kafka.proxy.restore()
        sink.until_said("day_published", day=str(YESTERDAY), seconds=90)
        sink.terminate()
        sink.done()
        assert world.lagging() == []
        world.judge(YESTERDAY)


# Moved by hand


@pytest.mark.parametrize("kept", [True, False], ids=["spool kept", "spool gone"])
@pytest.mark.parametrize("to", ["start", "back", "ahead", "end", "other metadata", "deleted"])
def test_the_offset_moved_by_hand(world: World, to: str, kept: bool) -> None:
    """The seal log knows better. Harmless, and told."""
    stream = filled(world)
    world.once(FIRST).done()
    world.fill(stream, DAYS, 200)
    resume = world.committed()[(stream.topic, 0)].offset
    end = len(world.ledger.sent[(stream.topic, 0)])
    assert 0 < resume < end
    if to == "deleted":
        admin = world.kafka.admin()
        admin.delete_consumer_groups([world.group])[world.group].result(30)
    else:
        places = {"start": 0, "back": resume - 1, "ahead": resume + 50, "end": end, "other metadata": resume}
        move(world, stream, places[to], '{"chain":"0123456789abcdef","seal":7}' if to == "other metadata" else "")
    if not kept:
        rmtree(world.spool())
    sink = world.once(SECOND).done()
    notes = str(sink.said("partition_recovered")[0]["notes"])
    assert "the group's offset is" in notes
    assert world.lagging() == []
    world.judge(SECOND)


def test_a_commit_before_the_first_seal_is_where_it_starts(world: World) -> None:
    """Nothing is sealed in the folder yet: what lies below the commit is not ours, and the days say so."""
    stream = filled(world)
    start = 200
    move(world, stream, start)
    world.once(SECOND).done()
    log = world.ledger.sent[(stream.topic, 0)]
    first = next(sent for sent in world.ledger.in_order(stream.topic, 0) if sent.offset >= start)
    log[:] = [sent for sent in log if sent.offset >= start]
    until = datetime.fromtimestamp(first.made.timestamp / 1000, UTC).date() + ONE_DAY
    world.judge(SECOND, why=lambda day: ["started_in_mid_log"] if day <= until else [])


def test_another_folder_under_the_same_group(world: World) -> None:
    """The new folder goes on where the old one stood, and takes no commit of the old chain as its own."""
    stream = filled(world)
    world.once(FIRST).done()
    world.judge(FIRST)
    resume = world.committed()[(stream.topic, 0)].offset
    world.fill(stream, DAYS, 200)
    world.prefix = "another"
    world.prove()
    world.once(SECOND).done()
    log = world.ledger.sent[(stream.topic, 0)]
    first = next(sent for sent in world.ledger.in_order(stream.topic, 0) if sent.offset >= resume)
    log[:] = [sent for sent in log if sent.offset >= resume]
    until = datetime.fromtimestamp(first.made.timestamp / 1000, UTC).date() + ONE_DAY
    world.judge(SECOND, why=lambda day: ["started_in_mid_log"] if day <= until else [])


# Records that are gone


def delete_below(world: World, stream: Stream, offset: int) -> None:
    """As retention does."""
    place = TopicPartition(stream.topic, 0, offset)
    admin = world.kafka.admin()
    found = admin.delete_records([place])
    assert found[place].result(30).low_watermark == offset


def test_records_deleted_that_the_spool_still_holds(world: World) -> None:
    """The spool covers the hole."""
    stream = filled(world)
    world.once(FIRST).done()
    resume = world.committed()[(stream.topic, 0)].offset
    delete_below(world, stream, resume + 100)
    world.once(SECOND).done()
    world.judge(SECOND)


def test_records_deleted_that_nobody_holds(world: World) -> None:
    """Halt with the way out in the message; accept-gap; the days say that something is missing, and it goes on."""
    stream = filled(world)
    world.once(FIRST).done()
    resume = world.committed()[(stream.topic, 0)].offset
    lost_below = resume + 100
    delete_below(world, stream, lost_below)
    rmtree(world.spool())
    message = refused(world.once(SECOND), "retention_hole")
    command = f"accept-gap {stream.topic}:0 {resume} {lost_below}"
    assert command in message
    world.start("accept-gap", f"{stream.topic}:0", str(resume + 1), str(lost_below)).done(2)
    world.start(*command.split()).done()
    world.once(SECOND).done()
    world.fill(stream, DAYS, 100)
    world.once(YESTERDAY).done()

    def why(day: date) -> list[str]:
        return ["gap"] if FIRST < day <= SECOND or day in in_gap else []

    gap = next(record for record in world.folder.records(stream.topic, 0) if record["kind"] == "gap")
    seals = world.folder.records(stream.topic, 0)
    closing = seals[gap["n"] + 1]
    in_gap = {date.fromisoformat(entry["day"]) for entry in closing["objects"]}
    assert gap["lost"] == [resume, lost_below]
    world.judge(YESTERDAY, why=why)


def test_a_topic_made_anew(world: World) -> None:
    """Its offsets mean other records: halt, and a new folder and group are the way out."""
    stream = filled(world)
    world.once(FIRST).done()
    before = world.folder.listing()
    world.kafka.delete_topic(stream.topic)
    admin = world.kafka.admin()
    await_true(lambda: stream.topic not in admin.list_topics(timeout=10).topics, 30, "it is gone")
    world.kafka.create_topic(stream.topic, 1, TOPIC_CONFIG)
    world.ledger.sent.clear()
    world.fill(stream, DAYS, 900)
    assert "new folder" in refused(world.once(SECOND), "topic_recreated")
    assert world.folder.listing() == before


def test_a_topic_that_is_not_there(world: World) -> None:
    """The other stream is sealed all the same."""
    stream = filled(world)
    other = world.add("paywall_views", "paywall_views", "json")
    world.fill(other, DAYS, 100)
    over = {"streams": {"paywall_views": {"topic": f"{other.topic}-missing"}}}
    message = refused(world.once(SECOND, over=over), "missing_topic")
    assert f"{other.topic}-missing" in message
    assert world.folder.keys(f"{stream.name}/dt=")
    world.once(SECOND).done()
    world.judge(SECOND)


def test_a_compacted_topic(world: World) -> None:
    stream = world.add("events", config={"cleanup.policy": "compact"})
    world.ledger.send(stream.topic, 0, [stream.maker.row(DAYS[0])])
    assert "cleanup.policy" in refused(world.once(SECOND), "compacted_topic")


# Other logs


def test_partitions_added_while_it_runs(world: World) -> None:
    """The new partition is read from its beginning, and no day is published without it."""
    stream = filled(world)
    world.once(FIRST).done()
    sink = world.start("run", over={"kafka": {"options": {"topic.metadata.refresh.interval.ms": 1000}}})
    sink.until_said("day_published", day=str(YESTERDAY))
    admin = world.kafka.admin()
    admin.create_partitions([NewPartitions(stream.topic, 3)])[stream.topic].result(30)
    stream.partitions = 3
    await_true(lambda: len(admin.list_topics(stream.topic, timeout=10).topics[stream.topic].partitions) == 3, 30, "3")
    world.fill(stream, DAYS, 300)
    world.await_read(sink, seconds=90)
    sink.terminate()
    sink.done()
    world.once(YESTERDAY).done()
    world.judge()


def test_an_open_transaction_is_waited_for(world: World) -> None:
    """Rows behind an open transaction may not be read yet; the day waits for them."""
    stream = filled(world)
    made = [(stream.topic, 0, stream.maker.row(DAYS[0])) for _ in range(50)]
    producer = world.ledger.open_transaction("slow", made, visible=True)
    world.ledger.send(stream.topic, 0, [stream.maker.row(DAYS[0]) for _ in range(50)])
    sink = world.start("run")
    await_true(lambda: [p["position"] for p in sink.status()["partitions"]] == [600], 60, "all that is stable is read")
    assert world.folder.keys(f"_seals/{stream.topic}/") == []
    producer.commit_transaction(30)
    sink.until_said("day_published", day=str(YESTERDAY))
    sink.terminate()
    sink.done()
    assert world.judge(YESTERDAY)["events"].days[DAYS[0]] > 100


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_codec_and_messages_at_the_size_limit(world: World, codec: str) -> None:
    stream = world.add("events", config={"max.message.bytes": str(6 << 20)})
    limits = {"compression_type": codec, "message_max_bytes": str(6 << 20)}
    made = [stream.maker.row(DAYS[n % 2], fat=5_000_000 if n % 50 == 0 else 0) for n in range(200)]
    world.ledger.send(stream.topic, 0, made, **limits)
    world.once(FIRST).done()
    world.judge(FIRST)


# Settings changed


def test_filters_changed_with_rows_open_and_a_seal_pending(world: World, store_gate: Gate) -> None:
    """Each offset is judged by the settings of the seal that covers it, for ever."""
    stream = filled(world)
    world.once(FIRST).done()
    world.fill(stream, DAYS, 300)
    stop = store_gate.stop(lambda method, path: method == "PUT" and path.endswith("/0/00000001.json"), "after")
    pending = world.once(SECOND)
    stop.wait()
    pending.kill()
    stop.drop()
    over = {
        "streams": {"events": {"filter": {"environments": ["PRODUCTION", "sandbox"], "include_without_profile": True}}}
    }
    world.fill(stream, DAYS, 300)
    world.once(SECOND, over=over).done()
    world.fill(stream, DAYS, 300)
    world.once(YESTERDAY, over=over).done()
    chain = world.folder.records(stream.topic, 0)
    assert [record["settings"] == chain[0]["settings"] for record in chain][:2] == [True, True]
    assert chain[-1]["settings"] != chain[0]["settings"]

    def policy(made: Made, covering: Record) -> str | None:
        if covering.get("settings", chain[-1]["settings"]) == chain[0]["settings"]:
            return first_drop(made, covering)
        sandbox = made.drops and made.drops[-1] == "environment" and b"Sandbox" in made.line
        left = [d for d in made.drops if d != "profile" and not (d == "environment" and sandbox)]
        return left[0] if left else None

    world.judge(YESTERDAY, policy=policy)
