"""The preflight test of conditional writes, in sequence and with many concurrent writers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable
from uuid import uuid4

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store.conditional_writes.barrier import lined_up
from consumer.store.port import Absent, Body, BytesBody, Condition, Match, Refused, Store, Written

FOLDER = "_checks"
PROOF = f"{FOLDER}/conditional-writes.json"
"""Says that the races were run here, so that not each start of a worker leaves twenty objects more."""
PROOF_LASTS = timedelta(days=30)
PATIENCE_SECONDS = 2.0
"""How long a writer waits at the line for the others."""
LINES = 300
"""About 13 KB a writer: a short body may arrive with the headers, before a store begins to look."""
RACES_PER_RACE_OF_PARTS = 4
REMEDY = (
    "this store lets two workers overwrite each other: use one with reliable conditional writes (AWS S3, MinIO), and"
    " no gateway or cache in front of it that drops If-None-Match or If-Match"
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation, and what to do about it."""

    check: str
    detail: str
    remedy: str = REMEDY


class Put(Protocol):
    """`Store.put` or its like."""

    def __call__(self, key: str, body: Body, *, condition: Condition) -> Written | Refused:
        """Write the object under the condition."""


@runtime_checkable
class InParts(Protocol):
    """A store that joins large objects from parts: their condition is checked in another place."""

    def put_in_parts(self, key: str, body: Body, *, condition: Condition) -> Written | Refused:
        """Write even a small object that way."""


class _Race:
    """Writers of one object, released at the same moment, and the answers they got."""

    def __init__(self, put: Put, key: str, condition: Condition, writers: int) -> None:
        self.key = key
        self.writers = writers
        self.won: list[int] = []
        self.unknown: list[int] = []
        self.failed: list[str] = []
        self._put = put
        self._condition = condition
        self._start = threading.Barrier(writers)
        self._token = uuid4().hex

    def text(self, writer: int) -> bytes:
        """What a writer writes: unlike any other text, as an ETag may be a digest."""
        return f"writer {writer} of {self._token}\n".encode() * LINES

    def run(self, writer: int) -> None:
        """One writer."""
        with lined_up(self._wait):
            try:
                if isinstance(self._put(self.key, BytesBody(self.text(writer)), condition=self._condition), Written):
                    self.won.append(writer)
            except UnknownOutcomeError:
                self.unknown.append(writer)
            except TransientError as error:
                self.failed.append(str(error))
                self._start.abort()  # it may never have come to the line: let the others go
            except HaltError:
                self._start.abort()
                raise

    def _wait(self) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            self._start.wait(PATIENCE_SECONDS)


def require_safe(store: Store) -> None:
    """Refuse a store with unreliable conditional writes: HaltError `unsafe_store`.

    The races run once per month and folder; every start repeats the checks that leave nothing behind.
    """
    now = store.now()
    proof = store.get(PROOF)
    if proof is not None and _is_fresh(proof.data, store.location, now):
        findings = one_after_another(store, PROOF)
    else:
        findings = conditional_writes(store)
    if findings:
        found = "; ".join(f"{finding.check}: {finding.detail}" for finding in findings)
        raise HaltError(HaltReason.UNSAFE_STORE, f"{store.location}: {found}. To do: {findings[0].remedy}")


class OncePerFolder:
    """`require_safe` for stores that may share a folder: of those one runs the races, the others find its proof."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, store: Store) -> None:
        """See `require_safe`. Any thread may call it."""
        with self._locks.setdefault(store.location, threading.Lock()):
            require_safe(store)


def conditional_writes(store: Store, *, races: int = 20, writers: int = 32) -> list[Violation]:
    """All checks, the races among them; leaves some small objects below `_checks/`, and a proof if all held.

    Raises TransientError if an outage leaves a race undecided, HaltError as any call of the store.
    """
    run = f"{FOLDER}/{store.now():%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
    try:
        findings = one_after_another(store, f"{run}/single")
        if not findings:
            findings = _races(store, run, races, writers)
    except HaltError as error:
        if error.reason is not HaltReason.UNSAFE_STORE:
            raise
        return [Violation("conditional writes", error.message)]
    if not findings:
        _leave_proof(store)
    return findings


def one_after_another(store: Store, key: str) -> list[Violation]:
    """Conditions that must refuse a lone writer. An object at `key` is left as it is, or made."""
    store.put(key, BytesBody(b"first"), condition=Absent())
    facts = store.head(key)
    if facts is None:
        return [Violation("read back", f"{key} was written, but does not exist", "find out what deletes objects")]
    findings = []
    if isinstance(store.put(key, BytesBody(b"second"), condition=Absent()), Written):
        findings.append(Violation("If-None-Match", "an existing object was overwritten"))
    if isinstance(store.put(key, BytesBody(b"third"), condition=Match(_stale(facts.etag))), Written):
        findings.append(Violation("If-Match", "an object was overwritten despite another ETag"))
    return findings


def _races(store: Store, run: str, races: int, writers: int) -> list[Violation]:
    first = f"{run}/race-00"
    with ThreadPoolExecutor(writers) as pool:

        def race(put: Put, key: str, condition: Condition) -> bool:
            return _race(store, pool, _Race(put, key, condition, writers))

        created = [race(store.put, f"{run}/race-{number:02d}", Absent()) for number in range(races)]
        replaced = [race(store.put, first, _present(store, first)) for _ in range(races)]
        joined = [
            race(store.put_in_parts, f"{run}/parts-{number:02d}", Absent())
            for number in range(races // RACES_PER_RACE_OF_PARTS)
            if isinstance(store, InParts)
        ]
    return [
        *_transformed_batch("If-None-Match", created, writers),
        *_transformed_batch("If-Match", replaced, writers),
        *_transformed_batch("If-None-Match of multipart uploads", joined, writers),
    ]


def _transformed_batch(check: str, races: Sequence[bool], writers: int) -> list[Violation]:
    lost = races.count(False)
    if not lost:
        return []
    return [Violation(check, f"not exactly one of {writers} writers won in {lost} of {len(races)} races")]


def _present(store: Store, key: str) -> Condition:
    facts = store.head(key)
    return Match(facts.etag if facts else "gone")


def _race(store: Store, pool: ThreadPoolExecutor, race: _Race) -> bool:
    """Whether one writer won, and the object is what it wrote."""
    list(pool.map(race.run, range(race.writers)))
    if len(race.won) > 1:
        return False
    stored = store.get(race.key)
    content = stored.data if stored else b""
    if race.won:
        return content == race.text(race.won[0])
    if any(content == race.text(writer) for writer in race.unknown):
        return True
    if race.failed or race.unknown:
        raise TransientError(f"{store.location}: a race of writers had no winner, as in an outage: {race.failed[:1]}")
    return False


def _stale(etag: str) -> str:
    """An ETag of the same form that is not this one."""
    return '"00000000000000000000000000000000"' if not etag.startswith('"0000') else '"1"'


def _leave_proof(store: Store) -> None:
    document = {"version": 1, "store": store.location, "checked_at": store.now().isoformat()}
    body = BytesBody(json.dumps(document).encode())
    facts = store.head(PROOF)
    store.put(PROOF, body, condition=Match(facts.etag) if facts else Absent())


def _is_fresh(data: bytes, location: str, now: datetime) -> bool:
    try:
        document = json.loads(data)
        checked_at = datetime.fromisoformat(document["checked_at"])
        return bool(document["store"] == location and timedelta() <= now - checked_at < PROOF_LASTS)
    except (ValueError, KeyError, TypeError):  # not a valid proof: race again
        return False
