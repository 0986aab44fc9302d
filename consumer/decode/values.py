"""The values of decoded fields: Python's own types, and a few for which Python has no exact type.

None, bool, int, float, str, Decimal, list and dict (text keys) are used as they are. Bytes and fixed are already
hexadecimal text. Instants and dates have numbers of any size: whether they have a year is decided at the cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TypeAlias, Union


@dataclass(frozen=True, slots=True)
class Stamp:
    """An instant in epoch microseconds."""

    micros: int


@dataclass(frozen=True, slots=True)
class DayNumber:
    """A date as days since 1970-01-01."""

    days: int


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time as microseconds since midnight."""

    micros: int


@dataclass(frozen=True, slots=True)
class Numeral:
    """A JSON number with a fraction or an exponent, as it was written."""

    text: str

    def plain(self) -> str | None:
        """The number without an exponent, None if that would take more than `MOST_DIGITS` digits."""
        mantissa, _, exponent = self.text.lower().partition("e")
        if not exponent:
            return self.text
        digits = exponent.lstrip("+-").lstrip("0")
        if len(digits) > len(str(MOST_DIGITS)) or int(digits or 0) + len(mantissa) > MOST_DIGITS:
            return None
        return format(Decimal(self.text), "f")


MOST_DIGITS = 1_000
"""Digits that a number with an exponent is written out to."""

Value: TypeAlias = Union[
    bool, int, float, str, Decimal, Numeral, Stamp, DayNumber, TimeOfDay, "list[Value]", "dict[str, Value]", None
]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One record's fields by column name; a column without a value is missing or None.

    `unknown` are the input names without a column. `mended` counts the texts in which invalid UTF-8 or lone surrogates
    became U+FFFD.
    """

    values: Mapping[str, Value]
    unknown: tuple[str, ...] = ()
    mended: int = field(default=0)


DEEPEST = 200
"""Levels of lists and objects in one record. orjson writes 254, Python's own parser reads some more."""


def nested_too_deep(value: Value, left: int = DEEPEST) -> bool:
    """Whether lists and objects are nested deeper than `DEEPEST`."""
    if isinstance(value, dict):
        return left == 0 or any(nested_too_deep(inner, left - 1) for inner in value.values())
    if isinstance(value, list):
        return left == 0 or any(nested_too_deep(inner, left - 1) for inner in value)
    return False


LONGEST_NAME = 100
"""Unknown field names are cut to this many characters: they become labels."""


MOST_NAMES = 100
"""Unknown fields that are counted of one record: a hostile one may have hundreds of thousands."""


def label(name: str) -> str:
    """An unknown field's name as something that can be counted."""
    return name.encode("utf-8", "replace").decode()[:LONGEST_NAME]


def labels(names: Iterable[str]) -> tuple[str, ...]:
    """The first unknown fields of a record, as labels, each once."""
    return tuple(dict.fromkeys(map(label, islice(names, MOST_NAMES))))
