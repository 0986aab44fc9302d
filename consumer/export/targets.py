"""Where an export goes: the bucket's `exports/`, a local folder, or a pipe. Rows first, the facts last."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson

from consumer.domain import json_fields
from consumer.domain.errors import UsageError
from consumer.domain.location import object_url
from consumer.export.plan import file_names, sidecar_name
from consumer.seal.keys import export_key
from consumer.store.body import local_disk
from consumer.store.port import Absent, BytesBody, Condition, Match, Refused, StreamingStore

PART = ".part"
"""Ending of a file that is not whole yet."""
FOLDER_MODE = 0o700
FILE_MODE = 0o600

Sidecar = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """An existing export: the file of its rows, and its facts."""

    file: str
    facts: Sidecar


class TakenError(Exception):
    """Another export was faster: what exists must be checked again."""


class Target(Protocol):
    """One stream's place for exports. A file is visible under its name only when it is whole."""

    def where(self, name: str) -> str:
        """The file as the operator may name it."""

    def standing(self, base: str) -> Standing | None:
        """The existing export with this name, whatever its compression; None if its facts or its rows are missing.

        Raises UsageError if there is something else.
        """

    def write(self, name: str, blocks: Iterable[bytes], expected: int) -> None:
        """Write the rows, over older ones with the name. Raises TakenError, and whatever `blocks` raises."""

    def conclude(self, name: str, document: Sidecar) -> None:
        """Write the facts: from now on the export exists. Raises TakenError."""


@dataclass(frozen=True, slots=True)
class BucketTarget:
    """`exports/<stream>/` in the destination's folder."""

    store: StreamingStore
    stream: str

    def where(self, name: str) -> str:
        return object_url(self.store.location, export_key(self.stream, name))

    def standing(self, base: str) -> Standing | None:
        stored = self.store.get(export_key(self.stream, sidecar_name(base)))
        if stored is None:
            return None
        found = sidecar_from(stored.data, self.where(sidecar_name(base)))
        for file in file_names(base):
            rows = self.store.head(export_key(self.stream, file))
            if rows is not None and rows.size == found["bytes"]:
                return Standing(file, found)
        return None

    def write(self, name: str, blocks: Iterable[bytes], expected: int) -> None:
        key = export_key(self.stream, name)
        written = self.store.put_stream(key, blocks, condition=self._over(key), expected=expected)
        if isinstance(written, Refused):
            raise TakenError

    def conclude(self, name: str, document: Sidecar) -> None:
        key, body = export_key(self.stream, name), BytesBody(_json(document))
        if isinstance(self.store.put(key, body, condition=self._over(key)), Refused):
            raise TakenError

    def _over(self, key: str) -> Condition:
        facts = self.store.head(key)
        return Match(facts.etag) if facts else Absent()


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """`DIR/<stream>/` on the local disk: written as `.part`, renamed when whole."""

    folder: Path

    def where(self, name: str) -> str:
        return str(self.folder / name)

    def standing(self, base: str) -> Standing | None:
        path = self.folder / sidecar_name(base)
        with local_disk(f"read {path}"):
            if not path.is_file():
                return None
            found = sidecar_from(path.read_bytes(), str(path))
            for file in file_names(base):
                rows = self.folder / file
                if rows.is_file() and rows.stat().st_size == found["bytes"]:
                    return Standing(file, found)
        return None

    def write(self, name: str, blocks: Iterable[bytes], expected: int) -> None:  # noqa: ARG002 - a file has no parts
        self._put(name, blocks)

    def conclude(self, name: str, document: Sidecar) -> None:
        self._put(name, (_json(document),))

    def _put(self, name: str, blocks: Iterable[bytes]) -> None:
        with local_disk(f"make {self.folder}"):
            self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        path = self.folder / (name + PART)
        with _own_file(path) as file:
            try:
                for block in blocks:
                    with local_disk(f"write {path}"):
                        file.write(block)
                with local_disk(f"write {path}"):
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            if name.endswith(".json"):
                path.replace(self.folder / name)
            else:
                # with --force: the facts of older rows must not exist next to the new rows
                (self.folder / f"{name.partition('.csv')[0]}.json").unlink(missing_ok=True)
                path.replace(self.folder / name)


def _own_file(path: Path) -> BinaryIO:
    """The empty file with this name, locked. Raises UsageError if another process has it."""
    while True:
        with local_disk(f"write {path}"):
            file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE), "wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UsageError(f"{path} is being written by another export ({error.strerror})") from error
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            file.truncate(0)
            return file
        file.close()  # it was renamed by its writer between our opening and our locking: it is somebody's export


@dataclass(frozen=True, slots=True)
class PipeTarget:
    """Rows only, to who reads our stdout."""

    out: Callable[[bytes], object]

    def where(self, name: str) -> str:  # noqa: ARG002 - a pipe has no names
        return "-"

    def standing(self, base: str) -> Standing | None:  # noqa: ARG002
        """Nothing stays in a pipe."""
        return None

    def write(self, name: str, blocks: Iterable[bytes], expected: int) -> None:  # noqa: ARG002
        for block in blocks:
            self.out(block)

    def conclude(self, name: str, document: Sidecar) -> None:
        """The rows were all."""


def sidecar_from(data: bytes, where: str) -> Sidecar:
    """The facts as they were written. Raises UsageError if they are not valid."""
    try:
        raw = json_fields.table(orjson.loads(data), "the document")
        for item in json_fields.tables(raw, "days"):
            json_fields.day(item, "day")
            json_fields.whole_or_none(item, "revision")
        for span in json_fields.table(raw["kafka"], "kafka").values():
            ends = json_fields.table(span, "kafka")
            json_fields.whole(ends, "from")
            json_fields.whole(ends, "to")
        json_fields.text(raw, "settings")
        json_fields.whole(raw, "bytes")
        json_fields.texts(raw, "columns")
    except (KeyError, ValueError) as error:
        raise UsageError(f"{where} was not written by an export ({error}): move it away") from error
    return raw


def _json(document: Sidecar) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
