"""Record batches made byte by byte, and put into a log as they are: what no client library would write."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from struct import pack, unpack

_POLYNOMIAL = 0x82F63B78


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_row(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """The checksum of record batches (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    """A signed number, zigzag."""
    number, found = number << 1 ^ number >> 63, bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def record(value: bytes, *, delta: int = 0, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """One record without a key; the names of headers need not be text."""
    said = b"".join(_sized(name) + _sized(content) for name, content in headers)
    return _sized(b"\0" + _varint(0) + _varint(delta) + _varint(-1) + _sized(value) + _varint(len(headers)) + said)


def batch(records: Sequence[bytes], *, crc: int | None = None, stamp: int = 1_700_000_000_000) -> bytes:
    """A batch of version 2, not compressed; with a checksum of the test's own."""
    count = len(records)
    checked = pack(">hiqqqhii", 0, count - 1, stamp, stamp, -1, -1, -1, count) + b"".join(records)
    rest = pack(">ibI", -1, 2, crc32c(checked) if crc is None else crc) + checked
    return pack(">qi", 0, len(rest)) + rest


def produce(address: str, topic: str, partition: int, data: bytes) -> None:
    """Append a batch as it is (Produce version 7). Raises ConnectionError where the broker takes it not."""
    name = topic.encode()
    body = pack(">hhihh", 0, 7, 1, -1, -1) + pack(">hi", 1, 10_000)
    body += pack(">ih", 1, len(name)) + name + pack(">ii", 1, partition) + pack(">i", len(data)) + data
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(pack(">i", len(body)) + body)
        (size,) = unpack(">i", _receive(connection, 4))
        answer = _receive(connection, size)
    (error,) = unpack(">h", answer[4 + 4 + 2 + len(name) + 4 + 4 :][:2])
    if error:
        raise ConnectionError(f"the broker answered {error}")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise ConnectionError("the broker closed the connection")
        data += more
    return data
