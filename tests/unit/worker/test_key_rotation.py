"""Keys of privacy rules change while a seal is pending: each row is hashed by the key that its settings name."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from consumer.commands.wiring import transformer_factory
from consumer.domain.errors import HaltReason, TransientError
from consumer.shape.privacy import hashed
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Format, Method, Privacy, RowRules
from tests.builders.bench import Member, World
from tests.simulation import rows

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def world() -> World:
    return World()


def rules(name: str, key: bytes) -> RowRules:
    privacy = Privacy({"id": Method.HASH}, name, fingerprint(key))
    return RowRules("s", "custom", "t", Format.JSON, rows.rules("t").schema, "at", privacy=privacy)


def member_of(world: World, today: RowRules, keys: Mapping[str, bytes]) -> Member:
    member = Member(world, rules=today)
    for context in member.contexts.values():
        context.make_transformer = transformer_factory(None, keys)
    return member


def ids(world: World) -> set[str]:
    """What stands in the first column of all objects."""
    return {line.split(",")[0] for lines in world.objects().values() for line in lines}


def pending(world: World) -> None:
    """A seal by the old key whose objects were never uploaded, and a row that no seal covers."""

    def refuse(call: str, key: str) -> None:
        if call == "put" and ".csv" in key:
            raise TransientError("no uploads today")

    world.write(0, "first")
    world.due(0)
    world.store.before = refuse
    member = member_of(world, rules("k1", OLD), {"k1": OLD}).start()
    member.until(lambda: len(world.chain().records) == 1)
    member.crash()
    world.store.before = lambda call, key: None
    world.write(1, "second")
    assert ids(world) == set()


def test_a_pending_seal_is_finished_by_the_key_of_its_settings(world: World) -> None:
    pending(world)
    world.due(1)
    member = member_of(world, rules("k2", NEW), {"k1": OLD, "k2": NEW}).start()
    member.until(lambda: len(ids(world)) == 2)
    assert ids(world) == {hashed("first", "k1", OLD), hashed("second", "k2", NEW)}


@pytest.mark.parametrize("keys", [{"k2": NEW}, {"k1": NEW[::-1] + b"x", "k2": NEW}])
def test_without_the_old_key_the_partition_halts_and_goes_on_with_it(world: World, keys: dict[str, bytes]) -> None:
    pending(world)
    member = member_of(world, rules("k2", NEW), keys).start()
    member.until(lambda: member.halts() == [HaltReason.MISSING_KEY])
    assert ids(world) == set()
    member.crash()
    again = member_of(world, rules("k2", NEW), {"k1": OLD, "k2": NEW}).start()
    again.until(lambda: hashed("first", "k1", OLD) in ids(world))
