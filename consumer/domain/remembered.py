"""Results that are kept because the same short texts come again and again; long ones are not worth the memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Protocol, TypeVar

LONGEST = 256
"""Characters, or bytes, of an argument whose result is kept: with the number of entries a bound on the memory."""


class Text(Hashable, Protocol):
    """What has a length and can be looked up."""

    def __len__(self) -> int: ...


_A = TypeVar("_A", bound=Text)
_R = TypeVar("_R")


def remembering(call: Callable[[_A], _R], entries: int) -> Callable[[_A], _R]:
    """`call`, which keeps its results for so many short arguments, those that were used last."""
    kept = lru_cache(entries)(call)
    return lambda text: kept(text) if len(text) <= LONGEST else call(text)
