"""The pages: /livez, /readyz, /metrics, /status. They show what the loop published and make no requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from consumer.domain.clock import Clock
from consumer.domain.redaction import document_without_hidden, without_hidden
from consumer.observe.accept import prefers_html
from consumer.observe.cached_page import CachedPage, Response
from consumer.observe.snapshot import Snapshot, SnapshotHolder
from consumer.observe.status import Status
from consumer.observe.status_page import page, style_source

POLL_LIMIT_SECONDS = 60.0
"""The consumer's thread and the loop turn several times a second; after so long one of them hangs."""
OPEN_METRICS = "application/openmetrics-text"


def _json(document: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    text = json.dumps(document_without_hidden(document), indent=1)
    return Response(status, "application/json", f"{text}\n".encode(), {"Vary": "Accept"})


@dataclass(frozen=True, slots=True)
class Site:
    """The pages. `alive_at` is the monotonic moment of the consumer's last poll. Any thread may ask."""

    board: SnapshotHolder
    registry: CollectorRegistry
    clock: Clock
    alive_at: Callable[[], float]
    _cached: dict[str, CachedPage] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        renderers: dict[str, Callable[[], Response]] = {
            "open metrics": partial(self._metrics, OPEN_METRICS),
            "metrics": partial(self._metrics, ""),
            "html": self._html,
            "json": self._document,
        }
        self._cached.update({name: CachedPage(render, self.clock) for name, render in renderers.items()})

    def answer(self, path: str, accept: str) -> Response | None:
        """The page at `path`, or None."""
        match path:
            case "/livez":
                return self.livez()
            case "/readyz":
                return self.readyz()
            case "/metrics":
                return self.metrics(accept)
            case "/status":
                return self.status(accept)
            case "/":
                return Response(HTTPStatus.FOUND, "text/plain", b"/status\n", {"Location": "/status"})
        return None

    def metrics(self, accept: str) -> Response:
        """All metrics, as OpenMetrics where that is preferred, otherwise in Prometheus' own format."""
        try:
            _, kind = choose_encoder(accept)
        except (TypeError, ValueError):  # it compares whatever is given as a version
            kind = ""
        return self._cached["open metrics" if kind.startswith(OPEN_METRICS) else "metrics"].get()

    def _metrics(self, accept: str) -> Response:
        """In one version of either format: a page for each version that clients may name would be without limit."""
        encode, kind = choose_encoder(accept)
        return Response(HTTPStatus.OK, kind, encode(self.registry))

    def livez(self) -> Response:
        """Whether the consumer was polled and the loop turned lately."""
        now = self.clock.monotonic()
        ages = {
            "poll_seconds_ago": round(now - self.alive_at(), 1),
            "loop_seconds_ago": round(now - self.board.beat_at, 1),
        }
        alive = max(ages.values()) <= POLL_LIMIT_SECONDS
        return _json({"alive": alive, **ages}, HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE)

    def readyz(self) -> Response:
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
        late = [f"the loop has not run for {silent:.0f} s"] if silent > POLL_LIMIT_SECONDS else []
        return [*late, *snapshot.unready]

    def status(self, accept: str) -> Response:
        """The status of everything, for programs or for people."""
        return self._cached["html" if prefers_html(accept) else "json"].get()

    def _document(self) -> Response:
        snapshot = self.board.snapshot
        return _json((snapshot.status if snapshot else Status()).to_json())

    def _html(self) -> Response:
        rules = {
            "Vary": "Accept",
            "Content-Security-Policy": f"default-src 'none'; style-src {style_source()}; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
        }
        body = without_hidden(page(self.board.snapshot)).encode()
        return Response(HTTPStatus.OK, "text/html; charset=utf-8", body, rules)
