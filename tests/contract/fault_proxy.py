"""A proxy before an S3 store that answers in its stead, loses its answers or cuts them short, once for each order."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>made by a test</Message></Error>'


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer so, and do not ask the store."""

    status: int
    code: str = "Made"


@dataclass(frozen=True, slots=True)
class Lose:
    """Let the store do it, then close the connection without a word."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Close the connection after so many bytes of the store's answer."""

    size: int


@dataclass(frozen=True, slots=True)
class Redate:
    """Give the store's answer this `Date`."""

    date: str


Fault = Answer | Lose | Truncate | Redate
Asked = Callable[[str, str], bool]
"""Whether a request, by method and path with query, is meant."""


@dataclass(slots=True)
class FaultProxy:
    """`url` is what clients use. `seen` holds method and path of all that was asked."""

    url: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    _orders: list[tuple[Asked, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def order(self, fault: Fault, method: str, part: str = "", times: int = 1) -> None:
        """Do this to the next requests of that method whose path contains `part`."""
        self._orders += [(lambda asked, path: asked == method and part in path, fault)] * times

    def take(self, method: str, path: str) -> Fault | None:
        """What to do to this request."""
        with self._lock:
            self.seen.append((method, path))
            for order in self._orders:
                if order[0](method, path):
                    self._orders.remove(order)
                    return order[1]
        return None


class _Handler(BaseHTTPRequestHandler):
    """Forwards each request, but for what was ordered."""

    protocol_version = "HTTP/1.1"
    proxy: FaultProxy
    upstream: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def handle_any(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        fault = self.proxy.take(self.command, self.path)
        if isinstance(fault, Answer):
            self._send(fault.status, {}, ERROR.format(code=fault.code).encode())
            return
        status, headers, answer = self._forward(body)
        self.close_connection = fault is not None
        if isinstance(fault, Redate):
            headers["Date"] = fault.date
        if not isinstance(fault, Lose):
            self._send(status, headers, answer, fault.size if isinstance(fault, Truncate) else None)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - as the base class finds them

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=10)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() != "transfer-encoding"}
            return answer.status, kept, data
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, size: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:size])


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy on a free port before host:port."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = FaultProxy(f"http://127.0.0.1:{server.server_port}")
    Handler.proxy, Handler.upstream = proxy, upstream
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
