"""The details of an unexpected error: a file for the operator, without local variables and known secrets."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from consumer import __version__
from consumer.commands.session import Session
from consumer.domain.redaction import without_secrets

FOLDER = "crashes"
KEPT = 10
LONGEST_LINE = 300


def one_line(error: BaseException) -> str:
    """The error in one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return without_secrets(text)[:LONGEST_LINE]


def details(error: BaseException) -> str:
    """The traceback, with what made it."""
    when = datetime.now(UTC).isoformat()
    trace = "".join(traceback.format_exception(error))
    return without_secrets(f"adapty-sink {__version__} {when}\n{trace}")


def write_details(error: BaseException, session: Session) -> Path | None:
    """Write the details to the spool directory, or else to the temporary one. None if neither is writable."""
    text = details(error).encode("utf-8", "replace")
    for folder in _folders(session):
        with suppress(OSError):
            return _write(folder, text)
    return None


def _folders(session: Session) -> Iterator[Path]:
    if session.read is not None and session.read.spool.directory.is_dir():
        yield session.read.spool.directory / FOLDER
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def _write(folder: Path, text: bytes) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix="adapty-sink-crash-", suffix=".txt", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    if folder.name == FOLDER:  # a crash loop must not fill the spool's disk
        ours = [path for path in folder.glob("adapty-sink-crash-*.txt") if path.is_file() and not path.is_symlink()]
        newest_last = sorted(ours, key=lambda path: path.stat().st_mtime)
        for old in newest_last[:-KEPT]:
            old.unlink(missing_ok=True)
    return Path(name)
