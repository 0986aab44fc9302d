"""Folders in memory, where the machine has a disk there: for files that are synced again and again."""

import shutil
import tempfile
from pathlib import Path

DISK = Path("/dev/shm")  # noqa: S108 - each folder there has a name of its own
GIB = 1 << 30


def folder(prefix: str, room: int) -> Path | None:
    """A new folder there; None where fewer than `room` bytes are free: a container may have 64 MiB."""
    try:
        roomy = shutil.disk_usage(DISK).free >= room
        return Path(tempfile.mkdtemp(prefix=prefix, dir=DISK)) if roomy else None
    except OSError:
        return None
