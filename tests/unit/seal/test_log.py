"""The seal log in the bucket: read whole, extended once, and every kind of damage told with a way out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.seal.chain import Chain
from consumer.seal.keys import record_key, settings_key
from consumer.seal.log import SealLog, get_rules, put_rules
from consumer.streams.rules import Filter, RowRules
from tests.builders.chains import ONE, RULES, TWO, chain_of, following, put, then
from tests.builders.rough import RoughStore, failing

THREE = chain_of({}, {}, {})
_T = TypeVar("_T")


def write(store: RoughStore, chain: Chain) -> None:
    """The chain's records, as they are put."""
    for record in chain.records:
        put(store, record_key(ONE, record.n), record.document())


def rewrite(store: RoughStore, number: int, **changes: Any) -> None:
    """Somebody edits a record by hand."""
    key = record_key(ONE, number)
    raw = orjson.loads(store.content(key))
    raw.update(changes)
    store.delete(key)
    put(store, key, orjson.dumps(raw))


def halts(store: RoughStore, reason: HaltReason, said: str) -> HaltError:
    with pytest.raises(HaltError, match=said) as caught:
        SealLog(store, ONE).read()
    assert caught.value.reason is reason
    if reason is HaltReason.CHAIN_DAMAGED:
        assert "Restore the record from a backup" in caught.value.message
        assert "seal into a new folder" in caught.value.message
    return caught.value


@pytest.fixture
def store() -> RoughStore:
    made = RoughStore()
    write(made, THREE)
    return made


# Reading


def test_a_partition_without_records_has_an_empty_chain() -> None:
    store = RoughStore()
    put(store, "_seals/_settings/x.json", b"{}")
    put(store, "_seals/t/00000000.json", b"no record of partition 0")
    assert SealLog(store, ONE).read() == Chain()


def test_the_chain_is_read_whole(store: RoughStore) -> None:
    assert SealLog(store, ONE).read() == THREE
    assert SealLog(store, TWO).read() == Chain()


def test_partition_one_is_not_partition_ten(store: RoughStore) -> None:
    ten = replace(TWO, partition=10)
    for n, record in enumerate(THREE.records):
        put(store, record_key(ten, n), replace(record, partition=ten).document())
    assert SealLog(store, TWO).read() == Chain()


def test_records_known_are_not_asked_for_again(store: RoughStore) -> None:
    log = SealLog(store, ONE)
    first = log.read()
    asked: list[tuple[str, str]] = []
    store.before = lambda call, key: asked.append((call, key))
    assert log.read() is first
    assert asked == [("list", "_seals/t/0/")]
    fourth = then(first)
    put(store, record_key(ONE, 3), fourth.head.document())
    asked.clear()
    assert log.read() == fourth
    assert asked == [("list", "_seals/t/0/"), ("get", record_key(ONE, 3))]


def test_a_caller_may_have_records_fetched_side_by_side(store: RoughStore) -> None:
    together: list[int] = []

    def fetch(calls: Iterable[Callable[[], _T]]) -> list[_T]:
        found = list(calls)
        together.append(len(found))
        return [call() for call in found]

    assert SealLog(store, ONE, fetch).read() == THREE
    assert together == [3]


def test_an_outage_while_reading_forgets_nothing(store: RoughStore) -> None:
    log = SealLog(store, ONE)
    store.before = failing(TransientError("down"), call="get", key="00000002")
    with pytest.raises(TransientError):
        log.read()
    assert log.read() == THREE


# Damage


def test_a_missing_record_in_the_middle_is_named(store: RoughStore) -> None:
    store.delete(record_key(ONE, 1))
    assert "_seals/t/0/" in halts(store, HaltReason.CHAIN_DAMAGED, "lacks record 1").message


def test_a_missing_first_record_is_named(store: RoughStore) -> None:
    store.delete(record_key(ONE, 0))
    halts(store, HaltReason.CHAIN_DAMAGED, "lacks record 0")


def test_a_missing_record_is_seen_when_the_chain_grows_beyond_it(store: RoughStore) -> None:
    log = SealLog(store, ONE)
    log.read()
    put(store, record_key(ONE, 4), following(then(THREE)).document())
    with pytest.raises(HaltError, match="lacks record 3"):
        log.read()


@pytest.mark.parametrize("name", ["1.json", "00000003.json.bak", "0000000x.json", "sub/00000003.json", "notes.txt"])
def test_a_stranger_in_the_folder_is_no_record(store: RoughStore, name: str) -> None:
    put(store, f"_seals/t/0/{name}", b"?")
    halts(store, HaltReason.CHAIN_DAMAGED, f"contains _seals/t/0/{name}, which is not a record")


def test_a_record_listed_but_gone_when_asked_for(store: RoughStore) -> None:
    def vanish(call: str, key: str) -> None:
        if call == "get" and key in store.names():
            store.delete(key)

    store.before = vanish
    halts(store, HaltReason.CHAIN_DAMAGED, "lists record 0 but does not return it")


def test_an_unreadable_record(store: RoughStore) -> None:
    store.delete(record_key(ONE, 2))
    put(store, record_key(ONE, 2), b"{half a rec")
    halts(store, HaltReason.CHAIN_DAMAGED, "record 2 cannot be read")


@pytest.mark.parametrize(("changes", "said"), [({"version": 2}, "version 2"), ({"kind": "merge"}, "kind 'merge'")])
def test_a_newer_record_asks_for_the_newer_release(store: RoughStore, changes: dict[str, Any], said: str) -> None:
    rewrite(store, 2, **changes)
    halt = halts(store, HaltReason.CHAIN_NEWER, said)
    assert "_seals/t/0/00000002.json was written by a newer release" in halt.message
    assert "deploy that release again" in halt.message


@pytest.mark.parametrize("changes", [{"n": 1}, {"topic": "u"}, {"partition": 1}])
def test_a_record_of_another_place(store: RoughStore, changes: dict[str, Any]) -> None:
    rewrite(store, 2, **changes)
    halts(store, HaltReason.CHAIN_DAMAGED, "record 2 says it is record")


@pytest.mark.parametrize(
    "previous", [None, {"cutoff": "2026-03-01", "through": 200}, {"cutoff": "2026-03-02", "through": 199}]
)
def test_a_record_that_does_not_follow_its_predecessor(store: RoughStore, previous: Any) -> None:
    rewrite(store, 2, previous=previous)
    halts(store, HaltReason.CHAIN_DAMAGED, "record 2 does not follow record 1")


def test_a_first_record_with_a_predecessor(store: RoughStore) -> None:
    rewrite(store, 0, previous={"cutoff": None, "through": 0})
    halts(store, HaltReason.CHAIN_DAMAGED, "record 0 does not follow record -1")


def test_a_first_record_that_names_a_digest(store: RoughStore) -> None:
    rewrite(store, 0, previous_sha256="0" * 64)
    halts(store, HaltReason.CHAIN_DAMAGED, "record")


def test_a_record_altered_after_the_next_one_was_written(store: RoughStore) -> None:
    rewrite(store, 1, writer="somebody")
    halts(store, HaltReason.CHAIN_DAMAGED, "record 1 was altered after record 2 was written")


def test_an_altered_record_is_seen_by_one_who_knew_it_before(store: RoughStore) -> None:
    log = SealLog(store, ONE)
    chain = log.read()
    altered = chain.then(replace(chain.head, writer="somebody"), b"other")
    put(store, record_key(ONE, 3), replace(following(chain), previous_sha256=altered.digests[-1]).document())
    with pytest.raises(HaltError, match="record 2 was altered"):
        log.read()


def test_records_of_the_design_without_a_digest_are_read() -> None:
    store = RoughStore()
    plain = chain_of({}, {"previous_sha256": ""})
    write(store, plain)
    assert SealLog(store, ONE).read() == plain


# Appending


@pytest.fixture
def two() -> RoughStore:
    """Two records stand; the third is about to be written."""
    made = RoughStore()
    write(made, THREE.before(2))
    return made


THIRD = THREE.head
THEIRS = replace(THIRD, writer="another worker")


def test_a_record_written_is_ours(two: RoughStore) -> None:
    assert SealLog(two, ONE).append(THIRD)
    stored = two.get(record_key(ONE, 2))
    assert stored is not None
    assert stored.data == THIRD.document()
    assert stored.facts.metadata == {"sha256": THREE.digests[2]}
    assert SealLog(two, ONE).read() == THREE


def test_another_workers_record_is_not_ours_and_stands(two: RoughStore) -> None:
    put(two, record_key(ONE, 2), THEIRS.document())
    assert not SealLog(two, ONE).append(THIRD)
    assert two.content(record_key(ONE, 2)) == THEIRS.document()


def test_the_same_record_standing_there_is_ours(two: RoughStore) -> None:
    """It was written by a try whose answer was lost, or takes effect late."""
    put(two, record_key(ONE, 2), THIRD.document())
    assert SealLog(two, ONE).append(THIRD)


def test_a_lost_answer_with_effect_is_ours(two: RoughStore) -> None:
    two.after = failing(UnknownOutcomeError("lost"), call="put")
    assert SealLog(two, ONE).append(THIRD)


def test_a_lost_answer_without_effect_is_tried_again_by_the_caller(two: RoughStore) -> None:
    two.before = failing(UnknownOutcomeError("lost"), call="put")
    with pytest.raises(TransientError, match="had no effect") as caught:
        SealLog(two, ONE).append(THIRD)
    assert record_key(ONE, 2) in str(caught.value)
    assert SealLog(two, ONE).append(THIRD)


def test_a_lost_answer_while_another_was_first_is_theirs(two: RoughStore) -> None:
    put(two, record_key(ONE, 2), THEIRS.document())
    two.before = failing(UnknownOutcomeError("lost"), call="put")
    assert not SealLog(two, ONE).append(THIRD)


def test_an_outage_is_the_callers_matter(two: RoughStore) -> None:
    two.before = failing(TransientError("down"), call="put")
    with pytest.raises(TransientError, match="down"):
        SealLog(two, ONE).append(THIRD)
    assert two.names("_seals/t/0/") == [record_key(ONE, 0), record_key(ONE, 1)]


def test_an_outage_while_reading_back_is_the_callers_matter(two: RoughStore) -> None:
    two.after = failing(UnknownOutcomeError("lost"), call="put")
    two.before = failing(TransientError("down"), call="get")
    with pytest.raises(TransientError, match="down"):
        SealLog(two, ONE).append(THIRD)
    assert SealLog(two, ONE).append(THIRD)


# The settings that records name

FULL = replace(
    RULES,
    filter=Filter({"a": True, "b": False}, False, True, True, datetime(2024, 1, 2, tzinfo=UTC), ("production",)),
)


@pytest.mark.parametrize("rules", [RULES, FULL], ids=["plain", "full"])
def test_settings_come_back_by_their_digest(rules: RowRules) -> None:
    store = RoughStore()
    put_rules(store, rules)
    put_rules(store, rules)
    assert store.puts == [settings_key(rules.digest)]
    assert get_rules(store, rules.digest, ONE) == rules


def test_settings_put_by_two_at_once_stand_once() -> None:
    store = RoughStore()

    def faster(call: str, key: str) -> None:
        store.before = lambda call, key: None
        put_rules(store, RULES)

    store.before = lambda call, key: faster(call, key) if call == "put" else None
    put_rules(store, RULES)
    assert store.puts == [settings_key(RULES.digest)]


def rules_halt(store: RoughStore, reason: HaltReason, said: str, digest: str = RULES.digest) -> None:
    with pytest.raises(HaltError, match=said) as caught:
        get_rules(store, digest, ONE)
    assert caught.value.reason is reason
    assert settings_key(digest) in caught.value.message


def test_missing_settings_halt() -> None:
    rules_halt(RoughStore(), HaltReason.CHAIN_DAMAGED, "which are missing")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"version":1}', b'{"version":"x"}', b'{"version":1,"filter":5}', b"7"]
)
def test_unreadable_settings_halt(text: bytes) -> None:
    store = RoughStore()
    put(store, settings_key(RULES.digest), text)
    rules_halt(store, HaltReason.CHAIN_DAMAGED, "which cannot be read")


def test_altered_settings_halt() -> None:
    store = RoughStore()
    put(store, settings_key(RULES.digest), replace(RULES, time_field="b").document())
    rules_halt(store, HaltReason.CHAIN_DAMAGED, "which were altered")


def test_settings_with_one_more_field_are_not_taken_for_known() -> None:
    store = RoughStore()
    raw = orjson.loads(RULES.document())
    put(store, settings_key(RULES.digest), orjson.dumps({**raw, "sampling": 0.5}))
    rules_halt(store, HaltReason.CHAIN_DAMAGED, "cannot be read")


def test_newer_settings_ask_for_the_newer_release() -> None:
    store = RoughStore()
    raw = orjson.loads(RULES.document())
    put(store, settings_key(RULES.digest), orjson.dumps({**raw, "version": RULES.version + 1, "sampling": 0.5}))
    rules_halt(store, HaltReason.CHAIN_NEWER, "deploy that release again")


def test_damaged_settings_say_who_needs_them() -> None:
    with pytest.raises(HaltError, match=r"seal log _seals/t/0/ names the settings"):
        get_rules(RoughStore(), "0123", ONE)
