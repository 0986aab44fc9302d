"""What happens to streams and partitions: one class per fact, and the callable that receives them.

Metrics and logs listen in production, `list.append` in tests. A listener must neither fail nor block: the loop calls
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.domain.batches import TransformedBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.publisher import Published
from consumer.seal.record import ObjectEntry, Record


@dataclass(frozen=True, slots=True)
class BatchTaken:
    """A batch became rows and is in the spool. `already_sealed` of its rows are in the bucket and were skipped."""

    batch: TransformedBatch
    already_sealed: int


@dataclass(frozen=True, slots=True)
class PartitionRecovered:
    """How a partition continues, and why: what was found on assignment or after an interruption."""

    partition: TopicPartition
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealConsidered:
    """Why a seal was decided, or was not."""

    partition: TopicPartition
    reason: str


@dataclass(frozen=True, slots=True)
class SealFinished:
    """The objects of a seal are in the bucket and its offset is committed, `seconds` after it was begun."""

    record: Record
    seconds: float


@dataclass(frozen=True, slots=True)
class SealObeyed:
    """Another worker wrote record `n` first: its decision counts, ours is dropped."""

    partition: TopicPartition
    n: int


@dataclass(frozen=True, slots=True)
class ObjectUploaded:
    """An object is in the bucket. `written` by this worker, otherwise it was already there. `size` is in bytes."""

    entry: ObjectEntry
    size: int
    written: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class UploadFailed:
    """An object could not be written; it is tried again."""

    entry: ObjectEntry


class CommitOutcome(StrEnum):
    """Of a commit: done; the lease was lost; no answer (it is read back); refused or unreachable."""

    DONE = "done"
    LEASE_LOST = "lease_lost"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CommitTried:
    """An offset was to be committed. It is -1 if the lease was lost."""

    partition: TopicPartition
    offset: int
    outcome: CommitOutcome


@dataclass(frozen=True, slots=True)
class OutageMet:
    """Something is unreachable; `where` is a partition, or what else was in progress."""

    where: str
    error: TransientError


@dataclass(frozen=True, slots=True)
class OutageOver:
    """There is an answer again. Also emitted if no outage was reported before."""

    where: str


@dataclass(frozen=True, slots=True)
class PartitionHalted:
    """An operator must decide before the partition continues."""

    partition: TopicPartition
    halt: HaltError


@dataclass(frozen=True, slots=True)
class PartitionResumed:
    """The cause of a halt is gone."""

    partition: TopicPartition


@dataclass(frozen=True, slots=True)
class UnexpectedErrorMet:
    """An unexpected error stopped only `where`, a partition or the publishing of a stream."""

    stream: str
    where: str
    error: Exception


@dataclass(frozen=True, slots=True)
class PartitionLeft:
    """The partition was revoked. `reason` is that of its halt."""

    partition: TopicPartition
    reason: HaltReason | None


@dataclass(frozen=True, slots=True)
class DaysPublished:
    """A stream's days were checked; those that changed were published."""

    stream: str
    published: Published


@dataclass(frozen=True, slots=True)
class PublishingHalted:
    """A stream's days cannot be published before an operator has decided."""

    stream: str
    halt: HaltError


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """The group moved partitions; these numbers per topic are now assigned here."""

    assigned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SpoolMeasured:
    """The disk was checked: bytes of rows, bytes free, and whether reading is `held` until there is space."""

    used: int
    free: int
    held: bool


@dataclass(frozen=True, slots=True)
class ReadingPaused:
    """Records of the partition are not fetched for now: "sealing", "spool" or "outage"."""

    partition: TopicPartition
    reason: str


@dataclass(frozen=True, slots=True)
class ReadingResumed:
    """Records of the partition are fetched."""

    partition: TopicPartition


WorkerEvent = (
    BatchTaken
    | PartitionRecovered
    | SealConsidered
    | SealFinished
    | SealObeyed
    | ObjectUploaded
    | UploadFailed
    | CommitTried
    | OutageMet
    | OutageOver
    | PartitionHalted
    | PartitionResumed
    | UnexpectedErrorMet
    | PartitionLeft
    | DaysPublished
    | PublishingHalted
    | Rebalanced
    | SpoolMeasured
    | ReadingPaused
    | ReadingResumed
)

Listener = Callable[[WorkerEvent], None]
