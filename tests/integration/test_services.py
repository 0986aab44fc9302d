"""Each server that the tests rely on does what they rely on."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.conftest import (
    BucketFactory,
    KafkaFactory,
    PrometheusFactory,
    ProxiedKafka,
    ProxiedStore,
    TopicFactory,
)
from tests.services import http
from tests.services.kafka import KafkaAddress, unique_topic
from tests.services.s3 import MinIO, S3Address, VersityGW, unique_bucket
from tests.services.toxiproxy import Toxiproxy

WRITERS = 8
ROOT = Path(__file__).parents[2]


def produce(bootstrap_servers: str, topic: str, values: list[bytes], **options: str) -> Producer:
    """Send values, in one transaction if there is a transactional id; it is left open."""
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, **{k.replace("_", "."): v for k, v in options.items()}}
    )
    if options:
        producer.init_transactions(30)
        producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0
    return producer


def consume(bootstrap_servers: str, topic: str, count: int, **options: str) -> list[bytes | None]:
    """The first values of a topic as a group reads them."""
    settings = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": f"group-{uuid4().hex}",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        **{key.replace("_", "."): value for key, value in options.items()},
    }
    consumer = Consumer(settings)
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, timeout=30)
        consumer.commit(asynchronous=False)
        return [message.value() for message in messages]
    finally:
        consumer.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_kafka_brings_back_what_was_committed(kafka: KafkaAddress, topic: TopicFactory, protocol: str) -> None:
    name = topic(2)
    aborted = produce(kafka.bootstrap_servers, name, [b"never"], transactional_id=name)
    aborted.abort_transaction(30)
    produce(kafka.bootstrap_servers, name, [b"one", b"two"], transactional_id=name).commit_transaction(30)
    assert consume(kafka.bootstrap_servers, name, 2, group_protocol=protocol) == [b"one", b"two"]


def test_kafka_keeps_its_records_and_ports_over_a_kill_and_a_pause(own_kafka: KafkaFactory) -> None:
    server = own_kafka(extra={"message.max.bytes": "2000000"})
    server.create_topic("kept", config={"message.timestamp.type": "CreateTime"})
    produce(server.bootstrap_servers, "kept", [b"one"])
    server.kill()
    with pytest.raises(KafkaException):
        server.admin().list_topics(timeout=1)
    server.start()
    server.pause()
    with pytest.raises(KafkaException):
        server.admin().list_topics(timeout=1)
    server.resume()
    produce(server.bootstrap_servers, "kept", [b"two"])
    assert consume(server.bootstrap_servers, "kept", 2) == [b"one", b"two"]


def test_kafka_behind_a_cut_proxy(proxied_kafka: ProxiedKafka) -> None:
    name = unique_topic()
    proxied_kafka.direct.create_topic(name)
    proxied_kafka.proxy.cut()
    producer = Producer({"bootstrap.servers": proxied_kafka.bootstrap_servers, "log_level": 0})
    producer.produce(name, b"late")
    assert producer.flush(1) == 1
    proxied_kafka.proxy.restore()
    assert producer.flush(30) == 0
    assert consume(proxied_kafka.direct.bootstrap_servers, name, 1) == [b"late"]


def winners(store: S3Address, bucket: str, key: str) -> int:
    """How many of the writers of one race were told that they created the object."""
    client = store.client()

    def write(writer: int) -> bool:
        try:
            client.put_object(Bucket=bucket, Key=key, Body=str(writer).encode(), IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {409, 412}:
                raise
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        return sum(pool.map(write, range(WRITERS)))


def test_minio_lets_one_writer_win_each_race(minio: S3Address, bucket: BucketFactory) -> None:
    name = bucket()
    assert [winners(minio, name, f"race-{number}") for number in range(10)] == [1] * 10


def test_minio_replaces_only_what_was_seen(minio: S3Address, bucket: BucketFactory) -> None:
    name, client = bucket(), minio.client()
    seen = client.put_object(Bucket=name, Key="k", Body=b"1")["ETag"]
    client.put_object(Bucket=name, Key="k", Body=b"2", IfMatch=seen)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=name, Key="k", Body=b"3", IfMatch=seen)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=name, Key="k")["Body"].read() == b"2"


def test_minio_keeps_its_objects_and_port_over_a_kill(own_minio: Callable[[], MinIO]) -> None:
    server = own_minio()
    server.make_bucket("kept")
    server.client().put_object(Bucket="kept", Key="k", Body=b"1")
    server.kill()
    with pytest.raises(EndpointConnectionError):
        server.client().list_buckets()
    server.start()
    assert server.client().get_object(Bucket="kept", Key="k")["Body"].read() == b"1"


def test_minio_behind_a_cut_proxy(proxied_minio: ProxiedStore) -> None:
    name = unique_bucket()
    proxied_minio.direct.make_bucket(name)
    client = proxied_minio.address.client()
    client.put_object(Bucket=name, Key="k", Body=b"1")
    proxied_minio.proxy.cut()
    with pytest.raises(EndpointConnectionError):
        client.put_object(Bucket=name, Key="k", Body=b"2")
    proxied_minio.proxy.restore()
    assert client.get_object(Bucket=name, Key="k")["Body"].read() == b"1"


def test_a_server_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    start = "import sys, pathlib, tests.services.s3 as s3; server = s3.MinIO(pathlib.Path(sys.argv[1])).start();"
    wait = "print(server.upstream, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", start + wait, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        address = owner.stdout.readline().strip()
        assert http.answers(address, "/minio/health/live")
        owner.kill()
    until = time.monotonic() + 30
    while http.answers(address, "/minio/health/live"):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_versitygw_answers_412_in_sequence(versitygw: VersityGW) -> None:
    versitygw.make_bucket("bucket")
    client = versitygw.client()
    client.put_object(Bucket="bucket", Key="k", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="bucket", Key="k", Body=b"2", IfNoneMatch="*")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_registry_gives_back_the_schema_of_an_id(registry: str) -> None:
    text = '{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}'
    with SchemaRegistryClient({"url": registry}) as client:
        number = client.register_schema(f"{uuid4().hex}-value", Schema(text, "AVRO"))
        assert client.get_schema(number).schema_str == text


def test_prometheus_scrapes_its_targets_and_applies_the_rules(
    prometheus_server: PrometheusFactory, tmp_path: Path
) -> None:
    page = CollectorRegistry()
    Gauge("answer", "The answer.", registry=page).set(42)
    rules = tmp_path / "rules.yml"
    rules.write_text('{"groups": [{"name": "g", "rules": [{"record": "doubled", "expr": "2 * answer"}]}]}')
    endpoint, thread = start_http_server(0, "127.0.0.1", page)
    try:
        server = prometheus_server([f"127.0.0.1:{endpoint.server_port}"], [rules])
        until = time.monotonic() + 30
        while not (found := server.query("doubled")):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert found[0]["value"][1] == "84"
    finally:
        endpoint.shutdown()
        endpoint.server_close()
        thread.join()


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_a_server_that_cannot_be_had(required: str, outcome: str, tmp_path: Path) -> None:
    # no programs and an empty cache: the machine of somebody who only cloned this
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "REQUIRE_SERVICES": required}
    test = f"{__file__}::{test_minio_replaces_only_what_was_seen.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert "go is not on PATH" in done.stdout


def test_a_toxiproxy_begun_anew_has_its_proxies_and_no_faults(tmp_path: Path) -> None:
    with Toxiproxy(tmp_path) as server:
        ways = [server.address.create(server.address.api) for _ in range(2)]
        for way in ways:
            way.black_hole()
        assert not any(http.answers(way.address, "/version") for way in ways)
        server.begin_anew(ways)
        assert all(http.answers(way.address, "/version") for way in ways)
        ways[0].reset()
