"""Addresses: brokers, servers, buckets and folders. Each parser raises ValueError with advice, as in `values`."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from consumer.domain.location import location_of
from consumer.settings.values import text

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)")
_LAST_PORT = 65535


def servers(value: object) -> str:
    """Bootstrap servers: `host:port`, by comma."""
    names = [part.strip() for part in text(value).split(",")]
    if not all(_server(name) for name in names):
        raise ValueError(
            'is not a list of brokers; write host:port, separated by commas, e.g. "kafka-1:9092,kafka-2:9092"'
        )
    return ",".join(names)


def _server(name: str) -> bool:
    host = name.rpartition("://")[2]
    return _host_and_port(host, needs_port=True) is not None


def _host_and_port(address: str, *, needs_port: bool) -> tuple[str, int] | None:
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, ""
    if not _HOST.fullmatch(host) or (needs_port and not port):
        return None
    if not port:
        return host, 0
    return (host, int(port)) if re.fullmatch("[0-9]{1,5}", port) and int(port) <= _LAST_PORT else None


def listen(value: object) -> str:
    """The address of the HTTP server: `host:port`, `:port` for all addresses, empty for none."""
    address = text(value).strip()
    if not address:
        return ""
    full = f"0.0.0.0{address}" if address.startswith(":") else address  # noqa: S104 - the user asks for all
    if _host_and_port(full, needs_port=True) is None:
        raise ValueError('is not an address to listen on; write host:port, e.g. "0.0.0.0:8080", or "" to switch it off')
    return full


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def http_url(value: object) -> str:
    """An http or https URL; empty for none."""
    url = text(value).strip().rstrip("/")
    if not url:
        return ""
    parts = _parts(url)
    host = _host_and_port(parts.netloc.rpartition("@")[2], needs_port=False)
    if parts.scheme not in {"http", "https"} or host is None or parts.query or parts.fragment:
        raise ValueError('is not the URL of a server; write e.g. "https://host:9000"')
    return url


def plain_http_url(value: object) -> str:
    """An http or https URL without user and password; empty for none."""
    url = http_url(value)
    if "@" in url:
        raise ValueError("contains a user or password; put them into access_key_id and secret_access_key")
    return url


def registry_urls(value: object) -> str:
    """The URL of a schema registry, more by comma."""
    urls = [http_url(part) for part in text(value).split(",")]
    if not all(urls):
        raise ValueError('is not the URL of a schema registry; write e.g. "http://localhost:8081"')
    return ",".join(urls)


def destination_url(value: object) -> str:
    """`s3://bucket/folder` or `file:///folder`, without a slash at the end."""
    return location_of(text(value).strip()).url
