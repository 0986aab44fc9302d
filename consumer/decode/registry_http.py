"""HTTP for the schema registry's client, with a deadline per request and a limit on response bytes.

The client library only has timeouts for single reads, so a server that sends a byte every few seconds would block it
forever; and it reads a response of any length, compressed or not, into memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import local
from time import monotonic
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx

MOST_BYTES = 1 << 20
"""Bytes of one answer."""
QUESTION_SECONDS = 20.0
"""How long one question may take, with all that it leads to (references, further addresses, tries)."""


GZIP = frozenset({"gzip", "x-gzip"})
"""Encodings that are decoded although none was requested: a gateway may compress what it forwards."""
GZIP_BITS = 16 + zlib.MAX_WBITS


class TooLargeError(Exception):
    """The answer is longer than `MOST_BYTES`, decompressed."""


class PackedError(Exception):
    """The answer is compressed, and cannot be decompressed."""


class _Deadline(local):
    """When the question of this thread must be over, by the monotonic clock."""

    at = float("inf")


_DEADLINE = _Deadline()


@contextmanager
def deadline() -> Iterator[None]:
    """Let what this thread asks in here take no longer than `QUESTION_SECONDS`."""
    _DEADLINE.at = monotonic() + QUESTION_SECONDS
    try:
        yield
    finally:
        _DEADLINE.at = float("inf")


def remaining() -> float:
    """Seconds that this thread's question still has. Raises TimeoutError if there are none."""
    left = _DEADLINE.at - monotonic()
    if left <= 0:
        raise TimeoutError("no complete answer in time")
    return left


def _within(timeout: float | None, late: type[Exception]) -> float:
    """A timeout of the library, cut to what is left."""
    try:
        left = remaining()
    except TimeoutError as error:
        raise late(str(error)) from None
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every read and write ends by the deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _within(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _within(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _within(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Connects within the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _within(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options))


class BoundedClient(httpx.Client):
    """Reads answers, up to `MOST_BYTES` decompressed."""

    def request(self, method: Any, url: Any, **options: Any) -> httpx.Response:
        options["headers"] = {**(options.get("headers") or {}), "Accept-Encoding": "identity"}
        with self.stream(method, url, **options) as response:
            try:
                body = _body(response)
            except (TooLargeError, PackedError):
                if response.is_success:
                    raise
                body = b""  # an error of such length says nothing of a schema: its status alone counts
        headers = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
        return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)


def _body(response: httpx.Response) -> bytes:
    """The full text, decompressed. Raises TooLargeError, PackedError."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in GZIP | {"identity"}:
        raise PackedError
    unpacker = zlib.decompressobj(GZIP_BITS) if coding in GZIP else None
    body = bytearray()
    for chunk in response.iter_raw():
        try:
            body += chunk if unpacker is None else unpacker.decompress(chunk, MOST_BYTES + 1 - len(body))
        except zlib.error:
            raise PackedError from None
        if len(body) > MOST_BYTES:
            if body.lstrip().startswith(b"<"):  # a page of some server, as a short one is: an outage
                raise httpx.DecodingError("the answer is a web page, not JSON")
            raise TooLargeError
    if unpacker is not None and not unpacker.eof:
        raise PackedError
    return bytes(body)


def bound(session: httpx.Client) -> None:
    """Have the connections of this session end by the deadline."""
    for transport in _transports(session):
        transport._pool._network_backend = _Backend()  # noqa: SLF001 - no public way to hand one in


def _transports(session: httpx.Client) -> Iterator[Any]:
    mounts: Callable[[], Iterable[Any]] = session._mounts.values  # noqa: SLF001 - as above
    yield from (one for one in (session._transport, *mounts()) if one is not None)  # noqa: SLF001 - as above
