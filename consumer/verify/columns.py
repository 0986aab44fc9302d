"""The folder's columns: the list is unchanged, and the header of every object is a prefix of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.folder_columns import begins_with, list_from
from consumer.seal.keys import schema_key, settings_key
from consumer.store.port import Stored
from consumer.verify.documents import unlike_written, without_metadata
from consumer.verify.findings import Finding, Problem
from consumer.verify.wanted import Wanted
from consumer.worker.object_bodies import header

RESTORE_LIST = (
    "restore it from a backup or an older object version. A worker writes a missing one again with its next seal"
)
OTHER_ORDER = "load those days by column name, or into a separate table"


@dataclass(frozen=True, slots=True)
class ColumnsLook:
    """The folder's list and the columns of row rules by digest; `listed` is None if no list can be read."""

    listed: tuple[str, ...] | None = None
    settings: Mapping[str, tuple[str, ...]] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def longest(self) -> int:
        """Bytes of the longest header that an object can have."""
        known = [*(self.settings or {}).values(), self.listed or ()]
        return max(len(header(names)) for names in known)

    def of_record(self, digest: str, columns: int | None) -> tuple[str, ...] | None:
        """The columns of an object by its record; None if they cannot be known."""
        if columns is None:
            return (self.settings or {}).get(digest)
        return self.listed[:columns] if self.listed is not None and columns <= len(self.listed) else None

    def header_problem(self, wanted: Wanted, line: bytes) -> str:
        """What is wrong with an object's first line; "" if nothing is, or nothing can be said."""
        expected = self.of_record(wanted.settings, wanted.columns)
        shown = line[:200].decode(errors="replace")
        if wanted.replay is not None and wanted.columns is None:
            if (expected is None or line != header(expected)) and not self._is_prefix(line):
                return f"its header does not match the folder's columns: {shown!r}"
        elif expected is not None and line != header(expected):
            return f"its header is {shown!r}, its record says {header(expected)[:200].decode()!r}"
        return ""

    def _is_prefix(self, line: bytes) -> bool:
        whole, text = header(self.listed or ()).removesuffix(b"\n"), line.removesuffix(b"\n")
        return bool(text) and whole.startswith(text) and whole[len(text) :][:1] in {b"", b","}


def check_columns(
    stream: str,
    stored: Stored | None,
    headers: Collection[tuple[str, int | None]],
    settings: Mapping[str, tuple[str, ...]],
    *,
    keeps_metadata: bool,
) -> ColumnsLook:
    """Check the list against `headers`: settings of objects, and the number of columns in their records."""
    most = max((columns for _, columns in headers if columns is not None), default=0)
    key = schema_key(stream)
    if stored is None:
        what = f"the folder's list of columns is missing, but records refer to {most} of them"
        missing = (Finding(key, Problem.MISSING, what, RESTORE_LIST),) if most else ()
        return ColumnsLook(None, settings, missing)
    try:
        listed = list_from(stored, stream).names
    except HaltError as halt:
        problem = Problem.NEWER if halt.reason is HaltReason.CHAIN_NEWER else Problem.UNREADABLE
        return ColumnsLook(None, settings, (Finding(key, problem, halt.message, RESTORE_LIST),))
    whats = [unlike_written(stored), without_metadata(stored, keeps_metadata=keeps_metadata)]
    if most > len(listed):
        whats.append(f"it has {len(listed)} columns, but a record says {most}")
    whats.extend(_other_settings(listed, headers, settings))
    findings = [Finding(key, Problem.INCONSISTENT, what, RESTORE_LIST) for what in whats if what]
    return ColumnsLook(listed, settings, (*findings, *_other_orders(listed, headers, settings)))


def _other_settings(
    listed: tuple[str, ...], headers: Iterable[tuple[str, int | None]], settings: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Columns that a record's settings write and its header lacks."""
    for digest, columns in {(digest, columns) for digest, columns in headers if columns is not None}:
        lacking = set(settings.get(digest, ())) - set(listed[:columns])
        if lacking:
            yield f"its first {columns} columns lack {', '.join(sorted(lacking))} of {settings_key(digest)}"


def _other_orders(
    listed: tuple[str, ...], headers: Iterable[tuple[str, int | None]], settings: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    """Objects older than the list whose header is not a prefix of it: this cannot be fixed."""
    for digest in sorted({digest for digest, columns in headers if columns is None}):
        if not begins_with(listed, settings.get(digest, ())):
            what = "objects of these settings, older than the folder's list of columns, have them in another order"
            yield Finding(settings_key(digest), Problem.INCONSISTENT, what, OTHER_ORDER, note=True)
