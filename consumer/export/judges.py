"""The row rules of an export: columns of old settings, transformers of open days, rules for cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.domain.batches import RowTransformer
from consumer.domain.offsets import TopicPartition
from consumer.export.open_days import OpenDays
from consumer.export.privacy_cells import cell_rules, key_names
from consumer.export.survey import OpenPartition
from consumer.seal.inspection import Outside
from consumer.seal.log import get_rules
from consumer.shape.csv_rows import CellRule
from consumer.source.port import RangeReader
from consumer.streams.columns import column_names
from consumer.streams.rules import RowRules


@dataclass(slots=True)
class RuleJudges:
    """The rules of one stream. `make_transformer` and `reader` are only called for days that are not sealed."""

    outside: Outside
    make_transformer: Callable[[RowRules], RowTransformer]
    reader: Callable[[], RangeReader]
    _rules: dict[str, RowRules] = field(default_factory=dict)
    _names: frozenset[str] | None = None

    @property
    def today(self) -> tuple[str, ...]:
        """The columns of today's rules."""
        return column_names(self.outside.stream.rules)

    def columns(self, digest: str, part: OpenPartition) -> Sequence[str]:
        """The columns of objects sealed under these settings."""
        return column_names(self._rules_of(digest, part))

    def cell_rules(self, columns: Sequence[str]) -> Mapping[int, CellRule]:
        """What today's privacy rules make of the cells of stored objects with these columns, by place."""
        rules, store = self.outside.stream.rules, self.outside.store
        if not rules.privacy.columns:
            return {}
        keys = self.outside.settings.privacy.key_bytes()
        if self._names is None:
            part = TopicPartition(rules.topic, 0)
            self._names = self.outside.ask(lambda: key_names(store, keys, part))
        return cell_rules(rules, keys, self._names, columns)

    def open_days(self, columns: tuple[str, ...], read: Callable[[int], None]) -> OpenDays:
        """What reads days that are not sealed."""
        return OpenDays(
            reader=self.reader(),
            ask=self.outside.ask,
            rules=self.outside.stream.rules,
            columns=columns,
            transformer=lambda digest, part: self.make_transformer(self._rules_of(digest, part)),
            cell_rules=self.cell_rules(columns),
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
