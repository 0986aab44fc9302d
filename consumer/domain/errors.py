"""Errors, classified by what the operator does: wait, look at one record, decide, or fix the settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SinkError(Exception):
    """Root of everything that this project raises on purpose."""


class TransientError(SinkError):
    """An outage: try again with backoff. Nothing is known to be wrong with data or settings."""


class UnknownOutcomeError(TransientError):
    """A request went out and no answer came: it may or may not have taken effect. Read back before going on."""


class PendingError(TransientError):
    """An answer was asked for and is not there yet. Nothing is wrong so far: look again soon."""


class GraceError(TransientError):
    """The answer may soon change, and is only accepted after it has stayed the same for a while.

    The end of the wait is known, so it is reported like an outage but never given up on.
    """


class TooVariousError(TransientError):
    """A batch asks for more at once than is given (schemas, days, text, time): take it in halves."""


class LeaseLostError(SinkError):
    """The partition is no longer assigned: drop what was in progress, report nothing."""


class BadRecordError(SinkError):
    """A record that cannot become a row: it goes to quarantine with `reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class HaltReason(StrEnum):
    """Why a partition stopped until an operator decides (docs/runbook.md says what to do)."""

    RETENTION_HOLE = "retention_hole"
    LOG_TRUNCATED = "log_truncated"
    TOPIC_RECREATED = "topic_recreated"
    ROWS_VANISHED = "rows_vanished"
    CHAIN_DAMAGED = "chain_damaged"
    CHAIN_NEWER = "chain_newer"
    SETTINGS_CONFLICT = "settings_conflict"
    MISSING_KEY = "missing_key"
    FOREIGN_CHAIN = "foreign_chain"
    OBJECT_MISMATCH = "object_mismatch"
    QUARANTINE_RATIO = "quarantine_ratio"
    UNSAFE_STORE = "unsafe_store"
    MISSING_TOPIC = "missing_topic"
    MISSING_BUCKET = "missing_bucket"
    COMPACTED_TOPIC = "compacted_topic"
    UNREADABLE_RECORD = "unreadable_record"


class HaltError(SinkError):
    """Continuing could lose or repeat rows: stop here; `message` says what was found and how to fix it."""

    def __init__(self, reason: HaltReason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Halt:
    """A halt as a value: returned by functions that decide, and raised as `error` by whoever acts on them."""

    reason: HaltReason
    message: str

    @property
    def error(self) -> HaltError:
        """The halt to raise."""
        return HaltError(self.reason, self.message)


class RefusedError(SinkError):
    """The request cannot be carried out in the current state: the message says how to fix it (exit 3)."""


class UsageError(SinkError):
    """Bad usage or settings: exit 2. The text lists every problem found."""


class GaveUpError(SinkError):
    """A one-shot command ended on an outage (exit 4)."""
