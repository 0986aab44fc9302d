"""Process-wide tuning for work on large batches. Called before any heavy import."""

from __future__ import annotations

import ctypes
import gc
import os
import resource

ARENAS = 2
"""Heaps that the C library keeps for all threads together: with one for each, what they free adds up unused."""
YOUNG_OBJECTS = 50_000
"""Objects made before the collector looks at them. Records make no cycles: with the default it takes 1 s a million."""
MALLOC_OPTIONS = {
    "MALLOC_ARENA_MAX": (-8, ARENAS),
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 << 20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 64 << 20),
}
"""The C library's own names for what mallopt (malloc.h) is told here, unless the environment says it."""


def tune() -> None:
    """Set up memory and the collector, and leave no core behind: it would hold rows and every secret."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for name, (option, value) in MALLOC_OPTIONS.items():
            if name not in os.environ:
                mallopt(option, value)


def settle() -> None:
    """What is loaded by now stays: the collector need not look at it again, and finds next to nothing in it now."""
    gc.freeze()
