"""One line of `check`: what was tested, the outcome, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The outcome of a line. A warning does not cause exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `subject` is what was tested, `check` which aspect of it; `todo` is "" if all is well."""

    subject: str
    check: str
    outcome: Outcome
    detail: str
    todo: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry under `checks`."""
        return asdict(self)


def ok(subject: str, check: str, detail: str) -> Line:
    """A line that is well."""
    return Line(subject, check, Outcome.OK, detail)


def warning(subject: str, check: str, detail: str, todo: str) -> Line:
    """A line worth a thought."""
    return Line(subject, check, Outcome.WARNING, detail, todo)


def failed(subject: str, check: str, detail: str, todo: str) -> Line:
    """A line that has to be fixed before the sink can be trusted with data."""
    return Line(subject, check, Outcome.FAILED, detail, todo)
