"""`rewrite`: current privacy rules on stored days; `erase`: persons removed from them. Both from the bucket alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from consumer.commands.output import print_json, say
from consumer.commands.replay import (
    chosen,
    confirmed,
    plan_document,
    require_answer,
    scope_of,
    services_of,
    show_done,
    show_plan,
)
from consumer.domain.errors import UsageError
from consumer.replace.bodies import working_folder
from consumer.replace.leftovers import Leftovers, leftovers_of
from consumer.replace.services import Scope, Services
from consumer.replace.stored import Restatement
from consumer.replace.treatments import erasure_of
from consumer.seal.replacements.record import MOST_DIGESTS, Erasure, Replacement
from consumer.settings.model import Settings, StreamSettings
from consumer.streams.columns import column_names
from consumer.streams.rules import Method


def rewrite(
    settings: Settings,
    first: str | None,
    last: str | None,
    *,
    streams: Sequence[str],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan, ask, do. Raises UsageError, RefusedError, HaltError, GaveUpError."""
    scope = scope_of(first, last, ())
    require_answer(dry_run=dry_run, yes=yes)
    found = []
    for stream in chosen(settings, streams):
        with services_of(settings, stream) as services:
            if stream.rules.privacy.columns:
                found.append(_restated(services, scope, None, dry_run=dry_run, yes=yes, as_json=as_json))
            elif not as_json:
                say(f"{stream.name}: the settings have no privacy rules for it, nothing would change")
    if as_json:
        print_json({"streams": found})


def erase(
    settings: Settings,
    column: str,
    values: Path,
    first: str | None,
    last: str | None,
    *,
    streams: Sequence[str],
    mode: Literal["cells", "rows"],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Plan, ask, apply, and report what is left elsewhere. Raises UsageError, RefusedError, HaltError, GaveUpError."""
    if (first is None) != (last is None):
        raise UsageError("--from and --to must be used together; without them, all stored days")
    asked = None if first is None else scope_of(first, last, ())
    require_answer(dry_run=dry_run, yes=yes)
    persons = values_in(values)
    wanted = [(stream, _erasure(settings, stream, column, mode, persons)) for stream in chosen(settings, streams)]
    found = []
    for stream, erasure in wanted:
        with services_of(settings, stream) as services:
            scope = asked or _all_days(services)
            if scope is None:
                continue
            document = _restated(services, scope, erasure, dry_run=dry_run, yes=yes, as_json=as_json)
            left = leftovers_of(services, scope)
            found.append({**document, "left": left.to_json()})
            if not as_json:
                _show_left(left, stream, settings)
    if as_json:
        print_json({"streams": found})


def _restated(
    services: Services, scope: Scope, erasure: Erasure | None, *, dry_run: bool, yes: bool, as_json: bool
) -> dict[str, Any]:
    work = Restatement(services, scope, erasure)
    resumed = None if dry_run else work.resume()
    plan = work.plan()
    if not as_json:
        show_plan(plan, resumed)
    done: list[Replacement] = []
    agreed = plan.objects and not dry_run and (yes or confirmed(f"Replace {len(plan.objects)} objects permanently?"))
    if agreed:
        with working_folder(services.folder) as folder:
            done = work.apply(plan, folder)
    if not as_json:
        show_done(plan, done)
    return plan_document(plan, resumed, done)


# -- what is asked for -----------------------------------------------------------------------------------------------


def values_in(path: Path) -> list[str]:
    """One value a line; lines lose only their end, empty ones are skipped. Raises UsageError, which shows no value.

    A byte order mark, which spreadsheets write, belongs to no value.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"--values: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--values: {path} is not UTF-8") from error
    found = [line.removesuffix("\r") for line in lines]
    if not any(found):
        raise UsageError(f"--values: {path} has no values; write one per line")
    return [line for line in found if line]


def _erasure(settings: Settings, stream: StreamSettings, column: str, mode: str, values: Sequence[str]) -> Erasure:
    names = column_names(stream.rules)
    if column not in names:
        raise UsageError(f"--column: stream {stream.name} has no column {column!r}; it has {', '.join(names)}")
    method = stream.rules.privacy.columns.get(column)
    if method in {Method.DROP, Method.TRUNCATE_IP}:
        raise UsageError(f"--column: {column} of {stream.name} is stored after {method}, so no value matches it")
    keys = settings.privacy.key_bytes()
    name = stream.rules.privacy.key or next(iter(keys), None)
    if name is None:
        raise UsageError("erase stores keyed digests of the values: add a key to [privacy.keys]")
    erasure = erasure_of(column, mode, values, stream.personal, name, keys)
    if len(erasure.digests) > MOST_DIGESTS:
        raise UsageError(
            f"--values: {len(values):,} values are too many for one run; split the file, at most"
            f" {MOST_DIGESTS // (1 + len(keys)):,} values each"
        )
    return erasure


def _all_days(services: Services) -> Scope | None:
    """From the first to the last day that seals or replacements have written objects of."""
    sealed = (record for chain in services.chains().values() for record in chain.records)
    days: set[date] = {entry.day for record in sealed for entry in record.objects}
    days.update(day for record in services.ask(services.log.read).records for day in record.days)
    return Scope(min(days), max(days)) if days else None


def _show_left(left: Leftovers, stream: StreamSettings, settings: Settings) -> None:
    """What the command may not delete: the operator has to."""
    say(f"what may still contain these persons, for you to delete ({stream.name}):")
    named: list[tuple[str, Sequence[str]]] = [
        ("old bodies kept by replacements", left.kept),
        ("exports", left.exports),
        ("quarantine", left.quarantine),
    ]
    for what, keys in named:
        say(f"  {what}: {len(keys) or 'none'}")
        for key in keys:
            say(f"    {key}")
    if left.versioned:
        say("  noncurrent versions of the objects that were replaced: the bucket is versioned")
    say(f"  spool: {settings.spool.directory} of each worker, until its days are sealed")
    say(f"  Kafka: topic {stream.topic}, until retention")
