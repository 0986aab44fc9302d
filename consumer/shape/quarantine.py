"""Records that cannot become a row, as JSON Lines: the record as in Kafka, and the reason."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import date

import orjson

from consumer.domain.batches import DayRows, RawBatch, TransformOptions
from consumer.domain.days import day_of_millis

TOO_LARGE = "too_large"
HEAD = 1_024
"""Bytes that are kept of the value of a record that is too large."""
REASONS: Mapping[str, str] = {
    TOO_LARGE: "value, key and headers together are larger than `quarantine.max_record`",
    "empty_value": "the value has no bytes, or is the null of a top-level union; it is not a tombstone",
    "undecodable": "the value does not match its format and schema to the last byte",
    "schema_id_before_json": 'the JSON is prefixed with a zero byte and a schema id: set format = "json-registry"',
    "not_wire_format": "the value does not begin with a zero byte and a schema id",
    "schema_unknown": "the registry does not know the schema id",
    "schema_unusable": "the registry's schema is not Avro, or not a record",
    "no_time": "the time field (or the record's timestamp, if it determines the day) is missing or not an instant",
    "day_out_of_range": "the day is before 2008-07-10 or `oldest_day`, or more than a day after the record's timestamp",
}
"""Why a record is in quarantine, in words."""


def too_large(batch: RawBatch, limit: int) -> dict[int, str]:
    """The places of records with a value that have more than `limit` bytes: they are not parsed."""
    most = batch.sizes.largest_value + batch.sizes.largest_key + max(batch.headers, default=0)
    if most <= limit:
        return {}
    large = [place for place, value in enumerate(batch.values) if value is not None and batch.size(place) > limit]
    return dict.fromkeys(large, TOO_LARGE)


def quarantine_line(batch: RawBatch, place: int, reason: str) -> bytes:
    """The line for the record at `place` of the batch. A timestamp is null where the record has none.

    What is too large is not kept: the line has the record's size, and digest and first bytes of its value.
    """
    timestamp = batch.timestamps[place]
    large = reason == TOO_LARGE
    fields = {
        "reason": reason,
        "topic": batch.partition.topic,
        "partition": batch.partition.partition,
        "offset": batch.offsets[place],
        "timestamp": timestamp if timestamp >= 0 else None,
        "key": None if large else _base64(batch.keys[place]),
        "value": None if large else _base64(batch.values[place]),
    }
    if large:
        value = batch.values[place] or b""
        digest = hashlib.sha256(value).hexdigest()
        fields |= {"size": batch.size(place), "sha256": digest, "head": _base64(value[:HEAD])}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def without_value(line: bytes) -> bytes:
    """A quarantine line without what the record held: key, value and `head` are null, the sha256 of the value stays.

    A line that is so already comes back as it is.
    """
    fields = orjson.loads(line)
    if (value := fields["value"]) is not None:
        fields["sha256"] = hashlib.sha256(b64decode(value)).hexdigest()
    held = {name: None for name in ("key", "value", "head") if name in fields}
    return orjson.dumps({**fields, **held}, option=orjson.OPT_APPEND_NEWLINE)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def places_by_day(batch: RawBatch, places: Iterable[int]) -> dict[date, list[int]]:
    """Places of a batch in order, by the UTC day of their records' timestamps."""
    by_day: dict[date, list[int]] = {}
    for place in sorted(places):
        by_day.setdefault(day_of_millis(batch.timestamps[place]), []).append(place)
    return by_day


def quarantine_days(
    batch: RawBatch, how: TransformOptions, by_day: Mapping[date, list[int]], reasons: Mapping[int, str]
) -> list[DayRows]:
    """The quarantined records of each day."""
    found = []
    for day, places in by_day.items():
        wanted = how.wanted(day, True)  # noqa: FBT003 - the shape of `Wanted`
        body = b"".join(quarantine_line(batch, place, reasons[place]) for place in places) if wanted else b""
        first, last = batch.offsets[places[0]], batch.offsets[places[-1]]
        found.append(DayRows(day, True, len(places), first, last, body))  # noqa: FBT003 - quarantine
    return found
