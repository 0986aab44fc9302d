"""The runbook's story of corrected days on real servers: `RUNBOOK_SERVERS=1`, as it takes half a minute.

What the page shows is held against the same story in memory, by tests/unit/commands/test_runbook.py; here the commands
have to print the same but for what depends on the place: topic, settings, names of objects, the question.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.conftest import BucketFactory
from tests.harness.world import World, closing
from tests.integration.commands import command
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address
from tests.unit.commands.test_runbook import BLOCK, KEY, PAGE, SECTION

pytestmark = pytest.mark.skipif(os.environ.get("RUNBOOK_SERVERS") != "1", reason="RUNBOOK_SERVERS=1 runs it")
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


def settings(*environments: str, paused: bool = True, private: bool = False) -> Mapping[str, Any]:
    stream = {
        "event_types": {"default": True, "subscription_paused": paused},
        "filter": {"exclude_historical": False, "include_without_profile": True, "environments": [*environments]},
        **({"privacy": {"columns": {"ip_address": "truncate_ip"}}} if private else {}),
    }
    return {"privacy": {"keys": {"k1": KEY}}, "streams": {"events": stream}}


ALL, PRODUCTION = settings("Production", "LoadTest"), settings("Production")
STORY = (ALL, PRODUCTION, PRODUCTION, PRODUCTION, settings("Production", private=True))


def fill(kafka: KafkaAddress, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

    def produce(number: int, minute: int, **cells: str) -> None:
        at = FIRST + timedelta(days=number, minutes=minute)
        value = json.dumps({"event_datetime": at.isoformat(), **cells}).encode()
        producer.produce(topic, value, timestamp=int(at.timestamp() * 1000))

    for number in range(4):
        for index in range(6):
            produce(
                number,
                0,
                event_type=("trial_started", "subscription_paused")[index % 2],
                profile_id=f"person-{index}",
                customer_user_id=f"user-{index}",
                environment="Production",
                ip_address=f"203.0.113.{10 * number + index}",
            )
        for _ in range(5 if number == 2 else 0):
            produce(number, 0, event_type="trial_started", profile_id="load-test", environment="LoadTest")
    producer.flush()


def like(text: str, topic: str = "adapty.events") -> list[str]:
    """The lines, without what depends on the place."""
    text = re.sub(r"with settings \w+|-\d{20}|spool: \S+", "", text.replace(topic, "adapty.events"))
    return [line.rstrip() for line in text.splitlines() if not line.endswith("[y/N]: y")]


def test_the_story_on_real_servers(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, bucket: BucketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = SECTION.search(PAGE.read_text("utf-8"))
    assert section is not None
    with closing(World(tmp_path / "world", kafka, minio, bucket())) as world:
        stream = world.add("events", "events", "json")
        fill(kafka, stream.topic)
        world.over = dict(settings("Production", "LoadTest", paused=False))
        world.once().done()
        (tmp_path / "persons.txt").write_text("person-2\n")
        for block, over in zip(BLOCK.finditer(section[0]), STORY, strict=True):
            words = [str(tmp_path / word) if word == "persons.txt" else word for word in shlex.split(block[1])]
            ended = command(world.settings(over=over), *words, "--yes")
            assert ended.code == 0, ended.err
            assert like(ended.out, stream.topic) == like(block[2])
        assert command(world.settings(over=STORY[-1]), "verify", "--deep").code == 0
