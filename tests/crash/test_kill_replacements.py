"""Kill -9 of a replacement at any of its requests to the bucket: run again, it ends as one that nobody disturbed."""

import csv
import io
import json
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.harness.bucket import Folder
from tests.harness.gate import Asked, Gate, Where, anything, nth
from tests.harness.oracle import today
from tests.harness.sink import Sink, await_true
from tests.harness.world import World

KILLS = int(os.environ.get("REPLACE_KILLS", "4"))
"""How many moments are tried, of all commands together; all differ. A campaign: `REPLACE_KILLS=100`."""
SEED = int(os.environ.get("REPLACE_SEED", "1"))
"""Decides which moments these are."""
DAYS = [today() - n * timedelta(days=1) for n in (4, 3)]
REFUSED = 3
WIDER: Mapping[str, Any] = {
    "event_types": {"default": True, "subscription_paused": True},
    "filter": {"exclude_historical": False, "include_without_profile": True},
}
PRIVATE: Mapping[str, Any] = {
    "privacy": {"keys": {"k1": "6b" * 32}},
    "streams": {"events": {"privacy": {"key": "k1", "columns": {"ip_address": "truncate_ip", "profile_id": "hash"}}}},
}
CLOCKS = {"replaced_at", "written_at", "updated_at"}
DIGESTS = {"sha256", "previous_sha256"}
"""Of documents that hold a time, or the digest of one that does; those of objects are compared as metadata."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the row in which a folder is corrected."""

    arguments: tuple[str, ...]
    over: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For messages."""
        return " ".join(self.arguments[:2])


@dataclass(frozen=True, slots=True)
class Moment:
    """A command dies at its n-th request. `late`: the request reaches the store when the next run asks the same."""

    step: int
    n: int
    where: Where | Literal["late"]


def steps(world: World, persons: list[str]) -> list[Step]:
    """Each on the folder that the one before left. The first two have a batch for each day."""
    values = world.home / "persons.txt"
    values.write_text("\n".join(persons))
    wide = {"streams": {"events": WIDER}, "spool": {"max_bytes": "1KiB"}}
    days = ("--from", str(DAYS[0]), "--to", str(today()))
    return [
        Step(("replay", *days, "--yes"), wide),
        Step(("replay", "--undo", "0", "--stream", "events", "--yes"), wide),
        Step(("rewrite", *days, "--yes"), PRIVATE),
        Step(("erase", "--column", "profile_id", "--values", str(values), "--yes"), PRIVATE),
    ]


def some_persons(world: World) -> list[str]:
    """Three whose rows stand in the bucket."""
    found: set[str] = set()
    for stored in world.folder.read_all(key for key in world.folder.keys("events/dt=") if ".csv" in key).values():
        found.update(row["profile_id"] for row in csv.DictReader(io.StringIO(stored.content.decode())))
    return sorted(found - {""})[:3]


def copied(folder: Folder, prefix: str) -> Folder:
    """The same objects, metadata included, in another folder of the bucket."""
    other = replace(folder, prefix=prefix)
    for key in folder.keys():
        source = f"{folder.bucket}/{folder.prefix}/{key}"
        folder.client.copy_object(Bucket=folder.bucket, Key=f"{prefix}/{key}", CopySource=source)
    return other


def state(folder: Folder) -> dict[str, Any]:
    """All that stands there, but clocks and what depends on them."""
    found = folder.read_all(key for key in folder.keys() if not key.startswith("_checks/"))
    return {
        key: timeless(json.loads(one.body)) if key.endswith(".json") else (one.body, dict(one.metadata))
        for key, one in found.items()
    }


def timeless(document: Any) -> Any:
    """Without its clocks, its own digest and that of the document before, and what other objects its plan counted.

    That is another plan where the one before died between two batches of days.
    """
    return {key: _untimed(item) for key, item in document.items() if key not in {*CLOCKS, *DIGESTS, "unchanged"}}


def _untimed(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _untimed(each) for key, each in item.items() if key not in CLOCKS}
    return [_untimed(each) for each in item] if isinstance(item, list) else item


def chosen(requests: list[list[str]]) -> Iterator[Moment]:
    """So many moments of the undisturbed runs, each command's share spread by chance over all of its requests."""
    rng = random.Random(SEED)
    for step, methods in enumerate(requests):
        possible = [
            Moment(step, n, where)
            for n, method in enumerate(methods, 1)
            for where in (("before", "after", "late") if method == "PUT" else ("before",))
        ]
        share = len(range(step, KILLS, len(requests)))
        yield from rng.sample(possible, min(share, len(possible)))


def start(world: World, step: Step) -> Sink:
    return world.start(*step.arguments, over=step.over)


def killed(world: World, store_gate: Gate, step: Step, moment: Moment) -> None:
    """Run a step, kill it at the moment, run it again to its end."""
    stop = store_gate.stop(nth(anything, moment.n), "after" if moment.where == "after" else "before")
    first = start(world, step)
    await_true(lambda: stop.reached.is_set() or first.code is not None, 60, f"request {moment.n} of {step.name}")
    assert stop.reached.is_set(), f"{step.name} ended before its request {moment.n}: {first.tail()}"
    first.kill()
    if moment.where != "late":
        stop.drop()
        start(world, step).done()
        return
    # the request of the dead process comes when the next one is about to ask the same
    mine = store_gate.stop(same(stop.path))
    second = start(world, step)
    await_true(lambda: mine.reached.is_set() or second.code is not None, 60, f"{stop.path} once more")
    stop.forward()
    assert stop.done.wait(60)
    mine.forward()
    if second.wait() == REFUSED:  # a record came that its plan had not seen, as if another process had written it
        start(world, step).done()
    else:
        second.done()


def same(wanted: str) -> Asked:
    return lambda method, path: method == "PUT" and path == wanted


@pytest.mark.timeout(3600 if KILLS > 10 else 300)
def test_a_replacement_that_is_killed_ends_like_one_that_is_not(world: World, store_gate: Gate) -> None:
    stream = world.add("events", partitions=2)
    world.fill(stream, DAYS, 160)
    world.once().done()
    row = steps(world, some_persons(world))
    base, ends, requests = world.prefix, [state(world.folder)], []
    befores = [copied(world.folder, f"{base}-0")]
    for number, step in enumerate(row, 1):
        seen = len(store_gate.seen)
        start(world, step).done()
        requests.append([method for method, _, _ in store_gate.seen[seen:]])
        ends.append(state(world.folder))
        assert ends[-1] != ends[-2]
        befores.append(copied(world.folder, f"{base}-{number}"))
    for moment in chosen(requests):
        world.prefix = copied(befores[moment.step], f"{base}-killed-{moment.step}-{moment.n}-{moment.where}").prefix
        world.prove()
        killed(world, store_gate, row[moment.step], moment)
        assert state(world.folder) == ends[moment.step + 1], f"{row[moment.step].name}, {moment}"
        assert not list(world.spool().glob("replacement-*")), moment
        print(moment)  # noqa: T201 - a campaign is watched
