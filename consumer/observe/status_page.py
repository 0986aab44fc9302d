"""/status for people: one page without scripts or external files, dark or light by the reader's system."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from html import escape
from importlib.resources import files

from consumer import __version__
from consumer.domain.offsets import TopicPartition
from consumer.observe.calendar import DayCell, DayState
from consumer.observe.snapshot import Snapshot, SpoolView, StreamView
from consumer.observe.status import PartitionStatus

REFRESH_SECONDS = 30
FEW_PARTITIONS = 12
"""More partitions than that are folded up."""
UNKNOWN = "–"  # noqa: RUF001 - a dash
SIGNS = {
    DayState.COMPLETE: "✓",
    DayState.REVISED: "↻",
    DayState.INCOMPLETE: "!",
    DayState.PENDING: "…",
    DayState.HALTED: "✕",
    DayState.NONE: "",
}
MEANINGS = {
    DayState.COMPLETE: "complete",
    DayState.REVISED: "complete, revised by late rows or a replay",
    DayState.INCOMPLETE: "published, rows known to be missing",
    DayState.PENDING: "pending",
    DayState.HALTED: "waits for an operator",
    DayState.NONE: "before the first published day",
}
_THOUSAND = 1000
_UNITS = ("", "k", "M", "G", "T")
_WEEK = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


@cache
def style() -> str:
    """The page's only style sheet."""
    return files("consumer.observe").joinpath("status_page.css").read_text("utf-8")


@cache
def style_source() -> str:
    """The source expression of a content security policy that allows exactly this style sheet."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()}'"


def page(snapshot: Snapshot | None) -> str:
    """The whole page; one without content while the worker starts."""
    body = _starting() if snapshot is None else _body(snapshot)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><meta name="robots" content="noindex">'
        f"<title>adapty-sink</title><style>{style()}</style></head><body>{body}</body></html>\n"
    )


def _starting() -> str:
    return '<header><h1>adapty-sink</h1><span class="pill bad">starting</span></header>'


def _body(snapshot: Snapshot) -> str:
    at = snapshot.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    pill = '<span class="pill bad">not ready</span>' if snapshot.unready else '<span class="pill good">ready</span>'
    if snapshot.status.halted:
        pill += f'<span class="pill bad">{len(snapshot.status.halted)} halted</span>'
    head = f'<header><h1>adapty-sink {escape(__version__)}</h1>{pill}<span class="soft">{at}</span></header>'
    halted = frozenset(halt.partition for halt in snapshot.status.halted if halt.partition is not None)
    streams = "".join(_stream(stream, snapshot.at, halted) for stream in snapshot.streams)
    return head + _worker(snapshot) + streams + _legend()


def _worker(snapshot: Snapshot) -> str:
    found = snapshot.status.partitions
    facts = (
        ("partitions of this worker", str(len(found))),
        ("records to read", _count(_sum(partition.lag for partition in found))),
        ("held until sealed", _count(_sum(partition.held for partition in found))),
        ("spool", _spool(snapshot.spool)),
    )
    return f'<section class="card">{_troubles(snapshot.unready)}{_facts(facts)}</section>'


def _spool(spool: SpoolView) -> str:
    tight = spool.free < spool.floor
    free = f'<br><span class="soft">{bytes_text(spool.free)} free{" (too little)" if tight else ""}</span>'
    return (
        f"{bytes_text(spool.used)} of {bytes_text(spool.limit)}{free}"
        f'<meter min="0" max="{max(1, spool.limit)}" high="{spool.limit * 0.9:.0f}" value="{spool.used}"></meter>'
    )


def _stream(stream: StreamView, now: datetime, halted: frozenset[TopicPartition]) -> str:
    seals = [found.next_seal for found in stream.partitions if found.next_seal is not None]
    total = UNKNOWN if stream.partitions_total is None else str(stream.partitions_total)
    facts = (
        ("last complete day", UNKNOWN if stream.last_complete is None else stream.last_complete.isoformat()),
        ("next seal", _until(min(seals), now) if seals else UNKNOWN),
        ("records to read", _count(_sum(found.lag for found in stream.partitions))),
        ("partitions here, of all", f"{len(stream.partitions)} of {total}"),
    )
    return (
        f'<section class="card"><h2>{escape(stream.name)}</h2>'
        f'<p class="soft">{escape(stream.topic)} → {escape(stream.destination)}</p>'
        f"{_troubles(stream.troubles)}{_facts(facts)}"
        f'<div class="sides"><div><h3>Partitions</h3>{_partitions(stream.partitions, now, halted)}</div>'
        f"<div><h3>Days</h3>{_calendar(stream.days)}</div></div></section>"
    )


def _troubles(texts: Iterable[str]) -> str:
    return "".join(f'<p class="trouble">{escape(text)}</p>' for text in texts)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    """Values are HTML already."""
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in facts)}</dl>"


_COLUMNS = (
    "partition",
    "phase",
    "to read",
    "position",
    "committed",
    "held",
    "open days",
    "last sealed",
    "next seal",
    "expires in",
)


def _partitions(found: Sequence[PartitionStatus], now: datetime, halted: frozenset[TopicPartition]) -> str:
    if not found:
        return '<p class="soft">No partition of this stream is assigned to this worker.</p>'
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(_row(status, now, halted=status.partition in halted) for status in found)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    if len(found) <= FEW_PARTITIONS:
        return table
    return f"<details><summary>{len(found)} partitions</summary>{table}</details>"


def _row(found: PartitionStatus, now: datetime, *, halted: bool) -> str:
    cells = (
        str(found.partition.partition),
        "halted" if halted else UNKNOWN if found.phase is None else escape(found.phase.replace("_", " ")),
        _count(found.lag),
        _count(found.position),
        _count(found.committed),
        _count(found.held),
        _open_days(found),
        UNKNOWN if found.last_cutoff is None else _day(found.last_cutoff),
        UNKNOWN if found.next_seal is None else _moment(found.next_seal, now),
        UNKNOWN if found.retention_hours is None else _span(timedelta(hours=found.retention_hours)),
    )
    inner = "".join(f'<td data-is="{name}">{cell}</td>' for name, cell in zip(_COLUMNS, cells, strict=True))
    mark = ' class="halted"' if halted else ""
    return f"<tr{mark}>{inner}</tr>"


def _open_days(found: PartitionStatus) -> str:
    if found.open_days is None:
        return UNKNOWN
    days = found.open_days
    shown = ", ".join(_day(day) for day in days[-3:])
    return f"{len(days) - 3} older, {shown}" if len(days) > 3 else shown or "none"  # noqa: PLR2004 - the three shown


def _calendar(days: Sequence[DayCell]) -> str:
    week = "".join(f"<span>{name}</span>" for name in _WEEK)
    cells = "".join(_cell(cell, first=index == 0) for index, cell in enumerate(days))
    head = f'<div class="week" aria-hidden="true">{week}</div>'
    return f'{head}<ol class="days">{cells}</ol>'


def _legend() -> str:
    states = [state for state in DayState if state is not DayState.NONE]
    items = "".join(f'<li class="{state}">{SIGNS[state]} {MEANINGS[state]}</li>' for state in states)
    return f'<ul class="legend">{items}</ul>'


def _cell(cell: DayCell, *, first: bool) -> str:
    day, published = cell.day, cell.published
    label = _day(day) if first or day.day == 1 else str(day.day)
    said = f"{day.isoformat()}: {MEANINGS[cell.state]}"
    if published is not None:
        said += f", {published.rows:,} rows, revision {published.revision}"
    rows = "" if published is None else f"<b>{short(published.rows)}</b>"
    start = f" on-{day.isoweekday()}" if first else ""
    return (
        f'<li class="day {cell.state}{start}" title="{said}" aria-label="{said}">'
        f"<span><time>{label}</time><i>{SIGNS[cell.state]}</i></span>{rows}</li>"
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    """The sum of what is known; None if nothing is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def short(number: int) -> str:
    """A number in at most five characters: 999, 1.2k, 109k, 4.5M."""
    value, unit = float(number), 0
    while round(value) >= _THOUSAND and unit < len(_UNITS) - 1:
        value, unit = value / _THOUSAND, unit + 1
    digits = 1 if unit and value < 9.95 else 0  # noqa: PLR2004 - from there on it rounds to two digits
    return f"{value:.{digits}f}{_UNITS[unit]}"


def bytes_text(number: int) -> str:
    """A size as people read it."""
    value, unit = float(number), 0
    while value >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - bytes count by 1024
        value, unit = value / 1024, unit + 1
    return f"{value:.{1 if unit else 0}f} {_UNITS[unit].upper()}{'iB' if unit else 'B'}"


def _until(when: datetime, now: datetime) -> str:
    left = when - now
    said = f"{_day(when)}, {when:%H:%M}"
    return f"{said} (in {_span(left)})" if left > timedelta() else f"{said} (overdue {_span(-left)})"


def _moment(when: datetime, now: datetime) -> str:
    return f"{_day(when)}, {when:%H:%M}" if when > now else f"overdue {_span(now - when)}"


def _day(day: date) -> str:
    return f"{day:%b} {day.day}"


def _span(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
