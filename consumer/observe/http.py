"""The HTTP server of the pages.

It is served by waitress, which limits connections, headers and idle time and answers from few threads, so that clients
can exhaust neither threads nor memory, and a slow reader or a scrape never delays the loop.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

import structlog
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.wasyncore import close_all, loop

from consumer.domain.errors import UsageError
from consumer.domain.redaction import visible
from consumer.observe.cached_page import Response
from consumer.observe.site import Site

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

THREADS = 2
"""Answers made at a time."""
CONNECTIONS = 64
"""Open at a time; further ones wait until one of them ends."""
HEADER_BYTES = 16 * 1024
"""A request's headers; longer ones are answered 431."""
BODY_BYTES = 16 * 1024
"""Maximum body of a request, which is not read; longer ones get 413."""
IDLE_SECONDS = 10.0
"""A connection on which nothing happens for that long is closed, and one whose request or answer is not whole then."""
SWEEP_SECONDS = 5.0
"""Seconds between these checks."""
GLANCE_SECONDS = 0.2
"""The longest wait for a client, after which a check is not late."""
CLOSE_SECONDS = 2
"""How long an end waits for answers under way."""

log = structlog.get_logger("http")


_NO_PAGE = Response(HTTPStatus.NOT_FOUND, "text/plain", b"/livez /readyz /metrics /status\n")
_NO_METHOD = Response(HTTPStatus.NOT_IMPLEMENTED, "text/plain", b"GET and HEAD only\n")


class Application:
    """The site as WSGI has it: GET and HEAD of its pages."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        found = self._answer(environ) if method in {"GET", "HEAD"} else _NO_METHOD
        log.debug("http", method=method, path=visible(environ["PATH_INFO"]), status=int(found.status))
        headers = {
            "Content-Type": found.kind,
            "Content-Length": str(len(found.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **found.headers,
        }
        start_response(f"{found.status.value} {found.status.phrase}", list(headers.items()))
        if method == "HEAD":
            return [b""]
        # As a file in memory the server takes it as it is. Bytes it would copy for each reader, and beyond 1 MiB put
        # into a temporary file: the slow readers of a large page would fill a pod's /tmp, which gets it evicted.
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](BytesIO(found.body))
        return wrapped

    def _answer(self, environ: Mapping[str, Any]) -> Response:
        try:
            return self._site.answer(environ["PATH_INFO"], environ.get("HTTP_ACCEPT", "")) or _NO_PAGE
        except Exception:
            log.exception("http_failed", path=visible(environ["PATH_INFO"]))
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the log\n")


class _Channel(HTTPChannel):
    """A connection with one request at a time.

    Requests sent before the answer to the first is there would each leave an answer to be kept, and once there are
    many of them waitress has a thread wait until somebody reads: two such clients would hold both.
    """

    requests_lock: threading.Lock
    requests: list[Any]

    def received(self, data: bytes) -> bool:
        """Take what came; of several requests the first, and the connection ends with its answer."""
        taken = bool(super().received(data))
        with self.requests_lock:
            if len(self.requests) > 1:
                del self.requests[1:]
                self.requests[0].headers["CONNECTION"] = "close"
        return taken


class _Server(TcpWSGIServer):
    """Waitress' server within our limits."""

    channel_class = _Channel

    def __init__(
        self, application: Application, sockets: dict[int, Any], listening: socket.socket, dispatcher: Any
    ) -> None:
        limits = Adjustments(
            threads=THREADS,
            connection_limit=CONNECTIONS + 2,  # it counts its own two sockets
            backlog=CONNECTIONS,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=BODY_BYTES,
            channel_timeout=int(IDLE_SECONDS),
            cleanup_interval=int(SWEEP_SECONDS),
            log_socket_errors=False,
            ident="adapty-sink",
        )
        where = (listening.family, listening.type, listening.proto, listening.getsockname())
        self._half: dict[Any, float] = {}
        super().__init__(
            application,
            sockets,
            _sock=listening,
            dispatcher=dispatcher,
            adj=limits,
            bind_socket=False,
            sockinfo=where,
        )

    def maintenance(self, now: int) -> None:
        """Close connections that are idle, and those whose request or answer is not whole after a while.

        A byte now and then, sent or read, keeps a connection from being idle.
        """
        super().maintenance(now)
        channels: Any = self.active_channels  # by file descriptor; the published types say otherwise
        half = [
            one for one in channels.values() if one.total_outbufs_len or (one.request is not None and not one.requests)
        ]
        self._half = {one: self._half.get(one, now) for one in half}
        for one, since in self._half.items():
            if now - since >= IDLE_SECONDS:
                one.will_close = True


class HttpServer:
    """Serves a site from `start` to `close`."""

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        """Bind the address. Raises UsageError if that fails."""
        self._map: dict[int, Any] = {}
        try:
            listening = _listening(address)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            raise UsageError(f"http.listen: cannot listen on {where} ({error.strerror or error})") from error
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(THREADS)
        self._server = _Server(Application(site), self._map, listening, self._dispatcher)
        self.port = int(listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            loop(timeout=GLANCE_SECONDS, use_poll=True, map=self._map, count=1)

    def close(self) -> None:
        """Stop listening and close what is open, once nothing uses it any more."""
        self._closing.set()
        if self._thread.is_alive():
            self._server.pull_trigger()
            self._thread.join(CLOSE_SECONDS)
        self._dispatcher.shutdown(cancel_pending=True, timeout=CLOSE_SECONDS)
        close_all(self._map, ignore_all=True)


def _listening(address: tuple[str, int]) -> socket.socket:
    """A bound socket: no name is looked up in the DNS for it but the one that was written."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found
