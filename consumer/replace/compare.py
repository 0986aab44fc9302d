"""Compares stored rows with Kafka's records under the rules that made them: for `verify --deep`. Writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from consumer.replace.partition_view import PartitionView
from consumer.replace.plan import Tally
from consumer.replace.progress import Progress, untold
from consumer.replace.recorded import RecordedOffsets, RecordedPartition
from consumer.replace.services import Scope, Services
from consumer.shape.csv_rows import without_header
from consumer.store.compression import plain_blocks


@dataclass(frozen=True, slots=True)
class Comparison:
    """Objects whose rows are other ones, by key, how many were compared, and the days that Kafka has lost."""

    other: Mapping[str, str]
    compared: int
    gone: tuple[date, ...]


def compare(services: Services, scope: Scope, progress: Progress = untold) -> Comparison:
    """Compare every row of the stored days. Raises RefusedError if a seal is pending, and HaltError."""
    recorded = RecordedOffsets(services, services.ask(services.log.read), progress)
    partitions = recorded.partitions(scope)
    gone = recorded.gone(partitions)
    if gone:
        partitions = recorded.partitions(replace(scope, without=frozenset(gone)))
    other: dict[str, str] = {}
    compared = 0
    for one in partitions:
        for columns, keys in _by_columns(services, one.view).items():
            tallies = _tallies(recorded, one, columns, keys)
            compared += len(tallies)
            other |= {key: what for key, tally in tallies.items() if (what := _unlike(services, key, tally))}
    return Comparison(other, compared, tuple(gone))


def _by_columns(services: Services, view: PartitionView) -> dict[tuple[str, ...], set[str]]:
    found: dict[tuple[str, ...], set[str]] = {}
    for key, stored in view.objects.items():
        found.setdefault(services.header(stored.settings, stored.columns), set()).add(key)
    return found


def _tallies(
    recorded: RecordedOffsets, one: RecordedPartition, columns: tuple[str, ...], keys: set[str]
) -> dict[str, Tally]:
    tallies = {key: Tally() for key in keys}
    judge = recorded.judge(one.view, columns)
    for _, batch, record in recorded.read(f"comparing {one.view.partition}", [(one, one.spans())]):
        for key, rows in judge.rows(batch, record, anew=False).items():
            if key in tallies:
                tallies[key].add(rows)
    return tallies


def _unlike(services: Services, key: str, tally: Tally) -> str:
    """How the rows that are stored differ from these; "" if they do not."""
    reader = services.ask(lambda: services.store.open(key))
    if reader is None:
        return ""  # missing objects are found without Kafka
    digest = hashlib.sha256()
    try:
        with reader:
            for block in without_header(plain_blocks(key, reader))[1]:
                digest.update(block)
    except ValueError as error:
        return f"its rows cannot be read: {error}"
    if digest.digest() == tally.digest.digest():
        return ""
    return f"its rows differ from the {tally.rows} rows of Kafka's records from {tally.first} to {tally.last}"
