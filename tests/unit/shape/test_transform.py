"""What a record becomes, edge case by edge case, by both engines."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import DayRows, RawBatch, SealedSchemas, TransformedBatch, TransformOptions
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span
from consumer.shape.native import extension
from consumer.shape.transform import make_transformer
from consumer.streams.columns import columns_of
from consumer.streams.kinds import KINDS
from consumer.streams.rules import ROWS_VERSION, DayBy, Filter, Format, RowRules
from tests.builders.transforming import (
    DAY_ONE,
    LATER,
    PARTITION,
    AvroText,
    batch_of,
    both,
    custom,
    judged,
    plain,
    quarantined,
    record_schema,
    records_of,
    rules_of,
    table,
    wire,
)

EVENTS = rules_of("events", Format.JSON)
UA = rules_of("ua_events", Format.JSON)
METRICS = rules_of("ua_campaign_metrics", Format.JSON)
INSTANT = {"type": "long", "logicalType": "timestamp-micros"}
AT = "2024-07-15T13:45:18.755258+0000"
BASE: Mapping[str, Any] = {"profile_id": "p", "event_type": "trial_started", "event_datetime": AT}


def names_of(rules: RowRules) -> tuple[str, ...]:
    return tuple(column.name for column in columns_of(rules))


def dumped(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record)


def one(rules: RowRules, record: Mapping[str, Any]) -> tuple[dict[str, str], TransformedBatch]:
    """The only row of one record, and all that was judged."""
    found = both(rules, [dumped(record)])
    rows = table(found, names_of(rules))
    assert len(rows) == 1, found.counts
    return rows[0], found


def event(**more: Any) -> dict[str, str]:
    return one(EVENTS, {**BASE, **more})[0]


def oddities(rules: RowRules = EVENTS, **more: Any) -> Mapping[str, int]:
    return one(rules, {**BASE, **more})[1].oddities


def test_a_whole_event() -> None:
    found = both(EVENTS, [dumped({**BASE, "revenue_usd": 7, "advertising_id": "", "paywall_revision": "1"})])
    assert found.days == (
        DayRows(
            date(2024, 7, 15),
            False,
            1,
            100,
            100,
            b"p,trial_started,2024-07-15T13:45:18.755258+00:00,,,,,7.0,,,,,,,,,,,,,,,,,1,,,,," + b'"",,,,,,,,,,,,,,\n',
        ),
    )
    assert found.span == Span(100, 101)
    assert found.partition == PARTITION
    assert found.first_timestamp == LATER


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("NA", "NA"),
        ("null", "null"),
        (" x ", " x "),
        ("a,b", "a,b"),
        ('a"b', 'a"b'),
        ("a\nb\r\nc\rd", "a\nb\r\nc\rd"),
        ("a\u2028\u2029\u0085\x0b\x0c", "a\u2028\u2029\u0085\x0b\x0c"),
        ("😀 👨\u200d👩", "😀 👨\u200d👩"),
        ("=1+1", "=1+1"),
        ("-5", "-5"),
        ("@x", "@x"),
        ("\\N", "\\N"),
        ("9774d56d682e549c", "9774d56d682e549c"),
        ("1234e567", "1234e567"),
        ("0007", "0007"),
        (530001802720333, "530001802720333"),
        (12345678901234567890123, "12345678901234567890123"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        ({"a": {"b": [1, None]}}, '{"a":{"b":[1,null]}}'),
        ("2607:fb91:60b:1f68:95ed:f00c:3333:ac0d", "2607:fb91:60b:1f68:95ed:f00c:3333:ac0d"),
    ],
)
def test_text_cells(value: Any, cell: str) -> None:
    record = (
        orjson.dumps(BASE)[:-1]
        + b',"device":'
        + (str(value).encode() if type(value) is int else orjson.dumps(value))
        + b"}"
    )
    found = both(EVENTS, [record])
    assert table(found, names_of(EVENTS))[0]["device"] == cell


def test_null_and_the_empty_text_stay_apart() -> None:
    found = both(METRICS, [dumped({"date": "2024-07-15", "campaign_id": "", "adset_id": None})])
    assert found.days[0].body.startswith(b'"",,,,')


@pytest.mark.parametrize(
    ("field", "value", "cell", "odd"),
    [
        ("revenue_usd", 0, "0.0", {}),
        ("revenue_usd", -0.0, "0.0", {}),
        ("revenue_usd", -45.48262359934814, "-45.48262359934814", {}),
        ("revenue_usd", 109.88999999999999, "109.88999999999999", {}),
        ("revenue_usd", 1e21, "1000000000000000000000.0", {}),
        ("revenue_usd", 1e-7, "0.0000001", {}),
        ("revenue_usd", "9.99", "9.99", {}),
        ("revenue_usd", "9,99", "9,99", {"misfit": 1}),
        ("revenue_usd", "USD 9.99", "USD 9.99", {"misfit": 1}),
        ("revenue_usd", True, "true", {"misfit": 1}),
        ("paywall_revision", 1.0, "1", {}),
        ("paywall_revision", "rev-A", "rev-A", {"misfit": 1}),
        ("paywall_revision", 3.7, "3.7", {"misfit": 1}),
        ("paywall_revision", "1.5", "1.5", {"misfit": 1}),
        ("install_date", "2024-07-16T02:00+05:30", "2024-07-15T20:30:00.000000+00:00", {}),
        ("install_date", "2024-07-15T13:53:51", "2024-07-15T13:53:51.000000+00:00", {"no_offset": 1}),
        ("install_date", "2024-07-15T23:59:60Z", "2024-07-15T23:59:59.999999+00:00", {"leap_second": 1}),
        ("install_date", "2024-07-15T24:00:00Z", "2024-07-16T00:00:00.000000+00:00", {}),
        ("install_date", "2024-07-15", "2024-07-15T00:00:00.000000+00:00", {}),
        ("install_date", "20240715", "2024-07-15T00:00:00.000000+00:00", {}),
        ("install_date", "2024-07-15T13:53:51.123Z", "2024-07-15T13:53:51.123000+00:00", {}),
        ("install_date", "2024-07-15T13:53:51.123456789Z", "2024-07-15T13:53:51.123456+00:00", {}),
        ("install_date", 1721051631, "2024-07-15T13:53:51.000000+00:00", {}),
        ("install_date", 1721051631123, "2024-07-15T13:53:51.123000+00:00", {}),
        ("install_date", 1721051631123456, "2024-07-15T13:53:51.123456+00:00", {}),
        ("install_date", 1721051631123456789, "2024-07-15T13:53:51.123456+00:00", {}),
        ("install_date", "1721051762123", "2024-07-15T13:56:02.123000+00:00", {}),
        ("install_date", "yesterday", "yesterday", {"misfit": 1}),
        ("subscription_expires_at", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000+00:00", {}),
        ("subscription_expires_at", "9" * 22, "", {"instant_out_of_range": 1}),
        ("subscription_expires_at", "0001-01-01T00:00:00+14:00", "", {"instant_out_of_range": 1}),
        ("subscription_expires_at", "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999+00:00", {}),
        ("device", "a\0b\0", "ab", {"nul": 1}),
    ],
)
def test_values_that_fit_and_values_that_do_not(field: str, value: Any, cell: str, odd: dict[str, int]) -> None:
    row, found = one(EVENTS, {**BASE, field: value})
    assert row[field] == cell
    assert dict(found.oddities) == odd


@pytest.mark.parametrize(
    ("tail", "cells", "odd"),
    [
        (b'"device":"\\ud83d"', {"device": "\ufffd"}, {"mended_text": 1}),
        (b'"device":"x\xff"', {"device": "x\ufffd"}, {"mended_text": 1}),
        (b'"revenue_usd":NaN', {"revenue_usd": ""}, {"not_finite": 1}),
        (b'"revenue_usd":-Infinity', {"revenue_usd": ""}, {"not_finite": 1}),
        (b'"revenue_usd":1e400', {"revenue_usd": ""}, {"not_finite": 1}),
        (b'"paywall_revision":9223372036854775808', {"paywall_revision": "9223372036854775808"}, {"misfit": 1}),
        (b'"revenue_usd":12345678901234567890', {"revenue_usd": "12345678901234567000.0"}, {}),
        (b'"device":"a","device":"b"', {"device": "b"}, {}),
        (b'"profile_country":"CH"', {"profile_county": "CH"}, {}),
        (b'"profile_county":null,"profile_country":"CH"', {"profile_county": "CH"}, {}),
        (b'"profile_country":"CH","profile_county":"AR"', {"profile_county": "AR"}, {}),
        (b'"event_type":"  TRIAL_Started\\n"', {"event_type": "trial_started"}, {}),
        (b'"event_type":"my_own"', {"event_type": "my_own"}, {"unlisted_event_type": 1}),
        (b'"event_type":null', {"event_type": ""}, {}),
        (b'"event_type":"trial_\\u0000started"', {"event_type": "trial_started"}, {"nul": 1}),
    ],
)
def test_what_only_json_text_can_say(tail: bytes, cells: dict[str, str], odd: dict[str, int]) -> None:
    found = both(EVENTS, [dumped(BASE)[:-1] + b"," + tail + b"}"])
    row = table(found, names_of(EVENTS))[0]
    assert {name: row[name] for name in cells} == cells
    assert dict(found.oddities) == odd


def test_json_columns() -> None:
    row, found = one(UA, {**BASE, "custom_parameters": {"b": "é", "a": [1.0, None]}})
    assert row["custom_parameters"] == '{"b":"é","a":[1.0,null]}'
    assert not found.oddities
    assert one(UA, {**BASE, "custom_parameters": "{'python': 1}"})[0]["custom_parameters"] == "{'python': 1}"
    huge = {"k" * 3: "v" * 100_000}
    assert one(UA, {**BASE, "custom_parameters": huge})[0]["custom_parameters"] == orjson.dumps(huge).decode()


def test_user_attributes_come_last_when_they_are_sent() -> None:
    rules = replace(EVENTS, send_user_attributes=True)
    row, _ = one(rules, {**BASE, "user_attributes": {"plan": "gold"}})
    assert list(row)[-1] == "attributes"
    assert row["attributes"] == '{"plan":"gold"}'
    assert one(rules, {**BASE, "attributes": {"a": 1}, "user_attributes": {"b": 1}})[0]["attributes"] == '{"a":1}'
    _, off = one(EVENTS, {**BASE, "attributes": {"a": 1}})
    assert not off.unknown_fields


def test_unknown_fields_are_counted_by_name() -> None:
    values = [dumped({**BASE, "more": 1, "x": None}), dumped({**BASE, "more": {"deep": 1}}), dumped(BASE), b"{"]
    assert both(EVENTS, values).unknown_fields == {"more": 2, "x": 1}


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (None, "no_time"),
        ("soon", "no_time"),
        ("", "no_time"),
        (True, "no_time"),
        ({"a": 1}, "no_time"),
        ("2008-07-09T23:59:59.999999Z", "day_out_of_range"),
        ("2008-07-10T00:00:00Z", None),
        ("2024-07-19T23:59:59.999999Z", None),
        ("2024-07-20T00:00:00Z", "day_out_of_range"),
        ("2024-07-20T01:00:00+02:00", None),
        ("0001-01-01T00:00:00Z", "day_out_of_range"),
        ("9999-12-31T23:59:59Z", "day_out_of_range"),
        (10**30, "day_out_of_range"),
        (-(10**12), "day_out_of_range"),
        (0, "day_out_of_range"),
    ],
)
def test_the_window_of_days(at: Any, reason: str | None) -> None:
    text = dumped({**BASE, "event_datetime": "@"}).replace(
        b'"@"', str(at).encode() if type(at) is int else dumped_any(at)
    )
    found = both(EVENTS, [text])
    assert [line["reason"] for line in quarantined(found)] == ([reason] if reason else [])
    assert found.counts.kept == (reason is None)


def dumped_any(value: Any) -> bytes:
    return orjson.dumps(value)


def test_the_window_follows_each_record() -> None:
    days = [DAY_ONE // 1_000 + day * 86_400_000 for day in (0, -1, -2)]
    found = both(EVENTS, [dumped(BASE)] * 4, timestamps=[*days, -1])
    assert [line["offset"] for line in quarantined(found)] == [102]
    assert found.counts.kept == 3


def test_without_a_timestamp_only_the_first_bound_holds() -> None:
    far, old = dumped({**BASE, "event_datetime": "2150-01-01"}), dumped({**BASE, "event_datetime": "2008-07-09"})
    found = both(EVENTS, [far, old], timestamps=[-1, -1])
    assert [day.day for day in found.days] == [date(2008, 7, 10), date(2150, 1, 1)]
    assert found.days[0].quarantine
    assert found.first_timestamp is None


def test_the_day_of_the_record() -> None:
    rules = replace(EVENTS, day_by=DayBy.RECORD)
    values = [dumped({"profile_id": "p"}), dumped({**BASE, "event_datetime": "1999-01-01"}), dumped(BASE), dumped(BASE)]
    found = both(rules, values, timestamps=[0, 86_399_999, -1, 1 << 60])
    assert [(day.day, day.quarantine, day.rows) for day in found.days] == [
        (date(1970, 1, 1), False, 2),
        (date(2008, 7, 10), True, 2),
    ]
    assert [line["reason"] for line in quarantined(found)] == ["no_time", "day_out_of_range"]


def test_quarantine_lines() -> None:
    values = [b"", b"{", None, b"\xff\x00"]
    found = both(EVENTS, values, timestamps=[DAY_ONE // 1_000, LATER, LATER, -1])
    assert found.counts.quarantined == 3
    assert found.counts.tombstones == 1
    assert [(day.day, day.first_offset, day.last_offset, day.rows) for day in found.days] == [
        (date(2008, 7, 10), 103, 103, 1),
        (date(2024, 7, 15), 100, 100, 1),
        (date(2024, 7, 18), 101, 101, 1),
    ]
    key = base64.b64encode(b"key").decode()
    assert b"".join(day.body for day in found.days) == (
        b'{"reason":"undecodable","topic":"topic","partition":3,"offset":103,"timestamp":null,"key":"%s","value":"/wA="}\n'
        b'{"reason":"empty_value","topic":"topic","partition":3,"offset":100,"timestamp":%d,"key":null,"value":""}\n'
        b'{"reason":"undecodable","topic":"topic","partition":3,"offset":101,"timestamp":%d,"key":"%s","value":"ew=="}\n'
        % (key.encode(), DAY_ONE // 1_000, LATER, key.encode())
    )


def test_a_tombstone_is_no_row_and_an_empty_value_is_none() -> None:
    found = both(EVENTS, [None, None, dumped(BASE)])
    assert (found.counts.read, found.counts.tombstones, found.counts.kept) == (3, 2, 1)
    assert found.days[0].first_offset == 102


def test_nothing_at_all() -> None:
    found = judged(EVENTS, [])
    assert found.days == ()
    assert found.first_timestamp is None
    span = Span(5, 9)
    transformer = make_transformer(EVENTS)
    empty = transformer.transform(RawBatch(PARTITION, span, [], [], [], []), TransformOptions(transformer.columns))
    assert empty.span == span


def test_the_first_timestamp_is_that_of_the_first_record_whatever_it_is() -> None:
    assert both(EVENTS, [None, dumped(BASE)], timestamps=[5, LATER]).first_timestamp == 5
    assert both(EVENTS, [b"{", dumped(BASE)], timestamps=[-1, LATER]).first_timestamp is None


def test_columns_asked_for() -> None:
    found = both(EVENTS, [dumped({**BASE, "device": "x"})], columns=("device", "of_tomorrow", "event_type"))
    assert found.days[0].body == b"x,,trial_started\n"
    assert both(EVENTS, [dumped(BASE)], columns=("of_tomorrow",)).days[0].body == b'""\n'
    assert both(EVENTS, [dumped(BASE)], columns=("event_type",)).days[0].body == b"trial_started\n"
    assert both(EVENTS, [dumped({**BASE, "revenue_usd": 1})], columns=("revenue_usd", "event_datetime")).days[
        0
    ].body == (b"1.0,2024-07-15T13:45:18.755258+00:00\n")


def test_oddities_are_those_of_what_is_written() -> None:
    values = [dumped({**BASE, "revenue_usd": "x", "device": "a\0"})]
    assert both(EVENTS, values, columns=("device", "event_type")).oddities == {"nul": 1}
    assert both(EVENTS, values, wanted=lambda *_: False).oddities == {}


def test_a_day_that_is_not_wanted_has_rows_and_no_text() -> None:
    values = [dumped({**BASE, "event_datetime": f"2024-07-{day}"}) for day in (15, 16, 15)] + [b"{"]
    found = both(EVENTS, values, wanted=lambda day, quarantine: day.day == 16 and not quarantine)
    assert [(day.day.day, day.quarantine, day.rows, bool(day.body)) for day in found.days] == [
        (15, False, 2, False),
        (16, False, 1, True),
        (18, True, 1, False),
    ]
    assert (found.days[0].first_offset, found.days[0].last_offset) == (100, 102)


def test_rows_stand_in_the_order_of_their_offsets() -> None:
    values = [
        dumped(
            {
                **BASE,
                "device": f"d{turn}",
                "event_datetime": f"2024-07-1{5 + turn % 2}",
                **({"revenue_usd": "x"} if turn % 3 == 0 else {}),
            }
        )
        for turn in range(20)
    ]
    found = both(EVENTS, values, columns=("device", "revenue_usd"))
    for day, start in zip(found.days, (0, 1), strict=True):
        assert day.body == b"".join(
            b"d%d,%s\n" % (turn, b"x" if turn % 3 == 0 else b"") for turn in range(start, 20, 2)
        )


FILTERED = [
    (Filter(event_types={"trial_started": False}), {}, "event_type"),
    (Filter(event_types={" Trial_STARTED": False}), {"event_type": "TRIAL_started "}, "event_type"),
    (Filter(event_types={"trial_started": True}, event_type_default=False), {}, None),
    (Filter(event_types={"other": True}, event_type_default=False), {}, "event_type"),
    (Filter(event_type_default=False), {"event_type": None}, "event_type"),
    (Filter(event_types={"a": False}), {"event_type": None}, None),
    (Filter(event_types={"trial_started": False}), {"event_type": "trial_\0started"}, "event_type"),
    (Filter(), {"profile_id": None}, "profile"),
    (Filter(), {"profile_id": ""}, "profile"),
    (Filter(), {"profile_id": "00000000-0000-0000-0000-000000000000"}, "profile"),
    (Filter(), {"profile_id": "\0" + "0"}, "profile"),
    (Filter(), {"profile_id": 0}, "profile"),
    (Filter(), {"profile_id": "0-1"}, None),
    (Filter(), {"profile_id": " "}, None),
    (Filter(include_without_profile=True), {"profile_id": None}, None),
    (Filter(exclude_historical=True), {"install_date": AT}, None),
    (Filter(exclude_historical=True), {"install_date": "2024-07-15T13:45:18.755259Z"}, "historical"),
    (Filter(exclude_historical=True), {"install_date": "2024-07-15T13:45:18.755257Z"}, None),
    (Filter(exclude_historical=True), {"install_date": "2024-07-15T20:00:00+05:30"}, "historical"),
    (Filter(exclude_historical=True), {"install_date": "9" * 22}, None),
    (Filter(environments=("Production",)), {"environment": "PRODUCTION"}, None),
    (Filter(environments=("production", "sandbox")), {"environment": "Sandbox"}, None),
    (Filter(environments=("production",)), {"environment": "Sandbox"}, "environment"),
    (Filter(environments=("production",)), {"environment": None}, "environment"),
    (Filter(environments=("production",)), {"environment": "prod\0uction"}, None),
    (Filter(event_types={"trial_started": False}, environments=("x",)), {"profile_id": None}, "event_type"),
    (
        Filter(environments=("x",), exclude_historical=True),
        {"profile_id": None, "install_date": "2025-01-01"},
        "profile",
    ),
    (Filter(environments=("x",), exclude_historical=True), {"install_date": "2025-01-01"}, "historical"),
]


@pytest.mark.parametrize(("wanted", "more", "reason"), FILTERED)
def test_filters(wanted: Filter, more: dict[str, Any], reason: str | None) -> None:
    found = both(
        replace(EVENTS, filter=wanted),
        [dumped({**BASE, **more}), dumped({**BASE, "event_type": "x", "environment": "x"})],
    )
    assert found.filtered.get(reason or "", 0) >= (reason is not None)
    only = both(replace(EVENTS, filter=wanted), [dumped({**BASE, **more})])
    assert dict(only.filtered) == ({reason: 1} if reason else {})
    assert only.counts.filtered + only.counts.kept == 1


def test_filters_see_only_what_has_a_day() -> None:
    found = both(replace(EVENTS, filter=Filter(event_type_default=False)), [dumped({**BASE, "event_datetime": None})])
    assert found.counts.quarantined == 1
    assert not found.filtered


def test_a_row_without_install_date_is_kept_and_counted() -> None:
    rules = replace(EVENTS, filter=Filter(exclude_historical=True))
    found = both(
        rules, [dumped(BASE), dumped({**BASE, "install_date": "x"}), dumped({**BASE, "install_date": "2024-01-01"})]
    )
    assert found.counts.kept == 3
    assert found.oddities == {"no_install_date": 2, "misfit": 1}


def test_historical_before_an_instant() -> None:
    bound = datetime(2024, 7, 15, 13, 45, 18, 755258, tzinfo=UTC)
    rules = replace(UA, filter=Filter(exclude_historical=True, historical_before=bound))
    found = both(rules, [dumped(BASE), dumped({**BASE, "event_datetime": "2024-07-15T13:45:18.755257Z"})])
    assert found.filtered == {"historical": 1}


def test_historical_without_a_time() -> None:
    rules = replace(EVENTS, filter=Filter(exclude_historical=True), day_by=DayBy.RECORD)
    record = {"profile_id": "p", "install_date": AT}
    assert both(rules, [dumped(record)]).counts.kept == 1


CLICKS: list[dict[str, Any]] = [
    {"name": "clicked_at", "type": "string"},
    {"name": "n", "type": ["null", "int"]},
    {"name": "f", "type": ["null", "float"]},
    {"name": "ok", "type": ["null", "boolean"]},
]


@pytest.mark.parametrize(
    ("kind", "value", "day", "cell"),
    [
        ("string", "2024-07-15T23:59:59.5Z", 15, "2024-07-15T23:59:59.5Z"),
        ("string", "2024-07-16T00:30:00+01:00", 15, "2024-07-16T00:30:00+01:00"),
        ("string", "1721044800", 15, "1721044800"),
        ("long", 1721044800, 15, "1721044800"),
        ("long", 1721044800000, 15, "1721044800000"),
        ("long", 1721044800000000, 15, "1721044800000000"),
        ("double", 1721044800.5, 15, "1721044800.5"),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            "2024-07-15T12:00:00Z",
            15,
            "2024-07-15T12:00:00.000000+00:00",
        ),
        ({"type": "int", "logicalType": "date"}, "2024-07-15", 15, "2024-07-15"),
        ({"type": "int", "logicalType": "date"}, 19_919, 15, "2024-07-15"),
        (["null", "string", "long"], 1721044800, 15, "1721044800"),
    ],
)
def test_time_fields_of_own_streams(kind: Any, value: Any, day: int, cell: str) -> None:
    rules = custom([{"name": "at", "type": kind}, {"name": "x", "type": "string"}], "at")
    row, found = one(rules, {"at": value, "x": "y"})
    assert found.days[0].day == date(2024, 7, day)
    assert row["at"] == cell


def test_text_without_offset_as_the_time_is_counted() -> None:
    rules = custom(CLICKS, "clicked_at")
    assert one(rules, {"clicked_at": "2024-07-15 10:00:00"})[1].oddities == {"no_offset": 1}
    assert one(rules, {"clicked_at": "2024-07-15 10:00:00Z"})[1].oddities == {}


def test_an_own_stream_with_the_columns_of_filters_has_the_filters() -> None:
    rules = custom(
        [*CLICKS, {"name": "event_type", "type": "string"}, {"name": "profile_id", "type": ["null", "long"]}],
        "clicked_at",
    )
    rules = replace(rules, filter=Filter(event_types={"view": False}))
    record = {"clicked_at": "2024-07-15T10:00:00Z", "event_type": " View", "profile_id": 7}
    assert both(rules, [dumped(record)]).filtered == {"event_type": 1}
    assert both(rules, [dumped({**record, "event_type": "Click", "profile_id": 0})]).filtered == {"profile": 1}
    assert one(rules, {**record, "event_type": " Click"})[0]["event_type"] == " Click"


def test_types_with_types_in_them() -> None:
    fields: list[dict[str, Any]] = [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "sizes", "type": {"type": "map", "values": "double"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "either", "type": ["null", "string", "double"]},
        {
            "name": "inner",
            "type": {
                "type": "record",
                "name": "I",
                "fields": [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}],
            },
        },
    ]
    rules = custom(fields, "at", Format.AVRO)
    body = AvroText(rules.schema)(
        {
            "at": DAY_ONE,
            "tags": ["a", 'b"'],
            "sizes": {"x": 1.5},
            "price": b"\x04\xd2",
            "either": 2.0,
            "inner": {"at": 0},
        }
    )
    found = both(rules, [body] * 2)
    assert table(found, names_of(rules))[0] == {
        "at": "2024-07-15T00:00:00.000000+00:00",
        "tags": '["a","b\\""]',
        "sizes": '{"x":1.5}',
        "price": "12.34",
        "either": "2.0",
        "inner": '{"at":"1970-01-01T00:00:00.000000+00:00"}',
    }
    assert not found.oddities


WRITER = record_schema(
    [
        {"name": "revenue_usd", "type": "long"},
        {"name": "extra", "type": ["null", "int"]},
        {"name": "event_datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "profile_country", "type": "bytes"},
        {"name": "profile_id", "type": ["string", "null"]},
        {"name": "event_type", "type": {"type": "enum", "name": "E", "symbols": ["trial_started", "b"]}},
        {"name": "paywall_revision", "type": "string"},
        {"name": "install_date", "type": "string"},
        {"name": "transaction_id", "type": "long"},
        {"name": "tax_amount_usd", "type": "float"},
    ]
)


@pytest.mark.parametrize("form", [Format.AVRO, Format.AVRO_REGISTRY])
def test_a_writer_with_another_schema(form: Format) -> None:
    body = AvroText(WRITER)(
        {
            "revenue_usd": 7,
            "extra": 1,
            "event_datetime": DAY_ONE // 1_000,
            "profile_country": b"CH",
            "profile_id": "p",
            "event_type": "trial_started",
            "paywall_revision": "3",
            "install_date": AT,
            "transaction_id": 530001802720333,
            "tax_amount_usd": 0.5,
        }
    )
    if form is Format.AVRO:
        found = both(rules_of("events", form, writer_schema=WRITER), [body])
    else:
        found = both(rules_of("events", form), [wire(4, body)], registry=MemoryRegistry({4: WRITER}))
    row = table(found, names_of(EVENTS))[0]
    assert {name: cell for name, cell in row.items() if cell} == {
        "profile_id": "p",
        "event_type": "trial_started",
        "event_datetime": "2024-07-15T00:00:00.000000+00:00",
        "transaction_id": "530001802720333",
        "revenue_usd": "7.0",
        "tax_amount_usd": "0.5",
        "paywall_revision": "3",
        "profile_county": "4348",
        "install_date": "2024-07-15T13:45:18.755258+00:00",
    }
    assert found.unknown_fields == {"extra": 1}


REGISTERED = rules_of("events", Format.AVRO_REGISTRY)
BODY = AvroText(KINDS["events"].schema)(records_of(KINDS["events"].schema, 1)[0])
OTHER = AvroText(WRITER)(
    {
        "revenue_usd": 7,
        "extra": None,
        "event_datetime": DAY_ONE // 1_000,
        "profile_country": b"",
        "profile_id": "q",
        "event_type": "b",
        "paywall_revision": "x",
        "install_date": "",
        "transaction_id": 1,
        "tax_amount_usd": 0.1,
    }
)


def test_several_writers_in_one_batch() -> None:
    registry = MemoryRegistry({1: KINDS["events"].schema, 2: WRITER})
    values = [wire(1 + turn % 2, OTHER if turn % 2 else BODY) for turn in range(9)]
    found = both(REGISTERED, values, registry=registry)
    assert found.counts.kept == 9
    assert found.unknown_fields == {"extra": 4}
    offsets = [
        row["profile_id"] == "q" for day in found.days for row in table(replace(found, days=(day,)), names_of(EVENTS))
    ]
    assert sorted(offsets) == [False] * 5 + [True] * 4


def test_what_is_not_in_the_wire_format() -> None:
    registry = MemoryRegistry({1: KINDS["events"].schema})
    values = [b"\x00\x00\x00\x00", b"\x01" + wire(1, BODY)[1:], wire(1, b""), wire(1, BODY), b""]
    found = both(REGISTERED, values, registry=registry)
    assert [line["reason"] for line in quarantined(found)] == [
        "not_wire_format",
        "not_wire_format",
        "undecodable",
        "empty_value",
    ]


def test_a_schema_that_the_registry_does_not_know() -> None:
    registry = MemoryRegistry({1: KINDS["events"].schema})
    values = [wire(9, BODY), wire(1, BODY), wire(9, BODY), wire(8, BODY), wire(1, BODY)]
    found = both(REGISTERED, values, registry=registry)
    assert (found.known_schemas, found.unknown_schemas) == ({1: 101}, {9: 103, 8: 104})
    assert [(line["reason"], line["offset"]) for line in quarantined(found)] == [
        ("schema_unknown", offset) for offset in (100, 102, 103)
    ]
    assert found.counts.kept == 2


def test_a_schema_registered_later_is_found() -> None:
    registry = MemoryRegistry({})
    transformer = make_transformer(REGISTERED, registry)
    how = TransformOptions(transformer.columns)
    assert transformer.transform(batch_of([wire(9, BODY)]), how).unknown_schemas == {9: 101}
    registry.known[9] = KINDS["events"].schema
    assert transformer.transform(batch_of([wire(9, BODY)]), how).counts.kept == 1


def test_what_a_seal_said_of_schemas_holds() -> None:
    registry = MemoryRegistry({9: KINDS["events"].schema})
    values = [wire(9, BODY)] * 5
    found = both(REGISTERED, values, registry=registry, schemas=SealedSchemas(None, {9: 102, 7: 500}))
    assert found.unknown_schemas == {}
    assert [line["offset"] for line in quarantined(found)] == [100, 101]
    assert found.counts.kept == 3


def test_a_schema_listed_below_its_bound_is_not_asked_for() -> None:
    registry = MemoryRegistry({})
    registry.down = True
    found = judged(REGISTERED, [wire(9, BODY)] * 2, registry=registry, schemas=SealedSchemas(None, {9: 102}))
    assert found.counts.quarantined == 2


def test_a_schema_that_a_seal_does_not_list_is_unknown_for_good() -> None:
    registry = MemoryRegistry({9: KINDS["events"].schema})
    found = both(REGISTERED, [wire(9, BODY)] * 4, registry=registry, schemas=SealedSchemas({9: 102}))
    assert [line["offset"] for line in quarantined(found)] == [100, 101]
    registry.down = True
    assert judged(REGISTERED, [wire(9, BODY)], registry=registry, schemas=SealedSchemas()).counts.quarantined == 1


def test_a_schema_that_must_be_known_is_waited_for() -> None:
    with pytest.raises(TransientError, match="schema 9 was registered"):
        judged(REGISTERED, [wire(9, BODY)] * 3, registry=MemoryRegistry({}), schemas=SealedSchemas(None, {9: 102}))
    with pytest.raises(TransientError):
        judged(REGISTERED, [wire(9, BODY)], registry=MemoryRegistry({}), schemas=SealedSchemas(None, {}))


def test_a_registry_that_is_down_is_an_outage_until_the_schema_is_known() -> None:
    registry = MemoryRegistry({1: KINDS["events"].schema})
    transformer = make_transformer(REGISTERED, registry)
    how = TransformOptions(transformer.columns)
    registry.down = True
    with pytest.raises(TransientError):
        transformer.transform(batch_of([wire(1, BODY)]), how)
    registry.down = False
    assert transformer.transform(batch_of([wire(1, BODY)]), how).counts.kept == 1
    registry.down = True
    assert transformer.transform(batch_of([wire(1, BODY)]), how).counts.kept == 1


@pytest.mark.parametrize(
    "text",
    [
        "syntax = proto3;",
        '{"type":"object"}',
        '"string"',
        '{"type":"record","name":"R","fields":[{"name":"a","type":"b.C"}]}',
    ],
)
def test_a_schema_that_is_not_ours_to_read(text: str) -> None:
    found = both(REGISTERED, [wire(5, BODY)], registry=MemoryRegistry({5: text}))
    assert [line["reason"] for line in quarantined(found)] == ["schema_unusable"]


def test_unknown_fields_of_a_writer_are_cut_and_counted_once() -> None:
    fields = [{"name": name, "type": "int"} for name in ("x" * 150 + "a", "x" * 150 + "b", "y")]
    schema = record_schema([*fields, {"name": "event_datetime", "type": INSTANT}])
    body = AvroText(schema)({**{field["name"]: 1 for field in fields}, "event_datetime": DAY_ONE})
    rules = rules_of("events", writer_schema=schema, filter=Filter(include_without_profile=True))
    assert both(rules, [body] * 3).unknown_fields == {"x" * 100: 3, "y": 3}


def test_a_schema_nested_without_end_is_not_read() -> None:
    text = '{"type":"array","items":' * 400 + '"int"' + "}" * 400
    schema = f'{{"type":"record","name":"R","fields":[{{"name":"a","type":{text}}}]}}'
    found = both(REGISTERED, [wire(5, BODY)], registry=MemoryRegistry({5: schema}))
    assert [line["reason"] for line in quarantined(found)] == ["schema_unusable"]


def test_a_writer_without_the_time_field() -> None:
    schema = record_schema([{"name": "profile_id", "type": "string"}])
    found = both(rules_of("events", writer_schema=schema), [AvroText(schema)({"profile_id": "p"})] * 3)
    assert [line["reason"] for line in quarantined(found)] == ["no_time"] * 3


def test_hostile_avro_does_no_harm() -> None:
    schema = record_schema(
        [
            {"name": "event_datetime", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "x", "type": {"type": "array", "items": "null"}},
        ]
    )
    head = AvroText(record_schema([{"name": "t", "type": "long"}]))({"t": DAY_ONE})
    bodies = [
        head + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        head + b"\xfe\xff\xff\xff\x0f" + b"\x00" * 50,
        head + b"\x04\x00",
    ]
    found = both(rules_of("events", writer_schema=schema, filter=Filter(include_without_profile=True)), bodies)
    assert found.counts.quarantined == 2
    assert found.counts.kept == 1


def test_rules_of_a_newer_release_are_refused() -> None:
    with pytest.raises(HaltError) as caught:
        make_transformer(replace(EVENTS, version=ROWS_VERSION + 1))
    assert caught.value.reason is HaltReason.CHAIN_NEWER
    assert "newer release" in caught.value.message


def test_wrong_rules_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"(?s)time_field.*environments"):
        make_transformer(custom([{"name": "a", "type": "int"}], "b", filter=Filter(environments=("x",))))
    with pytest.raises(ValueError, match="needs a schema registry"):
        make_transformer(REGISTERED)


@pytest.mark.skipif(not extension.find().module, reason=extension.find().reason)
def test_why_records_take_the_exact_path_is_told() -> None:
    values = [dumped({**BASE, "device": f"{turn}"}) for turn in range(60)]
    values[3] = b"{"
    values[5] = dumped({**BASE, "revenue_usd": "x"})
    values[7] = dumped({**BASE, "device": "\0"})
    assert judged(EVENTS, values, engine="native").exact_path == {"odd_value": 3}
    assert judged(EVENTS, values).exact_path == {}
    union = rules_of(
        "events", writer_schema=record_schema([{"name": "event_datetime", "type": ["int", "long", "null"]}])
    )
    assert judged(union, [b"\x04"] * 50, engine="native").exact_path == {}
    enums = [{"type": "enum", "name": f"E{turn}", "symbols": ["x" * 1_000]} for turn in range(9)]
    stamp: dict[str, Any] = {"name": "event_datetime", "type": "long"}
    fields = [stamp, *({"name": f"more_{turn}", "type": kind} for turn, kind in enumerate(enums))]
    symbols = rules_of("events", writer_schema=record_schema(fields))
    assert judged(symbols, [b"\x04" + bytes(9)] * 50, engine="native").exact_path == {"schema": 50}


class Panicking:
    """An extension that gives up."""

    PanicException = type("PanicException", (BaseException,), {})

    def Engine(self, spec: Mapping[str, Any]) -> Any:  # noqa: N802 - as the extension has it
        del spec
        return self

    def learn(self, schema_id: int, union: bool, programs: Sequence[Any]) -> None:
        pass

    def transform(self, *_: object) -> Any:
        raise self.PanicException("index out of bounds")


def test_a_panic_leaves_the_batch_to_the_exact_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [dumped(BASE), None, b"", b"{", dumped({**BASE, "device": "x,y"})]
    expected = judged(EVENTS, values)
    monkeypatch.setattr(extension, "find", lambda: extension.FoundExtension(Panicking()))
    found = judged(EVENTS, values, engine="native")
    assert found.exact_path == {"panic": 3}
    assert plain(found) == plain(expected)


class Misled:
    """The real extension, told of a time field beyond the columns: its code panics at the first row."""

    def __init__(self, module: extension.Extension) -> None:
        self._module = module
        self.PanicException = module.PanicException

    def Engine(self, spec: Mapping[str, Any]) -> extension.NativeRules:  # noqa: N802 - a class of the module
        return self._module.Engine({**spec, "time": 10_000})


def test_a_panic_in_the_crate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    module = extension.find().module
    if module is None:
        pytest.skip(extension.find().reason)
    values = [dumped(BASE), b"{", dumped({**BASE, "device": "x,y"})]
    expected = judged(EVENTS, values)
    monkeypatch.setattr(extension, "find", lambda: extension.FoundExtension(Misled(module)))
    transformer = make_transformer(EVENTS)
    for _ in range(2):  # and the engine can be asked again
        found = transformer.transform(batch_of(values), TransformOptions(transformer.columns))
        assert found.exact_path == {"panic": 3}
        assert plain(found) == plain(expected)


def test_the_environment_leaves_the_extension_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(extension.VARIABLE, "exact")
    assert extension.find() == extension.FoundExtension(None, "ADAPTY_SINK_ENGINE says so")
    assert extension.find().engine == "exact"
    assert judged(EVENTS, [b"{"], engine="native").exact_path == {}


@pytest.mark.parametrize("sign", [1, -1])
def test_epoch_numbers_at_the_bounds_of_their_units(sign: int) -> None:
    """The same instants from both paths where a unit ends and the next begins."""
    rules = custom(
        [{"name": "at", "type": "long"}, {"name": "x", "type": "string"}, {"name": "when", "type": INSTANT}],
        "at",
        version=1,
    )
    numbers = [sign * (10**power + less) for power in (11, 14, 17) for less in (-1, 0, 1)]
    found = both(rules, [dumped({"at": 1_721_044_800, "x": "y", "when": number}) for number in numbers])
    instants = [row["when"][:10] for row in table(found, names_of(rules))]
    if sign > 0:
        assert instants == ["5138-11-16", *["1973-03-03"] * 2] * 3
    else:
        assert instants == ["", "1966-10-31", "1966-10-31"] * 3
    days = both(rules, [dumped({"at": number}) for number in numbers], timestamps=[-1] * 9)
    assert [day.day.isoformat() for day in days.days if not day.quarantine] == ([] if sign < 0 else ["5138-11-16"])
