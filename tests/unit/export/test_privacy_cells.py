"""Privacy on stored cells: as if their rows were made today, and never twice."""

from __future__ import annotations

from consumer.domain.offsets import TopicPartition
from consumer.export.privacy_cells import cell_rules, key_names
from consumer.seal.log import put_rules
from consumer.shape.privacy import hashed
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Format, Method, Privacy
from tests.builders.transforming import rules_of
from tests.fakes.store import MemoryStore

OLD, NEW = b"o" * 32, b"n" * 32
COLUMNS = ("idfa", "device", "ip_address", "profile_id")
RULES = rules_of(
    "events",
    Format.JSON,
    privacy=Privacy(
        {"idfa": Method.DROP, "device": Method.HASH, "ip_address": Method.TRUNCATE_IP}, "k2", fingerprint(NEW)
    ),
)


def test_cells_are_treated_as_they_are_written() -> None:
    rules = cell_rules(RULES, {"k2": NEW}, {"k1", "k2"}, COLUMNS)
    assert sorted(rules) == [0, 1, 2]
    assert rules[0](b"x") == b""
    assert rules[1](b'"a ""b"", c"') == hashed('a "b", c', "k2", NEW).encode()
    assert rules[1](b"") == b""
    assert rules[1](b'""') == b'""'
    assert rules[2](b"10.1.2.3") == b"10.1.2.0"
    assert rules[2](b"nowhere") == b""


def test_a_cell_that_is_hashed_by_any_key_of_the_folder_stays() -> None:
    old = rules_of("events", Format.JSON, privacy=Privacy({"device": Method.HASH}, "k1", fingerprint(OLD)))
    store = MemoryStore()
    put_rules(store, old)
    put_rules(store, rules_of("paywall_views"))
    names = key_names(store, {"k2": NEW}, TopicPartition("topic", 0))
    assert names == {"k1", "k2"}
    cell = hashed("a", "k1", OLD).encode()
    assert cell_rules(RULES, {"k2": NEW}, names, COLUMNS)[1](cell) == cell


def test_without_rules_no_cell_is_looked_at() -> None:
    assert cell_rules(rules_of("events"), {}, (), COLUMNS) == {}
