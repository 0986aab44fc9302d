"""`check`: each line, when it warns or fails, and what it says to do."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumer.commands import main
from consumer.commands.check import command
from consumer.commands.check import local as check_local
from consumer.commands.check.cluster import NO_ID, broker_lines, registry_lines, token_lines, topic_lines
from consumer.commands.check.command import seal_log_lines
from consumer.commands.check.line import Line, Outcome, failed, ok, warning
from consumer.commands.check.local import engine_line, settings_lines, spool_lines
from consumer.commands.check.privacy import key_lines, looks_personal, privacy_lines
from consumer.commands.check.store import column_lines, store_lines
from consumer.decode.registry import INCOMPLETE, TOO_LARGE, MemoryRegistry, RegistryAnswer
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.folder_columns import claim_columns
from consumer.seal.inspection import Outlook
from consumer.seal.log import put_rules
from consumer.settings.load import settings_from
from consumer.settings.model import Settings
from consumer.shape.native.extension import Extension, FoundExtension
from consumer.source.port import TopicFacts
from consumer.store.folder import FolderStore
from consumer.store.port import Body, Condition, ObjectInfo, Written
from consumer.streams.columns import column_names
from tests.builders.outside import Scene
from tests.builders.outside import scene as make_scene
from tests.builders.sealed import DAY, STREAM, TOPIC, StoppedClock, at
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.store import MemoryStore

GOOD = {"cleanup.policy": "delete", "retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"}
STAMPS = "message.timestamp.after.max.ms"
NOW = at(DAY)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs stay as they are: what a command line sends them to is gone after its test."""
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)


def settings(folder: Path, **tables: Mapping[str, Any]) -> Settings:
    base: dict[str, Any] = {
        "kafka": {"bootstrap_servers": "localhost:1"},
        "destination": {"url": (folder / "out").as_uri()},
        "spool": {"directory": str(folder / "spool"), "max_bytes": "1KiB", "min_free_bytes": "1KiB"},
        "streams": {"events": {"topic": TOPIC}},
    }
    return settings_from({**base, **tables}, folder, {}, "test")


def by_check(lines: Iterator[Line]) -> dict[str, Line]:
    found = list(lines)
    assert all(bool(line.todo) == (line.outcome is not Outcome.OK) for line in found)
    return {line.check: line for line in found}


# -- settings and spool ----------------------------------------------------------------------------------------------


def test_settings_that_are_fine(tmp_path: Path) -> None:
    (line,) = settings_lines(settings(tmp_path), {})
    assert (line.outcome, line.detail) == (Outcome.OK, "streams events")


PII = {"keys": {"k1": "00" * 32}}


def test_columns_about_persons_without_a_rule_are_named(tmp_path: Path) -> None:
    privacy = {"columns": {"ip_address": "truncate_ip", "idfa": "drop"}}
    found = settings(tmp_path, streams={"events": {"topic": TOPIC, "privacy": privacy}})
    lines = by_check(privacy_lines(found, found.streams[0]))
    assert {check: line.outcome for check, line in lines.items()} == {
        "personal columns": Outcome.WARNING,
        "quarantine": Outcome.WARNING,
    }
    said = lines["personal columns"].detail
    assert "customer_user_id" in said
    assert not {"ip_address", "idfa", "product_id"} & set(said.replace(",", "").split())


def test_personal_columns_with_rules_need_no_advice(tmp_path: Path) -> None:
    privacy = {"columns": {"profile_id": "drop", "customer_user_id": "hash"}, "key": "k1"}
    stream = {"topic": TOPIC, "kind": "paywall_views", "privacy": privacy}
    found = settings(tmp_path, streams={"views": stream}, privacy=PII, quarantine={"value": "omit"})
    assert list(privacy_lines(found, found.streams[0])) == []


def test_keys_that_rows_still_need(tmp_path: Path) -> None:
    """A row of an open day may be read again, by the settings of the record that covers it."""
    hashed = {"topic": TOPIC, "privacy": {"columns": {"customer_user_id": "hash"}, "key": "k1"}}
    found = settings(tmp_path, streams={"events": hashed}, privacy=PII)
    store, rules = MemoryStore(), found.streams[0].rules
    put_rules(store, rules)
    chain = SimpleNamespace(
        empty=False,
        records=[SimpleNamespace(settings=rules.digest, through=10)],
        head=SimpleNamespace(resume=5),
    )
    outlook = cast("Outlook", SimpleNamespace(found=SimpleNamespace(chain=chain), partition=TopicPartition(TOPIC, 0)))
    assert by_check(key_lines(found, found.streams[0], store, [outlook]))["privacy keys"].outcome is Outcome.OK
    without = settings(tmp_path)
    line = by_check(key_lines(without, without.streams[0], store, [outlook]))["privacy keys"]
    assert (line.outcome, line.todo) == (Outcome.FAILED, "put that key back into [privacy.keys] under its name")
    chain.head.resume = 10
    assert list(key_lines(without, without.streams[0], store, [outlook])) == []


@pytest.mark.parametrize(
    ("name", "personal"),
    [("user_id", True), ("clientIp", True), ("EMAIL", True), ("userAgent", True), ("amount", False), ("zip", False)],
)
def test_names_that_look_personal(name: str, personal: bool) -> None:
    assert looks_personal(name) is personal


def test_event_types_that_nobody_publishes_are_likely_misspelt(tmp_path: Path) -> None:
    types = {"subscription_startd": False, "quite_another": False, "trial_started": True, "default": True}
    found = settings(tmp_path, streams={"events": {"topic": TOPIC, "event_types": types}})
    lines = [line for line in settings_lines(found, {}) if line.outcome is Outcome.WARNING]
    assert [(line.check, line.detail.split()[0]) for line in lines] == [
        ("event_types", "'quite_another'"),
        ("event_types", "'subscription_startd'"),
    ]
    assert lines[1].todo == "did you mean 'subscription_started'?"


def test_kubernetes_wants_a_static_member(tmp_path: Path) -> None:
    pod = {check_local.KUBERNETES: "10.0.0.1"}
    assert by_check(settings_lines(settings(tmp_path), pod))["static membership"].outcome is Outcome.WARNING
    kafka = {"bootstrap_servers": "localhost:1", "instance_id": "sink-0"}
    assert "static membership" not in by_check(settings_lines(settings(tmp_path, kafka=kafka), pod))


def test_a_spool_with_room(tmp_path: Path) -> None:
    found = settings(tmp_path).spool
    lines = by_check(spool_lines(found))
    assert {line.outcome for line in lines.values()} == {Outcome.OK}
    assert not found.directory.exists()
    found.directory.mkdir()
    (found.directory / "file").write_bytes(b"x" * 2048)
    assert "2.0 KiB used" in by_check(spool_lines(found))["room"].detail


@pytest.mark.parametrize(
    ("table", "outcome"),
    [
        ({"max_bytes": 1 << 60, "min_free_bytes": 1}, Outcome.WARNING),
        ({"max_bytes": 1, "min_free_bytes": 1 << 60}, Outcome.FAILED),
    ],
)
def test_a_spool_without_room(tmp_path: Path, table: dict[str, int], outcome: Outcome) -> None:
    found = settings(tmp_path, spool={"directory": str(tmp_path / "spool"), **table}).spool
    assert by_check(spool_lines(found))["room"].outcome is outcome


def test_a_spool_that_takes_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = settings(tmp_path).spool.model_copy(update={"directory": tmp_path / "file" / "spool"})
    line = by_check(spool_lines(found))["writable"]
    assert (line.outcome, "spool.directory" in line.todo) == (Outcome.FAILED, True)


# -- cluster ---------------------------------------------------------------------------------------------------------


class Down(MemoryAdmin):
    """Brokers out of reach."""

    def topic(self, name: str) -> TopicFacts | None:
        raise TransientError("no answer in 5 s")


def test_a_spool_that_is_somebody_elses(tmp_path: Path) -> None:
    found = settings(tmp_path).spool
    (found.directory / "family-photos").mkdir(parents=True)
    line = by_check(spool_lines(found))["contents"]
    assert (line.outcome, line.todo) == (Outcome.FAILED, "set spool.directory to an empty directory")
    assert "'family-photos'" in line.detail


def test_a_spool_on_a_volume_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    line = by_check(spool_lines(settings(tmp_path).spool))["locks"]
    assert line.outcome is Outcome.FAILED
    assert "ENOLCK: No locks available" in line.detail


def view_of(config: Mapping[str, str] | None) -> MemoryAdmin:
    cluster = MemoryCluster()
    if config is not None:
        cluster.create_topic(TOPIC, 3, dict(config))
    return MemoryAdmin(cluster)


def test_brokers_that_answer(tmp_path: Path) -> None:
    lines = by_check(broker_lines(settings(tmp_path), view_of(GOOD), lambda: True))
    assert {name: line.outcome for name, line in lines.items()} == {"reachable": Outcome.OK, "group": Outcome.OK}


def test_brokers_that_do_not_answer_or_refuse(tmp_path: Path) -> None:
    found = settings(tmp_path)
    (line,) = broker_lines(found, Down(MemoryCluster()), lambda: True)
    assert (line.outcome, line.detail) == (Outcome.FAILED, "no answer in 5 s")
    assert "kafka.bootstrap_servers" in line.todo
    refused = by_check(broker_lines(found, view_of(GOOD), lambda: False))["group"]
    assert (refused.outcome, refused.todo) == (Outcome.FAILED, "allow Read on group adapty-sink")

    def silent() -> bool:
        raise TransientError("refused")

    assert by_check(broker_lines(found, view_of(GOOD), silent))["group"].outcome is Outcome.FAILED


def test_members_that_nobody_can_join_beside(tmp_path: Path) -> None:
    line = by_check(broker_lines(settings(tmp_path), view_of(GOOD), lambda: True, lambda: "range"))["group"]
    assert (line.outcome, line.todo) == (Outcome.FAILED, "stop them, or name another kafka.group_id")
    assert "assignor range" in line.detail


def test_a_token_is_made_before_the_brokers_are_asked(tmp_path: Path) -> None:
    iam = {"bootstrap_servers": "broker:9098", "auth": "msk-iam", "region": "eu-west-1"}
    kafka = settings(tmp_path, kafka=iam).kafka
    asked: list[str] = []
    assert by_check(token_lines(kafka, asked.append))["token"].outcome is Outcome.OK
    assert asked == ["eu-west-1"]

    def nobody(_region: str) -> None:
        raise AttributeError("'NoneType' object has no attribute 'access_key'")

    line = by_check(token_lines(kafka, nobody))["token"]
    assert (line.outcome, line.detail) == (
        Outcome.FAILED,
        "none for msk-iam by the AWS chain: it finds no credentials",
    )
    assert list(token_lines(settings(tmp_path).kafka, nobody)) == []


def test_which_engine_runs_is_said() -> None:
    assert engine_line(FoundExtension(cast("Extension", object()))).outcome is Outcome.OK
    line = engine_line(FoundExtension(None, "adapty-sink-native is not installed"))
    assert line.outcome is Outcome.WARNING
    assert "adapty-sink-native is not installed" in line.detail


def topic_checks(tmp_path: Path, config: Mapping[str, str] | None, *, allowed: bool = True) -> dict[str, Line]:
    return by_check(topic_lines(settings(tmp_path).streams[0], view_of(config), lambda _: allowed))


@pytest.mark.parametrize(
    ("how", "warned"), [("producer", True), ("gzip", True), ("lz4", False), ("uncompressed", False)]
)
def test_topics_that_take_gzip_batches(tmp_path: Path, how: str, warned: bool) -> None:
    found = topic_checks(tmp_path, {**GOOD, "compression.type": how, "max.message.bytes": "2000000"})
    assert ("compression.type" in found) is warned
    if warned:
        assert found["compression.type"].outcome is Outcome.WARNING
        assert "1,962 MiB" in found["compression.type"].detail


def test_topics_without_an_id(tmp_path: Path) -> None:
    """Before Kafka 2.8."""

    class Old(MemoryAdmin):
        def topic(self, name: str) -> TopicFacts | None:
            found = super().topic(name)
            return found and replace(found, topic_id=NO_ID)

    cluster = MemoryCluster()
    cluster.create_topic(TOPIC, 3, GOOD)
    lines = by_check(topic_lines(settings(tmp_path).streams[0], Old(cluster), lambda _: True))
    assert lines["identity"].outcome is Outcome.WARNING
    assert "identity" not in topic_checks(tmp_path, GOOD)


def test_a_topic_that_is_fine(tmp_path: Path) -> None:
    lines = topic_checks(tmp_path, GOOD)
    assert {line.outcome for line in lines.values()} == {Outcome.OK}
    assert lines["exists"].detail == "3 partitions"
    assert lines["retention"].detail == "records are kept for 168.0 hours"


@pytest.mark.parametrize(
    ("config", "check", "outcome"),
    [
        (None, "exists", Outcome.FAILED),
        ({**GOOD, "cleanup.policy": "compact,delete"}, "cleanup.policy", Outcome.FAILED),
        ({**GOOD, "retention.ms": "172799999"}, "retention", Outcome.FAILED),
        ({**GOOD, "retention.ms": "172800000"}, "retention", Outcome.OK),
        ({**GOOD, "retention.ms": "-1"}, "retention", Outcome.OK),
        ({**GOOD, "retention.bytes": "1000"}, "retention.bytes", Outcome.WARNING),
        ({**GOOD, STAMPS: str(2**63 - 1)}, STAMPS, Outcome.WARNING),
        ({**GOOD, STAMPS: "86400001"}, STAMPS, Outcome.WARNING),
    ],
)
def test_a_topic_that_is_not(tmp_path: Path, config: Mapping[str, str] | None, check: str, outcome: Outcome) -> None:
    assert topic_checks(tmp_path, config)[check].outcome is outcome


def test_stamps_of_the_broker_cannot_lie_ahead(tmp_path: Path) -> None:
    config = {"message.timestamp.after.max.ms": str(2**62), "message.timestamp.type": "LogAppendTime"}
    assert "message.timestamp.after.max.ms" not in topic_checks(tmp_path, {**GOOD, **config})


def test_a_topic_that_must_not_be_read(tmp_path: Path) -> None:
    line = topic_checks(tmp_path, GOOD, allowed=False)["readable"]
    assert (line.outcome, line.todo) == (Outcome.FAILED, "allow Read on topic t")
    (down,) = topic_lines(settings(tmp_path).streams[0], Down(MemoryCluster()), lambda _: True)
    assert down.outcome is Outcome.FAILED


def test_the_registry_is_asked_where_a_stream_needs_it(tmp_path: Path) -> None:
    tables: dict[str, Mapping[str, Any]] = {
        "schema_registry": {"url": "http://localhost:1"},
        "streams": {"events": {"topic": TOPIC, "format": "avro-registry"}},
    }
    found, registry = settings(tmp_path, **tables), MemoryRegistry()
    assert list(registry_lines(settings(tmp_path), registry)) == []
    assert by_check(registry_lines(found, registry))["reachable"].outcome is Outcome.OK
    registry.down = True
    line = by_check(registry_lines(found, registry))["reachable"]
    assert (line.outcome, "schema_registry.url" in line.todo) == (Outcome.FAILED, True)


@pytest.mark.parametrize("answer", [TOO_LARGE, INCOMPLETE, RegistryAnswer("{}")])
def test_a_server_that_has_an_answer_for_any_schema_is_no_registry(tmp_path: Path, answer: RegistryAnswer) -> None:
    tables: dict[str, Mapping[str, Any]] = {
        "schema_registry": {"url": "http://localhost:1"},
        "streams": {"events": {"topic": TOPIC, "format": "avro-registry"}},
    }

    class Anything:
        def ask(self, schema_id: int) -> RegistryAnswer:
            return answer

    line = by_check(registry_lines(settings(tmp_path, **tables), Anything()))["reachable"]
    assert (line.outcome, "not a schema registry" in line.detail) == (Outcome.FAILED, True)


# -- destination -----------------------------------------------------------------------------------------------------


def store_checks(store: MemoryStore | FolderStore, now: datetime = NOW) -> dict[str, Line]:
    return by_check(store_lines(store, StoppedClock(now), races=2, writers=4))


def test_a_store_that_is_fine(tmp_path: Path) -> None:
    lines = store_checks(MemoryStore(StoppedClock(NOW)))
    assert list(lines) == ["put", "head", "get", "list", "clock", "conditional writes"]
    assert {line.outcome for line in lines.values()} == {Outcome.OK}
    local = store_lines(FolderStore(tmp_path / "out"), StoppedClock(NOW), races=2, writers=4)
    assert {line.outcome for line in local} == {Outcome.OK}


def test_only_checks_are_left_in_the_folder() -> None:
    store = MemoryStore()
    store_checks(store)
    assert {facts.key.split("/")[0] for facts in store.list("")} == {"_checks"}


def test_a_clock_that_is_ahead_of_the_stores() -> None:
    line = store_checks(MemoryStore(StoppedClock(NOW)), NOW + timedelta(seconds=61))["clock"]
    assert (line.outcome, "61 s ahead" in line.detail) == (Outcome.FAILED, True)
    behind = store_checks(MemoryStore(StoppedClock(NOW)), NOW - timedelta(hours=1))["clock"]
    assert behind.outcome is Outcome.OK


@dataclass
class Summing(MemoryStore):
    """A store that may get checksums."""

    compares: bool = True
    sends: bool = True

    def __post_init__(self) -> None:
        super().__init__(StoppedClock(NOW))

    def compares_checksums(self) -> bool:
        return self.compares

    def sends_checksums(self) -> bool:
        return self.sends


class Unreachable(Summing):
    def compares_checksums(self) -> bool:
        raise TransientError("PutObject did not reach the store")


@pytest.mark.parametrize(
    ("store", "outcome", "words"),
    [
        (Summing(), Outcome.OK, "a wrong sha256 is refused"),
        (Summing(sends=False), Outcome.OK, 'checksums = "when_required"'),
        (Summing(compares=False, sends=False), Outcome.OK, "not verified: uploads are compared"),
        (Summing(compares=False), Outcome.FAILED, "a wrong sha256 was accepted"),
        (Unreachable(), Outcome.FAILED, "did not reach the store"),
    ],
)
def test_whether_a_store_refuses_wrong_bytes_is_told(store: Summing, outcome: Outcome, words: str) -> None:
    line = store_checks(store)["checksums"]
    assert (line.outcome, words in line.detail) == (outcome, True)


class NoWrites(MemoryStore):
    def put(self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None) -> Written:
        raise TransientError("PutObject was refused: 403. Allow s3:PutObject")


class NoBucket(MemoryStore):
    def head(self, key: str) -> ObjectInfo | None:
        raise HaltError(HaltReason.MISSING_BUCKET, "the bucket does not exist")


class Forgetful(MemoryStore):
    def head(self, key: str) -> ObjectInfo | None:
        facts = super().head(key)
        return facts and replace(facts, metadata={})


class Overwriting(MemoryStore):
    def put(self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None) -> Written:
        self._objects.pop(key, None)
        super().put(key, body, condition=condition, metadata=metadata)
        return Written('"x"')


@pytest.mark.parametrize(
    ("store", "check", "words"),
    [
        (NoWrites(), "put", "Allow s3:PutObject"),
        (NoBucket(), "head", "the bucket does not exist"),
        (Forgetful(), "head", "does not keep user metadata"),
        (Overwriting(), "conditional writes", "was overwritten"),
    ],
)
def test_a_store_that_must_not_be_used(store: MemoryStore, check: str, words: str) -> None:
    lines = store_checks(store)
    assert lines[check].outcome is Outcome.FAILED
    assert words in lines[check].detail
    assert lines["conditional writes"].outcome is Outcome.FAILED


def test_columns_that_the_folder_cannot_give_in_the_schemas_order_are_told(tmp_path: Path) -> None:
    stream, store = settings(tmp_path).streams[0], MemoryStore()
    names = list(column_names(stream.rules))
    assert by_check(column_lines(stream, store))["columns"].detail == "a new folder"
    claim_columns(store, stream.name, [*names[:3], "gone"], DAY, DAY)
    line = by_check(column_lines(stream, store))["columns"]
    assert (line.outcome, names[3] in line.detail, "kept, empty: gone" in line.detail) == (Outcome.OK, True, True)
    store = MemoryStore()
    claim_columns(store, stream.name, [names[0], *names[2:]], DAY, DAY)
    line = by_check(column_lines(stream, store))["columns"]
    assert (line.outcome, f"the schema has {names[1]} before" in line.detail) == (Outcome.WARNING, True)


# -- seal logs, and all of it ----------------------------------------------------------------------------------------


def seal_checks(scene: Scene) -> list[Line]:
    outside = scene.outside
    return list(seal_log_lines(outside.settings, outside.stream, outside.admin, outside.store))


def test_seal_logs_that_go_with_the_settings_and_those_that_do_not(tmp_path: Path) -> None:
    with make_scene(tmp_path, partitions=2) as scene:
        scene.fill(20)
        (fresh,) = seal_checks(scene)
        assert (fresh.outcome, "0 of 2 partitions" in fresh.detail) == (Outcome.OK, True)
        scene.bucket.seal({DAY: [0]}, cutoff=DAY, through=9)
        assert "1 of 2 partitions" in seal_checks(scene)[0].detail
        scene.fill(0, low=12)
        (hole,) = seal_checks(scene)
        assert (hole.outcome, hole.detail) == (Outcome.FAILED, "t:0 halts: retention_hole")
        assert "accept-gap t:0 9 12" in hole.todo
        other = scene.outside.stream.model_copy(update={"name": "other"})
        scene.outside.stream = other
        assert "foreign_chain" in seal_checks(scene)[0].detail
        scene.cluster.delete_topic(TOPIC)
        assert seal_checks(scene) == []


def test_exit_code_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sink.toml"
    config.write_text(
        '[kafka]\nbootstrap_servers = "localhost:1"\n[destination]\nurl = "file:///nowhere/out"\n'
        '[spool]\ndirectory = "spool"\n[streams.events]\ntopic = "events"\n'
    )
    lines = [ok("a", "b", "c"), warning("a", "w", "c", "think")]
    monkeypatch.setattr(command, "_lines", lambda _: iter(lines))
    arguments = ["--config", str(config), "check"]
    assert main.run(arguments) == 0
    assert "all 2 checks passed" in capsys.readouterr().out
    lines.append(failed("a", "x", "broken", "fix it"))
    assert main.run(arguments) == 1
    shown = capsys.readouterr().out
    assert "FAILED  a: x: broken\n        to do: fix it\n" in shown
    assert "1 of 3 checks failed" in shown
    assert main.run([*arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["sound"], len(document["checks"])) == (False, 3)
    assert document["checks"][2] == {
        "subject": "a",
        "check": "x",
        "outcome": "failed",
        "detail": "broken",
        "todo": "fix it",
    }


def test_streams_of_one_folder_are_one_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.source.admin.KafkaAdmin.topic", Down.topic)
    found = settings(
        tmp_path,
        streams={"events": {"topic": "a"}, "ua_events": {"topic": "b"}},
        destination={"url": (tmp_path / "out").as_uri()},
    )
    lines = list(command._lines(found))
    assert [line.subject for line in lines if line.check == "put"] == [f"destination {(tmp_path / 'out').as_uri()}"]
    assert [line.check for line in lines if line.outcome is Outcome.FAILED] == ["reachable"]
    assert STREAM not in {line.subject for line in lines}
