"""What a process costs: CPU seconds and wall seconds by the system's own account, and the most memory it ever had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.02
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """User and system CPU seconds together, wall seconds from start to exit, and peak resident memory in bytes."""

    cpu: float
    wall: float
    peak: int


@contextmanager
def compiled(modules: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """An environment in which Python finds these modules compiled, as after an installation.

    Where it may write no bytecode each start would else compile everything anew, for more than a second.
    """
    with tempfile.TemporaryDirectory(prefix="adapty-sink-bench-") as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        client = "import boto3; boto3.client('s3', region_name='us-east-1')"  # imports more when called
        subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}; {client}"], env=environment, check=True)
        yield environment


def measure(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Cost:
    """Run the command and account for it. Raises RuntimeError, with the end of its log, where it fails."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env=environment,
        )  # fmt: skip
    peak = 0
    # ru_maxrss counts what this process had when it forked; VmHWM is of the new program alone
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, peak_of(process.pid))
        time.sleep(LOOK_SECONDS)
    wall = time.monotonic() - began
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[:4]} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak)


def peak_of(pid: int) -> int:
    """The most resident memory, in bytes, that a running process ever had; 0 where there is no such process."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0
