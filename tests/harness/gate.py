"""A gate before the store: it stops a chosen request where a test wants it, loses answers, cuts bodies, says no.

A worker that uses the gate stands still at that request, so that the test can do what it likes at that very moment.
"""

import http.client
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

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


class _Handler(BaseHTTPRequestHandler):
    """One connection of a worker, with one of its own to the store."""

    protocol_version = "HTTP/1.1"
    timeout = 300
    # An answer goes as one piece and at once: with its body behind its header each would wait 40 ms for an
    # acknowledgement that the worker's system holds back.
    wbufsize = -1
    disable_nagle_algorithm = True
    gate: Gate
    upstream: str
    _store: http.client.HTTPConnection | None = None

    def handle_expect_100(self) -> bool:
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    def finish(self) -> None:
        if self._store is not None:
            self._store.close()
        with suppress(OSError):  # the worker is gone
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def handle_any(self) -> None:
        path = unquote(self.path)
        fault = self.gate.take(self.command, path, self.headers.get("User-Agent", ""))
        self.close_connection = self.close_connection or isinstance(fault, Lose | Cut)
        try:
            self._go(path, fault)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the worker is gone, or the store is
        if isinstance(fault, Stop):
            fault.done.set()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - as the base class finds them

    def _go(self, path: str, fault: Fault | None) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        if isinstance(fault, Cut):
            self.rfile.read(min(size, fault.after))
            self._abort()
            return
        body = self.rfile.read(size)
        if isinstance(fault, Answer):
            self.gate.seen.append((self.command, path, fault.status))
            self._send(fault.status, {}, ERROR.format(code=fault.code).encode())
            return
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        if isinstance(fault, Stop) and fault.where == "before" and not fault.hold(path):
            self._abort()
            return
        status, headers, answer = self._forward(body)
        self.gate.seen.append((self.command, path, status))
        if isinstance(fault, Stop) and fault.where == "after" and not fault.hold(path):
            self._abort()
            return
        if isinstance(fault, Redate) and "Date" in headers:
            headers["Date"] = format_datetime(parsedate_to_datetime(headers["Date"]) + fault.by, usegmt=True)
        if not isinstance(fault, Lose):
            self._send(status, headers, answer)

    def _abort(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
        return answer.status, kept, data

    def _connection(self) -> http.client.HTTPConnection:
        """The one that is open, unless the store has ended it: nothing may be asked twice."""
        if self._store is None:
            self._store = http.client.HTTPConnection(self.upstream, timeout=60)
        elif self._store.sock is not None and select.select([self._store.sock], [], [], 0)[0]:
            self._store.close()  # the next request opens it again
        return self._store

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed worker's connection breaks off: no news."""


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """A gate on a free port before host:port."""

    class Handler(_Handler):
        pass

    server = _Server(("127.0.0.1", 0), Handler)
    made = Gate(f"http://127.0.0.1:{server.server_port}")
    Handler.gate, Handler.upstream = made, upstream
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.clear()
        server.shutdown()
        thread.join()
        server.server_close()


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
