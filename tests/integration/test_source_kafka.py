"""The real adapter on a real Kafka that is cut off, killed, restarted, refused and flooded."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError, UsageError
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source import broker as kafka_module
from consumer.source.admin import KafkaAdmin
from consumer.source.broker import KafkaBroker
from consumer.source.port import Event
from tests.conftest import KafkaFactory, ProxiedKafka, TopicFactory
from tests.contract.worlds import KafkaWorld, Watcher, poll_all, texts, until
from tests.services.kafka import KafkaAddress

SESSION = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}


@pytest.fixture(params=["classic", "consumer"])
def world(request: pytest.FixtureRequest, kafka: KafkaAddress, topic: TopicFactory) -> Iterator[KafkaWorld]:
    made = KafkaWorld(kafka, topic, request.param)
    yield made
    made.close()


def settings(address: str, group: str, **options: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=address, group_id=group, options={"fetch.wait.max.ms": "50", **options})


def events_until_error(broker: KafkaBroker, seconds: float = 30) -> tuple[list[Event], TransientError]:
    end = time.monotonic() + seconds
    events: list[Event] = []
    while time.monotonic() < end:
        try:
            events += broker.poll(0.1)
        except TransientError as error:
            return events, error
    raise AssertionError("no error came")


# Static members


def test_of_two_live_workers_with_one_instance_id_one_must_go(world: KafkaWorld) -> None:
    """Classic: the newcomer fences the holder. KIP-848: the holder stays, the newcomer waits a session, then goes."""
    topic = world.topic()
    holder = Watcher(world.broker("twin"), topic)
    holder.until_assigned(1)
    newcomer = KafkaBroker(world.settings("twin"), session_seconds=1)
    watched = Watcher(newcomer, topic)
    try:
        with pytest.raises(UsageError, match="instance_id"):
            poll_all([holder, watched], lambda: False)
        stays = watched if world.protocol == "classic" else holder
        stays.until_assigned(1)
        lease = stays.start(next(iter(stays.live.values())))
        world.send(lease.partition, b"on it goes")
        stays.until_end(lease, 1)
        stays.broker.commit(lease, Commit(1))
    finally:
        newcomer.close()


def test_the_instance_id_of_a_dead_worker_is_waited_for(proxied_kafka: ProxiedKafka, topic: TopicFactory) -> None:
    """KIP-848: the brokers hold the id until the session of the one who is gone runs out."""
    world = KafkaWorld(proxied_kafka.direct, topic, "consumer")
    name = world.topic()
    there = world.settings("twin").model_copy(update={"bootstrap_servers": proxied_kafka.bootstrap_servers})
    dead = KafkaBroker(there, session_seconds=1)
    try:
        first = Watcher(dead, name)
        first.until_assigned(1)
        proxied_kafka.proxy.cut()
        second = Watcher(world.broker("twin"), name)
        second.until_assigned(1)
        assert any("instance" in str(outage) for outage in second.outages)
        proxied_kafka.proxy.restore()
        with pytest.raises(UsageError, match="instance_id"):
            first.until(lambda: False)
        assert first.live == {}
        assert second.quiet() == []
        assert len(second.live) == 1
    finally:
        dead.close()
        world.close()


# Outages


def test_one_that_was_cut_off_commits_nothing_and_learns_that_it_lost(
    proxied_kafka: ProxiedKafka, topic: TopicFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "COMMIT_SECONDS", 1.0)
    world = KafkaWorld(proxied_kafka.direct, topic, "classic")
    name = world.topic()
    there = world.settings(**SESSION).model_copy(update={"bootstrap_servers": proxied_kafka.bootstrap_servers})
    zombie = KafkaBroker(there)
    try:
        first = Watcher(zombie, name)
        old = first.start_first()
        first.until_end(old, 0)
        proxied_kafka.proxy.cut()
        polled = zombie.alive_at()
        with pytest.raises(UnknownOutcomeError):
            zombie.commit(old, Commit(5, "zombie"))
        assert zombie.alive_at() > polled
        second = Watcher(world.broker(), name)
        second.until_assigned(1)
        second.broker.commit(second.live[old.partition], Commit(3, "owner"))
        first.until(lambda: old in first.lost)
        with pytest.raises(LeaseLostError):
            zombie.commit(old, Commit(6, "zombie"))
        proxied_kafka.proxy.restore()
        second.broker.close()
        again = first.start_first()
        world.send(old.partition, b"back")
        first.until_end(again, 1)
    finally:
        zombie.close()
        world.close()


def test_reading_goes_on_after_a_broker_was_killed_and_leaving_one_that_is_silent_takes_seconds(
    own_kafka: KafkaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_module, "COMMIT_SECONDS", 1.0)
    server = own_kafka()
    world = KafkaWorld(server.address, topic_made_before, "classic")
    server.create_topic("kept", 2)
    places = [TopicPartition("kept", 0), TopicPartition("kept", 1)]
    for place in places:
        world.send(place, *texts(0, 1000))
    broker = world.broker()
    member = Watcher(broker, "kept")
    member.auto_start = 0
    member.until_assigned(2)
    for place in places:
        member.until_end(member.live[place], 1000)
    server.kill()
    member.until(lambda: bool(member.outages))
    with pytest.raises(TransientError):
        KafkaAdmin(world.settings(), seconds=1).ends(places)
    polled = broker.alive_at()
    with pytest.raises(TransientError):
        broker.commit(member.live[places[0]], Commit(7))
    assert broker.alive_at() > polled
    server.start()
    for place in places:
        world.send(place, *texts(1000, 1500))
    member.until(lambda: all(place in member.live and member.position[member.live[place]] == 1500 for place in places))
    server.pause()
    with pytest.raises(TransientError):
        broker.commit(member.live[places[0]], Commit(8))
    began = time.monotonic()
    broker.close()
    assert time.monotonic() - began < 7
    server.resume()


def topic_made_before(_partitions: int, **_config: object) -> str:
    raise AssertionError("the test makes its topics on its own server")


def test_a_damaged_batch_is_told_and_is_never_passed_over(own_kafka: KafkaFactory) -> None:
    server = own_kafka()
    world = KafkaWorld(server.address, topic_made_before, "classic")
    server.create_topic("damaged")
    place = TopicPartition("damaged", 0)
    for number in range(10):
        world.send(place, b"value-%d" % number)
    server.stop()
    (segment,) = server.folder.glob("data/damaged-0/*.log")
    segment.write_bytes(segment.read_bytes().replace(b"value-5", b"VALUE-5"))
    server.start()
    member = Watcher(world.broker(), "damaged")
    lease = member.start_first()
    member.until(lambda: bool(member.unreadable))
    assert "CRC" in member.unreadable[0].detail
    member.quiet(40)
    assert {met.offset for met in member.unreadable} == {5}
    assert member.values(lease) == [b"value-%d" % number for number in range(5)]
    member.start(lease, 6)
    member.until_end(lease, 10)
    assert member.values(lease) == [b"value-%d" % number for number in range(6, 10)]
    world.close()


def test_no_broker_is_an_outage_that_is_told_and_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.source.health.REPEAT_SECONDS", 0.5)
    broker = KafkaBroker(settings("127.0.0.1:9", "group", **{"statistics.interval.ms": "200"}))
    broker.subscribe(["topic"])
    try:
        for _ in range(3):
            events, error = events_until_error(broker)
            assert events == []
            assert "broker" in str(error)
    finally:
        broker.close()


def test_a_topic_that_is_missing_is_told_and_read_once_it_is_there(world: KafkaWorld) -> None:
    name = f"late-{world.group}"
    broker = world.broker()
    broker.subscribe([name])
    if world.protocol == "classic":  # KIP-848 brokers just assign nothing: the log view finds out
        events, error = events_until_error(broker)
        assert events == []
        assert name in str(error)
    world.kafka.create_topic(name)
    member = Watcher(broker, name)
    member.until_end(member.start_first(), 0)


# Security


def certificate(folder: Path) -> Path:
    """A key and its own certificate for this host, as PEM."""
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made, *name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


def test_sasl_over_tls_by_options(own_kafka: KafkaFactory, tmp_path: Path) -> None:
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    server = own_kafka(
        listeners={"SECURE": "SASL_SSL"},
        extra={
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secure.plain.sasl.jaas.config": f'{login} user_sink="s3cret";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificate(tmp_path)),
        },
    )
    server.create_topic("secured")
    options = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(tmp_path / "cert.pem"),
        "sasl.mechanism": "PLAIN",
        "sasl.username": "sink",
        "sasl.password": "s3cret",
    }
    right = settings(server.listener("SECURE"), "group", **options)
    broker = KafkaBroker(right)
    member = Watcher(broker, "secured")
    member.until_end(member.start_first(), 0)
    assert KafkaAdmin(right).ends(member.live) == dict.fromkeys(member.live, LogEnds(0, 0, 0))
    broker.close()

    wrong = settings(server.listener("SECURE"), "group", **{**options, "sasl.password": "guess"})
    refused = KafkaBroker(wrong)
    refused.subscribe(["secured"])
    texts_seen = ""
    while "uthentication" not in texts_seen:
        events, error = events_until_error(refused)
        assert events == []
        texts_seen += str(error)
    assert "guess" not in texts_seen
    with pytest.raises(TransientError):
        KafkaAdmin(wrong, seconds=1).topic("secured")
    refused.close()


# Refusals


def test_wrong_options_are_mistakes_at_once() -> None:
    with pytest.raises(UsageError, match=r"no\.such\.option"):
        KafkaBroker(settings("localhost:9092", "group", **{"no.such.option": "1"}))
    with pytest.raises(UsageError, match=r"session\.timeout\.ms"):
        KafkaBroker(settings("localhost:9092", "group", **{"group.protocol": "consumer", **SESSION}))
    with pytest.raises(UsageError, match=r"no\.such\.option"):
        KafkaAdmin(settings("localhost:9092", "group", **{"no.such.option": "1"})).topic("topic")


# Load


def test_a_worker_that_is_slow_keeps_its_place_and_a_small_memory(world: KafkaWorld) -> None:
    """It does not poll for longer than the session: the other thread does. Fetching stalls, and goes on later."""
    topic = world.topic(2)
    classic = {**SESSION, "max.poll.interval.ms": "2500"} if world.protocol == "classic" else {}
    broker = KafkaBroker(world.settings(**classic), memory=300_000)
    try:
        member = Watcher(broker, topic)
        member.until_assigned(2)
        for number in range(2):
            world.send(TopicPartition(topic, number), *[b"." * 1000 for _ in range(4000)])
        leases = [member.start(lease) for lease in member.live.values()]
        inbox = broker._inbox
        until(inbox.is_full)
        time.sleep(4)  # the silence itself is what is tested
        assert sum(seat.size for seat in inbox._queues.values()) < 300_000 + 10_000 * 1200
        for lease in leases:
            member.until_end(lease, 4000)
            assert len(member.records[lease]) == 4000
        assert member.void == set()
        world.send(leases[0].partition, b"more")
        member.until_end(leases[0], 4001)
    finally:
        broker.close()


def test_jumps_over_a_slow_link_lose_and_repeat_nothing(proxied_kafka: ProxiedKafka, topic: TopicFactory) -> None:
    """Fetches are under way at every jump: what they bring is dropped, whichever side of the place it lies on."""
    world = KafkaWorld(proxied_kafka.direct, topic, "classic")
    name = world.topic()
    place = TopicPartition(name, 0)
    world.send(place, *(text + b"." * 500 for text in texts(0, 6000)))
    proxied_kafka.proxy.latency(15, jitter=15)
    slow = world.settings(**{"fetch.message.max.bytes": "20000", "fetch.min.bytes": "1"})
    broker = KafkaBroker(slow.model_copy(update={"bootstrap_servers": proxied_kafka.bootstrap_servers}))
    try:
        member = Watcher(broker, name)
        lease = member.start_first()
        for offset in (5000, 100, 3000, 2900, 5900, 0, 4000, 3990, 5990):
            member.start(lease, offset)
            member.until(lambda: bool(member.records[lease]))
            got = [number for number, _value in member.records[lease]]
            assert got == list(range(offset, offset + len(got)))
            for _ in range(3):
                member.poll(0.01)
        member.until_end(lease, 6000)
        assert [number for number, _value in member.records[lease]] == list(range(5990, 6000))
    finally:
        broker.close()
        world.close()


def test_statistics_arrive(world: KafkaWorld) -> None:
    topic = world.topic()
    broker = world.broker()
    member = Watcher(broker, topic)
    member.until_end(member.start_first(), 0)
    member.until(lambda: broker.stats() is not None)
    stats = broker.stats()
    assert stats is not None
    assert stats.brokers_up >= 1
    assert stats.rebalances >= 1
