"""TLS before a store that speaks plain HTTP: bytes go through as they come."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK = 1 << 16


@contextmanager
def tls_proxy(upstream: str, certificate: Path) -> Iterator[str]:
    """The address of a listener with this certificate and key, whose connections go on to `upstream` (host:port)."""
    host, _, port = upstream.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        threading.Thread(target=_accept, args=(listener, context, (host, int(port))), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # it is closed: the test is over
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=_join, args=(plain, context, upstream), daemon=True).start()


def _join(plain: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(plain, server_side=True) as client,
        socket.create_connection(upstream) as store,
    ):
        answers = threading.Thread(target=_copy, args=(store, client), daemon=True)
        answers.start()
        _copy(client, store)
        answers.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(BLOCK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
