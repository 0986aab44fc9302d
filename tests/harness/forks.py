"""Many short runs of the program, without its start: a process that has imported it all forks for each command line.

A run may be told to end by SIGKILL after so many of its writes to the bucket: a crash between two certain steps.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

NEVER = -1
_SERVER = """
import consumer.commands.replay, consumer.commands.run, consumer.commands.verify  # so that no child has to
from tests.harness.forks import serve
serve()
"""


def serve() -> None:
    """Run each command line of stdin in a child; say its exit code and how often it wrote."""
    for line in sys.stdin:
        asked = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _run(asked, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            writes = len(told.read())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(json.dumps({"code": code, "writes": writes}) + "\n")
        sys.stdout.flush()


def _run(asked: dict[str, Any], writer: int) -> None:
    from consumer.commands.main import run  # noqa: PLC0415 - in the child alone, as is what follows
    from consumer.store.s3 import S3Store  # noqa: PLC0415

    left = asked["killed_after"]

    def counted(real: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            outcome = real(*args, **kwargs)
            os.write(writer, b".")
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return outcome

        return write

    for name in ("put", "copy"):
        setattr(S3Store, name, counted(getattr(S3Store, name)))
    for descriptor, path in enumerate(asked["said"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    code = 1
    try:
        code = run(asked["arguments"])
    finally:
        sys.stdout.flush()
        os._exit(code)


class Forks:
    """The process that forks. Ends with the test."""

    def __init__(self, home: Path) -> None:
        self._said = (home / "forks.out", home / "forks.err")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its pipes, which ends it
            pass

    @property
    def out(self) -> str:
        """What the last one wrote to stdout."""
        return self._said[0].read_text()

    @property
    def all(self) -> str:
        """The same with stderr."""
        return self.out + self._said[1].read_text()

    def run(self, settings: Path, *arguments: str, killed_after: int = NEVER) -> tuple[int, int]:
        """Run one command; its exit code (negative: the signal) and how often it wrote."""
        asked = {
            "arguments": ["--config", str(settings), *arguments],
            "killed_after": killed_after,
            "said": [str(path) for path in self._said],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return told["code"], told["writes"]
