"""A ceiling over a process's memory: a cgroup of either version where this machine lets us make one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_ROOT = Path("/sys/fs/cgroup")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class Held:
    """What holds it: a word for the table, and the file by which a process comes under it, where there is one."""

    by: str
    entry: Path | None = None

    def enter(self, pid: int) -> None:
        """Bring the process under the ceiling: from now on the kernel ends it rather than give it more."""
        if self.entry is not None:
            self.entry.write_text(str(pid))


@contextmanager
def held(mib: int) -> Iterator[Held]:
    """A ceiling of so many MiB. Without a cgroup nothing is enforced: the peak is measured and compared, no more."""
    for by, folder, limits in _places():
        group = folder / f"hostile-{uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, needed in limits.items():
                with suppress(*(() if needed else (OSError,))):
                    (group / name).write_text("0" if name == "memory.swap.max" else str(mib << 20))
            made = Held(by, group / "cgroup.procs")
        except OSError:
            made = None
        try:
            if made is not None:
                yield made
                return
        finally:
            with suppress(OSError):
                group.rmdir()
    yield Held("measured")


def _places() -> Iterator[tuple[str, Path, dict[str, bool]]]:
    """Where a group may be made, with the limits to set there and whether each has to be taken."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for number, controllers, path in lines:
        own = path.lstrip("/")
        if "memory" in controllers.split(","):
            limits = {"memory.limit_in_bytes": True, "memory.memsw.limit_in_bytes": False}
            yield "cgroup v1", _ROOT / "memory" / own, limits
        elif number == "0" and (_ROOT / "cgroup.controllers").exists():
            yield "cgroup v2", _ROOT / own, {"memory.max": True, "memory.swap.max": False}


def peak_mib() -> int:
    """The most memory that this process ever held, in MiB. What `getrusage` says begins with its parent's."""
    found = _PEAK.search(Path("/proc/self/status").read_text())
    return int(found[1]) >> 10 if found else 0
