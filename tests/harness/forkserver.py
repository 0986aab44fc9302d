"""Processes of the program that start at once: forked from one that has imported all of it.

To load the program costs more CPU than most tests make it do, and they start it hundreds of times. What is forked is a
process of its own like any other: it has its memory, its descriptors, its session, and can be killed and frozen.

Run as a module it is the server: it reads requests from the socket it was given and answers each with a process id.
When such a process ends, its exit code is written to the pipe that came with the request.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO

PROGRAM = Path(sys.executable).parent / "adapty-sink"
FORKS = sys.platform == "linux"
REQUEST_BYTES = 1 << 20
DESCRIPTORS = 4
"""Of a request: the process's stdin, stdout and stderr, and the pipe for its exit code."""


class Forked:
    """What `subprocess.Popen` is for a process that was started anew."""

    def __init__(self, pid: int, codes: int) -> None:
        self.pid = pid
        self._codes = codes
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for the signal that killed it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._codes, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(os.read(self._codes, 100))
            os.close(self._codes)
        return self.returncode


class ForkServer:
    """The server of this process; it ends with it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self._socket = ours
        self._one_at_a_time = Lock()
        atexit.register(self.close)

    def close(self) -> None:
        """End it. The processes that it started go on."""
        self._socket.close()
        self._process.wait()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]) -> Forked:
        """See `start`."""
        codes, written = os.pipe()
        request = json.dumps({"arguments": list(arguments), "env": dict(env), "folder": os.getcwd()})  # noqa: PTH109 - text
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            files = [nothing.fileno(), stdout.fileno(), stderr.fileno(), written]
            with self._one_at_a_time:
                socket.send_fds(self._socket, [request.encode()], files)
                pid = int(self._socket.recv(100))
        os.close(written)
        return Forked(pid, codes)


_server = cache(ForkServer)
"""The one of this process."""


def start(
    arguments: Sequence[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> Forked | subprocess.Popen[bytes]:
    """Start the program with these arguments, this whole environment and these files, in a new session.

    Elsewhere than on Linux it is started anew: macOS has no such sockets, and its libraries do not like to be forked.
    """
    if FORKS:
        return _server().start(arguments, env, stdout, stderr)
    return subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(env),
        start_new_session=True,
    )


@dataclass(frozen=True, slots=True)
class Order:
    """A request as it arrives."""

    arguments: list[str]
    env: dict[str, str]
    folder: str
    files: list[int]


def serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request. Returns None where they end, and in each process that was forked its arguments."""
    running: dict[int, int] = {}
    bell = _bell()
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(bell, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if bell in ready:
                os.read(bell, 100)
                _collect(running)
            if requests not in ready:
                continue
            order = _receive(requests)
            if order is None:
                return None
            if not (pid := os.fork()):
                break
            running[pid] = order.files[-1]
            for file in order.files[:-1]:
                os.close(file)
            requests.send(str(pid).encode())
    for descriptor in (bell, signal.set_wakeup_fd(-1), requests.detach(), *running.values()):
        os.close(descriptor)
    _become(order)
    return order.arguments


def _bell() -> int:
    """What can be read from when a process has ended."""
    bell, clapper = os.pipe()
    for end in (bell, clapper):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(clapper)
    return bell


def _receive(requests: socket.socket) -> Order | None:
    data, files, _flags, _address = socket.recv_fds(requests, REQUEST_BYTES, DESCRIPTORS)
    return Order(**json.loads(data), files=files) if data else None


def _collect(running: dict[int, int]) -> None:
    """Tell of those that have ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            codes = running.pop(pid)
            with suppress(BrokenPipeError):  # nobody asks any more
                os.write(codes, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(codes)


def _become(order: Order) -> None:
    """What a new process has of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.env)
    _obey_python_path(order.env.get("PYTHONPATH", ""))
    for target, file in enumerate(order.files[:-1]):
        os.dup2(file, target)
    for file in order.files:
        os.close(file)


def _obey_python_path(path: str) -> None:
    """What an interpreter does at its start: a test may bring modules of its own, and change some."""
    for folder in reversed(path.split(os.pathsep) if path else []):
        sys.path.insert(0, folder)
        if os.path.exists(os.path.join(folder, "sitecustomize.py")):  # noqa: PTH110, PTH118 - text
            sys.modules.pop("sitecustomize", None)
            importlib.import_module("sitecustomize")


def load() -> None:
    """Import all of the program, but what only `demo` needs."""
    import consumer  # noqa: PLC0415 - by the server alone

    for found in pkgutil.walk_packages(consumer.__path__, "consumer."):
        if "demo" not in found.name:
            importlib.import_module(found.name)
    read_models_once()
    gc.freeze()  # what is loaded stays shared


def read_models_once() -> None:
    """Let all sessions of boto share what it reads of its own files: most of what an S3 client costs to make."""
    import boto3  # noqa: PLC0415 - by who makes clients
    import botocore.loaders  # noqa: PLC0415
    import botocore.session  # noqa: PLC0415

    make, shared = botocore.session.create_loader, botocore.session.create_loader()

    def create_loader(search_path_string: str | None = None) -> botocore.loaders.Loader:
        return make(search_path_string) if search_path_string else shared

    botocore.session.create_loader = create_loader
    session = boto3.session.Session("nobody", "nothing")  # keys, so that it looks for none on this machine
    session.client("s3", region_name="us-east-1")


if __name__ == "__main__":
    load()
    if (given := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        from consumer.commands.main import main

        sys.argv = ["adapty-sink", *given]
        main()
