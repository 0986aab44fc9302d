"""From a TOML file and the environment to the settings, or to all mistakes in them at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from os.path import normpath
from pathlib import Path as File
from typing import Any, TypeVar

from pydantic import SecretStr

from consumer.domain.errors import UsageError
from consumer.settings.destination import BASE, check_apart
from consumer.settings.environment import filled_in, taken
from consumer.settings.hidden import maskable
from consumer.settings.kafka import read_kafka, read_registry
from consumer.settings.model import (
    DestinationSettings,
    HttpSettings,
    QuarantineSettings,
    ScheduleSettings,
    Settings,
    SpoolSettings,
    StreamSettings,
)
from consumer.settings.privacy import read_keys
from consumer.settings.problems import Problems, dotted, suggestion
from consumer.settings.stream import Around, read_stream
from consumer.settings.tables import Table, as_table, read_table

T = TypeVar("T", bound=Table)
TABLES = ("kafka", "schema_registry", "destination", "spool", "schedule", "http", "quarantine", "privacy", "streams")


def load_settings(path: File, environ: Mapping[str, str]) -> Settings:
    """Read the settings file. Raises UsageError with one line for each problem."""
    return settings_from(_toml(path), path.absolute().parent, environ, str(path))


def _toml(path: File) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); pass the settings file with --config") from None
    except UnicodeDecodeError as error:
        wrong = f"{path} is not UTF-8 text (byte {error.start})"
    except RecursionError:
        wrong = f"{path} is nested too deep"
    except ValueError as error:
        wrong = f"{path} is not valid TOML: {error}"
    raise UsageError(wrong)


def settings_from(written: Mapping[str, Any], folder: File, environ: Mapping[str, str], label: str) -> Settings:
    """The settings of a parsed file. Relative paths start at `folder`; `label` names the file in the message."""
    problems = Problems(written)
    given = filled_in(written, environ, problems)
    from_environment = tuple((dotted(path), SecretStr(value)) for path, value in taken(written, environ))
    for name in given:
        if name not in TABLES:
            problems.add((name,), f"unknown table; {suggestion(name, TABLES)}")
    base = as_table(given.get("destination"), ("destination",), problems)
    kafka = read_kafka(given.get("kafka"), problems, _region(base, environ))
    registry = read_registry(given.get("schema_registry"), problems)
    spool = _simple(SpoolSettings, "spool", given, problems)
    schedule = _simple(ScheduleSettings, "schedule", given, problems)
    http = _simple(HttpSettings, "http", given, problems)
    quarantine = _simple(QuarantineSettings, "quarantine", given, problems)
    privacy = read_keys(given.get("privacy"), problems)
    spool = spool.model_copy(update={"directory": File(normpath(folder / spool.directory))})
    around = Around(folder, base, registry is not None, privacy, quarantine.max_record)
    streams = _streams(given.get("streams"), around, problems)
    check_apart(streams, spool.directory, problems)
    problems.raise_if_any(label, maskable(from_environment))
    return Settings(
        kafka=kafka,
        schema_registry=registry,
        spool=spool,
        schedule=schedule,
        http=http,
        quarantine=quarantine,
        privacy=privacy,
        streams=tuple(streams),
        from_environment=from_environment,
    )


def _region(destination: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The AWS region if nothing else gives the brokers' region; "" if it is unknown."""
    found = destination.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return str(found or "")


def _simple(model: type[T], name: str, given: Mapping[str, Any], problems: Problems) -> T:
    return read_table(model, as_table(given.get(name), (name,), problems), (name,), problems)


def _streams(raw: object, around: Around, problems: Problems) -> list[StreamSettings]:
    tables = as_table(raw, ("streams",), problems)
    if not tables:
        problems.add(("streams",), "is missing; write at least one stream, e.g. [streams.events] with its topic")
    # keys that every stream overrides are looked at all the same
    read_table(DestinationSettings, around.destination, BASE, problems)
    streams = [read_stream(name, table, around, problems) for name, table in tables.items()]
    _check_distinct(streams, problems)
    return streams


def _check_distinct(streams: Sequence[StreamSettings], problems: Problems) -> None:
    topics: dict[str, str] = {}
    names: dict[str, str] = {}
    for stream in streams:
        first = topics.setdefault(stream.topic, stream.name)
        if stream.topic and first != stream.name:
            path = ("streams", stream.name, "topic")
            problems.add(
                path,
                f'{problems.shown(path)}feeds the stream "{first}" already; one topic feeds one stream, a second'
                " export of it needs a worker with another group_id and folder",
            )
        alike = names.setdefault(stream.name.lower(), stream.name)
        if alike != stream.name:
            problems.add(("streams", stream.name), f'differs from "{alike}" only in case; choose another name')
