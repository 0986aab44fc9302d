"""The judgement after each round: rows counted by their names, nothing overwritten, and the program's own `verify`."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from tests.harness.bucket import Folder
from tests.harness.world import Stream, World

REWRITTEN = ("/_manifest.json", "/_days.json", "/_schema.json")
"""What may be written again, besides what `check` leaves."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows of closed days by name: how many there must be, and what is wrong with what is there."""

    rows: int
    lost: int
    doubled: int
    strange: int


def tally(world: World, sealed: date | None) -> Tally:
    """Count every row in the bucket by its name. Only rows of days up to `sealed` are missed if they are not there."""
    rows = lost = doubled = strange = 0
    for stream in world.streams.values():
        wanted = dict(_wanted(world, stream))
        found = Counter(_found(world.folder, stream))
        rows += sum(found.values())
        lost += sum(name not in found and sealed is not None and day <= sealed for name, day in wanted.items())
        doubled += sum(count - 1 for count in found.values())
        strange += sum(name not in wanted for name in found)
    return Tally(rows, lost, doubled, strange)


def _wanted(world: World, stream: Stream) -> Iterator[tuple[str, date]]:
    """The names of all rows that no filter drops, with their days."""
    for partition in range(stream.partitions):
        for sent in tuple(world.ledger.sent[(stream.topic, partition)]):
            if sent.made.fate == "row" and not sent.made.drops:
                assert sent.made.key is not None
                yield sent.made.key.decode(), sent.made.day


def _found(folder: Folder, stream: Stream) -> Iterator[str]:
    csv.field_size_limit(1 << 24)
    keys = [key for key in folder.keys(f"{stream.name}/dt=") if "/_" not in key.removeprefix(stream.name)]
    column = stream.maker.kind.columns.index(stream.maker.kind.id)
    for stored in folder.read_all(keys).values():
        lines = csv.reader(io.StringIO(stored.content.decode(), newline=""))
        next(lines)
        for cells in lines:
            yield cells[column]


def overwritten(folder: Folder) -> list[str]:
    """Objects that were written twice or deleted, of those that are written once. The bucket keeps all versions."""
    versions: Counter[str] = Counter()
    deleted = []
    for page in folder.client.get_paginator("list_object_versions").paginate(
        Bucket=folder.bucket, Prefix=folder.prefix + "/"
    ):
        versions.update(each["Key"] for each in page.get("Versions", []))
        deleted += [each["Key"] for each in page.get("DeleteMarkers", [])]
    twice = [key for key, count in versions.items() if count > 1]
    return [key for key in twice + deleted if not key.endswith(REWRITTEN) and f"{folder.prefix}/_checks/" not in key]
