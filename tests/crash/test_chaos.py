"""A tiny chaos campaign, and the proof that its judges would see a row that is lost or doubled."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.audit import overwritten, tally
from tests.chaos.campaign import Campaign
from tests.chaos.ground import Ground, ground
from tests.chaos.plan import plan
from tests.chaos.report import details, table
from tests.conftest import _or_missing
from tests.harness.bucket import Object
from tests.harness.oracle import ONE_DAY, today
from tests.harness.world import World

PLAN = plan(seed=7, kills=4, faults=3, workers=2)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        yield _or_missing(lambda: stack.enter_context(ground(tmp_path / "servers", PLAN.slots)))


def test_a_tiny_campaign_and_what_its_judges_see(servers: Ground, tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign(PLAN, servers, tmp_path / "worlds", said.append)
    figures = campaign.run(after=judges_see)
    assert figures.counts["kills"] == 4
    assert figures.faults.total() == 3
    assert figures.counts["rows"] > 100
    assert figures.counts["judgements"] == 3
    lines = [*table(PLAN, figures), *details(figures)]
    assert "| **rows lost** | **0** |" in lines
    assert f"| seed | {PLAN.seed} |" in lines


def judges_see(world: World) -> None:
    """Spoil the bucket in each way, and put it back."""
    sealed = today() - ONE_DAY
    clean = tally(world, sealed)
    assert clean.rows > 0
    assert (clean.lost, clean.doubled, clean.strange) == (0, 0, 0)
    assert overwritten(world.folder) == []
    key, row, other = some_rows(world)
    stored = world.folder.read(key)

    def written(change: Callable[[bytes], bytes]) -> tuple[int, int, int]:
        world.folder.put(key, change(stored.content), stored.metadata)
        with pytest.raises(AssertionError, match=key):
            world.judge(sealed)
        found = tally(world, sealed)
        return found.lost, found.doubled, found.strange

    assert written(lambda body: body.replace(row, b"")) == (1, 0, 0)
    assert written(lambda body: body.replace(row, row + row)) == (0, 1, 0)
    assert written(lambda body: body.replace(row, other)) == (1, 1, 0)
    world.folder.put(key, stored.body, stored.metadata)
    world.judge(sealed)
    assert overwritten(world.folder) == [f"{world.folder.prefix}/{key}"]
    check_whole_objects(world, key, stored)


def check_whole_objects(world: World, key: str, stored: Object) -> None:
    """One too many, and one too few."""
    sealed = today() - ONE_DAY
    world.folder.put(key.replace(".csv", "0.csv"), stored.body, stored.metadata)
    with pytest.raises(AssertionError, match="no seal says so"):
        world.judge(sealed)
    assert tally(world, sealed).doubled == int(stored.metadata["rows"])
    world.folder.delete(key.replace(".csv", "0.csv"))
    world.folder.delete(key)
    with pytest.raises(AssertionError, match="is missing"):
        world.judge(sealed)
    assert tally(world, sealed).lost == int(stored.metadata["rows"])


def some_rows(world: World) -> tuple[str, bytes, bytes]:
    """The key of an object that is not compressed, and two of its lines."""
    stream = world.streams["events"]
    keys = [key for key in world.folder.keys("events/dt=") if key.endswith(".csv")]
    found = max(world.folder.read_all(keys).values(), key=lambda each: int(each.metadata["rows"]))
    log = world.ledger.in_order(stream.topic, int(found.metadata["partition"]))
    lines = [sent.made.line for sent in log if sent.made.line and sent.made.line in found.content]
    return found.key, lines[0], lines[1]
