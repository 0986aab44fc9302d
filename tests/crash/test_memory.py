"""A large backlog and messages of 5 MiB within 512 MiB, and SIGTERM in the midst of reading it."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tests.harness.oracle import today
from tests.harness.sink import Sink, await_true
from tests.harness.world import World

ONE_DAY = timedelta(days=1)
DAYS = [today() - n * ONE_DAY for n in (3, 2, 1)]
LIMIT = 512 << 20
MESSAGE = 5 << 20
SMALL, COPIES, LARGE = 250, 160, 16
GROUPS = Path("/sys/fs/cgroup/memory")
SECONDS = 10


@pytest.fixture
def limited() -> Iterator[Callable[[Sink], bool]]:
    """Put a process under a limit of memory of its own; False where this machine does not let us."""
    made: list[Path] = []

    def limit(sink: Sink) -> bool:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory"), None)
        if own is None:
            return False
        group = GROUPS / own.lstrip("/") / f"sink-test-{uuid4().hex[:8]}"
        try:
            group.mkdir()
            made.append(group)
            (group / "memory.limit_in_bytes").write_text(str(LIMIT))
            (group / "cgroup.procs").write_text(str(sink.pid))
        except OSError:
            return False
        return True

    yield limit
    for group in made:
        with suppress(OSError):
            await_true(lambda group=group: not (group / "cgroup.procs").read_text(), 20, "its process has ended")  # type: ignore[misc]
            group.rmdir()


def peak(sink: Sink) -> int:
    """The most memory it had, in bytes."""
    status = Path(f"/proc/{sink.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def test_a_large_backlog_within_512_mib(world: World, limited: Callable[[Sink], bool]) -> None:
    """Four partitions, 40,000 rows and 16 messages of 5 MiB. The first worker is told to end while it reads."""
    world.spools = world.home  # what lies in memory would count
    stream = world.add("events", partitions=4, config={"max.message.bytes": str(MESSAGE)})
    rows = [stream.maker.mixed(DAYS[n % 3]) for n in range(SMALL)]
    large = [stream.maker.row(DAYS[n % 2], fat=MESSAGE - 8000) for n in range(LARGE)]
    world.ledger.send_all((stream.topic, n % 4, row) for n, row in enumerate(rows * (COPIES // 2)))
    for partition in range(4):
        world.ledger.send(stream.topic, partition, large[partition::4], message_max_bytes=str(MESSAGE))
    world.ledger.send_all((stream.topic, n % 4, row) for n, row in enumerate(rows * (COPIES // 2)))

    first = world.start("run")
    limited(first)
    first.until_said("partition_recovered", count=4)
    began = time.monotonic()
    first.terminate()
    first.done(seconds=30)
    assert time.monotonic() - began < SECONDS

    sink = world.start("run")
    limited(sink)
    sink.until_said("day_published", day=str(DAYS[-1]), seconds=200)
    most = peak(sink)
    sink.terminate()
    sink.done(seconds=30)
    world.judge(DAYS[-1])
    assert most < LIMIT
