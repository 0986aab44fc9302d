"""What row rules come to for an export: the columns of old settings, the judges of open days, the rules for cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.domain.batches import RowTransformer
from consumer.export.csv_rows import CellRule
from consumer.export.open_days import OpenDays
from consumer.export.survey import OpenPartition
from consumer.seal.inspection import Outside
from consumer.seal.log import get_rules
from consumer.source.port import RangeReader
from consumer.streams.columns import column_names
from consumer.streams.rules import RowRules


@dataclass(slots=True)
class RuleJudges:
    """One stream's. `make_transformer` and `reader` are asked only for days that are not sealed."""

    outside: Outside
    make_transformer: Callable[[RowRules], RowTransformer]
    reader: Callable[[], RangeReader]
    _rules: dict[str, RowRules] = field(default_factory=dict)

    @property
    def today(self) -> tuple[str, ...]:
        """The columns of today's rules."""
        return column_names(self.outside.stream.rules)

    def columns(self, digest: str, part: OpenPartition) -> Sequence[str]:
        """The columns of objects sealed under these settings."""
        return column_names(self._rules_of(digest, part))

    def cell_rules(self, columns: Sequence[str]) -> Mapping[int, CellRule]:  # noqa: ARG002 - no rule for cells yet
        """What today's rules make of the cells of stored objects with these columns, by place."""
        return {}

    def open_days(self, columns: tuple[str, ...], read: Callable[[int], None]) -> OpenDays:
        """What reads days that are not sealed."""
        return OpenDays(
            reader=self.reader(),
            ask=self.outside.ask,
            rules=self.outside.stream.rules,
            columns=columns,
            transformer=lambda digest, part: self.make_transformer(self._rules_of(digest, part)),
            read=read,
        )

    def _rules_of(self, digest: str, part: OpenPartition) -> RowRules:
        today = self.outside.stream.rules
        if digest == today.digest:
            return today
        if digest not in self._rules:
            store = self.outside.store
            self._rules[digest] = self.outside.ask(lambda: get_rules(store, digest, part.partition))
        return self._rules[digest]
