"""The program itself as a process: start it, watch its log, stop it, kill it, freeze it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.harness.forkserver import start
from tests.services import http

POLL_SECONDS = 0.02
STATUS_SECONDS = 0.1
"""Between two looks at a worker's page, which costs the worker some time and changes once a second."""
OK = 200
TAIL = 6000


def await_true(holds: Callable[[], object], seconds: float, what: str, pause: float = POLL_SECONDS) -> None:
    """Wait until `holds`; AssertionError naming `what` if it does not within `seconds`."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(pause)


class Sink:
    """One process of `adapty-sink`, which dies with the test. Its output goes to `log`."""

    def __init__(self, settings: Path, log: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._heard: list[dict[str, Any]] = []
        self._heard_bytes = 0
        with log.open("ab") as out:
            self._process = start(
                ["--config", str(settings), "--log-format", "json", "--log-level", "debug", *arguments],
                {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **(env or {})},
                out,
                out,
            )
        script = 'read -r _; kill -9 "$1" 2>/dev/null'
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", str(self.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s\n{self.tail()}") from None
        self._unguard()
        return code

    def done(self, code: int = 0, seconds: float = 120) -> Self:
        """Wait for this exit code."""
        ended = self.wait(seconds)
        assert ended == code, f"ended with {ended}, not {code}\n{self.tail()}"
        return self

    def kill(self) -> None:
        """Kill -9."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._unguard()

    def terminate(self) -> None:
        """Ask it to end, as `docker stop` does."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it does nothing, and does not know."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self.kill()
        self._unguard()

    def said(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of its log with this event and these fields."""
        return [line for line in self.lines() if line.get("event") == event and fields.items() <= line.items()]

    def lines(self) -> list[dict[str, Any]]:
        """Its log, as far as it is JSON. Each line is read once, when it is whole: tests ask fifty times a second."""
        with self.log.open("rb") as log:
            log.seek(self._heard_bytes)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._heard_bytes += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError):
                parsed = json.loads(line)
                if isinstance(parsed, dict):
                    self._heard.append(parsed)
        return self._heard

    def until_said(self, event: str, seconds: float = 60, count: int = 1, **fields: object) -> dict[str, Any]:
        """Wait for such a line; the last of them."""
        self.until(lambda: len(self.said(event, **fields)) >= count, seconds, f"{event} {fields}")
        return self.said(event, **fields)[-1]

    def until(self, holds: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until `holds`, which must come before its end."""
        until = time.monotonic() + seconds
        while not holds():
            assert self.code is None or holds(), f"ended with {self.code} before: {what}\n{self.tail()}"
            assert time.monotonic() < until, f"not within {seconds} s: {what}\n{self.tail()}"
            time.sleep(POLL_SECONDS)

    def page(self, path: str) -> tuple[int, bytes]:
        """What its HTTP server answers."""
        address = self.until_said("listening")["address"]
        try:
            return http.call(address, "GET", path)
        except OSError as error:
            raise AssertionError(f"{path}: {error}; exit code {self.code}\n{self.tail()}") from error

    def status(self) -> Any:
        """Its `/status`; nothing while it has none yet."""
        code, body = self.page("/status")
        return json.loads(body) if code == OK else {"partitions": [], "halted": []}

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-TAIL:]

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended before; wait() collects it
            os.kill(self.pid, number)

    def _unguard(self) -> None:
        if self._guard.poll() is None:
            self._guard.kill()
            self._guard.communicate()


@contextmanager
def closing(*sinks: Sink) -> Iterator[None]:
    """End these at the end, however that comes."""
    try:
        yield
    finally:
        for sink in sinks:
            sink.close()
