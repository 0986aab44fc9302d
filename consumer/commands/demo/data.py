"""The demo's data: three days of all four streams, with realistic irregularities, the same in every run.

A record is late if its day was sealed before it arrived: phones go offline, ad platforms correct their numbers. Some
are dropped by the demo's filters, a few cannot be read at all. Each has its expected outcome.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from fastavro import parse_schema, schemaless_writer

from consumer.commands.demo import records
from consumer.commands.demo.records import Fields, Profile
from consumer.streams.kinds import KINDS

FIRST_DAY = date(2024, 7, 15)
MORNINGS = (datetime(2024, 7, 17, 4, 0, 5, tzinfo=UTC), datetime(2024, 7, 18, 4, 0, 5, tzinfo=UTC))
"""When the demo's worker runs: just past the hour at which the day before is due."""
PARTITIONS = 2
"""Partitions that get records; the mock cluster's topics have four, so that two stay idle."""
KEPT = "kept"
KNOWN_SCHEMA, NEWER_SCHEMA, LOST_SCHEMA = 1, 2, 99
"""Writer schemas of `ua_events` by id. The registry does not know the last one."""

STREAMS: Mapping[str, Mapping[str, Any]] = {
    "events": {
        "topic": "adapty.events",
        "format": "avro",
        "event_types": {"default": True, "subscription_paused": False},
        "filter": {"exclude_historical": True, "environments": ["Production"]},
    },
    "paywall_views": {"topic": "adapty.paywall_views", "format": "json"},
    "ua_events": {"topic": "adapty.ua_events", "format": "avro-registry"},
    "ua_campaign_metrics": {"topic": "adapty.ua_campaign_metrics", "format": "avro"},
}
"""The tables `[streams.X]` of the demo's settings."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One record on its way to Kafka.

    `at` is its timestamp: when it reaches Kafka. `day` is the UTC day of its event; `fate` is its expected outcome:
    `kept`, the filter that drops it, or the reason of its quarantine.
    """

    stream: str
    partition: int
    at: datetime
    day: date
    key: bytes
    value: bytes
    fate: str

    @property
    def late(self) -> bool:
        """Whether its day was sealed before it came."""
        return self.fate == KEPT and self.at >= MORNINGS[0] and self.day <= MORNINGS[0].date() - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """What goes wrong with how many in a thousand records of a stream."""

    fate: str
    of_thousand: int
    change: Callable[[Fields, datetime], None] = lambda _fields, _at: None


def _set(name: str, value: object) -> Callable[[Fields, datetime], None]:
    return lambda fields, _at: fields.__setitem__(name, value)


def _install_later(fields: Fields, at: datetime) -> None:
    fields["install_date"] = at + timedelta(hours=5)


SPOILT: Mapping[str, tuple[_Spoilt, ...]] = {
    "events": (
        _Spoilt("event_type", 30, _set("event_type", "subscription_paused")),
        _Spoilt("profile", 20, _set("profile_id", None)),
        _Spoilt("historical", 10, _install_later),
        _Spoilt("environment", 50, _set("environment", "Sandbox")),
        _Spoilt("day_out_of_range", 2, _set("event_datetime", datetime(1970, 1, 1, tzinfo=UTC))),
        _Spoilt("undecodable", 2),
    ),
    "paywall_views": (
        _Spoilt("profile", 20, _set("profile_id", "")),
        _Spoilt("no_time", 3, _set("paywall_showed_at", "soon")),
        _Spoilt("undecodable", 2),
    ),
    "ua_events": (_Spoilt("profile", 10, _set("profile_id", None)), _Spoilt("schema_unknown", 4)),
}


def all_records(events_a_day: int = 2_000) -> list[Sent]:
    """Every record that reaches Kafka up to the last morning, in the order of its arrival."""
    random = Random(20_240_715)  # noqa: S311 - made-up data, the same at every run
    users = records.profiles(random, 300, datetime.combine(FIRST_DAY, time(), UTC))
    made: list[Sent] = []
    for stream, make, share in (
        ("events", records.event, 1.0),
        ("paywall_views", records.view, 1.5),
        ("ua_events", records.install, 0.5),
    ):
        made.extend(_told(random, users, stream, make, int(events_a_day * share)))
    made.extend(_reported(random))
    return sorted((sent for sent in made if sent.at < MORNINGS[-1]), key=lambda sent: sent.at)


def registry_schemas() -> dict[int, str]:
    """What the demo's schema registry knows: the shipped schema of `ua_events`, and a newer one with a field more."""
    known = KINDS["ua_events"].schema
    newer = json.loads(known)
    newer["fields"].insert(5, {"name": "keyword_name", "type": ["null", "string"], "default": None})
    return {KNOWN_SCHEMA: known, NEWER_SCHEMA: json.dumps(newer)}


def _told(
    random: Random, users: list[Profile], stream: str, make: Callable[[Random, Profile, datetime], Fields], a_day: int
) -> Iterator[Sent]:
    """What users do, all day long, on each day up to the last morning's."""
    encode = _encoder(stream)
    for offset in range((MORNINGS[-1].date() - FIRST_DAY).days + 1):
        midnight = datetime.combine(FIRST_DAY + timedelta(days=offset), time(), UTC)
        for _ in range(a_day):
            at = midnight + timedelta(microseconds=random.randrange(86_400_000_000))
            user = random.choice(users)
            fields, spoilt = make(random, user, at), _spoilt(random, stream)
            if spoilt:
                spoilt.change(fields, at)
            fate = spoilt.fate if spoilt else KEPT
            key = user.profile_id.encode()
            arrived = at + _delay(random)
            yield Sent(stream, zlib.crc32(key) % PARTITIONS, arrived, at.date(), key, encode(fields, fate), fate)


def _spoilt(random: Random, stream: str) -> _Spoilt | None:
    ways, dice = SPOILT[stream], random.randrange(1_000)
    for way in ways:
        if dice < way.of_thousand:
            return way
        dice -= way.of_thousand
    return None


def _delay(random: Random) -> timedelta:
    """Most records come within a minute, some within two hours, a few phones were offline for up to a day."""
    longest = random.choices((60, 7_200, 86_400), weights=(955, 30, 15))[0]
    return timedelta(seconds=random.randint(5, longest))


def _reported(random: Random) -> Iterator[Sent]:
    """Hourly numbers of each campaign; corrected the next morning, and once more after the day was sealed."""
    encode = _encoder("ua_campaign_metrics")
    for offset in range((MORNINGS[-1].date() - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=offset)
        for hour in (*range(1, 24), 26, 33):
            for campaign in records.CAMPAIGNS:
                at = datetime.combine(day, time(), UTC) + timedelta(hours=hour, seconds=random.randrange(300))
                value = encode(records.report(random, campaign, day, min(hour, 24)), KEPT)
                key = campaign[0].encode()
                yield Sent("ua_campaign_metrics", zlib.crc32(key) % PARTITIONS, at, day, key, value, KEPT)


# -- bytes -------------------------------------------------------------------------------------------------------------


def _encoder(stream: str) -> Callable[[Fields, str], bytes]:
    """How the stream's producers write a record; `undecodable` ones end too early."""
    encode = {"paywall_views": _json, "ua_events": _wire()}.get(stream) or _avro(KINDS[stream].schema)
    return lambda fields, fate: encode(fields, fate)[: -20 if fate == "undecodable" else None]


def _avro(schema: str) -> Callable[[Fields, str], bytes]:
    parsed = parse_schema(json.loads(schema))

    def encode(fields: Fields, _fate: str) -> bytes:
        out = io.BytesIO()
        schemaless_writer(out, parsed, fields)
        return out.getvalue()

    return encode


def _json(fields: Fields, _fate: str) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _wire() -> Callable[[Fields, str], bytes]:
    """Confluent's wire format; the apps are being updated, so that two writer schemas share the topic."""
    writers = {number: _avro(schema) for number, schema in registry_schemas().items()}

    def encode(fields: Fields, fate: str) -> bytes:
        newer = fields["ad_name"] > "Video 6"
        number = NEWER_SCHEMA if newer else KNOWN_SCHEMA
        body = writers[number]({**fields, "keyword_name": "yoga"} if newer else fields, fate)
        return b"\0" + (LOST_SCHEMA if fate == "schema_unknown" else number).to_bytes(4, "big") + body

    return encode
