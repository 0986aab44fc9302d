"""The input of statements: a stream's columns and location, one published day; and shared helpers of the dialects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from consumer.domain.location import location_of
from consumer.streams.columns import ColumnKind


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column of the folder. `kind` is None if the settings no longer have it: its cells are empty."""

    name: str
    kind: ColumnKind | None


@dataclass(frozen=True, slots=True)
class DataSource:
    """One stream's data: `url` is the destination's folder without a slash at its end."""

    stream: str
    url: str
    columns: tuple[TypedColumn, ...]
    endpoint_url: str = ""
    region: str = ""

    @property
    def raw(self) -> str:
        """The all-text table."""
        return f"{self.stream}_raw"

    @property
    def local(self) -> bool:
        """Whether the data are in a folder on this machine."""
        return self.url.startswith("file://")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in the folder's order."""
        return tuple(column.name for column in self.columns)

    def where(self, key: str) -> str:
        """An object's address for most engines: a path on this machine, else an s3:// URL."""
        return f"{location_of(self.url).directory if self.local else self.url}/{key}"

    @property
    def folder(self) -> str:
        """The stream's folder, as `where`."""
        return self.where(self.stream)


@dataclass(frozen=True, slots=True)
class DayObject:
    """An object of a published day."""

    key: str
    size: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayToLoad:
    """A day according to its manifest."""

    day: date
    revision: int
    rows: int
    objects: tuple[DayObject, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one engine makes the tables, and deletes and loads one day."""

    ddl: Callable[[DataSource], list[str]]
    load: Callable[[DataSource, DayToLoad], list[str]]


PATTERNS = {
    ColumnKind.INTEGER: "-?[0-9]+",
    ColumnKind.REAL: "-?[0-9]+([.][0-9]+)?",
    ColumnKind.REAL32: "-?[0-9]+([.][0-9]+)?",
    ColumnKind.INSTANT: "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}[+]00:00",
    ColumnKind.DATE: "[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
"""The form of a cell that fits its column. Safe casts by themselves accept more: 3.7 for 4, NaN, 7d, infinity, yes."""
TRUTH = "CASE {} WHEN 'true' THEN true WHEN 'false' THEN false END"


def guarded(matches: str, casts: Mapping[ColumnKind, str]) -> dict[ColumnKind, str]:
    """Casts of cells that look as they must, null for the others, in every engine alike.

    `matches` is the engine's test of a whole text, with {} for the cell and <pattern>.
    """
    return {ColumnKind.BOOLEAN: TRUTH} | {
        kind: f"CASE WHEN {matches.replace('<pattern>', PATTERNS[kind])} THEN {cast} END"
        for kind, cast in casts.items()
    }


def quoted(name: str, mark: str = '"') -> str:
    """An identifier in quotes."""
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def escaping(made: Dialect) -> Dialect:
    """The same for an engine that reads a backslash in a name as an escape."""

    def of(target: DataSource) -> DataSource:
        columns = tuple(replace(column, name=_escaped(column.name)) for column in target.columns)
        return replace(target, columns=columns)

    def load(target: DataSource, day: DayToLoad) -> list[str]:
        objects = tuple(replace(one, columns=tuple(map(_escaped, one.columns))) for one in day.objects)
        return made.load(of(target), replace(day, objects=objects))

    return Dialect(lambda target: made.ddl(of(target)), load)


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\")


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def listed(items: Iterable[str], indent: str = "  ") -> str:
    """Items below each other, with commas."""
    return f",\n{indent}".join(items)


def typed_view(
    target: DataSource,
    casts: Mapping[ColumnKind, str],
    *,
    mark: str = '"',
    create: str = "CREATE OR REPLACE VIEW",
    dt: str = "dt",
) -> str:
    """The view with safe casts; `casts` has an expression with {} for each kind that does not stay text."""
    cells = []
    for column in target.columns:
        name = quoted(column.name, mark)
        cast = casts.get(column.kind) if column.kind is not None else None
        cells.append(name if cast is None else f"{cast.replace('{}', 'r.' + name)} AS {name}")
    view, raw = quoted(target.stream, mark), quoted(target.raw, mark)
    return f"{create} {view} AS SELECT\n  {listed([*cells, dt])}\nFROM {raw} AS r;"


def text_columns(target: DataSource, kind: str, mark: str = '"') -> str:
    """The columns of the raw table, all text."""
    return listed(f"{quoted(name, mark)} {kind}" for name in target.names)


def comment(*lines: str) -> list[str]:
    """Lines of a comment."""
    return [f"-- {line}" for line in lines]


def names_of(columns: Sequence[str], mark: str = '"') -> str:
    """Names in quotes, with commas."""
    return ", ".join(quoted(name, mark) for name in columns)


def loads_nothing(day: DayToLoad) -> list[str]:
    """The word on a day without objects."""
    return comment(f"{day.day} has no rows") if not day.objects else []
