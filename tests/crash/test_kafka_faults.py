"""Kafka restarts, is cut off, and is changed by hand: offsets moved, groups and records deleted, topics made anew."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import rmtree

import orjson
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs forget one
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from consumer.spool.checkpoint import opened_text, sealed_text
from tests.conftest import KafkaFactory, ProxiedKafka
from tests.harness.gate import Gate, gate, nth, puts, puts_data
from tests.harness.oracle import Record, first_drop, today
from tests.harness.records import SCHEMAS, Made
from tests.harness.sink import Sink, await_true
from tests.harness.world import TOPIC_CONFIG, Stream, World
from tests.services.s3 import S3Address

ONE_DAY = timedelta(days=1)
EAGER = {"min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "1"}
"""Compaction of whatever segment is closed."""
DAYS = [today() - n * ONE_DAY for n in (8, 7, 6, 5, 4, 3, 2, 1, 0)]
FIRST, SECOND, YESTERDAY = DAYS[2], DAYS[4], DAYS[7]
SECONDS = 10
TERMINATED = 143


def filled(world: World, partitions: int = 1, count: int = 400) -> Stream:
    stream = world.add("events", partitions=partitions)
    world.ledger.send(stream.topic, 0, [stream.maker.row(DAYS[0])])
    world.fill(stream, DAYS, count)
    return stream


def refused(sink: Sink, reason: str) -> str:
    """It ends with 3 and names this reason; the message."""
    sink.done(3, 90)
    message = str(list(sink.lines())[-1]["message"])
    assert reason in message
    return message


def stopped(sink: Sink) -> None:
    """It ends well when asked to."""
    sink.terminate()
    sink.done(seconds=20)


def move(world: World, stream: Stream, offset: int, metadata: str = "") -> None:
    """Set the group's offset of partition 0 by hand, as one may while no member is there."""
    place = TopicPartition(stream.topic, 0, offset, metadata)
    admin = world.kafka.admin()  # a client that nobody holds is destroyed before it answers
    asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(world.group, [place])])
    assert asked[world.group].result(30).topic_partitions[0].error is None


def hurried(folder: Path) -> dict[str, str]:
    """The environment of a worker that asks each second, not each minute, whether a partition is nobody's."""
    hurry = folder / "hurry"
    hurry.mkdir()
    (hurry / "sitecustomize.py").write_text("import consumer.worker.loop as loop\nloop.UNOWNED_SECONDS = 1.0\n")
    return {"PYTHONPATH": str(hurry)}


# Outages


def test_a_broker_that_restarts_in_the_middle_of_a_seal_and_of_reading(
    worlds: Callable[..., World], own_kafka: KafkaFactory, minio: S3Address, tmp_path: Path
) -> None:
    """At the record, at an object, and while the next day is read. Commits wait for it; no row is lost or doubled.

    It asks all the while who owns what, which must not end the process: librdkafka's admin client once did.
    """
    server = own_kafka()
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(server.address, minio, endpoint=store_gate.url)
        stream = filled(world, partitions=2)
        stops = [store_gate.stop(puts(f"/_seals/{stream.topic}")), store_gate.stop(puts_data("events"))]
        sink = world.start("run", env=hurried(tmp_path))
        for stop in stops:
            stop.wait()
            server.kill()
            stop.forward()
            server.start()
        sink.until_said("day_published", day=str(YESTERDAY), seconds=120)
        server.kill()
        server.start()
        world.fill(stream, DAYS, 200)
        world.await_read(sink, seconds=90)
        stopped(sink)
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
        stopped(cut_off)
        assert world.lagging() == []
        world.judge()


def test_commits_whose_answers_are_lost(
    worlds: Callable[..., World], proxied_kafka: ProxiedKafka, minio: S3Address
) -> None:
    """The broker takes the commit and the answer never comes: SIGTERM does not wait for it, and it is read back."""
    with gate(minio.endpoint_url.removeprefix("http://")) as store_gate:
        world = worlds(proxied_kafka.direct, minio, endpoint=store_gate.url, bootstrap=proxied_kafka.bootstrap_servers)
        stream = filled(world)
        stop = store_gate.stop(last_object(FIRST), "after")
        sink = world.once(FIRST)
        stop.wait()
        toxic = proxied_kafka.proxy.black_hole()
        stop.forward()
        await_committed(world, stream, 0)
        sink.terminate()
        sink.done(TERMINATED, SECONDS)
        proxied_kafka.proxy.reset()

        stop = store_gate.stop(last_object(YESTERDAY), "after")
        sink = world.start("run")
        stop.wait()
        toxic = proxied_kafka.proxy.black_hole()
        stop.forward()
        await_committed(world, stream, 1)
        proxied_kafka.proxy.cut()
        proxied_kafka.proxy.remove(toxic)
        proxied_kafka.proxy.restore()
        sink.until_said("day_published", day=str(YESTERDAY), seconds=90)
        stopped(sink)
        assert world.lagging() == []
        world.judge(YESTERDAY)


def last_object(cutoff: date) -> Callable[[str, str], bool]:
    return lambda method, path: puts_data("events")(method, path) and f"dt={cutoff}/" in path


def await_committed(world: World, stream: Stream, seal: int) -> None:
    def done() -> bool:
        said = orjson.loads(world.committed()[(stream.topic, 0)].metadata or "{}")
        return bool(said.get("seal") == seal)

    await_true(done, 60, f"the commit of seal {seal}")


# Moved by hand


@pytest.mark.parametrize("kept", [True, False], ids=["spool kept", "spool gone"])
def test_the_offset_moved_by_hand(world: World, kept: bool) -> None:
    """The seal log knows better. Harmless, and told."""
    stream = filled(world)
    world.once(DAYS[0]).done()
    for place, cutoff in zip(("start", "back", "ahead", "end", "other metadata", "deleted"), DAYS[1:], strict=False):
        world.fill(stream, DAYS, 60)
        resume = world.committed()[(stream.topic, 0)].offset
        end = len(world.ledger.sent[(stream.topic, 0)])
        assert 0 < resume < end - 50
        if place == "deleted":
            admin = world.kafka.admin()
            admin.delete_consumer_groups([world.group])[world.group].result(30)
        else:
            to = {"start": 0, "back": resume - 1, "ahead": resume + 50, "end": end, "other metadata": resume}[place]
            move(world, stream, to, '{"chain":"0123456789abcdef","seal":7}' if place == "other metadata" else "")
        if not kept:
            rmtree(world.spool())
        sink = world.once(cutoff).done()
        notes = str(sink.said("partition_recovered")[0]["notes"])
        assert "the group's offset is" in notes
        assert ("spool kept" in notes) == kept
        assert world.lagging() == []
    world.judge(DAYS[6])


def test_a_commit_before_the_first_seal_and_another_folder_under_the_same_group(world: World) -> None:
    """Nothing is sealed in the folder yet: what lies below the commit is not ours, and the days say so.

    A new folder goes on where the old one stood, and takes no commit of the old chain as its own.
    """
    stream = filled(world)
    start = 200
    move(world, stream, start)
    world.once(FIRST).done()
    started_at(world, stream, start, FIRST)
    resume = world.committed()[(stream.topic, 0)].offset
    world.fill(stream, DAYS, 200)
    world.prefix = "another"
    world.prove()
    world.once(SECOND).done()
    started_at(world, stream, resume, SECOND)


def started_at(world: World, stream: Stream, start: int, cutoff: date) -> None:
    """Judge a folder whose chain began at this offset."""
    log = world.ledger.sent[(stream.topic, 0)]
    first = next(sent for sent in world.ledger.in_order(stream.topic, 0) if sent.offset >= start)
    log[:] = [sent for sent in log if sent.offset >= start]
    until = datetime.fromtimestamp(first.made.timestamp / 1000, UTC).date() + ONE_DAY
    world.judge(cutoff, why=lambda day: ["started_in_mid_log"] if day <= until else [])


# Records that are gone


def delete_below(world: World, stream: Stream, offset: int) -> None:
    """As retention does."""
    place = TopicPartition(stream.topic, 0, offset)
    admin = world.kafka.admin()
    found = admin.delete_records([place])
    assert found[place].result(30).low_watermark == offset


def test_records_deleted_that_the_spool_holds_then_some_that_nobody_holds(world: World) -> None:
    """The spool covers a hole. Without it: halt with the way out in the message; accept-gap; the days say so."""
    stream = filled(world)
    world.once(FIRST).done()
    delete_below(world, stream, world.committed()[(stream.topic, 0)].offset + 100)
    world.once(SECOND).done()
    world.judge(SECOND)

    world.fill(stream, DAYS, 200)
    resume = world.committed()[(stream.topic, 0)].offset
    lost_below = resume + 120
    delete_below(world, stream, lost_below)
    rmtree(world.spool())
    message = refused(world.once(YESTERDAY), "retention_hole")
    command = f"accept-gap {stream.topic}:0 {resume} {lost_below}"
    assert command in message
    world.start("accept-gap", f"{stream.topic}:0", str(resume + 1), str(lost_below)).done(2)
    world.start(*command.split()).done()
    world.once(YESTERDAY).done()
    (gap,) = (record for record in world.folder.records(stream.topic, 0) if record["kind"] == "gap")
    assert gap["lost"] == [resume, lost_below]
    # what was lost may have been of any day up to the one when it was found
    world.judge(YESTERDAY, why=lambda day: ["gap"] if day > SECOND or day in late(world, stream, gap) else [])


def test_a_seal_left_unfinished_whose_rows_are_gone_in_part(world: World, store_gate: Gate) -> None:
    """Killed between its objects, the spool lost, some of its rows deleted: what can still be had stands, once."""
    stream = filled(world)
    world.once(FIRST).done()
    stop = store_gate.stop(nth(puts_data("events"), 2), "before")
    killed = world.once(SECOND)
    stop.wait()
    killed.kill()
    stop.drop()
    pending = world.folder.records(stream.topic, 0)[-1]
    rmtree(world.spool())
    resume = world.committed()[(stream.topic, 0)].offset
    lost_below = resume + 100
    assert lost_below < pending["through"]
    delete_below(world, stream, lost_below)
    command = f"accept-gap {stream.topic}:0 {resume} {lost_below}"
    assert command in refused(world.once(SECOND), "retention_hole")
    world.start(*command.split()).done()
    world.once(YESTERDAY).done()
    (gap,) = (record for record in world.folder.records(stream.topic, 0) if record["kind"] == "gap")
    assert (gap["unfinished"], gap["lost"]) == (pending["n"], [resume, lost_below])
    world.start("verify").done()
    keys = [key for key in world.folder.keys("events/dt=") if key.endswith(".csv")]
    bodies = [world.folder.read(key).content.partition(b"\n")[2] for key in keys]
    sent = [each for each in world.ledger.sent[(stream.topic, 0)] if each.made.fate == "row"]
    stand = {each.offset: sum(body.count(each.made.line) for body in bodies) for each in sent}
    rows = sum(len(list(csv.reader(io.StringIO(body.decode(), newline="")))) for body in bodies)
    assert (set(stand.values()), sum(stand.values())) == ({0, 1}, rows), "a row that nobody sent, or one twice"
    missing = [e.offset for e in sent if not e.made.drops and e.made.day <= YESTERDAY and not stand[e.offset]]
    assert missing
    assert set(missing) <= set(range(resume, lost_below))


def late(world: World, stream: Stream, gap: Record) -> set[date]:
    """Days of which the seal after a gap holds rows."""
    closing = world.folder.records(stream.topic, 0)[gap["n"] + 1]
    return {date.fromisoformat(entry["day"]) for entry in closing["objects"]}


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


def configure(world: World, stream: Stream, name: str, value: str) -> None:
    """Change one setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, stream.topic, incremental_configs=[entry])
    admin = world.kafka.admin()
    admin.incremental_alter_configs([resource])[resource].result(30)


def visible_offsets(world: World, stream: Stream, end: int) -> list[int]:
    """What a reader of partition 0 gets, up to an offset that is there."""
    reader = Consumer({"bootstrap.servers": world.kafka.bootstrap_servers, "group.id": "nobody"})
    try:
        reader.assign([TopicPartition(stream.topic, 0, 0)])
        found: list[int] = []
        while not found or found[-1] < end:
            found += [int(message.offset() or 0) for message in reader.consume(1000, 1) if message.error() is None]
        return found
    finally:
        reader.close()


def test_a_topic_that_was_compacted(world: World) -> None:
    """It halts while compaction may delete rows. Set right, what compaction left is read over the holes."""
    stream = world.add("events", config={"cleanup.policy": "compact", "segment.ms": "300", **EAGER})
    rows = [replace(stream.maker.row(DAYS[n % 3]), key=f"k{n % 40}".encode()) for n in range(300)]
    world.ledger.send(stream.topic, 0, rows)
    end = len(rows) - 1

    def compacted() -> bool:
        nonlocal end
        world.ledger.send(stream.topic, 0, [stream.maker.row(SECOND)])  # a later stamp closes the old segment
        end += 1
        return len(visible_offsets(world, stream, end)) < end - 200

    await_true(compacted, 60, "the log is compacted")
    assert "cleanup.policy" in refused(world.once(SECOND), "compacted_topic")
    configure(world, stream, "cleanup.policy", "delete")
    kept = set(visible_offsets(world, stream, end))
    log = world.ledger.sent[(stream.topic, 0)]
    log[:] = [sent for sent in log if sent.offset in kept]
    world.once(SECOND).done()
    world.judge(SECOND)


# Other logs


def test_partitions_added_while_it_runs(world: World) -> None:
    """The new partitions are read from their beginning, and no day is published without them."""
    stream = filled(world)
    sink = world.waiting(over={"kafka": {"options": {"topic.metadata.refresh.interval.ms": 1000}}})
    sink.until_said("day_published", day=str(YESTERDAY - ONE_DAY))
    admin = world.kafka.admin()
    admin.create_partitions([NewPartitions(stream.topic, 3)])[stream.topic].result(30)
    stream.partitions = 3
    await_true(lambda: len(admin.list_topics(stream.topic, timeout=10).topics[stream.topic].partitions) == 3, 30, "3")
    world.fill(stream, DAYS, 300)
    world.await_read(sink, seconds=90)
    stopped(sink)
    world.once(YESTERDAY).done()
    found = world.judge(YESTERDAY)["events"]
    assert all(world.folder.records(stream.topic, partition)[-1]["objects"] for partition in range(3))
    assert found.rows > 300


def test_open_aborted_and_committed_transactions(world: World) -> None:
    """Rows behind an open transaction may not be read yet, the day waits for them; aborted ones are never seen.

    Partition 1 holds nothing else than an aborted transaction, the others end with the marks of transactions.
    """
    stream = world.add("events", partitions=3)
    rows = [stream.maker.row(DAYS[n % 3]) for n in range(400)]
    world.ledger.send(stream.topic, 0, rows[:100])
    world.ledger.send(stream.topic, 2, rows[100:150])
    world.ledger.transaction(
        "aborted", [(stream.topic, n % 3, row) for n, row in enumerate(rows[150:240])], commit=False
    )
    world.ledger.transaction("done", [(stream.topic, 0, row) for row in rows[240:300]], commit=True)
    producer = world.ledger.open_transaction("slow", [(stream.topic, 2, row) for row in rows[300:350]], visible=True)
    stable = 50 + 30 + 1
    world.ledger.send(stream.topic, 2, rows[350:])
    sink = world.start("run")

    def positions() -> dict[int, int]:
        return {p["partition"]: p["position"] for p in sink.status()["partitions"]}

    await_true(lambda: positions().get(2) == stable, 60, "all that is stable is read")
    await_true(lambda: "0" in sealed(world, stream) and "1" in sealed(world, stream), 60, "the others are sealed")
    assert "2" not in sealed(world, stream)
    assert [key for key in world.folder.keys("events/") if "_SUCCESS" in key] == []
    producer.commit_transaction(30)
    sink.until_said("day_published", day=str(YESTERDAY))
    stopped(sink)
    assert world.judge(YESTERDAY)["events"].rows == 310
    assert positions_in(world, stream) == [192, 31, 182]


def sealed(world: World, stream: Stream) -> set[str]:
    """Partitions that have a record."""
    return {key.split("/")[2] for key in world.folder.keys(f"_seals/{stream.topic}/")}


def positions_in(world: World, stream: Stream) -> list[int]:
    """Where the newest records end."""
    return [int(world.folder.records(stream.topic, p)[-1]["through"]) for p in range(stream.partitions)]


def test_batches_of_every_codec_with_messages_at_the_size_limit(world: World) -> None:
    limit = 5 << 20
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        stream = world.add(codec, "events", config={"max.message.bytes": str(limit)})
        made = [stream.maker.row(DAYS[n % 2], fat=limit - 8000 if n % 20 == 0 else 0) for n in range(40)]
        world.ledger.send(stream.topic, 0, made, compression_type=codec, message_max_bytes=str(limit))
    world.once(FIRST).done()
    world.judge(FIRST)


# Settings and releases


def test_filters_and_schema_changed_with_rows_open_and_a_seal_pending(world: World, store_gate: Gate) -> None:
    """Each offset is judged by the settings of the seal that covers it, forever."""
    stream = filled(world)
    world.once(FIRST).done()
    world.fill(stream, DAYS, 300)
    stop = store_gate.stop(lambda method, path: method == "PUT" and path.endswith("/0/00000001.json"), "after")
    pending = world.once(SECOND)
    stop.wait()
    pending.kill()
    stop.drop()
    wider = world.home / "wider.avsc"
    shipped = stream.maker.kind.schema
    added = {"name": "added_later", "type": ["null", "string"], "default": None}
    wider.write_text(json.dumps({**shipped, "fields": [*shipped["fields"], added]}))
    filters = {"environments": ["PRODUCTION", "sandbox"], "include_without_profile": True}
    new = {"filter": filters, "schema": str(wider), "writer_schema": str(SCHEMAS / "events.avsc")}
    over = {"streams": {"events": new}}
    world.fill(stream, DAYS, 300)
    world.once(SECOND, over=over).done()
    world.fill(stream, DAYS, 300)
    world.once(YESTERDAY, over=over).done()
    chain = world.folder.records(stream.topic, 0)
    assert [record["settings"] == chain[0]["settings"] for record in chain] == [True, True, False]

    def policy(made: Made, covering: Record) -> str | None:
        if covering.get("settings", chain[-1]["settings"]) == chain[0]["settings"]:
            return first_drop(made, covering)
        sandbox = made.drops and made.drops[-1] == "environment" and b"Sandbox" in made.line
        left = [d for d in made.drops if d != "profile" and not (d == "environment" and sandbox)]
        return left[0] if left else None

    def columns(record: Record) -> tuple[str, ...]:
        return () if record["settings"] == chain[0]["settings"] else ("added_later",)

    world.judge(YESTERDAY, policy=policy, added=columns)


def test_a_release_rolled_back(world: World) -> None:
    """What a newer release wrote is refused, never guessed at: row rules and records halt, a spool is read again."""
    stream = filled(world)
    world.once(FIRST).done()
    key = f"_seals/{stream.topic}/0/00000000.json"
    ours = world.folder.read(key)
    record = orjson.loads(ours.body)
    before = world.folder.listing()

    newer = json.dumps({**record, "version": record["version"] + 1}).encode()
    world.folder.put(key, newer)
    assert "deploy that release again" in refused(world.once(SECOND), "chain_newer")

    settings = world.folder.document(f"_seals/_settings/{record['settings']}.json")
    document = orjson.dumps({**settings, "version": settings["version"] + 1}, option=orjson.OPT_SORT_KEYS)
    world.folder.put("_seals/_settings/00000000000000aa.json", document)
    world.folder.put(key, json.dumps({**record, "settings": "00000000000000aa"}).encode())
    assert "deploy that release again" in refused(world.once(SECOND), "chain_newer")

    world.folder.put(key, ours.body, ours.metadata)
    world.folder.delete("_seals/_settings/00000000000000aa.json")
    assert world.folder.listing().keys() == before.keys()
    spool_of_newer_release(world.spool())
    sink = world.once(SECOND).done()
    assert sink.said("partition_recovered", notes=[]) != []
    world.judge(SECOND)


def spool_of_newer_release(spool: Path) -> None:
    """Give every checkpoint a version that is not known yet."""
    with sqlite3.connect(spool / "checkpoints.sqlite") as connection:
        found = connection.execute("SELECT name, document FROM checkpoints").fetchall()
        for folder, document in found:
            raw = orjson.loads(opened_text(document))
            newer = sealed_text(orjson.dumps({**raw, "version": raw["version"] + 1}))
            connection.execute("UPDATE checkpoints SET document = ? WHERE name = ?", (newer, folder))
    connection.close()
    assert found


# The group


def test_a_static_member_that_returns_with_one_more_topic(world: World, tmp_path: Path) -> None:
    """The group gives it its old share without a rebalance; it notices the new topic that is nobody's."""
    world.over = {"kafka": {"instance_id": "one", "options": {"session.timeout.ms": 60_000}}}
    filled(world)
    first = world.start("run")
    first.until_said("day_published", day=str(YESTERDAY))
    first.kill()
    second = world.add("paywall_views", "paywall_views", "json")
    world.fill(second, DAYS, 100)
    again = world.start("run", env=hurried(tmp_path))
    again.until_said("day_published", stream="paywall_views", day=str(YESTERDAY))
    assert again.said("rebalanced")[0]["assigned"][second.topic] == 0
    stopped(again)
    world.judge(YESTERDAY)
