"""The current privacy rules applied to stored cells: dropped, hashed and truncated as if they were new."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from consumer.domain.offsets import TopicPartition
from consumer.domain.remembered import remembering
from consumer.seal.keys import SETTINGS_PREFIX
from consumer.seal.log import get_rules
from consumer.shape.csv_rows import CellRule, RawCell, text_of
from consumer.shape.csv_text import quoted
from consumer.shape.privacy import key_of, treated
from consumer.store.port import Store
from consumer.streams.rules import Method, RowRules

REMEMBERED = 10_000
"""Cells of a column whose result is kept: many rows have the same address or profile."""


def cell_rules(
    rules: RowRules, keys: Mapping[str, bytes], names: Collection[str], columns: Sequence[str]
) -> Mapping[int, CellRule]:
    """What the rules make of the cells of rows with these columns, by place.

    A cell that is a hash under a key of `names` stays. Raises HaltError (missing_key).
    """
    methods = rules.privacy.columns
    if not methods:
        return {}
    name, key = rules.privacy.key or "", key_of(rules, keys)
    return {
        place: _rule(methods[column], name, key, names) for place, column in enumerate(columns) if column in methods
    }


def _rule(method: Method, name: str, key: bytes, names: Collection[str]) -> CellRule:
    def rule(cell: RawCell) -> RawCell:
        text = text_of(cell) if cell else None
        return quoted(treated(text, method, name, key, names)[0]).encode()

    return remembering(rule, REMEMBERED)


def key_names(store: Store, keys: Mapping[str, bytes], part: TopicPartition) -> frozenset[str]:
    """The names of keys that stored cells may be hashed with: configured ones, and those in the folder's settings."""
    return frozenset({*keys, *_stored_names(store, part)})


def _stored_names(store: Store, part: TopicPartition) -> Iterator[str]:
    for info in store.list(SETTINGS_PREFIX):
        digest = info.key.removeprefix(SETTINGS_PREFIX).removesuffix(".json")
        if (key := get_rules(store, digest, part).privacy.key) is not None:
            yield key
