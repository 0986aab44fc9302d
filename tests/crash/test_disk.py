"""The spool's disk is small, full or read-only: reading waits, polling goes on, spills make room, all by itself."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from tests.harness.oracle import today
from tests.harness.small_disk import small_disk
from tests.harness.world import Stream, World

ONE_DAY = timedelta(days=1)
HISTORY = [today() - n * ONE_DAY for n in range(40, -1, -1)]
YESTERDAY = today() - ONE_DAY
MIB = 1 << 20


@pytest.fixture
def mount_spool(world: World) -> Iterator[Callable[[int], Path]]:
    """Mount a disk of so many bytes where the worker's spool will be."""
    with ExitStack() as stack:

        def mount(size: int) -> Path:
            place = world.spool()
            place.mkdir()
            if not stack.enter_context(small_disk(place, size)):
                pytest.skip("mounting a small disk needs root")
            return place

        yield mount
        world.close()


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def fill_disk(place: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(4096)):
                pass
        except OSError:
            pass
    return ballast


def history(world: World, count: int, compression: str = "none", *, fat: int = 0) -> Stream:
    """Forty days in one topic, mostly in order."""
    stream = world.add("events", partitions=2, compression=compression)
    days = [HISTORY[n * len(HISTORY) // count] for n in range(count)]
    made = [stream.maker.row(day, fat=fat) if fat else stream.maker.mixed(day) for day in days]
    late = [stream.maker.mixed(day) for day in HISTORY[:20]]
    world.ledger.send_all((stream.topic, n % 2, each) for n, each in enumerate([*made, *late]))
    return stream


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_history_much_larger_than_the_spool(world: World, compression: str) -> None:
    """It passes through in spills; days are complete all the same."""
    stream = history(world, 400, compression, fat=100_000)
    world.once(over={"spool": {"max_bytes": "2MiB"}}).done(seconds=240)
    world.judge(YESTERDAY)
    chains = [world.folder.records(stream.topic, partition) for partition in range(2)]
    assert all(chain[-1]["caught_up"] for chain in chains)
    assert not all(record["caught_up"] for chain in chains for record in chain)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_disk_smaller_than_the_history(world: World, mount_spool: Callable[[int], Path], compression: str) -> None:
    """No limit in the settings that would help: the disk itself says no."""
    history(world, 8000, compression)
    mount_spool(2 * MIB)
    sink = world.once(over={"spool": {"min_free_bytes": 0}}).done(seconds=240)
    assert sink.said("reading_held")
    world.judge(YESTERDAY)


def test_a_disk_that_is_full_until_someone_makes_room(world: World, mount_spool: Callable[[int], Path]) -> None:
    """Full from the first row on: it waits without a crash, is alive, and goes on when there is room."""
    history(world, 2000)
    place = mount_spool(8 * MIB)
    sink = world.waiting()
    sink.until_said("day_published")
    ballast = fill_disk(place)
    stream = world.streams["events"]
    world.fill(stream, HISTORY[-3:], 4000)
    sink.until(lambda: sink.said("paused") or sink.said("reading_held") or sink.said("outage"), 60, "it says so")
    assert sink.page("/livez")[0] == 200
    ballast.unlink()
    world.await_read(sink)
    sink.terminate()
    sink.done()
    world.once().done()
    world.judge()


def test_a_kill_on_a_full_disk(world: World, mount_spool: Callable[[int], Path]) -> None:
    """The next start finds no room for a checkpoint either, and does not crash in a loop."""
    history(world, 2000)
    place = mount_spool(8 * MIB)
    sink = world.waiting()
    sink.until_said("day_published")
    ballast = fill_disk(place)
    world.fill(world.streams["events"], HISTORY[-3:], 4000)
    sink.until(lambda: sink.said("reading_held") or sink.said("outage"), 60, "it says so")
    sink.kill()
    again = world.start("run", over={"spool": {"min_free_bytes": 0}})
    again.until(lambda: again.said("reading_held") or again.said("outage"), 60, "it says so")
    assert again.page("/livez")[0] == 200
    ballast.unlink()
    again.until_said("day_published", day=str(YESTERDAY), seconds=120)
    again.terminate()
    again.done()
    world.judge()


SLOW = """\
import os, time

def slowed(call, seconds):
    def slow(*args, **kwargs):
        time.sleep(seconds)
        return call(*args, **kwargs)
    return slow

os.fsync, os.fdatasync, os.write = slowed(os.fsync, 1.5), slowed(os.fdatasync, 1.5), slowed(os.write, 0.2)
"""
"""Python runs this before the program: each write to the disk, and each wait for it, takes its time."""


def test_a_slow_disk(world: World, tmp_path: Path) -> None:
    """Four days' files on two partitions, so that one checkpoint takes longer than the session: it stays a member."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    stream = world.add("events", partitions=2)
    world.fill(stream, HISTORY[-4:], 400)
    sink = world.start("run", env={"PYTHONPATH": str(tmp_path)})
    sink.until_said("day_published", day=str(YESTERDAY), seconds=240)
    assert sink.page("/livez")[0] == 200
    world.await_read(sink)
    assert len(sink.said("rebalanced")) == 1, "it never lost its partitions"
    sink.terminate()
    sink.done()
    world.judge(YESTERDAY)


def test_a_spool_that_is_read_only_from_the_start(world: World, mount_spool: Callable[[int], Path]) -> None:
    world.add("events")
    remount(mount_spool(MIB), "ro")
    sink = world.start("run").done(2, 30)
    assert "spool.directory" in sink.tail()
