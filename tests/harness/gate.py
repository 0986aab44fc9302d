"""A gate before the store: it stops a chosen request where a test wants it, loses answers, cuts bodies, says no.

A worker that uses the gate stands still at that request, so that the test can do what it likes at that very moment.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import BinaryIO, Literal
from urllib.parse import unquote

from tests.services import ports

ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>made by a test</Message></Error>'
CHUNK = 64 * 1024

Asked = Callable[[str, str], bool]
"""Whether a request is meant, by its method and its path with the query, unquoted."""
Where = Literal["before", "after"]
"""Before the store has seen the request; after it has done it, and before the worker hears of that."""


@dataclass(slots=True)
class Stop:
    """A request is held here until it is let go: `forward` (the default) or `drop` (the connection ends)."""

    where: Where
    reached: threading.Event = field(default_factory=threading.Event)
    path: str = ""
    _go: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float = 60) -> None:
        """Wait until a request stands here."""
        assert self.reached.wait(seconds), f"no request came here in {seconds} s"

    def forward(self) -> None:
        """Let it go on."""
        self._go.set()

    def drop(self) -> None:
        """End its connection; a request that stands before the store never gets there."""
        self.dropped = True
        self._go.set()

    def hold(self, path: str) -> bool:
        """Stand here; False where the request was dropped."""
        self.path = path
        self.reached.set()
        self._go.wait()
        return not self.dropped


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer so in the store's stead."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Lose:
    """The store does it; the answer never comes."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends after so many bytes of the request's body."""

    after: int


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before asking the store."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Redate:
    """The store's clock shows another time."""

    by: timedelta


Fault = Stop | Answer | Lose | Cut | Delay | Redate


@dataclass(slots=True)
class Order:
    """What to do to the next `left` requests that are meant; -1: to all. `agent`: only those of this worker."""

    asked: Asked
    fault: Fault
    left: int
    met: int = 0
    agent: str = ""


@dataclass(slots=True)
class Gate:
    """`url` is what workers use. `seen` holds method and path of all requests, with the answers' status."""

    url: str
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self, asked: Asked, where: Where = "before", agent: str = "") -> Stop:
        """Hold the next such request."""
        stop = Stop(where)
        self.order(stop, asked, agent=agent)
        return stop

    def order(self, fault: Fault, asked: Asked, times: int = 1, agent: str = "") -> Order:
        """Do this to the next requests that are meant; -1 for all. `agent` is a part of the header User-Agent."""
        made = Order(asked, fault, times, agent=agent)
        with self._lock:
            self.orders.append(made)
        return made

    def clear(self) -> None:
        """Forget all orders; what is held is let go."""
        with self._lock:
            gone, self.orders = self.orders, []
        for order in gone:
            if isinstance(order.fault, Stop):
                order.fault.forward()

    def take(self, method: str, path: str, agent: str = "") -> Fault | None:
        """What to do to this request."""
        with self._lock:
            for order in self.orders:
                if order.left and order.agent in agent and order.asked(method, path):
                    order.left -= 1
                    order.met += 1
                    return order.fault
        return None


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of a request or an answer, its other lines as they came, and their values by lower-case name."""

    first: bytes
    lines: list[bytes]
    values: dict[bytes, bytes]

    def value(self, name: bytes, default: str = "") -> str:
        """What it says there."""
        return self.values[name].decode() if name in self.values else default

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split(None, 2)[1])

    def without(self, *names: bytes) -> list[bytes]:
        """The other lines."""
        return [line for line in self.lines if line.partition(b":")[0].lower() not in names]


def _read_head(stream: BinaryIO) -> _Head | None:
    """Up to the empty line; None where the connection ends before it."""
    first, lines = stream.readline(), []
    while (line := stream.readline()) != b"\r\n":
        if not line:
            return None
        lines.append(line)
    parts = [line.partition(b":") for line in lines]
    return _Head(first, lines, {name.lower(): value.strip() for name, _, value in parts})


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise ConnectionError("the connection ended in the midst of a body")
    return found


def _read_answer(stream: BinaryIO, answer: _Head, method: str) -> bytes:
    """The body that comes with this head."""
    if method == "HEAD" or answer.status in {204, 304}:
        return b""
    if answer.value(b"transfer-encoding") != "chunked":
        return _read_exactly(stream, int(answer.value(b"content-length", "0")))
    pieces = []
    while size := int(stream.readline().partition(b";")[0] or b"0", 16):
        pieces.append(_read_exactly(stream, size))
        _read_exactly(stream, 2)
    _read_exactly(stream, 2)
    return b"".join(pieces)


class _Connection:
    """One connection of a worker, with one of its own to the store.

    It reads of HTTP what it must and passes on the rest as it came: tests send tens of thousands of requests.
    """

    def __init__(self, worker: socket.socket, made: Gate, upstream: tuple[str, int]) -> None:
        worker.settimeout(300)
        # What is said goes as one piece and at once: with its body behind its head it would wait 40 ms for an
        # acknowledgement that the other's system holds back.
        worker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._worker = worker
        self._requests = worker.makefile("rb")
        self._gate = made
        self._upstream = upstream
        self._store: socket.socket | None = None
        self._answers: BinaryIO = self._requests

    def serve(self) -> None:
        """Until one of both is gone."""
        try:
            with suppress(OSError):
                while (request := _read_head(self._requests)) is not None and self._serve(request):
                    pass
        finally:
            self._leave_store()
            self._requests.close()
            self._worker.close()

    def _serve(self, request: _Head) -> bool:
        """Whether the connection goes on."""
        method, target, _ = request.first.decode().split()
        fault = self._gate.take(method, unquote(target), request.value(b"user-agent"))
        try:
            return self._go(request, method, unquote(target), fault) and request.value(b"connection").lower() != "close"
        finally:
            if isinstance(fault, Stop):
                fault.done.set()

    def _go(self, request: _Head, method: str, path: str, fault: Fault | None) -> bool:
        size = int(request.value(b"content-length", "0"))
        if request.value(b"expect").lower() == "100-continue":
            self._worker.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if isinstance(fault, Cut):
            self._requests.read(min(size, fault.after))
            return self._abort()
        body = self._requests.read(size)
        if isinstance(fault, Answer):
            self._gate.seen.append((method, path, fault.status))
            said = ERROR.format(code=fault.code).encode()
            self._send(method, f"HTTP/1.1 {fault.status} {fault.code}\r\n".encode(), [], said)
            return True
        # Half a body is from a worker that died: the store would wait for the rest, and lock the object meanwhile.
        if not _goes_on(fault, "before", path) or len(body) < size:
            return self._abort()
        answer, said = self._forward(request, method, body)
        self._gate.seen.append((method, path, answer.status))
        if not _goes_on(fault, "after", path):
            return self._abort()
        if isinstance(fault, Lose):
            return False
        lines = answer.without(b"transfer-encoding", *([] if method == "HEAD" else [b"content-length"]))
        self._send(method, answer.first, [_redated(line, fault) for line in lines], said)
        return True

    def _abort(self) -> bool:
        """End the connection, whatever it has sent."""
        with suppress(OSError):
            self._worker.shutdown(socket.SHUT_RDWR)
        return False

    def _forward(self, request: _Head, method: str, body: bytes) -> tuple[_Head, bytes]:
        store = self._connected()
        head = b"".join([request.first, *request.without(b"expect"), b"\r\n"])
        store.sendall(head + body if len(body) < CHUNK else head)
        if len(body) >= CHUNK:
            store.sendall(body)
        answer = _read_head(self._answers)
        if answer is None:
            raise ConnectionError("the store has ended the connection")
        return answer, _read_answer(self._answers, answer, method)

    def _connected(self) -> socket.socket:
        """The connection that is open, unless the store has ended it: nothing may be asked twice."""
        if self._store is not None and select.select([self._store], [], [], 0)[0]:
            self._leave_store()
        if self._store is None:
            self._store = socket.create_connection(self._upstream, timeout=60)
            self._store.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._answers = self._store.makefile("rb")
        return self._store

    def _leave_store(self) -> None:
        if self._store is not None:
            self._answers.close()
            self._store.close()
            self._store = None

    def _send(self, method: str, first: bytes, lines: list[bytes], body: bytes) -> None:
        if method != "HEAD":
            lines = [*lines, b"Content-Length: %d\r\n" % len(body)]
        self._worker.sendall(b"".join([first, *lines, b"\r\n", b"" if method == "HEAD" else body]))


def _goes_on(fault: Fault | None, where: Where, path: str) -> bool:
    """Whether a request goes on from here, once it may."""
    if isinstance(fault, Delay) and where == "before":
        time.sleep(fault.seconds)
    return not isinstance(fault, Stop) or fault.where != where or fault.hold(path)


def _redated(line: bytes, fault: Fault | None) -> bytes:
    """A line of an answer's head as it is passed on."""
    name, _, value = line.partition(b":")
    if not isinstance(fault, Redate) or name.lower() != b"date":
        return line
    shown = parsedate_to_datetime(value.decode().strip()) + fault.by
    return f"Date: {format_datetime(shown, usegmt=True)}\r\n".encode()


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """A gate on a free port before host:port."""
    host, _, port = upstream.rpartition(":")
    ended = threading.Event()
    with socket.create_server((ports.HOST, 0), backlog=128) as listener:
        own = listener.getsockname()
        made = Gate(f"http://{own[0]}:{own[1]}")

        def accept() -> None:
            while True:
                worker, _ = listener.accept()
                if ended.is_set():
                    worker.close()
                    return
                threading.Thread(target=_Connection(worker, made, (host, int(port))).serve, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.clear()
            ended.set()
            socket.create_connection(own).close()  # so that it looks
            thread.join()


# What to ask for


def puts(part: str) -> Asked:
    """A PUT of an object whose path contains `part`."""
    return lambda method, path: method == "PUT" and part in path


def puts_data(stream: str) -> Asked:
    """A PUT of a data object."""
    return lambda method, path: method == "PUT" and f"/{stream}/dt=" in path and ".csv" in path


def puts_record(n: int) -> Asked:
    """The PUT of record `n` of partition 0."""
    return lambda method, path: method == "PUT" and "/_seals/" in path and f"/0/{n:08d}.json" in path


def nth(asked: Asked, n: int) -> Asked:
    """The n-th request that is meant."""
    left = [n]

    def counted(method: str, path: str) -> bool:
        if not asked(method, path):
            return False
        left[0] -= 1
        return left[0] == 0

    return counted


def anything(_method: str, _path: str) -> bool:
    """Any request."""
    return True
