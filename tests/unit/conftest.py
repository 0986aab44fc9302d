"""Files of unit tests lie in memory where the machine has a disk there: they sync tens of thousands of little ones."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - each test makes a folder of its own there
ENOUGH = 1 << 30
"""Free bytes: a container may have 64 MiB there, and unit tests of large files want more."""


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path | None]:
    """A folder in memory, gone with the run; None where there is none to be had."""
    try:
        roomy = shutil.disk_usage(IN_MEMORY).free >= ENOUGH
        folder = Path(tempfile.mkdtemp(prefix="adapty-sink-tests-", dir=IN_MEMORY)) if roomy else None
    except OSError:
        folder = None
    yield folder
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, scratch: Path | None) -> Iterator[Path]:
    """As pytest's own, but in memory. What a failed test left is kept no longer than the run."""
    if scratch is None:
        yield request.getfixturevalue("tmp_path_factory").mktemp("unit")
        return
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
