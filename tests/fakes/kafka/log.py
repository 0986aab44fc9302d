"""One partition's log in memory, with the parts of a real one that readers trip over: transactions, holes, ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter

from consumer.domain.offsets import LogEnds


class Outcome(Enum):
    """How a transaction stands."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


class Transaction:
    """One producer's transaction over any logs. Its end leaves a control record in each log that it wrote to."""

    def __init__(self) -> None:
        self.outcome = Outcome.OPEN
        self._logs: list[MemoryLog] = []

    def wrote_to(self, log: MemoryLog) -> None:
        """Remember a log."""
        if log not in self._logs:
            self._logs.append(log)

    def commit(self) -> None:
        """Make its records readable."""
        self._end(Outcome.COMMITTED)

    def abort(self) -> None:
        """Make its records unreadable for good."""
        self._end(Outcome.ABORTED)

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not Outcome.OPEN:
            raise ValueError("the transaction has ended")
        self.outcome = outcome
        for log in self._logs:
            log.end_transaction(self)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record in the log. A control record marks the end of a transaction and is never read."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    transaction: Transaction | None
    control: bool

    @property
    def readable(self) -> bool:
        """Whether a read_committed reader that may go this far gets it."""
        return not self.control and (self.transaction is None or self.transaction.outcome is Outcome.COMMITTED)


_offset = attrgetter("offset")


class MemoryLog:
    """Records by offset. `low` is the log's start, `high` its end; `unreadable` offsets no client can read."""

    def __init__(self) -> None:
        self.low = 0
        self.high = 0
        self.unreadable: set[int] = set()
        self._records: list[StoredRecord] = []
        self._open: dict[Transaction, int] = {}

    def append(
        self,
        value: bytes | None,
        key: bytes | None,
        timestamp: int,
        *,
        transaction: Transaction | None = None,
        control: bool = False,
    ) -> int:
        """Add a record; returns its offset."""
        if transaction is not None and transaction.outcome is not Outcome.OPEN:
            raise ValueError("the transaction has ended")
        offset = self.high
        self._records.append(StoredRecord(offset, timestamp, key, value, transaction, control))
        self.high += 1
        if transaction is not None:
            self._open.setdefault(transaction, offset)
            transaction.wrote_to(self)
        return offset

    def end_transaction(self, transaction: Transaction) -> None:
        """Put the control record behind it, which frees the stable end."""
        self._open.pop(transaction, None)
        self.append(None, None, -1, control=True)

    @property
    def ends(self) -> LogEnds:
        """Start, stable end and end."""
        return LogEnds(self.low, self.lso, self.high)

    @property
    def lso(self) -> int:
        """The first offset of a transaction that is still open, else the end."""
        return min(self._open.values(), default=self.high)

    def read(self, position: int, limit: int) -> tuple[list[StoredRecord], int]:
        """At most `limit` readable records from `position` on, and the position after them (the stable end, if all)."""
        end = max(position, self.lso)
        found: list[StoredRecord] = []
        for index in range(self._index(position), self._index(end)):
            record = self._records[index]
            if record.offset in self.unreadable:
                return found, record.offset
            if record.readable:
                found.append(record)
                if len(found) == limit:
                    return found, record.offset + 1
        return found, end

    def first_since(self, millis: int) -> int | None:
        """The offset of the first record stamped at or after `millis`, committed or not."""
        return next((r.offset for r in self._records if not r.control and r.timestamp >= millis), None)

    def delete_below(self, offset: int) -> None:
        """Retention: the log starts at `offset` (its end at most)."""
        self.low = max(self.low, min(offset, self.high))
        del self._records[: self._index(self.low)]

    def truncate(self, end: int) -> None:
        """An unclean election: everything at and above `end` never was, and new records reuse its offsets."""
        self.high = max(self.low, min(end, self.high))
        self._open = {transaction: first for transaction, first in self._open.items() if first < self.high}
        del self._records[self._index(self.high) :]

    def compact(self, offsets: Iterable[int]) -> None:
        """Take records out of the middle."""
        gone = set(offsets)
        self._records = [r for r in self._records if r.offset not in gone]

    def _index(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=_offset)
