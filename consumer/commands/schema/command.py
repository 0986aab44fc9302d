"""`schema`: the columns of a stream, statements for other systems, and differences from the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from consumer.commands.arguments import day_of, streams_of
from consumer.commands.exit_codes import ExitCode
from consumer.commands.output import print_json, print_table, say
from consumer.commands.retry import RetryBudget
from consumer.commands.schema.differences import bucket_differences, newest_schema, registry_differences
from consumer.commands.schema.engines import ENGINES
from consumer.commands.schema.names import EngineName, Other
from consumer.commands.schema.table import DataSource, DayObject, DayToLoad, TypedColumn
from consumer.commands.wiring import store_of
from consumer.domain.clock import SystemClock
from consumer.domain.errors import UsageError
from consumer.domain.location import object_url
from consumer.seal.folder_columns import FolderColumns, folder_columns, merged
from consumer.seal.keys import manifest_key
from consumer.seal.manifest import manifest_from
from consumer.settings.model import Settings, StreamSettings
from consumer.store.port import Store
from consumer.streams.columns import Column, columns_of
from consumer.streams.rules import Format


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """What was asked for: at most one of `ddl`, `diff` and `load` (which goes with `engine`)."""

    streams: Sequence[str] = ()
    ddl: EngineName | None = None
    diff: Other | None = None
    load: str | None = None
    engine: EngineName | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """One stream: its columns by its settings, and those that its folder has."""

    stream: StreamSettings
    store: Store
    own: tuple[Column, ...]
    folder: FolderColumns

    @property
    def names(self) -> tuple[str, ...]:
        """Today's columns."""
        return merged(self.folder.names, [column.name for column in self.own])

    def columns(self) -> list[dict[str, Any]]:
        """Today's columns with what is known of each."""
        own = {column.name: column for column in self.own}
        since = {column.name: column.since for column in self.folder.columns}
        privacy = self.stream.rules.privacy.columns if self.stream.rules.privacy else {}
        return [
            {
                "name": name,
                "kind": own[name].kind.value if name in own else None,
                "sources": list(own[name].inputs) if name in own else [],
                "privacy": str(privacy[name]) if name in privacy else None,
                "since": day.isoformat() if (day := since.get(name)) else None,
            }
            for name in self.names
        ]

    def target(self) -> DataSource:
        """The same as statements are made from."""
        kinds = {column.name: column.kind for column in self.own}
        destination = self.stream.destination
        return DataSource(
            self.stream.name,
            destination.location.url,
            tuple(TypedColumn(name, kinds.get(name)) for name in self.names),
            destination.endpoint_url,
            destination.region,
        )


def schema(settings: Settings, options: SchemaOptions, *, as_json: bool) -> None:
    """Print what was asked for. Raises UsageError; Exit with 1 where --diff found something."""
    _check(options)
    budget = RetryBudget(settings.schedule.give_up_after, SystemClock())
    known = [_known(stream, budget) for stream in _streams(settings, options)]
    if options.diff is not None:
        found = {one.stream.name: list(_differences(settings, one, options.diff, budget)) for one in known}
        _print_differences(found, as_json=as_json)
        if any(found.values()):
            raise typer.Exit(ExitCode.FOUND)
    elif options.load is not None or options.ddl is not None:
        made = {one.stream.name: _statements(one, options, budget) for one in known}
        if as_json:
            print_json({"engine": options.ddl or options.engine, "streams": made})
        else:
            typer.echo("\n\n".join("\n".join(lines) for lines in made.values()))
    elif as_json:
        print_json({"streams": {one.stream.name: one.columns() for one in known}})
    else:
        _print_columns(known)


def _check(options: SchemaOptions) -> None:
    if sum(asked is not None for asked in (options.ddl, options.diff, options.load)) > 1:
        raise UsageError("use only one of --ddl, --diff and --load")
    if (options.load is None) != (options.engine is None):
        raise UsageError("--load DAY and --for ENGINE must be used together")


def _streams(settings: Settings, options: SchemaOptions) -> list[StreamSettings]:
    """The streams asked for; without names `--diff registry` speaks of those that a registry has schemas of."""
    found = streams_of(settings, options.streams)
    if options.diff != "registry" or options.streams:
        return found
    registered = [stream for stream in found if stream.rules.format is Format.AVRO_REGISTRY]
    if not registered:
        raise UsageError("--diff registry: no stream has the format avro-registry; choose another one with --stream")
    return registered


def _known(stream: StreamSettings, budget: RetryBudget) -> Known:
    store = store_of(stream.destination)
    folder = budget.ask(lambda: folder_columns(store, stream.name))
    return Known(stream, store, columns_of(stream.rules), folder)


def _statements(known: Known, options: SchemaOptions, budget: RetryBudget) -> list[str]:
    target = known.target()
    if options.load is not None and options.engine is not None:
        return ENGINES[options.engine].load(target, _published(known, options.load, budget))
    assert options.ddl is not None
    return ENGINES[options.ddl].ddl(target)


def _published(known: Known, text: str, budget: RetryBudget) -> DayToLoad:
    day, stream = day_of("--load", text), known.stream.name
    assert day is not None
    stored = budget.ask(lambda: known.store.get(manifest_key(stream, day)))
    if stored is None:
        raise UsageError(f"--load: {day} of {stream} is not published; {known.store.location} has no manifest for it")
    raw = manifest_from(stored)
    if raw.get("replaying") is not None:
        raise UsageError(
            f"--load: replacement {raw['replaying']} of {day} of {stream} is under way; wait until it ends"
        )
    return DayToLoad(day, raw["revision"], raw["rows"], tuple(_objects(raw)))


def _objects(raw: Mapping[str, Any]) -> Iterable[DayObject]:
    for item in raw["objects"]:
        yield DayObject(item["key"], item["bytes"], tuple(item.get("columns", raw["columns"])))


def _differences(settings: Settings, known: Known, what: Other, budget: RetryBudget) -> list[str]:
    if what == "bucket":
        return list(bucket_differences(known.folder.names, [column.name for column in known.own]))
    return list(registry_differences(known.own, known.stream, newest_schema(settings, known.stream, budget)))


def _print_differences(found: Mapping[str, Sequence[str]], *, as_json: bool) -> None:
    if as_json:
        print_json({"streams": {name: list(lines) for name, lines in found.items()}})
        return
    for name, lines in found.items():
        for line in lines or ("no differences",):
            say(f"{name}: {line}")


def _print_columns(known: Sequence[Known]) -> None:
    for one in known:
        say(f"{one.stream.name}: {len(one.names)} columns, {object_url(one.store.location, one.stream.name)}")
        rows = [
            (column["name"], column["kind"], ", ".join(column["sources"]), column["privacy"], column["since"])
            for column in one.columns()
        ]
        print_table(("column", "kind", "from", "privacy", "since"), rows)
