"""The privacy key is rotated while a seal is pending: each row keeps the key of the seal that covers its offset."""

import csv
import hmac
import io
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from tests.harness.gate import Gate, puts_data
from tests.harness.oracle import today
from tests.harness.world import World
from tests.integration.observed import send

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = {"k1": OLD.hex(), "k2": NEW.hex()}
DAY = today() - timedelta(days=2)


def under(key: str, names: Iterable[str] = KEYS) -> dict[str, Any]:
    """Settings that hash with this key, and have the keys of these names."""
    rule = {"privacy": {"key": key, "columns": {"profile_id": "hash"}}, "filter": {"exclude_historical": False}}
    return {
        "privacy": {"keys": {name: KEYS[name] for name in names}},
        "streams": {"events": {**rule, "event_types": {"default": True}}},
    }


def hashed(name: str, key: bytes, person: str) -> str:
    return f"{name}:{hmac.digest(key, person.encode(), 'sha256').hex()[:32]}"


def people(world: World) -> list[str]:
    """The `profile_id` of each row in the bucket."""
    texts = [world.folder.read(key).content.decode() for key in world.folder.keys("events/dt=") if key.endswith(".csv")]
    return sorted(row["profile_id"] for text in texts for row in csv.DictReader(io.StringIO(text)))


def test_each_row_is_hashed_by_the_key_that_it_was_sealed_with(world: World, store_gate: Gate) -> None:
    stream = world.add("events", "events", "json")

    def arrive(*persons: str) -> None:
        row = {"event_datetime": f"{DAY}T12:00:00Z", "event_type": "t", "environment": "Production"}
        send(world.kafka, stream.topic, [json.dumps({**row, "profile_id": one}).encode() for one in persons])

    arrive("first", "second")
    stop = store_gate.stop(puts_data("events"))
    killed = world.once(DAY, worker="a", over=under("k1"))
    stop.wait()
    killed.kill()
    stop.drop()
    assert world.folder.records(stream.topic, 0), "the seal is decided"
    assert people(world) == [], "and pending"
    arrive("third")
    lost = world.once(worker="b", over=under("k2", ["k2"])).done(3)
    assert "missing_key" in lost.tail()
    assert people(world) == []
    world.once(worker="c", over=under("k2")).done()  # "third" is late, and comes with the next day
    expected = [hashed("k1", OLD, "first"), hashed("k1", OLD, "second"), hashed("k2", NEW, "third")]
    assert people(world) == sorted(expected)
    # the day is read again below the head: by the old key, and by the new one
    world.start("verify", "--deep", worker="c", over=under("k2")).done()
    day = ("--day", str(DAY))
    world.start("replay", *day, "--yes", worker="c", over=under("k2")).done()
    assert people(world) == sorted(hashed("k2", NEW, person) for person in ("first", "second", "third"))
