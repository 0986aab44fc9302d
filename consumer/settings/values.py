"""Parsers of single values: what the user wrote -> what the program uses. Each raises ValueError with advice.

The texts follow the value in the message: `"20 apples" is not a valid size; write ...`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

from consumer.domain.days import day_from
from consumer.settings.environment import FromEnvironment
from consumer.streams.rules import Method

N = TypeVar("N", int, float, timedelta)
Start = Literal["earliest", "latest"] | datetime

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGT]?i?B)", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_OLDEST_AGE = 10_000
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)
LONGEST_TOPIC = 200
"""Maximum characters of a topic: stores and file systems allow names of 255 bytes, and keys contain more than the
topic."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def text(value: object) -> str:
    """Text without control characters."""
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")  # noqa: TRY004 - pydantic collects only ValueError
    if not value.isprintable():
        raise ValueError("contains a line break or another control character; write it on one line")
    return str(value)


def flag(value: object) -> bool:
    """A switch; text only if it came from the environment."""
    if isinstance(value, bool):
        return value
    if isinstance(value, FromEnvironment) and value in {"true", "false"}:
        return value == "true"
    raise ValueError("must be true or false, without quotes")


def number(value: object) -> float:
    """A number; text only if it came from the environment."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e15:  # noqa: PLR2004
        return float(value)
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return float(value)
    raise ValueError("must be a number without quotes")


def whole(value: object) -> int:
    """A whole number; text only if it came from the environment."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    raise ValueError("must be a whole number without quotes")


def byte_size(value: object) -> int:
    """Bytes: a whole number, or text with a unit."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('is not a valid size; write a whole number of bytes, or "500MB" or "20GiB"')
    unit = match[2].lower()
    base = 1024 if "i" in unit else 1000
    return int(Decimal(match[1]) * base ** _POWER[unit.rstrip("b").rstrip("i")])


def duration(value: object) -> timedelta:
    """A length of time, as text with units."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not match[0]:
        raise ValueError('is not a valid duration; write e.g. "90s", "10m" or "1h30m"')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def time_of_day(value: object) -> timedelta:
    """A time of the UTC day, as the time that has passed since midnight."""
    if isinstance(value, time) and value.tzinfo is None and not value.microsecond:
        return timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('is not a valid time of day; write UTC hours and minutes, e.g. "04:00"')
    return timedelta(hours=int(match[1]), minutes=int(match[2]), seconds=int(match[3] or 0))


def instant(value: object) -> datetime:
    """An instant with an offset, in UTC."""
    advice = 'is not a valid instant; write date, time and offset, e.g. "2026-11-01T00:00:00Z"'
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(advice) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(advice)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(advice) from None


def start(value: object) -> Start:
    """Where a stream begins that has no chain and no commit."""
    if value == "earliest" or value == "latest":  # noqa: PLR1714 - so the type checker narrows it
        return value
    try:
        return instant(value)
    except ValueError:
        raise ValueError(
            'is not a valid start; write "earliest", "latest" or an instant, e.g. "2026-11-01T00:00:00Z"'
        ) from None


def folder(value: object) -> Path:
    """A local folder, as written."""
    found = text(value).strip()
    if not found:
        raise ValueError('does not name a folder; write e.g. "/var/lib/adapty-sink"')
    return Path(found)


def topic(value: object) -> str:
    """A topic's name, by Kafka's own rule."""
    name = text(value)
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError("is not a valid topic name; use letters, digits, '.', '_' and '-', at most 249")
    if len(name) > LONGEST_TOPIC:
        raise ValueError(f"has more than {LONGEST_TOPIC} characters: the keys of its objects would not fit every store")
    return name


def instance_id(value: object) -> str:
    """A static member's name; empty for none."""
    name = text(value)
    if name and not _TOPIC.fullmatch(name):
        raise ValueError("is not a valid instance id; use letters, digits, '.', '_' and '-', at most 249")
    return name


def stream_name_problem(name: str) -> str | None:
    """What is wrong with the name of a stream, which is a folder in the bucket."""
    if not _STREAM.fullmatch(name):
        return (
            "is not a valid stream name; use at most 100 letters, digits, '.', '_' and '-', the first a letter or digit"
        )
    if name.lower() == "exports":
        return "is a folder that the sink uses itself; choose another name"
    return None


def oldest_day(value: object) -> int | date | None:
    """The first day that rows may have: a date, or an age in days; None for neither."""
    if isinstance(value, FromEnvironment) and re.fullmatch("[0-9]{1,5}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _OLDEST_AGE:
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            value = day_from(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError(f'is not a valid day; write an age in days up to {_OLDEST_AGE}, or a date such as "2026-01-01"')


def event_name(value: object) -> str:
    """The name of an event type in the CSV."""
    found = text(value)
    if not found.strip():
        raise ValueError("must not be empty; write the name that the CSV should have")
    return found


def methods(value: object) -> dict[str, Method]:
    """What privacy does, by column."""
    known = ", ".join(f'"{method}"' for method in Method)
    if not isinstance(value, dict):
        raise ValueError('must be a table, e.g. { ip_address = "truncate_ip" }')  # noqa: TRY004 - as in `text`
    for column, method in value.items():
        if method not in set(Method):
            raise ValueError(f"has {method!r} for {column}; write one of {known}")
    return {str(column): Method(method) for column, method in value.items()}


def columns(value: object) -> tuple[str, ...]:
    """Names of columns, as they are written."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError('must be a list of columns, e.g. ["customer_user_id"]')
    return tuple(dict.fromkeys(map(str, value)))


def names(value: object) -> tuple[str, ...]:
    """Names in any case and order, as the comparison wants them: stripped, lower case, sorted."""
    found = value if isinstance(value, list) else []
    if not found or not all(isinstance(name, str) and name.strip() for name in found):
        raise ValueError('must be a list of names, e.g. ["Production"]; leave it out to keep all')
    return tuple(sorted({name.strip().lower() for name in found}))


def matching(pattern: str, advice: str) -> Callable[[object], str]:
    """A parser of text that must match `pattern`, or be empty."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        found = text(value)
        if found and not compiled.fullmatch(found):
            raise ValueError(advice)
        return found

    return check


def within(low: N, high: N, advice: str) -> Callable[[N], N]:
    """A check that a value is between two bounds, inclusive."""

    def check(value: N) -> N:
        if not low <= value <= high:
            raise ValueError(advice)
        return value

    return check


region = matching(r"[a-z0-9-]{1,64}", 'is not a valid region; write e.g. "eu-central-1"')
"""A parser of AWS regions."""
