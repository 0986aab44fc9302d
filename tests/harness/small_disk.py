"""A disk of so many bytes, as root can mount one. It goes with the process that asked for it, however that ends."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[bool]:
    """Mount it at this folder; False where that is not allowed.

    Who unmounts is a process that waits for the end of ours: a mount that is left keeps every later run of pytest from
    removing old folders, which is an error there.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield False
        return
    script = 'read -r _; umount --lazy "$1"'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", script, "guard", str(place)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield True
    finally:
        guard.communicate()
        assert guard.returncode == 0, f"{place} is still mounted"
