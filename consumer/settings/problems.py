"""Problems in the settings: collected while reading, reported together, never with a secret in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

from consumer.domain.errors import UsageError
from consumer.domain.redaction import is_secret_name, safe_echo, without

Path = tuple[str, ...]
"""The place of a value in the file: the names of its tables and its key."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_ECHO = 60
_NOUNS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    (Mapping, "a table"),
    ((list, tuple), "a list"),
    ((datetime, date, time), "a date or time without quotes"),
)


def dotted(path: Path) -> str:
    """The path as TOML writes it."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else _quoted(part) for part in path)


def noun(value: object) -> str:
    """What a TOML value is, in words."""
    return next((word for kind, word in _NOUNS if isinstance(value, kind)), type(value).__name__)


def suggestion(name: str, known: Collection[str]) -> str:
    """What to write instead of an unknown name."""
    close = get_close_matches(name, known, n=1)
    return f'did you mean "{close[0]}"?' if close else "known here: " + ", ".join(known)


def _quoted(text: str) -> str:
    cut = text if len(text) <= _LONGEST_ECHO else text[: _LONGEST_ECHO - 3] + "..."
    return json.dumps(cut)


class Problems:
    """The mistakes in one settings file. `written` is the file before the environment is filled in."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._written = written
        self._found: dict[tuple[Path, str], None] = {}
        self._no_tables: set[Path] = set()

    def add(self, path: Path, text: str, *, also: Sequence[Path] = ()) -> None:
        """Note a problem, unless a value that it rests on (`path` or one of `also`) is known to be wrong already."""
        if not any(self.about(place) for place in (path, *also)):
            self._found[path, text] = None

    def no_table(self, path: Path, value: object) -> None:
        """Note that a table was expected; what its keys lack is not a problem by itself then."""
        self.add(path, f"must be a table, not {noun(value)}; write [{dotted(path)}] and its keys below")
        self._no_tables.add(path)

    def add_each(self, path: Path, texts: Sequence[str]) -> None:
        """Note several problems with one value."""
        if not self.about(path):
            self._found.update(dict.fromkeys((path, text) for text in texts))

    def about(self, path: Path) -> bool:
        """Whether this value, one inside it, or the table around it, is known to be wrong."""
        inside = any(place[: len(path)] == path for place, _ in self._found)
        return inside or any(path[:length] in self._no_tables for length in range(1, len(path)))

    def shown(self, path: Path) -> str:
        """The value as the user wrote it, quoted and with a blank behind it; empty if it may not be repeated."""
        value: object = self._written
        for part in path:
            if not isinstance(value, Mapping) or part not in value:
                return ""
            value = value[part]
        if any(is_secret_name(part) for part in path) or "options" in path:
            return ""
        if isinstance(value, str):
            return _quoted(safe_echo(value)) + " "
        return f"{str(value).lower()} " if isinstance(value, bool) else _scalar(value)

    def lines(self) -> list[str]:
        """One line for each problem: `key.path: what is wrong, what to write instead`."""
        return [f"{dotted(path)}: {text}" for path, text in self._found]

    def raise_if_any(self, file: str, hidden: Collection[str] = ()) -> None:
        """Raise UsageError with every problem, `hidden` masked."""
        lines = [without(line, hidden) for line in self.lines()]
        if lines:
            count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
            raise UsageError("\n".join([f"{file} has {count}:", *lines]))


def _scalar(value: object) -> str:
    if isinstance(value, (int, float, date, time)):
        return f"{_short_number(value)} "
    return ""


def _short_number(value: object) -> str:
    try:
        text = str(value)
    except ValueError:  # more digits than Python prints
        return "this number"
    return text if len(text) <= _LONGEST_ECHO else text[: _LONGEST_ECHO - 3] + "..."
