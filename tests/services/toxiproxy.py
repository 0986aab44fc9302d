"""toxiproxy: a proxy before Kafka or the store that is slow, narrow or cut on demand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self
from uuid import uuid4

from tests.services import fetch, http, ports
from tests.services.process import Server

Direction = Literal["downstream", "upstream"]
"""downstream: from the server to the client; upstream: from the client to the server."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy: `address` is what the client uses instead of the server's."""

    api: str
    name: str
    address: str
    upstream: str

    def begin(self) -> Self:
        """Have it made where toxiproxy does not know it; with the address that it got."""
        body = {"name": self.name, "listen": self.address, "upstream": self.upstream, "enabled": True}
        return replace(self, address=http.call_json(self.api, "POST", "/proxies", body)["listen"])

    def cut(self) -> None:
        """Close all connections and accept none."""
        self._enable(on=False)

    def restore(self) -> None:
        """Accept connections again."""
        self._enable(on=True)

    def latency(self, milliseconds: int, jitter: int = 0, direction: Direction = "downstream") -> str:
        """Delay all data."""
        return self.toxic("latency", direction, latency=milliseconds, jitter=jitter)

    def bandwidth(self, kilobytes_per_second: int, direction: Direction = "downstream") -> str:
        """Let through so much and no more."""
        return self.toxic("bandwidth", direction, rate=kilobytes_per_second)

    def black_hole(self, close_after_milliseconds: int = 0, direction: Direction = "downstream") -> str:
        """Drop all data, and close the connection after that time (0: never)."""
        return self.toxic("timeout", direction, timeout=close_after_milliseconds)

    def reset_peer(self, after_milliseconds: int = 0, direction: Direction = "downstream") -> str:
        """Reset each connection after that time."""
        return self.toxic("reset_peer", direction, timeout=after_milliseconds)

    def limit(self, size: int, direction: Direction = "downstream") -> str:
        """Close each connection after so many bytes: an answer that breaks off."""
        return self.toxic("limit_data", direction, bytes=size)

    def toxic(self, kind: str, direction: Direction, toxicity: float = 1.0, **attributes: int) -> str:
        """Add any toxic; its name, for `remove`."""
        name = f"{kind}-{uuid4().hex[:8]}"
        body = {"name": name, "type": kind, "stream": direction, "toxicity": toxicity, "attributes": attributes}
        http.call_json(self.api, "POST", f"/proxies/{self.name}/toxics", body)
        return name

    def remove(self, toxic: str) -> None:
        """End one toxic."""
        http.call_json(self.api, "DELETE", f"/proxies/{self.name}/toxics/{toxic}")

    def reset(self) -> None:
        """End all toxics of this proxy and accept connections."""
        for toxic in http.call_json(self.api, "GET", f"/proxies/{self.name}/toxics"):
            self.remove(toxic["name"])
        self.restore()

    def delete(self) -> None:
        """Remove the proxy."""
        http.call_json(self.api, "DELETE", f"/proxies/{self.name}")

    def _enable(self, *, on: bool) -> None:
        http.call_json(self.api, "POST", f"/proxies/{self.name}", {"enabled": on})


@dataclass(frozen=True, slots=True)
class ToxiproxyAddress:
    """Where toxiproxy's API is: host and port."""

    api: str

    def create(self, upstream: str, listen: str | None = None) -> Proxy:
        """A proxy before `upstream` (host:port), on `listen` or on a free port."""
        name = f"proxy-{uuid4().hex[:8]}"
        return Proxy(self.api, name, listen or f"{ports.HOST}:0", upstream).begin()

    @contextmanager
    def proxy(self, upstream: str, listen: str | None = None) -> Iterator[Proxy]:
        """A proxy that is removed at the end."""
        proxy = self.create(upstream, listen)
        try:
            yield proxy
        finally:
            proxy.delete()


class Toxiproxy(Server):
    """The server that holds all proxies."""

    name: ClassVar[str] = "toxiproxy"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = ports.free()

    @property
    def address(self) -> ToxiproxyAddress:
        """Where its API is."""
        return ToxiproxyAddress(f"{ports.HOST}:{self._port}")

    def begin_anew(self, proxies: Iterable[Proxy]) -> None:
        """Kill and start it, with these proxies as they were made: all connections break.

        Once it has lost a connection while it removes a toxic it may answer nobody any more (its issues 412 and 558).
        """
        self.kill()
        self.start()
        for proxy in proxies:
            proxy.begin()

    def command(self) -> list[str]:
        """The server without proxies."""
        return [str(fetch.toxiproxy()), "-host", ports.HOST, "-port", str(self._port)]

    def is_ready(self) -> bool:
        """Whether it tells its version."""
        return http.answers(self.address.api, "/version")
