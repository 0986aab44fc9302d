"""Reading data objects back: decompressed bytes, and their rows counted without parsing cells."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import zstandard

BLOCK = 1 << 20
MOST_WINDOW = 1 << 23
"""Memory that a zstd frame may ask for; ours ask for less."""


def plain_blocks(key: str, reader: BinaryIO) -> Iterator[bytes]:
    """The object's text in blocks, decompressed by the ending of its key. Raises ValueError where it is damaged."""
    if key.endswith(".gz"):
        yield from _gunzipped(reader)
    elif key.endswith(".zst"):
        yield from _unzstd(reader)
    else:
        yield from iter(lambda: reader.read(BLOCK), b"")


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


def _unzstd(reader: BinaryIO) -> Iterator[bytes]:
    try:
        with closing(
            zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW).stream_reader(reader, closefd=False)
        ) as stream:
            yield from iter(lambda: stream.read(BLOCK), b"")
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged zstd: {error}") from error


class RowCounter:
    """Counts CSV rows block by block: line ends outside quotes. The header counts as one."""

    def __init__(self) -> None:
        self.rows = 0
        self._quoted = False

    def add(self, block: bytes) -> None:
        """Count what this block adds."""
        pieces = block.split(b'"')
        for index, piece in enumerate(pieces):
            if index:
                self._quoted = not self._quoted
            if not self._quoted:
                self.rows += piece.count(b"\n")


def count_lines(key: str, reader: BinaryIO) -> int:
    """Rows of a data object without its header, or lines of a quarantine object."""
    if key.endswith(".jsonl"):
        return sum(block.count(b"\n") for block in plain_blocks(key, reader))
    counter = RowCounter()
    for block in plain_blocks(key, reader):
        counter.add(block)
    return counter.rows - 1
