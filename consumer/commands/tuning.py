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
"""The C library's own names for the mallopt (malloc.h) parameters set here, unless the environment sets them."""


def tune() -> None:
    """Set up memory and the collector, and disable core dumps: they would contain rows and every secret."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for name, (option, value) in MALLOC_OPTIONS.items():
            if name not in os.environ:
                mallopt(option, value)


def settle() -> None:
    """Loaded modules stay: the collector need not examine them again."""
    gc.freeze()
