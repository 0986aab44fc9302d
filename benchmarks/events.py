"""Made-up `events` that look like real ones: 44 columns, about 590 bytes of Avro, 28 % nulls. Seeded: always the same.

Encoding a million of them one by one would take longer than what is measured, so bodies are copies of a few thousand
patterns. Each copy gets a transaction id of its own, of the same length, so that every row is distinct.

In JSON an event is an object of all names, nulls among them, as a webhook sends it: about 1,500 bytes.
"""

from __future__ import annotations

import io
import json
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Self

import fastavro
import orjson

from consumer.streams.rules import Format

SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "events.avsc"
SCHEMA: Any = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))
COLUMNS: tuple[str, ...] = tuple(field["name"] for field in SCHEMA["fields"])
PATTERNS = 6_000
MOST_LATE = timedelta(hours=12)
LATE_SHARE = 0.03
TYPES = ("subscription_renewed", "subscription_started", "trial_started", "trial_converted", "access_level_updated",
         "subscription_renewal_cancelled", "billing_issue_detected", "non_subscription_purchase")  # fmt: skip
PAYWALLS = (
    "Default paywall, two products",
    "[iOS] weekly $9.99 (trial / no trial) + yearly $59.99 + toggle [5sec CLOSE DELAY]",
    'Spring sale "50% off", annual only, all countries',
)
_ID = b"0000000000000000000"
"""Stands where each record gets its own transaction id."""
WIRE_HEAD = b"\0" + (1).to_bytes(4, "big")
"""What stands before a value behind a schema id, unless a registry gave the schema another one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One record as it goes into the log. `timestamp` is in epoch milliseconds."""

    key: bytes
    value: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the log is to hold.

    Events arrive in the order of their time, some late, over the `days` before today; `mixed`: in no order at all.
    Every `large_every`-th one (0: none) has a text of `large_bytes`. `head` stands before each value of a format with a
    schema id. With `today` the last day is today, which no seal takes yet.
    """

    records: int
    days: int = 3
    mixed: bool = False
    large_every: int = 0
    large_bytes: int = 0
    format: Format = Format.AVRO
    head: bytes = WIRE_HEAD
    partitions: int = 4
    today: bool = False

    @property
    def last(self) -> date:
        """The last event day."""
        return datetime.now(UTC).date() if self.today else yesterday()


def yesterday() -> date:
    """The last day that a seal may take."""
    return datetime.now(UTC).date() - timedelta(days=1)


def events(plan: Plan) -> Iterator[Event]:
    """The events of a plan, in the order in which they arrive."""
    chance = random.Random(plan.records)
    first = datetime.combine(plan.last - timedelta(days=plan.days - 1), time(), UTC)
    # a broker refuses records from the future
    length = datetime.now(UTC) - first if plan.today else timedelta(days=plan.days)
    encode = _Encoder(plan)
    patterns = [_Pattern.of(_record(chance), encode) for _ in range(min(PATTERNS, plan.records))]
    for number in range(plan.records):
        arrived = first + length * (chance.random() if plan.mixed else number / plan.records)
        late = timedelta()
        if chance.random() < LATE_SHARE:
            late = min(chance.random() * MOST_LATE, arrived - first)
        pattern = patterns[number % len(patterns)]
        value = pattern.body(number, encode.time(arrived - late))
        if plan.large_every and number % plan.large_every == 0:
            value = encode.body(_large(number, arrived - late, plan.large_bytes, chance))
        yield Event(pattern.key, value, int(arrived.timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Writes records and times as the plan's format has them; a time has the same length whenever it is."""

    plan: Plan

    def body(self, record: Mapping[str, Any]) -> bytes:
        head = self.plan.head if self.plan.format.has_schema_id else b""
        if self.plan.format.is_json:
            return head + orjson.dumps({name: _plain(value) for name, value in record.items()})
        out = io.BytesIO()
        fastavro.schemaless_writer(out, SCHEMA, record)
        return head + out.getvalue()

    def time(self, instant: datetime) -> bytes:
        if self.plan.format.is_json:
            return b'"%b"' % _plain(instant).encode()
        return _varint((instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class _Pattern:
    """An encoded record, cut where its time stands and with a stand-in for its id."""

    key: bytes
    before: bytes
    after: bytes

    @classmethod
    def of(cls, record: Mapping[str, Any], encode: _Encoder) -> Self:
        before, _, after = encode.body(record).partition(encode.time(record["event_datetime"]))
        return cls(record["profile_id"].encode(), before, after)

    def body(self, number: int, time: bytes) -> bytes:
        return b"".join((self.before, time, self.after.replace(_ID, b"%019d" % number, 1)))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%f%z}" if isinstance(value, datetime) else value


def _large(number: int, happened: datetime, size: int, chance: random.Random) -> dict[str, Any]:
    record = _record(chance)
    record.update(paywall_name="large " * (size // 6), transaction_id=f"{number:019d}", event_datetime=happened)
    return record


def _varint(number: int) -> bytes:
    raw, out = number << 1, bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def _record(chance: random.Random) -> dict[str, Any]:
    """One event; what is null in it goes by platform, by kind of event, and by chance."""
    found = {**_who(chance), **_what(chance), **_where_from(chance)}
    return {name: found.get(name) for name in COLUMNS}


def _who(chance: random.Random) -> dict[str, Any]:
    apple = chance.random() < 0.6
    country = chance.choice(("US", "DE", "BR", "JP", "GB", "FR"))
    return {
        "profile_id": _unique(chance),
        "customer_user_id": _maybe(chance, 0.55, f"user-{chance.getrandbits(128):032x}@customers.example.com"),
        "store": "app_store" if apple else "play_store",
        "profile_county": country,
        "store_country": country,
        "install_date": _instant(chance),
        "idfv": _unique(chance).upper() if apple else None,
        "idfa": _maybe(chance, 0.6, _unique(chance).upper()) if apple else None,
        "advertising_id": "" if apple else _unique(chance),
        "ip_address": _maybe(chance, 0.9, ".".join(str(chance.randrange(256)) for _ in range(4))),
        "android_app_set_id": None if apple else _unique(chance),
        "android_id": None if apple else f"{chance.getrandbits(64):016x}",
        "device": chance.choice(("iPhone 14 Pro", "iPad13,4-A2379"))
        if apple
        else chance.choice(("SM-G990E", "Pixel 8")),
    }


def _what(chance: random.Random) -> dict[str, Any]:
    paid = chance.random() < 0.58
    tested = chance.random() < 0.35
    seen = chance.random() < 0.8
    price = round(chance.uniform(0.99, 99.99), 2) * chance.choice((1.0, 1.0, 1.0, -1.0))
    rate = chance.uniform(0.5, 5.0)
    money = {"revenue": price, "proceeds": price * 0.85, "net_revenue": price * 0.78, "tax_amount": price * 0.07}
    return {
        "event_type": chance.choice(TYPES),
        "event_datetime": _instant(chance),
        "transaction_id": _ID.decode(),
        "original_transaction_id": f"GPA.{chance.getrandbits(60):019d}..{chance.randrange(40)}",
        "subscription_expires_at": _maybe(chance, 0.7, _instant(chance)),
        "environment": "Production" if chance.random() < 0.95 else "Sandbox",
        **({f"{name}_usd": amount for name, amount in money.items()} if paid else {}),
        **({f"{name}_local": amount * rate for name, amount in money.items()} if paid else {}),
        "cancellation_reason": _maybe(chance, 0.2, "voluntarily_cancelled"),
        "product_id": chance.choice(("weekly_8.99", "monthly.premium.2024", "yearly_59.99")),
        "base_plan_id": _maybe(chance, 0.2, chance.choice(("p3m", "b1", "1year7dt"))),
        "developer_id": "onboarding_placement_after_quiz",
        "ab_test_name": "onboarding_ab_test: yearly first" if tested else None,
        "ab_test_revision": chance.randrange(1, 9) if tested else None,
        "paywall_name": chance.choice(PAYWALLS) if seen else None,
        "paywall_revision": chance.randrange(1, 200) if seen else None,
        "currency": chance.choice(("USD", "EUR", "BRL", "JPY")) if paid else None,
    }


def _where_from(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.34:
        return {"attribution_source": "appsflyer", "attribution_status": "organic"}
    return {
        "attribution_source": chance.choice(("appsflyer", "apple_search_ads", "adjust")),
        "attribution_network_user_id": f"{chance.getrandbits(43)}-{chance.getrandbits(62)}",
        "attribution_status": "non_organic",
        "attribution_channel": chance.choice(("Apple Search Ads", "Google Ads", "Facebook Ads")),
        "attribution_campaign": chance.choice(
            ("Social media influencers - Rest of the world", "US, CA and GB, iOS 17 and later, broad")
        ),
        "attribution_ad_group": "Fit_333 - nenue - v2",
        "attribution_ad_set": _maybe(chance, 0.8, f"Keywords {chance.randrange(100)}.12"),
        "attribution_creative": str(chance.getrandbits(59)),
    }


def _unique(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))


def _maybe(chance: random.Random, share: float, value: Any) -> Any:
    return value if chance.random() < share else None


def _instant(chance: random.Random) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**13))
