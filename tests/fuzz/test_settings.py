"""Whatever a settings file holds: settings come of it, or mistakes in one line each; never another error."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.domain.errors import UsageError
from consumer.settings.load import load_settings, settings_from

KEYS = st.sampled_from(
    [
        "kafka",
        "schema_registry",
        "destination",
        "spool",
        "schedule",
        "http",
        "quarantine",
        "streams",
        "events",
        "ua_events",
        "clicks",
        "url",
        "topic",
        "kind",
        "bootstrap_servers",
        "group_id",
        "instance_id",
        "options",
        "region",
        "endpoint_url",
        "access_key_id",
        "secret_access_key",
        "compression",
        "kms_key_id",
        "server_side_encryption",
        "storage_class",
        "role_arn",
        "directory",
        "max_bytes",
        "checkpoint_seconds",
        "seal_at",
        "listen",
        "give_up_after",
        "max_ratio",
        "start",
        "format",
        "schema",
        "writer_schema",
        "time_field",
        "day_by",
        "event_types",
        "filter",
        "default",
        "environments",
        "exclude_historical",
        "historical_before",
        "send_user_attributes",
        "multipart_threshold",
    ]
) | st.text(max_size=8)
LEAVES = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "s3://b/f",
            "file:///a/b",
            "${A}",
            "${B}",
            "$${",
            "${",
            "avro",
            "custom",
            "events",
            "clicks.avsc",
            "10m",
            "1GiB",
            "@",
        ]
    )
    | st.sampled_from(
        [
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1),  # noqa: DTZ001 - TOML has such
            date(2026, 1, 1),
            time(4),
        ]
    )
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)


def paths(tree: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield (*above, name)
            yield from paths(value, (*above, name))


VALID = tomllib.loads(
    """
[kafka]
bootstrap_servers = "localhost:9092"
[destination]
url = "s3://adapty-events/com.sample-app"
region = "r"
[streams.events]
topic = "adapty.events"
[streams.clicks]
topic = "clicks"
schema = "clicks.avsc"
time_field = "at"
[streams.ua_events]
topic = "ua"
[schema_registry]
url = "http://h"
[spool]
max_bytes = 5
[schedule]
seal_at = "04:00"
[http]
listen = ""
[quarantine]
max_ratio = 0
[streams.events.event_types]
x = true
[streams.events.filter]
environments = ["a"]
[streams.events.destination]
url = "file:///x"
"""
)
PLACES = list(paths(VALID))


def outcome(tree: Mapping[str, Any], folder: Path) -> None:
    try:
        settings_from(tree, folder, {"A": "a\ud800\n", "B": "4"}, "sink.toml")
    except UsageError as error:
        head, *problems = str(error).split("\n")
        assert head.startswith("sink.toml has ")
        assert problems
        assert all(re.match(r".+?: .+", line) for line in problems)


@given(st.dictionaries(KEYS, TREES, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_tree_gives_settings_or_mistakes(tree: dict[str, Any]) -> None:
    outcome(tree, Path("/nowhere"))


@given(st.lists(st.tuples(st.sampled_from(PLACES), TREES), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_change_of_a_good_file_gives_settings_or_mistakes(changes: list[tuple[tuple[str, ...], Any]]) -> None:
    tree = json.loads(json.dumps(VALID))
    for path, value in changes:
        table = tree
        for name in path[:-1]:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[path[-1]] = value
    outcome(tree, Path("/nowhere"))


LINES = st.sampled_from(
    [
        "[kafka]",
        "[streams.events]",
        'topic = "t"',
        "a.b = 1",
        "a = {b = 1}",
        "x = [[",
        'y = """',
        "z = 1_0",
        "\ufeff",
        "é = é",
    ]
)


@given(st.binary() | st.lists(LINES | st.text(max_size=10), max_size=8).map(lambda lines: "\n".join(lines).encode()))
@settings(deadline=None)
def test_any_file_gives_mistakes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sink.toml")
        path.write_bytes(content)
        with pytest.raises(UsageError, match=re.escape(str(path))):
            load_settings(path, {})
