"""One decoded record by the rules, exact: the oracle of the native engine, and for the records that it leaves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumer.decode.values import Decoded, Value
from consumer.shape.csv_text import line
from consumer.shape.exact.cells import NUL, cell, time_of
from consumer.shape.filters import Filters, normal
from consumer.shape.privacy import key_of, treated
from consumer.shape.row_day import day_by_event, day_by_record
from consumer.shape.timestamps import Moment
from consumer.streams.columns import Column, ColumnKind
from consumer.streams.kinds import CUSTOM, kind_of
from consumer.streams.rules import DayBy, LineBreaks, RowRules

MENDED = "mended_text"
UNLISTED = "unlisted_event_type"
NO_INSTALL = "no_install_date"
ODDITIES: Mapping[str, str] = {
    "misfit": "value that does not fit its column, written as the original text",
    "not_finite": "NaN or infinity, written as an empty cell",
    "instant_out_of_range": "instant or date outside the years 1 to 9999, written as an empty cell",
    "nul": "text with NUL characters, which were removed",
    "mended_text": "text with invalid UTF-8 or lone surrogates, which were replaced by U+FFFD",
    "no_offset": "ISO time without an offset, read as UTC",
    "leap_second": "second 60, written as the last microsecond of its minute",
    "unlisted_event_type": "event type that Adapty does not publish",
    "line_break": 'text with line breaks, replaced by spaces (`line_breaks = "space"`)',
    "invalid_ip": "value of a `truncate_ip` column that is not an IP address, written as an empty cell",
    "no_install_date": "row without install date, kept although historical rows are excluded",
}
"""What is counted about values that are written all the same, in words."""
LINE_BREAK = "line_break"
_BREAKS = re.compile("\r\n|\r|\n")
_SAID_BY_CELL = frozenset({ColumnKind.INSTANT, ColumnKind.DATE})


@dataclass(frozen=True, slots=True)
class Row:
    """A kept record. `oddities` are those not reported by one of its cells."""

    day: int
    decoded: Decoded
    oddities: tuple[str, ...] = ()


class ExactRules:
    """The rules of one stream, applied to one record at a time."""

    def __init__(
        self, rules: RowRules, columns: Sequence[Column], filters: Filters, keys: Mapping[str, bytes] | None = None
    ) -> None:
        """`keys` are those of [privacy.keys]. Raises HaltError (missing_key) if they lack what the rules need."""
        self._by_record, self._oldest = rules.day_by is DayBy.RECORD, rules.oldest_day
        self._columns = {column.name: column for column in columns}
        self._time = self._columns[rules.time_field]
        self._filters = filters
        self.normal_types = rules.kind != CUSTOM
        self.listed = kind_of(rules.kind).event_types
        """The published event types; empty if there is no list."""
        self._names = rules.event_names
        self._spaces = rules.line_breaks is LineBreaks.SPACE
        self._methods = rules.privacy.columns
        self._key_name, self._key = rules.privacy.key or "", key_of(rules, keys or {})

    def verdict(self, decoded: Decoded, timestamp: int) -> Row | str:
        """The row that the record becomes, or the reason why it is filtered. Raises BadRecordError."""
        values = decoded.values
        time = time_of(self._time, values.get(self._time.name))
        day = day_by_record(timestamp) if self._by_record else day_by_event(time, timestamp, self._oldest)
        return self._filters.drop(values, time) or Row(day, decoded, self._oddities(values, time))

    def line(self, row: Row, names: Sequence[str]) -> tuple[bytes, Counter[str]]:
        """The row's text with these columns (unknown ones are empty), and its oddities."""
        oddities = Counter(row.oddities)
        if row.decoded.mended:
            oddities[MENDED] += row.decoded.mended
        cells = [self._cell(name, row.decoded.values.get(name), oddities) for name in names]
        return line(cells), oddities

    def _cell(self, name: str, value: Value, oddities: Counter[str]) -> str | None:
        column = self._columns.get(name)
        if column is None or value is None:
            return None
        text, odd = cell(column.kind, value, column.reading)
        if odd is not None:
            oddities[odd] += 1
        if text is not None and "\0" in text:
            oddities[NUL] += 1
            text = text.replace("\0", "")
        return None if text is None else self._finished(name, text, oddities)

    def _finished(self, name: str, text: str, oddities: Counter[str]) -> str | None:
        """The cell after all that filters do not see: names of event types, line breaks, privacy, in this order."""
        if self._filters.event_type is not None and name == self._filters.event_type.name:
            kind = normal(text)
            text = self._names.get(kind, kind if self.normal_types else text)
        if self._spaces and _BREAKS.search(text):
            oddities[LINE_BREAK] += 1
            text = _BREAKS.sub(" ", text)
        if (method := self._methods.get(name)) is None:
            return text
        cell, odd = treated(text, method, self._key_name, self._key, (self._key_name,))
        if odd is not None:
            oddities[odd] += 1
        return cell

    def _oddities(self, values: Mapping[str, Value], time: Moment | None) -> tuple[str, ...]:
        found = []
        if time is not None and time.oddity is not None and self._time.kind not in _SAID_BY_CELL:
            found.append(time.oddity)
        event_type = self._filters.event_type
        if self.listed and event_type is not None:
            text = cell(event_type.kind, values.get(event_type.name), event_type.reading)[0]
            if text is not None and normal(text) not in self.listed:
                found.append(UNLISTED)
        if (install := self._filters.install) is not None:
            moment = time_of(install, values.get(install.name))
            if moment is None or not moment.has_year:
                found.append(NO_INSTALL)
        return tuple(found)
