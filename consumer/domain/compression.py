"""The compressions, and their endings in object names. How each works is in `store/compression.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Compression = Literal["none", "gzip", "zstd"]

SUFFIXES: Mapping[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
"""What a name ends with, after `.csv`."""


def compression_of(key: str) -> Compression:
    """The compression of this key's body, by the ending of its name. Raises ValueError for an unknown ending."""
    name = key.rpartition("/")[2]
    ending = name[name.rindex(".csv") + len(".csv") :] if ".csv" in name else ""
    for compression, suffix in SUFFIXES.items():
        if suffix == ending:
            return compression
    raise ValueError(f"{key} does not end like any known compression")
