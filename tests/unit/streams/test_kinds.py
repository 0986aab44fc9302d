"""The shipped kinds, their columns, and what can be wrong with rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from consumer.streams.columns import Column, ColumnKind, columns_of, known_inputs
from consumer.streams.kinds import CUSTOM, KINDS
from consumer.streams.rules import DayBy, Filter, Format, LineBreaks, Method, Privacy, RowRules, rules_from_document
from consumer.streams.validation import check_rules, lacking
from tests.builders.transforming import custom, record_schema, rules_of

NOON = datetime(2024, 7, 15, 12, tzinfo=UTC)
HEADERS = {
    "events": (
        "profile_id,event_type,event_datetime,transaction_id,original_transaction_id,subscription_expires_at,environment,"
        "revenue_usd,proceeds_usd,net_revenue_usd,tax_amount_usd,revenue_local,cancellation_reason,proceeds_local,"
        "net_revenue_local,tax_amount_local,customer_user_id,store,product_id,base_plan_id,developer_id,ab_test_name,"
        "ab_test_revision,paywall_name,paywall_revision,profile_county,install_date,idfv,idfa,advertising_id,ip_address,"
        "android_app_set_id,android_id,device,currency,store_country,attribution_source,attribution_network_user_id,"
        "attribution_status,attribution_channel,attribution_campaign,attribution_ad_group,attribution_ad_set,"
        "attribution_creative"
    ),
    "paywall_views": (
        "profile_id,customer_user_id,profile_country,install_date,store,paywall_showed_at,developer_id,ab_test_name,"
        "ab_test_revision,paywall_name,paywall_revision"
    ),
    "ua_events": (
        "profile_id,event_type,event_datetime,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,platform,"
        "attribution_source,attribution_network_user_id,attribution_status,attribution_channel,attribution_campaign,"
        "attribution_ad_group,attribution_ad_set,attribution_creative,click_datetime,install_datetime,"
        "conversion_datetime,conversion_type,conversion_value_usd,conversion_value_local,currency,country,device_type,"
        "os_version,app_version,user_agent,ip_address,idfa,idfv,advertising_id,android_id,android_app_set_id,device,"
        "custom_parameters"
    ),
    "ua_campaign_metrics": (
        "campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,platform,date,impressions,clicks,installs,"
        "conversions,spend_usd,spend_local,cpi_usd,cpc_usd,cpm_usd,ctr,icr,ipm,ltv_usd"
    ),
}


@pytest.mark.parametrize(
    ("kind", "number"), [("events", 44), ("paywall_views", 11), ("ua_events", 38), ("ua_campaign_metrics", 21)]
)
def test_the_columns_of_a_shipped_kind(kind: str, number: int) -> None:
    rules = rules_of(kind)
    names = [column.name for column in columns_of(rules)]
    assert ",".join(names) == HEADERS[kind]
    assert len(names) == number
    assert check_rules(rules) == []


def test_kinds_of_columns() -> None:
    found = {column.name: column.kind for kind in KINDS for column in columns_of(rules_of(kind))}
    assert found["event_datetime"] is ColumnKind.INSTANT
    assert found["date"] is ColumnKind.DATE
    assert found["impressions"] is ColumnKind.INTEGER
    assert found["revenue_usd"] is ColumnKind.REAL
    assert found["transaction_id"] is ColumnKind.TEXT
    assert found["custom_parameters"] is ColumnKind.JSON


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("boolean", ColumnKind.BOOLEAN),
        ("float", ColumnKind.REAL32),
        ("bytes", ColumnKind.TEXT),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, ColumnKind.INSTANT),
        ({"type": "int", "logicalType": "time-millis"}, ColumnKind.TIME),
        ({"type": "bytes", "logicalType": "decimal", "precision": 5}, ColumnKind.DECIMAL),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, ColumnKind.TEXT),
        ({"type": "fixed", "name": "F", "size": 4}, ColumnKind.TEXT),
        ({"type": "array", "items": "int"}, ColumnKind.ANY),
        (["null", "int", "string"], ColumnKind.ANY),
        (["null"], ColumnKind.TEXT),
        (["double", "null"], ColumnKind.REAL),
    ],
)
def test_kinds_of_columns_of_own_schemas(kind: object, expected: ColumnKind) -> None:
    rules = custom([{"name": "t", "type": "long"}, {"name": "a", "type": kind}], "t")
    assert columns_of(rules)[1].kind is expected


def test_aliases_of_the_kind_and_of_the_schema() -> None:
    by_name = {column.name: column for column in columns_of(rules_of("events"))}
    assert by_name["profile_county"].inputs == ("profile_county", "profile_country")
    own = columns_of(custom([{"name": "t", "type": "long", "aliases": ["time", "t"]}], "t"))
    assert own[0].inputs == ("t", "time")


def test_an_alias_of_the_kind_gives_way_to_a_column_of_that_name() -> None:
    schema = record_schema(
        [{"name": name, "type": "string"} for name in ("profile_county", "profile_country", "event_datetime")]
    )
    rules = rules_of("events", schema=schema)
    assert columns_of(rules)[0].inputs == ("profile_county",)
    assert check_rules(rules) == []


def test_a_field_can_be_marked_as_json() -> None:
    rules = custom([{"name": "t", "type": "long"}, {"name": "a", "type": "string", "adapty.type": "json"}], "t")
    assert columns_of(rules)[1].kind is ColumnKind.JSON


def test_user_attributes_are_appended_when_asked_for() -> None:
    rules = rules_of("ua_events", send_user_attributes=True)
    columns = columns_of(rules)
    assert columns[-1] == Column("attributes", ColumnKind.JSON, ("attributes", "user_attributes"))
    assert len(columns) == 39
    off = replace(rules, send_user_attributes=False)
    assert len(columns_of(off)) == 38
    assert {"attributes", "user_attributes"} <= known_inputs(off, columns_of(off))


def test_user_attributes_of_the_schema_itself_are_not_appended_again() -> None:
    schema = record_schema([{"name": "event_datetime", "type": "long"}, {"name": "attributes", "type": "string"}])
    columns = columns_of(rules_of("events", schema=schema, send_user_attributes=True))
    assert [column.name for column in columns] == ["event_datetime", "attributes"]
    assert columns[1].kind is ColumnKind.JSON


T = {"name": "t", "type": "long"}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (replace(custom([T], "t"), kind="clicks"), "kind 'clicks' is none of"),
        (replace(custom([T], "t"), schema="5"), "schema: not a record"),
        (custom([], "t"), "no fields"),
        (custom([T], "at"), "has no field 'at'"),
        (custom([T, {"name": "a\0", "type": "int"}], "t"), "control characters"),
        (custom([{"name": "t", "type": "boolean"}], "t"), "'t' is of type boolean"),
        (custom([T, {"name": "b", "type": "int", "aliases": ["t"]}], "t"), "input of two columns"),
        (custom([T], "t", writer_schema=record_schema([T])), "applies only to the format avro"),
        (custom([T], "t", Format.AVRO, writer_schema="5"), "writer_schema: not a record"),
        (custom([T], "t", filter=Filter(environments=("a",))), "environments: the stream has no column"),
        (custom([T], "t", filter=Filter(event_types={"a": False})), "event_types: the stream has no column"),
        (custom([T], "t", filter=Filter(event_type_default=False)), "event_types: the stream has no column"),
        (custom([T], "t", filter=Filter(include_without_profile=True)), "no column 'profile_id'"),
        (custom([T], "t", filter=Filter(exclude_historical=True)), "no column 'install_date'"),
        (
            rules_of("ua_campaign_metrics", filter=Filter(exclude_historical=True)),
            "ua_campaign_metrics has no historical rows",
        ),
        (rules_of("events", filter=Filter(historical_before=NOON)), "applies only to ua_events"),
        (rules_of("ua_events", filter=Filter(exclude_historical=True)), "needs historical_before"),
        (rules_of("paywall_views", send_user_attributes=True), "applies only to events and ua_events"),
    ],
)
def test_what_is_wrong_with_rules(rules: RowRules, says: str) -> None:
    problems = check_rules(rules)
    assert len(problems) == 1
    assert says in problems[0]


def test_all_problems_are_told_at_once() -> None:
    rules = custom([T], "at", filter=Filter(environments=("a",), exclude_historical=True), send_user_attributes=True)
    assert len(check_rules(rules)) == 4


def test_fine_rules() -> None:
    assert check_rules(rules_of("ua_events", filter=Filter(exclude_historical=True, historical_before=NOON))) == []
    own = custom([T, {"name": "install_date", "type": "long"}], "t", filter=Filter(exclude_historical=True))
    assert check_rules(own) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("events", {"historical_before"}),
        (
            "paywall_views",
            {
                "event_types",
                "event_names",
                "environments",
                "historical_before",
                "send_user_attributes",
                "send_integration_ids",
            },
        ),
        ("ua_events", {"environments", "send_integration_ids"}),
        (
            "ua_campaign_metrics",
            {
                "event_types",
                "include_without_profile",
                "environments",
                "exclude_historical",
                "historical_before",
                "send_user_attributes",
                "send_integration_ids",
                "event_names",
            },
        ),
    ],
)
def test_filters_that_a_kind_lacks(kind: str, expected: set[str]) -> None:
    assert set(lacking(kind, columns_of(rules_of(kind)))) == expected


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"day_by": DayBy.RECORD, "writer_schema": record_schema([T]), "send_user_attributes": True},
        {
            "send_integration_ids": True,
            "event_names": {"b": "B", "a": "A"},
            "line_breaks": LineBreaks.SPACE,
            "privacy": Privacy({"idfa": Method.DROP, "profile_id": Method.HASH}, "k1", "01234567"),
            "oldest_day": date(2026, 1, 1),
        },
        {"oldest_day": 400, "format": Format.JSON_REGISTRY},
        {
            "filter": Filter(
                event_types={"b": False, "a": True},
                event_type_default=False,
                include_without_profile=True,
                exclude_historical=True,
                historical_before=NOON,
                environments=("production",),
            )
        },
    ],
)
def test_rules_are_read_back_as_they_were(more: dict[str, Any]) -> None:
    rules = replace(rules_of("events"), **more)
    back = rules_from_document(rules.document())
    assert back == rules
    assert back.digest == rules.digest


def test_other_rules_have_another_digest() -> None:
    rules = rules_of("events")
    assert rules.digest != replace(rules, filter=Filter(event_types={"a": False})).digest


def test_a_custom_kind_is_no_shipped_one() -> None:
    assert CUSTOM not in KINDS
