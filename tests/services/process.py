"""A server process: start it, know when it is ready, stop it, and treat it badly."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, ClassVar, Protocol, Self

from tests.services.errors import ServerError

_POLL_SECONDS = 0.05
_TAIL_BYTES = 4000


def _guard(group: int) -> subprocess.Popen[bytes]:
    """Kills the server when this process dies, however it dies: the pipe that it reads from ends then."""
    script = 'read -r _; kill -9 "-$1"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "guard", str(group)], stdin=subprocess.PIPE, start_new_session=True
    )


class Process(Protocol):
    """What a server needs of its process: `subprocess.Popen`, or its like."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it has ended. Raises subprocess.TimeoutExpired."""


class Server(ABC):
    """One server on loopback, in its own folder and its own process group; ports and data survive a stop."""

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 20

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: Process | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What to execute. Fetches what it needs: may raise Unavailable."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers in its own protocol. Must return within a few seconds."""

    def environment(self) -> dict[str, str]:
        """Variables on top of this process's own."""
        return {}

    def _temporary(self) -> dict[str, str]:
        """What it leaves when it is killed goes with its folder."""
        return {"TMPDIR": str(self.folder), "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={self.folder}"}

    @property
    def pid(self) -> int:
        """The process, which is also its group."""
        if self._process is None:
            raise ServerError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it is ready; ServerError with the end of its log if it is not to be."""
        if self._process is not None:
            raise ServerError(f"{self.name} was started already")
        command = self.command()
        with self.log.open("ab") as log:
            self._process = self._launch(command, {**os.environ, **self._temporary(), **self.environment()}, log)
        self._guard = _guard(self.pid)
        try:
            self.await_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def _launch(self, command: list[str], env: Mapping[str, str], log: IO[bytes]) -> Process:
        """Execute it in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def await_ready(self) -> None:
        """Wait until it is ready, for `start_seconds` at most."""
        until = time.monotonic() + self.start_seconds
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"{self.name} ended by itself; its log ends:\n{self.tail()}")
            if time.monotonic() > until:
                raise ServerError(f"{self.name} not ready in {self.start_seconds} s; its log ends:\n{self.tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to end, and make it end if it does not in `stop_seconds`. Nothing if it is not running."""
        if self._process is None:
            return
        self.resume()
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # then kill() does not ask
            self._process.wait(self.stop_seconds)
        self.kill()

    def kill(self) -> None:
        """End it without a word, as a power cut does to one process."""
        if self._process is None:
            return
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start again on the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended before; wait() collects it
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
