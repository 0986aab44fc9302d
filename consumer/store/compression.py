"""Packing: gzip and zstd, and the place where packed bytes wait for their upload."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol, Self, cast

import zstandard

Compression = Literal["none", "gzip", "zstd"]

IN_MEMORY = 8 * 1024 * 1024
"""Packed bytes up to this stay off the disk."""
TEMPORARY = "packed-"
_LEFTOVER = re.compile(rf"{TEMPORARY}[a-z0-9_]{{8}}")
"""How the names of temporary files begin."""
GZIP_LEVEL = 6
ZSTD_LEVEL = 3


class Packer(Protocol):
    """Compresses what it is given, piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What can be written so far."""

    def flush(self) -> bytes:
        """The end."""


def packer_for(compression: Compression) -> Packer:
    """A fresh packer. The same bytes in give the same bytes out."""
    if compression == "gzip":
        return zlib.compressobj(GZIP_LEVEL, wbits=31)  # a gzip header without name and time
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()


class Place:
    """Where packed bytes go: into memory while they are few (a full disk takes not even those), then into a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._few: io.BytesIO | None = io.BytesIO()
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
        finally:
            if kind is not None and self._path is not None:
                self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> int:
        """Add these bytes; returns their number."""
        if self._few is not None and self._few.tell() + len(data) > IN_MEMORY:
            few, self._few = self._few.getbuffer(), None
            self._open().write(few)
        return self._open().write(data) if self._few is None else self._few.write(data)

    def _open(self) -> BinaryIO:
        if self._file is None:
            made = tempfile.NamedTemporaryFile(dir=self._folder, prefix=TEMPORARY, delete=False)  # noqa: SIM115 - next
            self._file = self._stack.enter_context(cast("BinaryIO", made))
            self._path = Path(made.name)
        return self._file

    def keep(self) -> tuple[Callable[[], BinaryIO], Path | None]:
        """What opens the bytes from the start, and the file that is to be removed."""
        if self._few is not None:
            data = self._few.getvalue()
            return (lambda: io.BytesIO(data)), None
        path = self._path
        assert path is not None
        self._open().flush()
        return (lambda: path.open("rb")), path


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a crashed run. Only while nobody packs into `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if _LEFTOVER.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)
