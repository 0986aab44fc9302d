"""`check` by its command line: a good world, and worlds that lack one thing."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported there, but not in the way mypy wants it
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from consumer.settings.model import KafkaSettings
from consumer.source.acls import foreign_assignor, may_join_group, may_read_topic
from tests.conftest import BucketFactory, KafkaFactory
from tests.harness.world import World, closing
from tests.integration.commands import command, few_races
from tests.services.kafka import KafkaAddress
from tests.services.policy import policy_for, session
from tests.services.s3 import S3Address, VersityGW

FINE = {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000", "compression.type": "lz4"}


@pytest.fixture
def world(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, registry: str, bucket: BucketFactory
) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket(), registry)) as made:
        made.over = {"spool": {"max_bytes": "1MiB"}}
        yield made


def bad(document: Mapping[str, Any], outcome: str = "failed") -> dict[str, str]:
    """The lines that are not well, by check."""
    return {line["check"]: line["detail"] for line in document["checks"] if line["outcome"] == outcome}


def test_a_good_world(world: World) -> None:
    world.add("events", "events", "avro", partitions=3, config=FINE)
    world.add("ua_events", "ua_events", "avro-registry", config=FINE)
    ended = command(world.settings(), "check", "--json")
    assert ended.code == 0, ended.out
    assert bad(ended.document) == {}
    assert set(bad(ended.document, "warning")) == {"personal columns", "plain text"}  # MinIO is reached by http
    checks = {(line["subject"].split()[0], line["check"]): line["detail"] for line in ended.document["checks"]}
    assert checks[("destination", "conditional writes")] == "they held in 20 races of 32 writers"
    assert ("registry", "reachable") in checks
    assert {key.split("/")[0] for key in world.folder.listing()} == {"_checks"}


def test_a_poor_world(world: World, tmp_path: Path) -> None:
    world.add("events", "events", "avro", config={"retention.ms": "3600000", "retention.bytes": "100000"})
    over: dict[str, Any] = {
        "streams": {
            "events": {"event_types": {"trial_startd": False}},
            "views": {"kind": "paywall_views", "topic": "nowhere"},
        },
        "spool": {"min_free_bytes": 1 << 60},
        "schema_registry": {"url": "http://127.0.0.1:1"},
    }
    over["streams"]["ua"] = {"kind": "ua_events", "topic": "nowhere-too", "format": "avro-registry"}
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", **few_races(tmp_path)}
    ended = command(world.settings(over=over), "check", "--json", env=env)
    assert ended.code == 1
    failed, warned = bad(ended.document), bad(ended.document, "warning")
    assert set(failed) == {"retention", "exists", "room", "reachable"}
    assert set(warned) == {
        "plain text",
        "retention.bytes",
        "message.timestamp.after.max.ms",
        "event_types",
        "static membership",
        "personal columns",
        "compression.type",
    }
    assert all(line["todo"] for line in ended.document["checks"] if line["outcome"] != "ok")


def test_brokers_and_a_bucket_out_of_reach(world: World) -> None:
    world.add("events", "events", "avro", config=FINE)
    over = {"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "destination": {"url": "s3://no-such-bucket-here/folder"}}
    ended = command(world.settings(over=over), "check", "--json")
    assert ended.code == 1
    assert set(bad(ended.document)) == {"reachable", "put", "head", "get", "list", "conditional writes"}


def test_a_store_whose_races_have_two_winners(world: World, versitygw: VersityGW) -> None:
    world.add("events", "events", "avro", config=FINE)
    versitygw.make_bucket("races")
    address = versitygw.address
    destination = {
        "url": "s3://races/folder",
        "endpoint_url": address.endpoint_url,
        "access_key_id": address.access_key,
        "secret_access_key": address.secret_key,
    }
    ended = command(world.settings(over={"destination": destination}), "check", "--json")
    assert ended.code == 1
    assert "not exactly one of 32 writers won" in bad(ended.document)["conditional writes"]


@pytest.mark.parametrize(
    ("without", "check"), [("s3:PutObject", "put"), ("s3:GetObject", "get"), ("s3:ListBucket", "list")]
)
def test_a_permission_that_is_missing_is_named(world: World, tmp_path: Path, without: str, check: str) -> None:
    world.add("events", "events", "avro", config=FINE)
    env = session(world.store, policy_for(world.bucket, without)) | {"AWS_CONFIG_FILE": str(tmp_path / "none")}
    settings = world.settings(over={"destination": {"access_key_id": "", "secret_access_key": ""}})
    ended = command(settings, "check", "--json", env=env)
    assert ended.code == 1
    assert without in bad(ended.document)[check]


def test_a_seal_log_that_does_not_go_with_the_settings(world: World, tmp_path: Path) -> None:
    env = few_races(tmp_path)
    stream = world.add("events", "events", "avro", config=FINE)
    world.once().done()
    assert command(world.settings(), "check", env=env).code == 0
    ended = command(world.settings("b", over={"streams": {"events": {"day_by": "record"}}}), "check", "--json", env=env)
    assert ended.code == 1
    assert bad(ended.document) == {"seal log": f"{stream.topic}:0 halts: settings_conflict"}


def test_rights_on_topic_and_group(own_kafka: KafkaFactory) -> None:
    kafka = own_kafka(
        extra={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
    )
    kafka.create_topic("open")
    kafka.create_topic("shut")
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, group_id="sink")
    assert may_read_topic(settings, "open")
    assert may_read_topic(settings, "shut")
    assert may_join_group(settings)
    allow(kafka.admin(), ResourceType.TOPIC, "shut", AclOperation.DESCRIBE)
    until(lambda: not may_read_topic(settings, "shut"))
    assert may_read_topic(settings, "open")
    allow(kafka.admin(), ResourceType.GROUP, "sink", AclOperation.DESCRIBE)
    until(lambda: not may_join_group(settings))


def allow(admin: Any, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """The one thing that everybody may do; all else is refused by that."""
    binding = AclBinding(
        kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, AclPermissionType.ALLOW
    )
    for answer in admin.create_acls([binding]).values():
        answer.result(30)


def until(holds: Callable[[], bool]) -> None:
    """The broker learns of a right a moment after the controller."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_members_with_another_assignor(world: World, kafka: KafkaAddress) -> None:
    """Somebody's consumer with its defaults sits in our group: no worker can join, and `check` and `run` say why."""
    stream = world.add("events", "events", "avro", config=FINE)
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, group_id=world.group)
    assert foreign_assignor(settings) == ""
    member = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": world.group})
    member.subscribe([stream.topic])
    try:
        deadline = time.monotonic() + 30
        while not member.assignment():
            member.poll(0.1)
            assert time.monotonic() < deadline
        assert foreign_assignor(settings) in {"range", "roundrobin"}
        ended = world.once(over={"schedule": {"give_up_after": "2s"}})
        ended.done(4, 60)
        assert "another kafka.group_id" in ended.tail()
    finally:
        member.close()
    assert foreign_assignor(settings) == ""
