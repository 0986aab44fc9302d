"""Frozen spool files as the bodies of objects."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from consumer.domain.batches import DayRows
from consumer.domain.compression import Compression
from consumer.shape.csv_text import line as csv_line
from consumer.shape.quarantine import without_value
from consumer.spool.checkpoint import SpoolFile
from consumer.spool.disk import Disk
from consumer.spool.files import Running, SpoolDamagedError
from consumer.store.body import FileBody, Piece, framed, freeze

_BLOCK = 1 << 20


def header(columns: tuple[str, ...]) -> bytes:
    """The header line of a CSV object, written like a row: a name may contain a comma."""
    return csv_line(columns)


class _Checked(io.RawIOBase):
    """Reads a spool file's `length` bytes and compares their running checksum at the end."""

    def __init__(self, file: SpoolFile, reader: BinaryIO) -> None:
        self._file, self._reader = file, reader
        self._left, self._crc = file.length, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._reader.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        if self._left and not data:
            raise SpoolDamagedError(f"spool file {self._file.name} ends {self._left} bytes early")
        self._crc = zlib.crc32(data, self._crc)
        if not self._left and self._crc != self._file.crc:
            raise SpoolDamagedError(f"spool file {self._file.name} was changed after it was written")
        return data

    def close(self) -> None:
        self._reader.close()
        super().close()


class _Lines(io.RawIOBase):
    """A reader's lines, each as `change` makes it."""

    def __init__(self, reader: BinaryIO, change: Callable[[bytes], bytes]) -> None:
        self._reader, self._change = reader, change
        self._raw = self._ready = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._ready) < size:
            block = self._reader.read(_BLOCK)
            *whole, self._raw = (self._raw + block).split(b"\n")
            self._ready += b"".join(self._change(line + b"\n") for line in whole)
            if not block:
                break
        size = len(self._ready) if size < 0 else size
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def close(self) -> None:
        self._reader.close()
        super().close()


@dataclass(frozen=True, slots=True)
class ObjectBodies:
    """Makes the bodies of a seal's objects. Compressed ones are in `folder` until they are closed."""

    disk: Disk
    folder: Path
    omit_values: bool = False
    """Whether quarantine lines lose key and value: before the spool, and again here for older files."""

    def freeze(
        self,
        file: SpoolFile | None,
        columns: tuple[str, ...],
        compression: Compression,
        digest: Running | None = None,
        *,
        quarantine: bool = False,
    ) -> FileBody:
        """The object of one spool file; None is an object without rows. `digest` is the file's, where it is known.

        Raises SpoolDamagedError if the file is not what was written, TransientError if the disk is full. With a
        digest that shows only when the body is read.
        """
        quarantine = quarantine or (file is not None and file.quarantine)
        top = b"" if quarantine else header(columns)
        packing: Compression = "none" if quarantine else compression
        as_it_is = packing == "none" and not (quarantine and self.omit_values)
        if file is not None and as_it_is and digest is not None and digest.top == top:
            whole = Piece(lambda: self._open(file), self_checking=True, unchecked=lambda: self._bare(file))
            return framed(whole, file.length, header=top, sha256=digest.sha256)
        pieces = [] if file is None else [Piece(lambda: self._open(file), file.length, self_checking=True)]
        if file is not None and quarantine and self.omit_values:
            pieces = [Piece(lambda: cast("BinaryIO", _Lines(self._open(file), without_value)))]
        return freeze(pieces, header=top, compression=packing, folder=self.folder)

    def spooled(self, rows: DayRows) -> DayRows:
        """Rows for the spool: what quarantine objects omit is not written to the disk either."""
        if not (rows.quarantine and self.omit_values):
            return rows
        return replace(rows, body=b"".join(map(without_value, rows.body.splitlines(keepends=True))))

    def _open(self, file: SpoolFile) -> BinaryIO:
        return cast("BinaryIO", _Checked(file, self._bare(file)))

    def _bare(self, file: SpoolFile) -> BinaryIO:
        try:
            return self.disk.read(file.name)
        except FileNotFoundError as error:
            raise SpoolDamagedError(f"spool file {file.name} is gone") from error
