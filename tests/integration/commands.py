"""One command line of the program, run to its end."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.sink import PROGRAM


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
    done = subprocess.run(
        [PROGRAM, "--config", str(settings), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **(env or {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)
