"""stderr as a stream that never raises: a full disk under the log, or a reader that is gone, stops no worker."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class LossyOutput(io.RawIOBase):
    """A descriptor: what it does not take is dropped. `lost` counts its refusals since it last took something."""

    name = "<stderr>"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it, or what can be. Always returns its size."""
        left = whole = memoryview(data).cast("B")
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            self.lost = 0
        except OSError:
            self.lost += 1
        return len(whole)


def log_stream(descriptor: int) -> io.TextIOWrapper:
    """Text, line by line, into a descriptor that stays open."""
    return io.TextIOWrapper(LossyOutput(descriptor), errors="backslashreplace", line_buffering=True)


def lines_lost(stream: object) -> int:
    """How many writes to such a stream failed since the last one that did not; 0 for any other stream."""
    found = getattr(stream, "buffer", None)
    return found.lost if isinstance(found, LossyOutput) else 0
