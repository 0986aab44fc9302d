"""What statements are made from: a stream's columns and place, one published day, and what an engine makes of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from consumer.streams.columns import ColumnKind


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column of the folder. `kind` is None where the settings no longer have it: its cells are empty."""

    name: str
    kind: ColumnKind | None


@dataclass(frozen=True, slots=True)
class Target:
    """One stream's data: `url` is the destination's folder without a slash at its end."""

    stream: str
    url: str
    columns: tuple[TypedColumn, ...]
    endpoint_url: str = ""
    region: str = ""
    compression: str = "none"

    @property
    def raw(self) -> str:
        """The all-text table."""
        return f"{self.stream}_raw"

    @property
    def local(self) -> bool:
        """Whether the data lie in a folder of this machine."""
        return self.url.startswith("file://")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in the folder's order."""
        return tuple(column.name for column in self.columns)

    def where(self, key: str) -> str:
        """An object, as most engines take it: a path on this machine, else an s3:// address."""
        return f"{self.url.removeprefix('file://')}/{key}"

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
class PublishedDay:
    """A day as its manifest says it."""

    day: date
    revision: int
    rows: int
    objects: tuple[DayObject, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """How one engine makes the tables, and deletes and loads one day."""

    ddl: Callable[[Target], list[str]]
    load: Callable[[Target, PublishedDay], list[str]]


def quoted(name: str, mark: str = '"') -> str:
    """An identifier in quotes."""
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def listed(items: Iterable[str], indent: str = "  ") -> str:
    """Items below each other, with commas."""
    return f",\n{indent}".join(items)


def typed_view(
    target: Target,
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


def text_columns(target: Target, kind: str, mark: str = '"') -> str:
    """The columns of the raw table, all text."""
    return listed(f"{quoted(name, mark)} {kind}" for name in target.names)


def comment(*lines: str) -> list[str]:
    """Lines of a comment."""
    return [f"-- {line}" for line in lines]


def names_of(columns: Sequence[str], mark: str = '"') -> str:
    """Names in quotes, with commas."""
    return ", ".join(quoted(name, mark) for name in columns)


def loads_nothing(day: PublishedDay) -> list[str]:
    """The word on a day without objects."""
    return comment(f"{day.day} has no rows") if not day.objects else []
