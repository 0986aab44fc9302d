"""What a value must look like in a CSV cell, from the contract alone: nothing of the program is used here.

Each function gives the cell as it stands in the line, quotes included.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MICROS = 86_400_000_000


def text(value: str | None) -> str:
    """Text: an empty one in quotes, so that it is not null; NUL goes."""
    if value is None:
        return ""
    clean = value.replace("\0", "")
    if not clean or set(clean) & set(',"\r\n'):
        return '"' + clean.replace('"', '""') + '"'
    return clean


def real(value: float | None) -> str:
    """Doubles: the shortest digits that read back the same, no exponent, one zero at least after the point."""
    if value is None or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
        return ""
    if value == 0:
        return "0.0"
    plain = format(Decimal(repr(value)), "f")
    return plain if "." in plain else plain + ".0"


def integer(value: int | None) -> str:
    """Integers as they are."""
    return "" if value is None else str(value)


def instant(micros: int | None) -> str:
    """Instants in UTC with six digits; none outside the years 1 to 9999."""
    if micros is None:
        return ""
    try:
        return (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00").rjust(32, "0")
    except OverflowError:
        return ""


def day(number: int | None) -> str:
    """Dates."""
    return "" if number is None else (EPOCH + timedelta(days=number)).date().isoformat()


def line(cells: list[str]) -> bytes:
    """One row."""
    return (",".join(cells) + "\n").encode()
