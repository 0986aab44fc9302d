"""The keys of `[streams.X]`, `[streams.X.filter]` and `[streams.X.privacy]`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator

from consumer.settings import values
from consumer.settings.tables import Flag, Table, Text, key
from consumer.settings.tables import key as key_of
from consumer.streams.rules import Method


class StreamTable(Table):
    """`[streams.X]`: one stream. Its name is a folder in the destination."""

    topic: Annotated[str, BeforeValidator(values.topic)] = key(
        "", "Topic that feeds the stream; one topic feeds one stream.", default="", example='"adapty.events"'
    )
    kind: Text = key(
        '""',
        "Shipped kind: `events`, `paywall_views`, `ua_events` or `ua_campaign_metrics`, or `custom`. Empty: the"
        " stream's name, or `custom` if that is not a shipped kind and `schema` is set.",
        default="",
        example='"events"',
    )
    start: Annotated[values.Start, BeforeValidator(values.start)] = key(
        '"earliest"',
        "Where to start a partition without seal log and committed offset: `earliest`, `latest`, or an instant (the"
        " first record stamped at or after it).",
        default="earliest",
        example='"2026-11-01T00:00:00Z"',
    )
    format: Literal["avro", "avro-registry", "json", "json-registry"] = key(
        '"avro"',
        "Encoding of values: `avro` (bare), `avro-registry` (prefixed with a registry schema id), `json`, or"
        " `json-registry` (prefixed with a schema id, which is not looked up).",
        default="avro",
    )
    schema_file: Text = key(
        '""',
        "Avro schema that defines the columns; relative to the settings file. Empty: that of the kind.",
        default="",
        example='"clicks.avsc"',
        alias="schema",
    )
    writer_schema: Text = key(
        '""',
        "Avro schema that producers of bare Avro use; relative to the settings file. Empty: `schema`.",
        default="",
        example='"clicks-v2.avsc"',
    )
    time_field: Text = key(
        '""',
        "Field that gives a row its day. Empty: that of the kind; `custom` needs one.",
        default="",
        example='"clicked_at"',
    )
    day_by: Literal["event", "record"] = key(
        '"event"', "Day of a row: UTC day of its time field, or of the Kafka record's timestamp.", default="event"
    )
    oldest_day: Annotated[int | date | None, BeforeValidator(values.oldest_day)] = key(
        "",
        "First day that a row may have: an age in days before the record's day, or a date. Earlier rows go to"
        " quarantine (`day_out_of_range`). Unset: 2008-07-10.",
        default=None,
        example="400",
    )
    line_breaks: Literal["keep", "space"] = key(
        '"keep"',
        "CR, LF and CRLF inside cells: `keep` them in quotes, or write each as one space (`space`), for readers that"
        " cannot handle line breaks in cells, such as Athena.",
        default="keep",
    )


class FilterTable(Table):
    """`[streams.X.filter]`: which rows are kept, and one column more."""

    include_without_profile: Flag = key(
        "false", "Keep rows whose `profile_id` is null, empty or only `0` and `-`.", default=False
    )
    exclude_historical: Flag = key(
        "false",
        "Drop rows older than the profile's `install_date`; in `ua_events`, older than `historical_before`.",
        default=False,
    )
    historical_before: Annotated[datetime | None, BeforeValidator(values.instant)] = key(
        "",
        "Only in `ua_events`: the instant for `exclude_historical`, required with it.",
        default=None,
        example='"2026-11-01T00:00:00Z"',
    )
    environments: Annotated[tuple[str, ...] | None, BeforeValidator(values.names)] = key(
        "",
        "Environments to keep, case-insensitive; rows without one are dropped. Unset: all rows are kept.",
        default=None,
        example='["Production"]',
    )
    send_user_attributes: Flag = key(
        "false", "Append the column `attributes` (JSON); only in `events` and `ua_events`.", default=False
    )
    send_integration_ids: Flag = key(
        "false", "Append the column `integration_ids` (JSON), after `attributes`; only in `events`.", default=False
    )


class PrivacyTable(Table):
    """`[streams.X.privacy]`: treatment of personal columns."""

    key: Text = key_of(
        '""',
        "Name of the key in `[privacy.keys]` to hash with; required if a column is hashed.",
        default="",
        example='"k1"',
    )
    columns: Annotated[dict[str, Method], BeforeValidator(values.methods)] = key_of(
        "{}",
        "Treatment by column: `drop` (empty cells), `hash` (keyed, prefixed with the key's name) or `truncate_ip`"
        " (/24, /48).",
        default={},
        example='{ ip_address = "truncate_ip", customer_user_id = "hash" }',
    )
    personal: Annotated[tuple[str, ...] | None, BeforeValidator(values.columns)] = key_of(
        "",
        "Columns with personal data, in place of those marked in the schema.",
        default=None,
        example='["customer_user_id"]',
    )
