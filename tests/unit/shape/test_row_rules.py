"""Row rules of version 2, each beside what version 1 made of the same record."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode.registry import MemoryRegistry
from consumer.domain.batches import TransformedBatch, TransformOptions
from consumer.shape.privacy import hashed
from consumer.shape.transform import make_transformer
from consumer.streams.columns import columns_of, personal_columns
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import DayBy, Filter, Format, LineBreaks, Method, Privacy, RowRules
from consumer.streams.validation import check_rules
from tests.builders.transforming import (
    AvroText,
    batch_of,
    both,
    custom,
    judged,
    quarantined,
    record_schema,
    rules_of,
    table,
    wire,
)

AT = {"name": "at", "type": "long"}
NOON = 1_721_044_800
KEY = b"k" * 32


def names_of(rules: RowRules) -> tuple[str, ...]:
    return tuple(column.name for column in columns_of(rules))


def row_of(rules: RowRules, value: bytes, **how: Any) -> tuple[dict[str, str], TransformedBatch]:
    found = both(rules, [value], **how)
    assert quarantined(found) == []
    (row,) = table(found, names_of(rules))
    return row, found


def cell_of(kind: object, text: str, version: int = 2, **field: Any) -> tuple[str, dict[str, int]]:
    """What a JSON text becomes in a column of this type, and what is counted."""
    rules = custom([AT, {"name": "x", "type": kind, **field}], "at", version=version)
    row, found = row_of(rules, b'{"at":%d%s}' % (NOON, f',"x":{text}'.encode() if text else b""))
    return row["x"], dict(found.oddities)


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


@pytest.mark.parametrize(
    ("kind", "text", "cell", "before"),
    [
        (logical("long", "timestamp-millis"), "86400000", "1970-01-02T00:00:00.000000+00:00", "1972-09-27"),
        (logical("long", "timestamp-micros"), "86400000000", "1970-01-02T00:00:00.000000+00:00", "4707-11-29"),
        (logical("long", "timestamp-millis"), "94694400000", "1973-01-01T00:00:00.000000+00:00", "4970-09-30"),
        (logical("long", "timestamp-millis"), "-86400000", "1969-12-31T00:00:00.000000+00:00", "1967-04-07"),
        (logical("long", "timestamp-millis"), '"86400000"', "1970-01-02T00:00:00.000000+00:00", "1972-09-27"),
        (logical("long", "timestamp-millis"), "86400000.5", "1970-01-02T00:00:00.000500+00:00", "1972-09-27"),
        (logical("long", "timestamp-nanos"), "86400000000000", "1970-01-02T00:00:00.000000+00:00", "4707-11-29"),
        (logical("long", "local-timestamp-millis"), "86400000", "1970-01-02T00:00:00.000000+00:00", "1972-09-27"),
        (["null", logical("int", "date")], "2000000", "7445-10-25", "1970-01-24"),
        (logical("long", "timestamp-millis"), '"20240715"', "2024-07-15T00:00:00.000000+00:00", "2024-07-15"),
    ],
)
def test_numbers_count_in_the_unit_that_the_column_declares(kind: object, text: str, cell: str, before: str) -> None:
    assert cell_of(kind, text) == (cell, {})
    assert cell_of(kind, text, 1)[0][:10] == before


def test_shipped_kinds_go_by_magnitude() -> None:
    rules = rules_of("events", Format.JSON)
    row, _ = row_of(rules, b'{"event_type":"a","profile_id":"p","event_datetime":%d,"install_date":86400000}' % NOON)
    assert row["install_date"].startswith("1972-09-27")


DECIMAL = logical("bytes", "decimal", precision=30, scale=18)


@pytest.mark.parametrize(
    ("kind", "text", "cell", "odd"),
    [
        (DECIMAL, "1234567.000000000000000001", "1234567.000000000000000001", {}),
        (DECIMAL, "12345678901234567890.12", "12345678901234567890.12", {}),
        (DECIMAL, "5.00", "5.00", {}),
        (DECIMAL, "1.5e3", "1500", {}),
        (DECIMAL, "1e5000", "1e5000", {"misfit": 1}),
        (logical("bytes", "big-decimal"), "5.00", "5.00", {}),
        ("long", "12345678901234567.0", "12345678901234567", {}),
        ("long", "-9223372036854775808", "-9223372036854775808", {}),
        ("long", "-9223372036854775809", "-9223372036854775809", {"misfit": 1}),
        ("long", "3.7", "3.7", {"misfit": 1}),
        ("long", "12345678901234567890.12", "12345678901234567890.12", {"misfit": 1}),
        ("long", "1e3", "1000", {}),
        ("string", "5.00", "5.0", {}),
        ("string", "12345678901234567890", "12345678901234567890", {}),
        ("double", "5.00", "5.0", {}),
        ("double", "1e400", "", {"not_finite": 1}),
        ("float", "1.10", "1.1", {}),
        ("boolean", "1.50", "1.50", {"misfit": 1}),
    ],
)
def test_numbers_keep_their_digits(kind: object, text: str, cell: str, odd: dict[str, int]) -> None:
    assert cell_of(kind, text) == (cell, odd)


@pytest.mark.parametrize(
    "text", ['{"price":12345678901234567.89}', '{"a":[5.00,1e5,-0.0,{"b":1E400}]}', "5.00", '"5.00"', "[0.10]"]
)
def test_numbers_in_json_stand_as_they_were_written(text: str) -> None:
    field: dict[str, Any] = {"adapty.type": "json"}
    assert cell_of("string", text, **field)[0] == text.strip('"')


@pytest.mark.parametrize(
    ("kind", "default", "cell"),
    [
        ("string", "Production", "Production"),
        ("long", 1, "1"),
        ("double", 2, "2.0"),
        ("boolean", False, "false"),
        ("bytes", "\u00ff\u0000", "ff00"),
        (["string", "null"], "x", "x"),
        (["null", "long"], 7, "7"),
        (["null", "long"], None, ""),
        (logical("long", "timestamp-millis"), 86_400_000, "1970-01-02T00:00:00.000000+00:00"),
        (logical("int", "date"), 1, "1970-01-02"),
        (logical("bytes", "decimal", precision=4, scale=2), "\u0001\u00f4", "5.00"),
        ({"type": "fixed", "name": "F", "size": 2}, "ab", "6162"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "array", "items": "int"}, [1, 2], "[1,2]"),
        ({"type": "map", "values": "int"}, {"a": 1}, '{"a":1}'),
        (
            {"type": "record", "name": "N", "fields": [{"name": "a", "type": "int", "default": 3}]},
            {},
            '{"a":3}',
        ),
    ],
)
def test_what_a_record_lacks_has_the_default_of_the_streams_schema(kind: object, default: object, cell: str) -> None:
    assert cell_of(kind, "", default=default) == (cell, {})
    assert cell_of(kind, "", 1, default=default) == ("", {})
    writer = AvroText(record_schema([AT]))
    rules = custom(
        [AT, {"name": "x", "type": kind, "default": default}], "at", Format.AVRO, writer_schema=record_schema([AT])
    )
    assert row_of(rules, writer({"at": NOON}))[0]["x"] == cell


def test_an_explicit_null_is_null_and_an_alias_counts() -> None:
    assert cell_of(["string", "null"], "null", default="x")[0] == ""
    rules = custom([AT, {"name": "x", "type": "string", "default": "d", "aliases": ["y"]}], "at")
    assert row_of(rules, b'{"at":%d,"y":"z"}' % NOON)[0]["x"] == "z"


def test_filters_see_the_default() -> None:
    fields = [AT, {"name": "environment", "type": "string", "default": "Production"}]
    rules = custom(fields, "at", filter=Filter(environments=("production",)))
    assert both(rules, [b'{"at":%d}' % NOON]).counts.kept == 1


@pytest.mark.parametrize(
    ("kind", "default"), [("string", 5), ("int", 1 << 40), ("long", "1"), ({"type": "array", "items": "int"}, ["x"])]
)
def test_a_default_that_does_not_fit_is_a_mistake(kind: object, default: object) -> None:
    (problem,) = check_rules(custom([AT, {"name": "x", "type": kind, "default": default}], "at"))
    assert "field x: the default does not fit" in problem
    assert check_rules(custom([AT, {"name": "x", "type": kind, "default": default}], "at", version=1)) == []


@pytest.mark.parametrize(
    ("text", "cell", "before"),
    [
        ("2026-11-20T00:00:00+03:00", "2026-11-20", "2026-11-19"),
        ("2026-11-20T23:00:00-05:00", "2026-11-20", "2026-11-21"),
        ("2026-11-20", "2026-11-20", "2026-11-20"),
        ("2026-11-20T24:00:00Z", "2026-11-21", "2026-11-21"),
    ],
)
def test_a_date_is_the_one_that_was_written(text: str, cell: str, before: str) -> None:
    for version, day in ((2, cell), (1, before)):
        rules = rules_of("ua_campaign_metrics", Format.JSON, version=version)
        found = both(rules, [orjson.dumps({"date": text})], timestamps=[1_795_219_200_000])
        assert table(found, names_of(rules))[0]["date"] == day
        assert found.days[0].day == date.fromisoformat(day)


UNION = orjson.dumps(
    [
        "null",
        {"type": "record", "name": "n.Started", "fields": [AT, {"name": "plan", "type": "string"}]},
        {
            "type": "record",
            "name": "n.Ended",
            "fields": [AT, {"name": "plan", "type": "int"}, {"name": "why", "type": "string"}],
        },
    ]
).decode()


def test_a_union_of_records_at_the_top_gives_a_row_of_its_branch() -> None:
    rules = RowRules("own", "custom", "topic", Format.AVRO_REGISTRY, UNION, "at")
    assert names_of(rules) == ("at", "plan", "why")
    stamp = AvroText(record_schema([AT]))({"at": NOON})
    values = [
        wire(7, b"\x02" + stamp + b"\x02a"),
        wire(7, b"\x04" + stamp + b"\x06\x02b"),
        wire(7, b"\x00"),
        wire(7, b"\x00\x00"),
        wire(7, b"\x06"),
        wire(7, b""),
    ]
    found = both(rules, values, registry=MemoryRegistry({7: UNION}))
    assert table(found, names_of(rules)) == [
        {"at": str(NOON), "plan": "a", "why": ""},
        {"at": str(NOON), "plan": "3", "why": "b"},
    ]
    reasons = [line["reason"] for line in quarantined(found)]
    assert reasons == ["empty_value", "undecodable", "undecodable", "undecodable"]


def test_release_0_1_read_no_union_at_the_top() -> None:
    rules = custom([AT], "at", Format.AVRO_REGISTRY, version=1)
    found = both(rules, [wire(7, b"\x00")], registry=MemoryRegistry({7: UNION}))
    assert [line["reason"] for line in quarantined(found)] == ["schema_unusable"]


def test_bytes_are_hexadecimal_and_were_text() -> None:
    schema = record_schema([AT, {"name": "x", "type": "bytes"}])
    body = AvroText(schema)({"at": NOON, "x": b"\xff\x00\xfeA"})
    for version, cell in ((2, "ff00fe41"), (1, "\ufffd\ufffdA")):
        rules = RowRules("own", "custom", "topic", Format.AVRO, schema, "at", version=version)
        assert row_of(rules, body)[0]["x"] == cell


def test_json_behind_a_mark_or_a_schema_id() -> None:
    rules, value = custom([AT], "at"), b'{"at":%d}' % NOON
    assert row_of(rules, b"\xef\xbb\xbf" + value)[0] == {"at": str(NOON)}
    behind = both(rules, [wire(7, value)])
    assert [line["reason"] for line in quarantined(behind)] == ["schema_id_before_json"]
    framed = custom([AT], "at", Format.JSON_REGISTRY)
    found = both(framed, [wire(7, value), value, b"\x00\x00", wire(7, b""), wire(9, b"\xef\xbb\xbf" + value)])
    assert found.counts.kept == 2
    reasons = [line["reason"] for line in quarantined(found)]
    assert reasons == ["not_wire_format", "not_wire_format", "undecodable"]
    old = custom([AT], "at", version=1)
    assert len(quarantined(both(old, [b"\xef\xbb\xbf" + value, wire(7, value)]))) == 2


@pytest.mark.parametrize("name", ["dt", "DT", "Dt"])
def test_the_folders_own_name_is_no_column(name: str) -> None:
    (problem,) = check_rules(custom([AT, {"name": name, "type": "string"}], "at"))
    assert f"the name {name!r} is reserved" in problem


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12) | st.sampled_from(
    ["*", "^a$", "^.*$", "price, usd", 'a"b', "%s", "{}", "a.b", "$1", "\\N", "'", "--", "[x]"]
)


@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower).filter(lambda names: "at" not in names))
def test_a_name_is_a_name_and_nothing_else(names: list[str]) -> None:
    fields: list[dict[str, Any]] = [AT, *({"name": name, "type": ["null", "string", "double"]} for name in names)]
    rules = custom(fields, "at")
    if check_rules(rules):
        return
    values = [b"\0x", "1e300", "2026-01-01", ""]
    record = {"at": NOON, **{name: str(value) for name, value in zip(names, values, strict=False)}}
    (row,) = table(both(rules, [orjson.dumps(record)]), names_of(rules))
    assert set(row) == {"at", *names}
    assert all(row[name] == str(record[name]).replace("\0", "") for name in names)


BASE = {"profile_id": "p", "event_type": "Subscription_Renewed ", "event_datetime": NOON}


def events(**more: Any) -> RowRules:
    return rules_of("events", Format.JSON, **more)


def event(
    rules: RowRules, keys: dict[str, bytes] | None = None, **fields: Any
) -> tuple[dict[str, str], dict[str, int]]:
    transformer = make_transformer(rules, keys=keys)
    batch = batch_of([orjson.dumps({**BASE, **fields})])
    found = transformer.transform(batch, TransformOptions(transformer.columns))
    (row,) = table(found, transformer.columns)
    return row, dict(found.oddities)


def test_event_names_stand_in_the_csv_after_the_filters() -> None:
    names = {"subscription_renewed": "renewal"}
    row, odd = event(events(event_names=names, filter=Filter(event_types={"renewal": False})))
    assert (row["event_type"], odd) == ("renewal", {})
    assert event(events(event_names=names), event_type="trial_started")[0]["event_type"] == "trial_started"
    rules = events(event_names=names, filter=Filter(event_types={"subscription_renewed": False}))
    assert judged(rules, [orjson.dumps(BASE)]).filtered == {"event_type": 1}


def test_a_stream_of_ones_own_keeps_the_case_of_other_types() -> None:
    rules = custom([AT, {"name": "event_type", "type": "string"}], "at", event_names={"a": "B"})
    assert row_of(rules, b'{"at":%d,"event_type":" A"}' % NOON)[0]["event_type"] == "B"
    assert row_of(rules, b'{"at":%d,"event_type":"Cc"}' % NOON)[0]["event_type"] == "Cc"


def test_integration_ids_stand_last() -> None:
    rules = events(send_user_attributes=True, send_integration_ids=True)
    row, _ = event(rules, integration_ids={"a": "1", "b": 2.50}, attributes="x")
    assert list(row)[-2:] == ["attributes", "integration_ids"]
    assert row["integration_ids"] == '{"a":"1","b":2.5}'
    assert names_of(events(send_integration_ids=True))[-1] == "integration_ids"
    found = judged(events(), [orjson.dumps({**BASE, "integration_ids": {}})])
    assert found.unknown_fields == {}
    assert any("send_integration_ids" in one for one in check_rules(rules_of("ua_events", send_integration_ids=True)))


def test_line_breaks_become_blanks_where_that_is_wanted() -> None:
    text = "a\r\nb\rc\nd\r\n\r\n\n\re"
    row, odd = event(events(line_breaks=LineBreaks.SPACE), device=text, store="x\0\ny")
    assert (row["device"], row["store"]) == ("a b c d    e", "x y")
    assert odd == {"line_break": 2, "nul": 1}
    assert event(events(), device=text)[0]["device"] == text


def test_privacy_comes_last() -> None:
    privacy = Privacy(
        {"device": Method.HASH, "event_type": Method.HASH, "ip_address": Method.TRUNCATE_IP, "idfa": Method.DROP},
        "k1",
        fingerprint(KEY),
    )
    rules = events(privacy=privacy, line_breaks=LineBreaks.SPACE, event_names={"subscription_renewed": "renewal"})
    row, odd = event(rules, {"k1": KEY, "k2": b""}, device="a\nb", ip_address="10.1.2.3", idfa="i", idfv="v")
    assert row["device"] == hashed("a b", "k1", KEY)
    assert row["event_type"] == hashed("renewal", "k1", KEY)
    assert (row["ip_address"], row["idfa"], row["idfv"]) == ("10.1.2.0", "", "v")
    assert odd == {"line_break": 1}
    row, odd = event(rules, {"k1": KEY}, device=None, ip_address="nowhere")
    assert (row["device"], row["ip_address"], odd) == ("", "", {"invalid_ip": 1})


@pytest.mark.parametrize(
    ("oldest", "kept"),
    [(None, 5), (0, 1), (2, 3), (400, 5), (date(2024, 7, 16), 3), (date(2000, 1, 1), 5)],
)
def test_rows_older_than_the_oldest_day_go_to_quarantine(oldest: int | date | None, kept: int) -> None:
    stamp = 1_721_304_000_000
    values = [orjson.dumps({"at": stamp - age * 86_400_000}) for age in range(5)]
    found = both(custom([AT], "at", oldest_day=oldest), values, timestamps=[stamp] * 5)
    assert found.counts.kept == kept
    assert {line["reason"] for line in quarantined(found)} <= {"day_out_of_range"}


def test_an_age_needs_the_records_timestamp_and_the_day_of_the_event() -> None:
    assert both(custom([AT], "at", oldest_day=3), [b'{"at":1500000000}'], timestamps=[-1]).counts.kept == 1
    (problem,) = check_rules(custom([AT], "at", oldest_day=3, day_by=DayBy.RECORD))
    assert problem.startswith("oldest_day: it applies only to day_by")


def test_the_columns_about_a_person() -> None:
    assert personal_columns(rules_of("paywall_views")) == ("profile_id", "customer_user_id")
    assert personal_columns(rules_of("ua_campaign_metrics")) == ()
    full = personal_columns(events(send_user_attributes=True, send_integration_ids=True))
    assert full == (
        "profile_id",
        "transaction_id",
        "original_transaction_id",
        "customer_user_id",
        "idfv",
        "idfa",
        "advertising_id",
        "ip_address",
        "android_app_set_id",
        "android_id",
        "attribution_network_user_id",
        "attributes",
        "integration_ids",
    )
    assert len(personal_columns(rules_of("ua_events", send_user_attributes=True))) == 11
