"""The mark of a spool directory, and the file names that belong in one.

A worker deletes files there when space is low. So it accepts a directory only with its mark, or one that only has files
with the sink's own names, which gets the mark.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from consumer.domain.errors import UsageError
from consumer.spool.checkpoint import is_name

MARK = "adapty-sink-spool"
"""The file that marks a spool directory."""
MARK_TEXT = "This directory is a spool of adapty-sink: what is in it may be deleted at any time.\n"
PARTITION = re.compile(r"[A-Za-z0-9._-]{1,249}-[0-9]{1,10}")
"""The folder of a partition."""
SHOWN = 3
"""Strange names that a message repeats."""
_OURS = re.compile(
    r"lock|checkpoints\.sqlite(-wal|-shm|-journal)?|checkpoints\.damaged-[0-9T]+\.sqlite|aside|crashes|lost\+found"
    r"|packed-[a-z0-9_]{8}|replacement-[a-z0-9_]{8}|\.adapty-sink-check-[a-z0-9_]{8}"
)


def claim(directory: Path) -> None:
    """Mark the directory as a spool. Raises UsageError if it has other files, OSError as the system does."""
    if names := strangers(directory):
        raise UsageError(
            f"spool.directory: {directory} has files that are not the sink's ({names}), and files in a spool are"
            " deleted: choose an empty directory"
        )
    mark = directory / MARK
    if not mark.is_file():
        mark.write_text(MARK_TEXT)
        mark.chmod(0o600)


def strangers(directory: Path) -> str:
    """Files in the directory that are not the sink's, for a message; "" if there are none, or it is marked."""
    if (directory / MARK).is_file():
        return ""
    with os.scandir(directory) as entries:
        strange = sorted(entry.name for entry in entries if not _is_ours(entry))
    return ", ".join(map(repr, strange[:SHOWN])) + (" ..." if len(strange) > SHOWN else "")


def _is_ours(entry: os.DirEntry[str]) -> bool:
    if _OURS.fullmatch(entry.name):
        return True
    if not PARTITION.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
        return False
    with os.scandir(entry.path) as inside:
        return all(
            is_name(entry.name, f"{entry.name}/{inner.name}") and inner.is_file(follow_symlinks=False)
            for inner in inside
        )
