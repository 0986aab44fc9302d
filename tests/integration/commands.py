"""One command line of the program, run to its end."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.harness.forkserver import start


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


def command(settings: Path, *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 120) -> Ended:
    """Run `adapty-sink` with these settings."""
    with TemporaryFile() as out, TemporaryFile() as err:
        process = start(
            ["--config", str(settings), *arguments],
            {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **(env or {})},
            out,
            err,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            raise
        found = Ended(code, *(_text(file) for file in (out, err)))
    assert "Traceback" not in found.err, found.err
    return found


def few_races(folder: Path) -> dict[str, str]:
    """The environment of a `check` that races for a store's conditional writes nine times, not forty-five.

    For tests of something else: its 1,900 requests take longer than all the rest of them.
    """
    few = folder / "few-races"
    few.mkdir()
    (few / "sitecustomize.py").write_text(
        "from consumer.commands.check.store import store_lines\nstore_lines.__kwdefaults__['races'] = 4\n"
    )
    return {"PYTHONPATH": str(few)}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
