"""`docs/settings.md` names every key with its default and meaning; `docs/sink.example.toml` is a file that loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from consumer.settings.kafka import FIXED_OPTIONS
from consumer.settings.load import TABLES, load_settings
from consumer.settings.model import (
    DestinationSettings,
    HttpSettings,
    KafkaSettings,
    QuarantineSettings,
    RegistrySettings,
    ScheduleSettings,
    SpoolSettings,
)
from consumer.settings.stream_table import FilterTable, PrivacyTable, StreamTable
from consumer.settings.tables import Table, known_keys
from consumer.streams.kinds import KINDS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "settings.md").read_text()
EXAMPLE = DOCS / "sink.example.toml"
DOCUMENTED: dict[str, type[Table]] = {
    "kafka": KafkaSettings,
    "schema_registry": RegistrySettings,
    "destination": DestinationSettings,
    "spool": SpoolSettings,
    "schedule": ScheduleSettings,
    "http": HttpSettings,
    "quarantine": QuarantineSettings,
    "streams.X": StreamTable,
    "streams.X.filter": FilterTable,
    "streams.X.privacy": PrivacyTable,
}
OPTIONAL = {"historical_before", "environments", "oldest_day", "personal"}


def rows(model: type[Table]) -> list[str]:
    """The lines of the page for one table."""
    lines = ["| key | default | example | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        written = str(extra["written"])
        default = f"`{written}`" if written else ("none" if name in OPTIONAL else "required")
        (example,) = field.examples or [""]
        shown = f"`{example}`" if example != written else ""
        lines.append(f"| `{field.alias or name}` | {default} | {shown} | {field.description} |")
    return lines


@pytest.mark.parametrize("table", DOCUMENTED)
def test_the_page_has_the_table_as_the_code_has_it(table: str) -> None:
    section = PAGE.partition(f"## `[{table}]`")[2].partition("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("|")]
    expected = rows(DOCUMENTED[table])
    assert found == expected, "write into docs/settings.md:\n" + "\n".join(expected)


def test_the_page_has_every_table_and_no_other() -> None:
    headings = re.findall(r"^## `\[(.+)\]`$", PAGE, re.MULTILINE)
    free = {"privacy.keys", "streams.X.event_types", "streams.X.event_names", "streams.X.destination"}
    assert set(headings) == {*DOCUMENTED, *free}
    assert len(headings) == len(set(headings))
    assert {heading.partition(".")[0] for heading in headings} == set(TABLES)


def test_the_page_names_the_options_that_are_not_the_users() -> None:
    section = PAGE.partition("## `[kafka]`")[2].partition("\n## ")[0]
    assert [name for name in FIXED_OPTIONS if f"`{name}`" not in section] == []


@pytest.mark.parametrize("table", DOCUMENTED)
def test_a_written_default_means_the_default(table: str) -> None:
    model = DOCUMENTED[table]
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        if extra["written"]:
            key = field.alias or name
            given = tomllib.loads(f"{key} = {extra['written']}")
            assert getattr(model.model_validate(given), name) == field.default, key


@pytest.mark.parametrize("table", DOCUMENTED)
def test_every_example_is_valid(table: str) -> None:
    model = DOCUMENTED[table]
    for name, field in model.model_fields.items():
        key = field.alias or name
        for example in field.examples or []:
            if "${" not in example:
                model.model_validate(tomllib.loads(f"{key} = {example}"))


def test_the_example_file_loads_and_shows_each_table() -> None:
    environ = {
        "HOSTNAME": "sink-0",
        "KAFKA_USER": "u",
        "KAFKA_PASSWORD": "p",
        "REGISTRY_USER": "r",
        "REGISTRY_PASSWORD": "s",
        "PII_KEY_1": "00" * 32,
    }
    settings = load_settings(EXAMPLE, environ)
    assert [stream.name for stream in settings.streams] == list(KINDS)
    assert settings.kafka.instance_id == "sink-0"
    assert set(tomllib.loads(EXAMPLE.read_text())) == set(TABLES)


def test_the_example_file_names_every_key_of_the_worker() -> None:
    text = EXAMPLE.read_text()
    missing = [
        f"{table}.{key}"
        for table, model in DOCUMENTED.items()
        for key in known_keys(model)
        if not re.search(rf"^(# )?{key} = ", text, re.MULTILINE)
    ]
    assert missing == []
