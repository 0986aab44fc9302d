"""A body as HTTP clients read it: restarted if a request is repeated, and verified while it is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from consumer.store.body import BLOCK, ChangedError, blocks, local_disk
from consumer.store.port import Body


class BodyReader(io.RawIOBase):
    """A body as what is sent: it can be read again from the start, and knows its length.

    With `checked` its bytes are compared each time they are read to the end: ChangedError, or what the body raises.
    """

    def __init__(self, body: Body, *, checked: bool) -> None:
        self._body, self._checked = body, checked
        self._blocks: Iterator[bytes] | None = None
        self._reader: BinaryIO | None = None
        self._at, self._spare = 0, b""

    def __len__(self) -> int:
        return self._body.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """To the start or the end; senders need nothing else."""
        wanted = {io.SEEK_SET: offset, io.SEEK_CUR: self._at + offset, io.SEEK_END: len(self) + offset}[whence]
        if wanted not in {0, self._at, len(self)}:
            raise io.UnsupportedOperation(f"seek to {wanted}")
        if wanted != self._at:
            self._stop()
            self._at = wanted
        return wanted

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes; fewer only at the end of a block."""
        if self._at >= len(self):
            return b""
        with local_disk("read a body"):
            data = self._next(BLOCK if size is None or size < 0 else size)
        self._at += len(data)
        return data

    def _next(self, size: int) -> bytes:
        if not self._checked:
            if self._reader is None:
                self._reader = self._body.open_unchecked()
            return self._reader.read(size)
        if self._blocks is None:
            self._blocks, self._spare = blocks(self._body, BLOCK), b""
        if not self._spare:
            self._spare = next(self._blocks)
            if self._at + len(self._spare) >= len(self):
                for _ in self._blocks:  # the comparison comes after the last block
                    raise ChangedError("local bytes grew while they were read; nothing of them was published")
        data, self._spare = self._spare[:size], self._spare[size:]
        return data

    def _stop(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._blocks, self._reader, self._spare = None, None, b""

    def close(self) -> None:
        self._stop()
        super().close()


class InBlocks:
    """A body reader as the HTTP client is to have it: no file, of which it would ask for 16 KiB at a time, but blocks.

    By the smaller reads an upload takes more than twice the processor's time.
    """

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader

    def __iter__(self) -> Iterator[bytes]:
        while data := self._reader.read(BLOCK):
            yield data

    def seek(self, offset: int) -> int:
        """To the start: boto repeats a request when redirected to another region."""
        return self._reader.seek(offset)
