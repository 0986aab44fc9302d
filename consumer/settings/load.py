"""From a TOML file and the environment to the settings: all of them, or every mistake in them at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from os.path import normpath
from pathlib import Path as File
from typing import Any, TypeVar

from consumer.domain.errors import UsageError
from consumer.settings.cluster import read_kafka, read_registry
from consumer.settings.destination import BASE, check_apart
from consumer.settings.environment import filled_in
from consumer.settings.mistakes import Mistakes, suggestion
from consumer.settings.model import (
    DestinationSettings,
    HttpSettings,
    QuarantineSettings,
    ScheduleSettings,
    Settings,
    SpoolSettings,
    StreamSettings,
)
from consumer.settings.reading import as_table, read_table
from consumer.settings.stream import Around, read_stream
from consumer.settings.table import Table

T = TypeVar("T", bound=Table)
TABLES = ("kafka", "schema_registry", "destination", "spool", "schedule", "http", "quarantine", "streams")


def load_settings(path: File, environ: Mapping[str, str]) -> Settings:
    """Read the settings file. Raises UsageError with one line for each mistake."""
    return settings_from(_toml(path), path.absolute().parent, environ, str(path))


def _toml(path: File) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); write --config with the settings file") from None
    except UnicodeDecodeError as error:
        wrong = f"{path} is no UTF-8 text (byte {error.start})"
    except RecursionError:
        wrong = f"{path} is nested too deep"
    except ValueError as error:
        wrong = f"{path} is no TOML: {error}"
    raise UsageError(wrong)


def settings_from(written: Mapping[str, Any], folder: File, environ: Mapping[str, str], label: str) -> Settings:
    """The settings of a parsed file. Relative paths start at `folder`; `label` names the file in the message."""
    mistakes = Mistakes(written)
    given = filled_in(written, environ, mistakes)
    for name in given:
        if name not in TABLES:
            mistakes.add((name,), f"unknown table; {suggestion(name, TABLES)}")
    kafka = read_kafka(given.get("kafka"), mistakes)
    registry = read_registry(given.get("schema_registry"), mistakes)
    spool = _simple(SpoolSettings, "spool", given, mistakes)
    schedule = _simple(ScheduleSettings, "schedule", given, mistakes)
    http = _simple(HttpSettings, "http", given, mistakes)
    quarantine = _simple(QuarantineSettings, "quarantine", given, mistakes)
    spool = spool.model_copy(update={"directory": File(normpath(folder / spool.directory))})
    base = as_table(given.get("destination"), ("destination",), mistakes)
    streams = _streams(given.get("streams"), Around(folder, base, registry is not None), mistakes)
    check_apart(streams, spool.directory, mistakes)
    mistakes.raise_if_any(label)
    return Settings(
        kafka=kafka,
        schema_registry=registry,
        spool=spool,
        schedule=schedule,
        http=http,
        quarantine=quarantine,
        streams=tuple(streams),
    )


def _simple(model: type[T], name: str, given: Mapping[str, Any], mistakes: Mistakes) -> T:
    return read_table(model, as_table(given.get(name), (name,), mistakes), (name,), mistakes)


def _streams(raw: object, around: Around, mistakes: Mistakes) -> list[StreamSettings]:
    tables = as_table(raw, ("streams",), mistakes)
    if not tables:
        mistakes.add(("streams",), "is missing; write at least one stream, e.g. [streams.events] with its topic")
    # keys that every stream overrides are looked at all the same
    read_table(DestinationSettings, around.destination, BASE, mistakes)
    streams = [read_stream(name, table, around, mistakes) for name, table in tables.items()]
    _check_distinct(streams, mistakes)
    return streams


def _check_distinct(streams: Sequence[StreamSettings], mistakes: Mistakes) -> None:
    topics: dict[str, str] = {}
    names: dict[str, str] = {}
    for stream in streams:
        first = topics.setdefault(stream.topic, stream.name)
        if stream.topic and first != stream.name:
            path = ("streams", stream.name, "topic")
            mistakes.add(
                path,
                f'{mistakes.shown(path)}feeds the stream "{first}" already; one topic feeds one stream, a second'
                " export of it needs a worker with another group_id and folder",
            )
        alike = names.setdefault(stream.name.lower(), stream.name)
        if alike != stream.name:
            mistakes.add(
                ("streams", stream.name), f'differs from "{alike}" in case alone; choose a name that is its own'
            )
