"""The keys of `[streams.X]` and `[streams.X.filter]`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator

from consumer.settings import values
from consumer.settings.table import Flag, Table, Text, key


class StreamTable(Table):
    """`[streams.X]`: one stream. Its name is a folder in the destination."""

    topic: Annotated[str, BeforeValidator(values.topic)] = key(
        "", "Topic that feeds the stream; one topic feeds one stream.", default="", example='"adapty.events"'
    )
    kind: Text = key(
        '""',
        "Shipped kind: `events`, `paywall_views`, `ua_events` or `ua_campaign_metrics`, or `custom`. Empty: the"
        " stream's name, or `custom` where that is no shipped kind and `schema` is given.",
        default="",
        example='"events"',
    )
    start: Annotated[values.Start, BeforeValidator(values.start)] = key(
        '"earliest"',
        "Where a partition begins that has neither seal log nor committed offset: `earliest`, `latest`, or an instant"
        " (the first record stamped at or after it).",
        default="earliest",
        example='"2026-11-01T00:00:00Z"',
    )
    format: Literal["avro", "avro-registry", "json"] = key(
        '"avro"', "How values are written: bare Avro, Avro with a schema id of the registry, or JSON.", default="avro"
    )
    schema_file: Text = key(
        '""',
        "Avro schema that names the columns; relative to the settings file. Empty: that of the kind.",
        default="",
        example='"clicks.avsc"',
        alias="schema",
    )
    writer_schema: Text = key(
        '""',
        "Avro schema that producers of bare Avro write with; relative to the settings file. Empty: `schema`.",
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
        "`ua_events` alone: the instant for `exclude_historical`, which needs it.",
        default=None,
        example='"2026-11-01T00:00:00Z"',
    )
    environments: Annotated[tuple[str, ...] | None, BeforeValidator(values.names)] = key(
        "",
        "Environments to keep, in any case; a row without one is dropped then. Left out: all.",
        default=None,
        example='["Production"]',
    )
    send_user_attributes: Flag = key(
        "false", "Append the column `attributes` (JSON); `events` and `ua_events` alone.", default=False
    )
