"""How the process is set up for work on whole batches. Called before anything heavy is imported."""

from __future__ import annotations

import ctypes
import gc
import os

ARENAS = 2
"""Heaps that the C library keeps for all threads together: with one for each, what they free adds up unused."""
YOUNG_OBJECTS = 50_000
"""Objects made before the collector looks at them. Records make no cycles: with the default it takes 1 s a million."""
_M_ARENA_MAX = -8  # malloc.h


def tune() -> None:
    """Set up threads, memory and the collector."""
    os.environ.setdefault("POLARS_MAX_THREADS", "2")  # beside the consumer's and the uploads'
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    if "MALLOC_ARENA_MAX" not in os.environ and (limit := getattr(ctypes.CDLL(None), "mallopt", None)):
        limit(_M_ARENA_MAX, ARENAS)


def settle() -> None:
    """What is loaded by now stays: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
