"""The interface for reporting how far a replacement has read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Advance = Callable[[int], None]
"""Reports that this many more offsets were read."""
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""One reading: what it is for, and how many offsets there are."""


def untold(_what: str, _offsets: int) -> AbstractContextManager[Advance]:
    """For those who want to know nothing."""
    return nullcontext(lambda _offsets: None)
