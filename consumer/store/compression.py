"""How each compression compresses and decompresses, in one table; and where compressed bytes wait for upload."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

import zstandard

from consumer.domain.compression import Compression, compression_of

BLOCK = 1 << 20
MOST_WINDOW = 1 << 23
"""Memory that a zstd frame may require; the sink's own require less."""
IN_MEMORY = 8 * 1024 * 1024
"""Packed bytes up to this stay off the disk."""
TEMPORARY = "packed-"
_LEFTOVER = re.compile(rf"{TEMPORARY}[a-z0-9_]{{8}}")
"""How the names of temporary files begin."""
GZIP_LEVEL = 6
ZSTD_LEVEL = 3


class Packer(Protocol):
    """Compresses what it is given, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What can be written so far."""

    def flush(self) -> bytes:
        """The end."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One compression. The same input gives the same output.

    `packer` is None if nothing is compressed; it gets the number of plain bytes, -1 if that is not known in advance,
    and must get exactly that many. `unpack` returns the plain bytes in blocks, and raises ValueError for damaged input.
    """

    content_type: str
    packer: Callable[[int], Packer] | None
    unpack: Callable[[BinaryIO], Iterator[bytes]]


# -- none, gzip, zstd ------------------------------------------------------------------------------------------------


def _read(reader: BinaryIO) -> Iterator[bytes]:
    yield from iter(lambda: reader.read(BLOCK), b"")


def _gzip(_size: int) -> Packer:
    return zlib.compressobj(GZIP_LEVEL, wbits=31)  # a gzip header without name and time


def _gunzipped(reader: BinaryIO) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        for block in iter(lambda: reader.read(BLOCK), b""):
            while block:  # one block may hold a thousand times as much
                yield unpacker.decompress(block, BLOCK)
                block = unpacker.unconsumed_tail  # noqa: PLW2901 - what is left of it
        yield unpacker.flush()
    except zlib.error as error:
        raise ValueError(f"damaged gzip: {error}") from error
    if not unpacker.eof:
        raise ValueError("damaged gzip: it ends early")


def _zstd(size: int) -> Packer:
    """With the size in the frame if it is known: readers that decompress at once need it."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj(size=size)


def _unzstd(reader: BinaryIO) -> Iterator[bytes]:
    try:
        with closing(
            zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW).stream_reader(reader, closefd=False)
        ) as stream:
            yield from iter(lambda: stream.read(BLOCK), b"")
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged zstd: {error}") from error


CODECS: Mapping[Compression, Codec] = {
    "none": Codec("text/csv", None, _read),
    "gzip": Codec("application/gzip", _gzip, _gunzipped),
    "zstd": Codec("application/zstd", _zstd, _unzstd),
}
_PLAIN_TYPES = {".jsonl": "application/x-ndjson", ".json": "application/json"}


def content_type(key: str) -> str | None:
    """The Content-Type of an object; None if its name does not tell."""
    for ending, kind in _PLAIN_TYPES.items():
        if key.endswith(ending):
            return kind
    return CODECS[compression_of(key)].content_type if ".csv" in key.rpartition("/")[2] else None


def plain_blocks(key: str, reader: BinaryIO) -> Iterator[bytes]:
    """The object's text in blocks, decompressed by the ending of its key. Raises ValueError if it is damaged."""
    yield from CODECS[compression_of(key)].unpack(reader)


# -- where compressed bytes wait -------------------------------------------------------------------------------------


class Place:
    """Target of compressed bytes: memory while they are few (a full disk accepts not even those), then a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._few: io.BytesIO | None = io.BytesIO()
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
        finally:
            if kind is not None and self._path is not None:
                self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> int:
        """Add these bytes; returns their number."""
        if self._few is not None and self._few.tell() + len(data) > IN_MEMORY:
            few, self._few = self._few.getvalue(), None  # no view: Python 3.12 dies where the collector meets one
            self._open().write(few)
        return self._open().write(data) if self._few is None else self._few.write(data)

    def _open(self) -> BinaryIO:
        if self._file is None:
            made = tempfile.NamedTemporaryFile(dir=self._folder, prefix=TEMPORARY, delete=False)  # noqa: SIM115 - next
            self._file = self._stack.enter_context(cast("BinaryIO", made))
            self._path = Path(made.name)
        return self._file

    def keep(self) -> tuple[Callable[[], BinaryIO], Path | None]:
        """What opens the bytes from the start, and the file that is to be removed."""
        if self._few is not None:
            data = self._few.getvalue()
            return (lambda: io.BytesIO(data)), None
        path = self._path
        assert path is not None
        self._open().flush()
        return (lambda: path.open("rb")), path


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a crashed run. Only while nothing is compressed into `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if _LEFTOVER.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)
