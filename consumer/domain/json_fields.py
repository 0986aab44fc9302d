"""Fields of JSON documents with checked types: another program or a failing disk may have changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from consumer.domain.days import day_from

LARGEST = (1 << 63) - 1
MOST_DIGITS = 19


class FieldError(ValueError):
    """A field is missing, or not of its kind."""


def text(raw: Mapping[str, Any], name: str) -> str:
    """A text. Raises FieldError."""
    value = raw[name]
    if not isinstance(value, str):
        raise FieldError(f"{name} is not text")
    return value


def whole(raw: Mapping[str, Any], name: str, least: int = 0) -> int:
    """An integer of 64 bits, `least` or more. Raises FieldError."""
    value = raw[name]
    if type(value) is not int or not least <= value <= LARGEST:
        raise FieldError(f"{name} is not an integer of {least} or more")
    return value


def whole_or_none(raw: Mapping[str, Any], name: str, least: int = 0) -> int | None:
    """The same, or null."""
    return None if raw[name] is None else whole(raw, name, least)


def flag(raw: Mapping[str, Any], name: str) -> bool:
    """True or false. Raises FieldError."""
    value = raw[name]
    if not isinstance(value, bool):
        raise FieldError(f"{name} is neither true nor false")
    return value


def day(raw: Mapping[str, Any], name: str) -> date:
    """A day as `2026-11-21`. Raises FieldError."""
    return day_from(text(raw, name))


def texts(raw: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts. Raises FieldError."""
    value = raw[name]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise FieldError(f"{name} is not a list of texts")
    return tuple(value)


def table(raw: object, name: str) -> dict[str, Any]:
    """An object. Raises FieldError."""
    if not isinstance(raw, dict):
        raise FieldError(f"{name} is not an object")
    return raw


def tables(raw: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """A list of objects. Raises FieldError."""
    value = raw[name]
    if not isinstance(value, list):
        raise FieldError(f"{name} is not a list")
    return [table(item, name) for item in value]


def number_in(said: str) -> int | None:
    """The number in an object's metadata; None if it is not a number."""
    return int(said) if said.isascii() and said.isdigit() and len(said) <= MOST_DIGITS else None
