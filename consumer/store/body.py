"""Bodies frozen from local files: a header line and raw pieces, sent unchanged or compressed into a temporary file."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from consumer.domain.compression import Compression
from consumer.domain.errors import TransientError
from consumer.store.compression import CODECS, Packer, Place
from consumer.store.port import Body

BLOCK = 1024 * 1024


class ChangedError(TransientError):
    """The bytes read differ from those of the body; none of them were published."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The first `length` bytes of what `open` reads; None: all that exists when the body is frozen.

    `self_checking`: the result of `open` verifies a checksum itself, and raises before its last bytes; `unchecked`
    returns the same bytes without that.
    """

    open: Callable[[], BinaryIO]
    length: int | None = None
    self_checking: bool = False
    unchecked: Callable[[], BinaryIO] | None = None


@dataclass(frozen=True, slots=True)
class FileBody:
    """A body whose bytes are on the local disk, in memory if few. `temporary` is its own file, deleted by `close`."""

    size: int
    sha256: str
    opener: Callable[[], BinaryIO]
    temporary: Path | None = None
    self_checking: bool = False
    unchecked: Callable[[], BinaryIO] | None = None

    def open(self) -> BinaryIO:
        """A fresh reader at the start. The caller closes it."""
        return self.opener()

    def open_unchecked(self) -> BinaryIO:
        """The same without checks, where there are some."""
        return (self.unchecked or self.opener)()

    def close(self) -> None:
        """Give the temporary file back; the body cannot be opened any more if it had one."""
        if self.temporary is not None:
            self.temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def freeze(
    pieces: Sequence[Piece], *, header: bytes = b"", compression: Compression = "none", folder: Path
) -> FileBody:
    """One body of the header and the pieces, in that order.

    Nothing is copied without compression: the pieces are read once for the digest, and again by each `open`. With
    compression a large result is a temporary file in `folder`. The same input gives the same output. Raises
    TransientError if the local disk fails or is full.
    """
    packer = CODECS[compression].packer
    with local_disk("read the spool" if packer is None else f"pack into {folder}"):
        return (
            _plain(pieces, header) if packer is None else _packed(pieces, header, packer(_size(pieces, header)), folder)
        )


def framed(piece: Piece, length: int, *, header: bytes, sha256: str) -> FileBody:
    """The header and a piece of `length` bytes, whose digest together is known: nothing is read to find it."""
    whole = replace(piece, length=length)
    bare = replace(whole, open=piece.unchecked or piece.open)
    return FileBody(
        len(header) + length,
        sha256,
        lambda: _chained(header, (whole,)),
        self_checking=piece.self_checking,
        unchecked=lambda: _chained(header, (bare,)),
    )


def blocks(body: Body, size: int) -> Iterator[bytes]:
    """The body's bytes in blocks of `size`, the last one shorter, read once.

    The digest of a body that checks itself is not computed again: a third of the cost of an upload (measured). Raises
    ChangedError after the last block if length or digest differ from the body's, TransientError if the disk fails.
    """
    digest, length = None if body.self_checking else hashlib.sha256(), 0
    with local_disk("read a body"), body.open() as reader:
        while block := reader.read(size):
            if digest is not None:
                digest.update(block)
            length += len(block)
            yield block
    sha256 = body.sha256 if digest is None else digest.hexdigest()
    if (length, sha256) != (body.size, body.sha256):
        raise ChangedError(
            f"local bytes changed while they were read: {length} bytes with sha256 {sha256},"
            f" expected {body.size} with {body.sha256}; nothing of them was published"
        )


def regrouped(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of `size`, the last one shorter."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(memoryview(held)[:size])
            del held[:size]
    if held:
        yield bytes(held)


def into_buffers(body: Body, size: int) -> Iterator[bytearray]:
    """The same in one reused buffer: each block is invalid once the next one is requested."""
    buffer, filled = bytearray(min(size, body.size)), 0
    for block in blocks(body, BLOCK):
        taken = 0
        while taken < len(block):
            part = block[taken : taken + len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == len(buffer):
                yield buffer
                filled = 0
    if filled:
        del buffer[filled:]
        yield buffer


@contextlib.contextmanager
def local_disk(doing: str) -> Iterator[None]:
    """Turn an OSError of the local disk into TransientError: room or rights may come back."""
    try:
        yield
    except OSError as error:
        raise TransientError(f"local disk: cannot {doing}: {error}") from error


def _plain(pieces: Sequence[Piece], header: bytes) -> FileBody:
    digest, size, frozen = hashlib.sha256(header), len(header), []
    for piece in pieces:
        length = 0
        with _Chain(b"", (piece,)) as reader:
            for block in iter(lambda: reader.read(BLOCK), b""):
                digest.update(block)
                length += len(block)
        frozen.append(replace(piece, length=length))
        size += length
    checking = all(piece.self_checking for piece in pieces)
    return FileBody(size, digest.hexdigest(), lambda: _chained(header, frozen), self_checking=checking)


def _size(pieces: Sequence[Piece], header: bytes) -> int:
    """Bytes of all of it; -1 if a piece has as many as there will be."""
    lengths = [piece.length for piece in pieces if piece.length is not None]
    return len(header) + sum(lengths) if len(lengths) == len(pieces) else -1


def _packed(pieces: Sequence[Piece], header: bytes, packer: Packer, folder: Path) -> FileBody:
    digest, size = hashlib.sha256(), 0
    with Place(folder) as place, _Chain(header, pieces) as reader:
        for block in iter(lambda: reader.read(BLOCK), b""):
            packed = packer.compress(block)
            digest.update(packed)
            size += place.write(packed)
        packed = packer.flush()
        digest.update(packed)
        size += place.write(packed)
        opener, path = place.keep()
    return FileBody(size, digest.hexdigest(), opener, path)


def _chained(header: bytes, pieces: Sequence[Piece]) -> BinaryIO:
    return cast("BinaryIO", _Chain(header, pieces))


class _Chain(io.RawIOBase):
    """The header, then each piece, as one stream. Holds one piece open at a time. A read is short only at the end."""

    def __init__(self, header: bytes, pieces: Sequence[Piece]) -> None:
        self._rest = iter(pieces)
        self._reader: BinaryIO = io.BytesIO(header)
        self._left: int | None = len(header)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Mostly one piece's own bytes, uncopied: bodies are large."""
        parts, left = [], size
        while left:
            data = self._next(BLOCK if size < 0 else left)
            if data:
                parts.append(data)
                left -= len(data) if size > 0 else 0
            elif not self._advance():
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._reader.close()
        super().close()

    def _next(self, wanted: int) -> bytes:
        data = self._reader.read(wanted if self._left is None else min(wanted, self._left))
        if self._left is not None:
            if not data and self._left:
                raise OSError(f"a piece ended {self._left} bytes early")
            self._left -= len(data)
        return data

    def _advance(self) -> bool:
        self._reader.close()
        piece = next(self._rest, None)
        if piece is None:
            self._reader, self._left = io.BytesIO(), 0
            return False
        self._reader, self._left = piece.open(), piece.length
        return True
