"""Native code that writes to stderr by itself: kept out of the logs, with the payload bytes that it may print."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_STDERR = 2
_lock = Lock()


@contextmanager
def silence() -> Iterator[None]:
    """Send what native code writes to stderr nowhere for a moment. Our own logs go by a descriptor of their own."""
    with _lock:
        kept, nowhere = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, _STDERR)
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            os.close(nowhere)
