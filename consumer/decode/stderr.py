"""Native code that writes to stderr by itself: kept out of the logs, with the payload bytes that it may print."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_STDERR = 2


class _Silence:
    """Stderr goes nowhere from the first thread that wants it so to the last one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0
        self._kept = -1

    def begin(self) -> None:
        with self._lock:
            if not self._wanted:
                self._kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, _STDERR)
                os.close(nowhere)
            self._wanted += 1

    def end(self) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                os.dup2(self._kept, _STDERR)
                os.close(self._kept)


_silence = _Silence()


@contextmanager
def silence() -> Iterator[None]:
    """Send what native code writes to stderr nowhere for a moment. Our own logs go by a descriptor of their own."""
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()
