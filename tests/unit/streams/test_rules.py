"""Documents of row rules: those of release 0.1 are read, judged and written as they were."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from consumer.streams.rules import Filter, Format, RowRules, rules_from_document
from consumer.streams.validation import check_rules

OLD = rb"""{
  "day_by": "event",
  "filter": {
    "environments": [
      "production"
    ],
    "event_type_default": true,
    "event_types": {
      "a": false
    },
    "exclude_historical": false,
    "historical_before": "2026-01-01T00:00:00+00:00",
    "include_without_profile": false
  },
  "format": "json",
  "kind": "custom",
  "schema": "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"at\",\"type\":\"long\"},{\"name\":\"dt\",\"type\":\"bytes\"}]}",
  "send_user_attributes": false,
  "stream": "clicks",
  "time_field": "at",
  "topic": "t",
  "version": 1,
  "writer_schema": null
}"""  # noqa: E501 - byte for byte as release 0.1 put it
OLD_DIGEST = "e82f631c88fe66ce"


def test_a_document_of_release_0_1_keeps_its_bytes_and_its_digest() -> None:
    rules = rules_from_document(OLD)
    assert rules == RowRules(
        "clicks",
        "custom",
        "t",
        Format.JSON,
        '{"type":"record","name":"R","fields":[{"name":"at","type":"long"},{"name":"dt","type":"bytes"}]}',
        "at",
        filter=Filter(
            event_types={"a": False},
            environments=("production",),
            historical_before=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        version=1,
    )
    assert rules.document() == OLD
    assert rules.digest == OLD_DIGEST


def test_a_column_that_is_reserved_today_was_none_then() -> None:
    rules = rules_from_document(OLD)
    assert not any("'dt'" in problem for problem in check_rules(rules))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1, "line_breaks": "keep"},
        {"version": 2},
        {"line_breaks": "tabs"},
        {"privacy": {"columns": {"a": "shred"}, "key": None, "fingerprint": None}},
        {"privacy": {"columns": {}, "key": 5, "fingerprint": None}},
        {"privacy": {"columns": {}}, "oldest_day": True},
        {"oldest_day": "yesterday"},
        {"event_names": {"a": 5}},
        {"send_integration_ids": 1},
    ],
)
def test_a_document_that_says_something_else_is_refused(changes: dict[str, object]) -> None:
    raw = orjson.loads(OLD)
    if changes.get("version") != 2:
        raw = {**orjson.loads(RowRules("s", "events", "t", Format.JSON, "", "at").document()), **changes}
    raw |= changes
    with pytest.raises((TypeError, ValueError, KeyError)):
        rules_from_document(orjson.dumps(raw))
