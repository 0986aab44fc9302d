"""The folder that keeps what was downloaded or built, shared by all runs on this machine."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """The cache folder of this project's tests, made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "adapty-sink-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system frees it when the process ends, however it ends."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether some process holds this lock file."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def once(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` (which holds the version), filled by the first who asks; a failed fill leaves nothing."""
    target = root() / name
    if target.is_dir():
        return target
    with locked(root() / f"{name}.lock"):
        if not target.is_dir():
            work = Path(tempfile.mkdtemp(dir=root(), prefix=f"{name}.part-"))
            try:
                fill(work)
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return target
