"""What the partitions of a stream share: the topic's facts, settings from the bucket once, where a stream begins."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.domain.batches import RowTransformer
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.seal.log import put_rules
from consumer.store.port import Store
from consumer.streams.rules import RowRules
from tests.builders.bench import Member, World
from tests.builders.chains import ONE, at, ends
from tests.builders.rough import RoughStore, failing
from tests.simulation import rows


@pytest.fixture
def world() -> World:
    return World()


def test_a_missing_topic_halts(world: World) -> None:
    context = Member(world, rules=rows.rules("none")).contexts["s"]
    with pytest.raises(HaltError, match=r"topic none does not exist: create it, or fix streams\.s\.topic") as caught:
        context.ask_topic()
    assert caught.value.reason is HaltReason.MISSING_TOPIC


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete, compact"])
def test_a_compacted_topic_halts(world: World, policy: str) -> None:
    world.cluster.create_topic("c", settings={"cleanup.policy": policy})
    context = Member(world, rules=rows.rules("c")).contexts["s"]
    with pytest.raises(HaltError, match=r"Set cleanup\.policy=delete") as caught:
        context.ask_topic()
    assert caught.value.reason is HaltReason.COMPACTED_TOPIC


def test_a_topic_that_is_deleted_from_by_age_will_do(world: World) -> None:
    assert Member(world).contexts["s"].ask_topic().topic_id == "topic-0001"


def test_settings_are_read_from_the_bucket_once(world: World) -> None:
    context = Member(world).contexts["s"]
    old = rows.rules("t", keep=("a",))
    put_rules(world.store, old)
    assert context.ask_rules(old.digest, ONE) == old
    world.store.delete(*world.store.names())
    assert context.ask_rules(old.digest, ONE) == old
    assert context.ask_rules(context.today, ONE) == context.config.rules, "today's need no bucket"
    transformer = context.ask_transformer(old.digest, ONE)
    assert context.ask_transformer(old.digest, ONE) is transformer


def test_settings_that_are_missing_halt(world: World) -> None:
    with pytest.raises(HaltError) as caught:
        Member(world).contexts["s"].ask_transformer("0123", ONE)
    assert caught.value.reason is HaltReason.CHAIN_DAMAGED


def test_settings_of_old_that_nobody_can_judge_by_any_more_halt(world: World) -> None:
    """As where a stream was read by a registry, and the settings name none any more."""
    member = Member(world)
    context = member.contexts["s"]
    old = rows.rules("t", keep=("a",))
    put_rules(world.store, old)

    def refuse(_: RowRules) -> RowTransformer:
        raise ValueError("format avro-registry needs a schema registry")

    context.make_transformer = refuse
    with pytest.raises(HaltError, match="cannot be used now: format avro-registry needs a schema registry") as caught:
        context.ask_transformer(old.digest, ONE)
    assert caught.value.reason is HaltReason.SETTINGS_CONFLICT


def test_where_a_stream_begins(world: World) -> None:
    log = ends(low=3, lso=40, high=50)
    assert Member(world, begin="earliest").contexts["s"].ask_begin(ONE, log) == 3
    assert Member(world, begin="latest").contexts["s"].ask_begin(ONE, log) == 40


def test_a_stream_that_begins_at_an_instant(world: World) -> None:
    for stamp in (1000, 2000, 3000):
        world.write(0, timestamp=stamp)
    for seconds, offset in ((0.0, 0), (2.0, 1), (2.5, 2), (4.0, 3)):
        context = Member(world, begin=datetime.fromtimestamp(seconds, UTC)).contexts["s"]
        assert context.ask_begin(ONE, context.ask_ends(ONE)) == offset


def test_a_beginning_that_is_none_is_a_mistake_of_ours(world: World) -> None:
    with pytest.raises(ValueError, match="start 'soon'"):
        Member(world, begin="soon").contexts["s"].ask_begin(ONE, ends())


def test_a_store_is_proved_once_and_again_after_a_failure() -> None:
    asked: list[Store] = []
    trouble: list[Exception] = [TransientError("down"), HaltError(HaltReason.UNSAFE_STORE, "races")]

    def prove(store: Store) -> None:
        asked.append(store)
        if trouble:
            raise trouble.pop(0)

    world = World(store=RoughStore())
    context = Member(world).contexts["s"]
    context.prove = prove
    for expected in (TransientError, HaltError):
        with pytest.raises(expected):
            context.ask_safe()
    for _ in range(3):
        context.ask_safe()
    assert asked == [world.store] * 3


def test_a_fresh_look_at_objects_forgets_the_last(world: World) -> None:
    context = Member(world).contexts["s"]
    assert context.object_checker() is not context.object_checker()
    world.store.before = failing(TransientError("down"), call="list")
    with pytest.raises(TransientError):
        context.log(ONE).read()
    assert context.log(ONE).read().empty
    assert at(0) > world.clock.now()
