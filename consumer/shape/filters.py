"""Which rows are kept: the filters of `FILTERS` in their order, each drop with its reason.

A filter does not apply to a stream without its column. Comparisons use text without NUL, as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from consumer.decode.values import Value
from consumer.shape.exact.cells import cell, time_of
from consumer.shape.timestamps import Moment, micros_of
from consumer.streams.columns import Column
from consumer.streams.kinds import HISTORICAL_BEFORE, INSTALL_DATE, kind_of
from consumer.streams.rules import RowRules

EVENT_TYPE, PROFILE, HISTORICAL, ENVIRONMENT = "event_type", "profile", "historical", "environment"
_NOBODY = re.compile("[0\0-]*")


def normal(text: str) -> str:
    """An event type or an environment as it is compared."""
    return text.replace("\0", "").strip().lower()


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one stream that apply. A column is None if its filter does not."""

    event_type: Column | None
    profile: Column | None
    install: Column | None
    environment: Column | None
    before: int | None
    types: Mapping[str, bool]
    types_default: bool
    environments: frozenset[str]

    def keeps_type(self, event_type: str | None) -> bool:
        """Whether rows of this type (as `normal` gives it) are kept; null follows the default."""
        return self.types_default if event_type is None else self.types.get(event_type, self.types_default)

    def drop(self, values: Mapping[str, Value], time: Moment | None) -> str | None:
        """Why the row is dropped, or None."""
        return next((reason for reason, drops in FILTERS.items() if drops(self, values, time)), None)


def _other_type(filters: Filters, values: Mapping[str, Value], _: Moment | None) -> bool:
    column = filters.event_type
    return column is not None and not filters.keeps_type(_normal_text(column, values))


def _nobodys(filters: Filters, values: Mapping[str, Value], _: Moment | None) -> bool:
    return filters.profile is not None and _NOBODY.fullmatch(_text(filters.profile, values) or "") is not None


def _historical(filters: Filters, values: Mapping[str, Value], time: Moment | None) -> bool:
    if time is None or not time.has_year:
        return False
    bound = filters.before
    if filters.install:
        found = time_of(filters.install, values.get(filters.install.name))
        bound = found.micros if found and found.has_year else None
    return bound is not None and time.micros < bound


def _other_environment(filters: Filters, values: Mapping[str, Value], _: Moment | None) -> bool:
    column = filters.environment
    return column is not None and _normal_text(column, values) not in filters.environments


FILTERS: Mapping[str, Callable[[Filters, Mapping[str, Value], Moment | None], bool]] = {
    EVENT_TYPE: _other_type,
    PROFILE: _nobodys,
    HISTORICAL: _historical,
    ENVIRONMENT: _other_environment,
}
"""The reason of a drop, and whether a row is dropped for it. The first that applies is the reason."""


def filters_of(rules: RowRules, columns: Sequence[Column]) -> Filters:
    """The filters that apply to a stream with these columns."""
    by_name = {column.name: column for column in columns}
    wanted, historical = rules.filter, kind_of(rules.kind).historical
    return Filters(
        event_type=by_name.get("event_type"),
        profile=None if wanted.include_without_profile else by_name.get("profile_id"),
        install=by_name.get(INSTALL_DATE) if wanted.exclude_historical and historical == INSTALL_DATE else None,
        environment=None if wanted.environments is None else by_name.get("environment"),
        before=micros_of(wanted.historical_before)
        if wanted.exclude_historical and historical == HISTORICAL_BEFORE and wanted.historical_before
        else None,
        types={normal(name): keep for name, keep in wanted.event_types.items()},
        types_default=wanted.event_type_default,
        environments=frozenset(normal(name) for name in wanted.environments or ()),
    )


def _text(column: Column, values: Mapping[str, Value]) -> str | None:
    return cell(column.kind, values.get(column.name), column.reading)[0]


def _normal_text(column: Column, values: Mapping[str, Value]) -> str | None:
    text = _text(column, values)
    return None if text is None else normal(text)


REASONS: Mapping[str, str] = {
    "event_types": EVENT_TYPE,
    "event_type_default": EVENT_TYPE,
    "include_without_profile": PROFILE,
    "exclude_historical": HISTORICAL,
    "historical_before": HISTORICAL,
    "environments": ENVIRONMENT,
}
"""The reason of the drops that a field of `Filter` decides about."""
