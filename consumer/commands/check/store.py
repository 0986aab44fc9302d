"""`check`: the destination stores, returns and lists objects, its conditional writes hold, its clock agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Protocol, runtime_checkable
from uuid import uuid4

from consumer.commands.check.line import Line, failed, ok, warning
from consumer.domain.clock import Clock
from consumer.domain.errors import HaltError, TransientError
from consumer.seal.decide import CLOCK_TOLERANCE
from consumer.seal.folder_columns import folder_columns, out_of_order
from consumer.settings.model import StreamSettings
from consumer.store.conditional_writes.probe import FOLDER, conditional_writes
from consumer.store.port import Absent, BytesBody, Store, Written
from consumer.streams.columns import column_names

RACES = 20
WRITERS = 32
TEXT = b"adapty-sink check\n"
FIX = "fix the destination's settings, the credentials or their policy, then check again"


class _WrongError(Exception):
    """The store did not behave as it answered."""


@runtime_checkable
class Checksummed(Protocol):
    """A store that may get a digest with the bytes."""

    def sends_checksums(self) -> bool:  # no property: `isinstance` would look at it, and so ask the store
        """Whether large bodies go up with their sha256 for the store to compare. The store may be asked."""

    def compares_checksums(self) -> bool:
        """Whether the store refuses bytes that do not have the checksum that goes with them."""


def store_lines(store: Store, clock: Clock, *, races: int = RACES, writers: int = WRITERS) -> Iterator[Line]:
    """One destination. Leaves small objects below `_checks/`: nothing is ever deleted in a bucket."""
    subject = f"destination {store.location}"
    whole = True
    for check, detail, ask in _steps(store, f"{FOLDER}/access-{uuid4().hex}"):
        line = _tried(subject, check, detail, ask)
        whole = whole and not line.todo
        yield line
    if not whole:
        yield failed(subject, "conditional writes", "not tested: the store refuses what they need", FIX)
        return
    yield _clock_line(subject, store, clock)
    if isinstance(store, Checksummed):
        yield _checksum_line(subject, store)
    yield from _race_lines(subject, store, races, writers)


def column_lines(stream: StreamSettings, store: Store) -> Iterator[Line]:
    """The settings' columns compared with the folder's: new columns are only added at the end."""
    subject = f"stream {stream.name}"
    try:
        listed = folder_columns(store, stream.name).names
    except (TransientError, HaltError) as error:
        yield failed(subject, "columns", str(error), FIX)
        return
    own = column_names(stream.rules)
    added, kept = [name for name in own if name not in listed], [name for name in listed if name not in own]
    if moved := out_of_order(listed, own):
        yield warning(
            subject,
            "columns",
            f"the schema has {', '.join(moved)} before columns that the folder had first: its header only grows at its"
            " end, so that readers by position do not shift",
            "nothing, if columns at the end are acceptable: only a new folder can have them in the schema's order",
        )
    else:
        told = [f"{len(listed)} in the folder"] if listed else ["a new folder"]
        told += [f"to be added: {', '.join(added)}"] if listed and added else []
        told += [f"kept, empty: {', '.join(kept)}"] if kept else []
        yield ok(subject, "columns", "; ".join(told))


def _steps(store: Store, key: str) -> list[tuple[str, str, Callable[[], None]]]:
    """What a worker asks of a store, in the order in which one needs the other."""
    return [
        ("put", "objects can be written", partial(_put, store, key)),
        ("head", "objects are found with their metadata", partial(_head, store, key)),
        ("get", "objects can be read", partial(_get, store, key)),
        ("list", "objects are listed", partial(_list, store, key)),
    ]


def _put(store: Store, key: str) -> None:
    if not isinstance(store.put(key, BytesBody(TEXT), condition=Absent(), metadata={"rows": "1"}), Written):
        raise _WrongError("a new object was refused as if it existed")


def _head(store: Store, key: str) -> None:
    facts = store.head(key)
    if facts is None or facts.size != len(TEXT):
        raise _WrongError(f"{key} was written, but is not found as it was written")
    if store.keeps_metadata and facts.metadata.get("rows") != "1":
        raise _WrongError("it does not keep user metadata, which describes the contents of objects")


def _get(store: Store, key: str) -> None:
    stored, reader = store.get(key), store.open(key)
    if reader is None or stored is None:
        raise _WrongError(f"{key} was written, but cannot be read")
    with reader:
        if reader.read() != TEXT or stored.data != TEXT:
            raise _WrongError(f"{key} returns different bytes than were written")


def _list(store: Store, key: str) -> None:
    if [facts.key for facts in store.list(key)] != [key]:
        raise _WrongError(f"{key} was written, but is not listed")


def _tried(subject: str, check: str, detail: str, ask: Callable[[], None]) -> Line:
    try:
        ask()
    except (TransientError, HaltError) as error:
        return failed(subject, check, str(error), FIX)
    except _WrongError as error:
        return failed(subject, check, str(error), "use another store, or remove the gateway or cache in front of it")
    return ok(subject, check, detail)


def _clock_line(subject: str, store: Store, clock: Clock) -> Line:
    ours = clock.now()  # first: a slow answer never makes it look ahead
    try:
        ahead = ours - store.now()
    except TransientError as error:
        return failed(subject, "clock", str(error), FIX)
    if ahead > CLOCK_TOLERANCE:
        seconds = ahead.total_seconds()
        detail = f"this machine's clock is {seconds:.0f} s ahead of the store's: no day is sealed until it is corrected"
        return failed(subject, "clock", detail, "set this machine's clock (NTP)")
    behind = -min(ahead, timedelta())
    return ok(subject, "clock", f"at most {max(ahead, behind).total_seconds():.0f} s away from the store's")


def _checksum_line(subject: str, store: Checksummed) -> Line:
    """Whether bytes that change between digest and bucket are refused, and by what."""
    check = "checksums"
    try:
        compares, sends = store.compares_checksums(), store.sends_checksums()
    except (TransientError, HaltError) as error:
        return failed(subject, check, str(error), FIX)
    if sends and not compares:
        return failed(
            subject,
            check,
            'a body with a wrong sha256 was accepted, but checksums = "when_supported" relies on the store for that',
            'set checksums = "auto" or "when_required"',
        )
    if sends:
        return ok(subject, check, "a body with a wrong sha256 is refused: objects are uploaded with theirs")
    why = 'verified, but checksums = "when_required"' if compares else "not verified"
    return ok(subject, check, f"{why}: uploads are compared with their sha256 locally, and signed")


def _race_lines(subject: str, store: Store, races: int, writers: int) -> Iterator[Line]:
    check = "conditional writes"
    try:
        findings = conditional_writes(store, races=races, writers=writers)
    except (TransientError, HaltError) as error:
        yield failed(subject, check, str(error), FIX)
        return
    for finding in findings:
        yield failed(subject, check, f"{finding.check}: {finding.detail}", finding.remedy)
    if not findings:
        yield ok(subject, check, f"they held in {races} races of {writers} writers")
