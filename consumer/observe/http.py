"""The HTTP side: /livez, /readyz, /metrics, /status. It reads what the loop published and asks nothing of anybody.

Threads of the standard library serve it, so a slow reader or a scrape never holds up the loop.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from socketserver import TCPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from consumer.domain.clock import Clock
from consumer.domain.errors import UsageError
from consumer.observe.accept import prefers_html
from consumer.observe.snapshot import Snapshot, SnapshotHolder
from consumer.observe.status import Status
from consumer.observe.status_page import page, style_source

POLL_LIMIT_SECONDS = 60.0
"""The consumer's thread and the loop turn several times a second; after so long one of them hangs."""
READER_SECONDS = 10.0
"""A client that is slower with its request than that is cut off."""

log = structlog.get_logger("http")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    kind: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def _json(document: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, "application/json", json.dumps(document, indent=1).encode() + b"\n", {"Vary": "Accept"})


@dataclass(frozen=True, slots=True)
class Site:
    """The pages. `alive_at` is the monotonic moment of the consumer's last poll. Any thread may ask."""

    board: SnapshotHolder
    registry: CollectorRegistry
    clock: Clock
    alive_at: Callable[[], float]

    def answer(self, path: str, accept: str) -> Answer | None:
        """The page at `path`, or None."""
        match path:
            case "/livez":
                return self.livez()
            case "/readyz":
                return self.readyz()
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return Answer(HTTPStatus.OK, kind, encode(self.registry))
            case "/status":
                return self.status(accept)
            case "/":
                return Answer(HTTPStatus.FOUND, "text/plain", b"/status\n", {"Location": "/status"})
        return None

    def livez(self) -> Answer:
        """Whether the consumer was polled and the loop turned lately."""
        now = self.clock.monotonic()
        ages = {
            "poll_seconds_ago": round(now - self.alive_at(), 1),
            "loop_seconds_ago": round(now - self.board.beat_at, 1),
        }
        alive = max(ages.values()) <= POLL_LIMIT_SECONDS
        return _json({"alive": alive, **ages}, HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)

    def readyz(self) -> Answer:
        """Whether the worker can work. A halted stream is named and does not make it unready."""
        snapshot = self.board.snapshot
        troubles = self._unready(snapshot)
        halted = snapshot.status.halted if snapshot else ()
        document = {"ready": not troubles, "why_not": troubles, "halted": [halt.to_json() for halt in halted]}
        return _json(document, HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK)

    def _unready(self, snapshot: Snapshot | None) -> list[str]:
        if snapshot is None:
            return ["starting"]
        silent = self.clock.monotonic() - self.board.beat_at
        late = [f"the loop has not turned for {silent:.0f} s"] if silent > POLL_LIMIT_SECONDS else []
        return [*late, *snapshot.unready]

    def status(self, accept: str) -> Answer:
        """Where everything stands, for programs or for people."""
        snapshot = self.board.snapshot
        if not prefers_html(accept):
            return _json((snapshot.status if snapshot else Status()).to_json())
        rules = {
            "Vary": "Accept",
            "Content-Security-Policy": f"default-src 'none'; style-src {style_source()}; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
        }
        return Answer(HTTPStatus.OK, "text/html; charset=utf-8", page(snapshot).encode(), rules)


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of the site's pages."""

    protocol_version = "HTTP/1.1"
    server_version = "adapty-sink"
    sys_version = ""
    timeout = READER_SECONDS
    site: ClassVar[Site]

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def _reply(self, *, with_body: bool) -> None:
        found = self.site.answer(urlsplit(self.path).path, ",".join(self.headers.get_all("Accept", [])))
        if found is None:
            found = Answer(HTTPStatus.NOT_FOUND, "text/plain", b"/livez /readyz /metrics /status\n")
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in found.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(found.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """One line each, for those who ask for debug."""
        log.debug("http", request=format % args, client=self.client_address[0])


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, which the base class does and which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "adapty-sink", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's shape
        """A reader that went away is no news; an error of ours is. The other readers go on."""
        if isinstance(sys.exc_info()[1], ConnectionError):
            log.debug("http_cut_off", client=str(client_address[0]))
        else:
            log.error("http_failed", client=str(client_address[0]), exc_info=True)  # noqa: LOG014 - in a handler


class HttpServer:
    """Serves a site from `start` to `close`."""

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        """Bind the address. Raises UsageError where that cannot be."""
        handler = type("Handler", (_Handler,), {"site": site})
        server = type("Server", (_Server,), {"address_family": AF_INET6}) if ":" in address[0] else _Server
        try:
            self._server = server(address, handler)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            raise UsageError(f"http.listen: {where} cannot be had ({error.strerror or error})") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Replies under way end on their own."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
