"""Kafka as the core sees it: leases, events, positions.

`Broker` is implemented by `broker.py`, `ClusterAdmin` by `admin.py`; both have fakes in memory below tests/fakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, Self

from consumer.domain.batches import RawBatch
from consumer.domain.days import EPOCH
from consumer.domain.offsets import Commit, Lease, LogEnds, Span, TopicPartition


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group gave us these partitions. Nothing is delivered of one before `Broker.start`."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """These leases are void already; `lost` if the group went on without us."""

    leases: tuple[Lease, ...]
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one lease, next in line: spans of successive events tile without hole or overlap."""

    lease: Lease
    batch: RawBatch


@dataclass(frozen=True, slots=True)
class EndReached:
    """The reader is at the stable end: nothing readable is below `offset`, and the position is `offset`."""

    lease: Lease
    offset: int


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """The position asked for is not in the log (retention, truncation). Nothing more comes before `Broker.start`."""

    lease: Lease
    detail: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The client failed again to read the log at `offset`, the next to be delivered; it keeps trying."""

    lease: Lease
    offset: int
    detail: str


Event = Assigned | Revoked | Records | EndReached | OutOfRange | Unreadable


class Broker(Protocol):
    """A member of the consumer group. Called by one thread, the worker's loop; `wake` by any."""

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for these topics."""

    def poll(self, timeout: float, *, records: bool = True) -> list[Event]:
        """Events in order; waits at most `timeout` seconds for the first one.

        Without `records` only the group's decisions (`Assigned`, `Revoked`) are returned: what was read waits, bounded
        in bytes. Raises TransientError while brokers are unreachable, UsageError when the group refuses this member
        permanently (another worker has its instance id, the brokers do not support the protocol).
        """

    def wake(self) -> None:
        """Make a `poll` under way, or the next one, return at once."""

    def hurry(self) -> None:
        """The program ends: no answer is waited for any more. A signal handler may call this."""

    def start(self, lease: Lease, offset: int) -> None:
        """Deliver this partition from `offset` on. Called again it moves there: nothing of the old place follows.

        A paused partition stays paused. Void lease: no effect.
        """

    def pause(self, lease: Lease) -> None:
        """Deliver nothing of this partition until `resume`, even after a `start`; the position stays.

        Void lease: no effect.
        """

    def resume(self, lease: Lease) -> None:
        """Resume delivery where it was paused. Void lease: no effect."""

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Commit, and wait for the answer.

        Raises LeaseLostError (nothing was committed; a `Revoked` of this lease follows, and an `Assigned` with a new
        one if the partition stays assigned), UnknownOutcomeError (read back), or TransientError (nothing committed).
        """

    def rejoin(self) -> None:
        """Force a rebalance: some partitions of the topics are assigned to no member."""

    def alive_at(self) -> float:
        """The monotonic moment of the last poll of the real consumer, for /livez."""

    def close(self) -> None:
        """Leave the group. Never commits."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """The cluster's facts about a topic. `settings` has cleanup.policy, retention.ms and others as text."""

    name: str
    topic_id: str
    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)


class ClusterAdmin(Protocol):
    """Questions to the cluster that need no group membership. Any thread may ask. All raise TransientError."""

    def topic(self, name: str) -> TopicFacts | None:
        """The topic's facts, or None if it does not exist."""

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        """Where each partition's log begins and ends now."""

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        """What the group has committed; None if nothing is, or it expired."""

    def offset_at(self, partition: TopicPartition, instant: datetime) -> int | None:
        """The offset of the first record stamped at or after `instant`; None if there is none."""

    def unreadable(self, partition: TopicPartition, offset: int) -> Span | None:
        """The offsets from `offset` on that the client cannot read, up to the first that it can; None: it can."""

    def unowned(self, group: str, topics: Sequence[str]) -> set[TopicPartition]:
        """The partitions of these topics that are assigned to no member of a stable group; empty during a rebalance.

        Empty with the newer group protocol, whose brokers assign new partitions themselves.
        """


class Range(Protocol):
    """One range of offsets under way: an iterator over its batches, whose spans tile the range to its end.

    Aborted records and transaction markers are passed over; the last batch may be empty for that. `next` raises
    TransientError while brokers are out of reach: asked again it continues where it stood. It raises HaltError
    `retention_hole` if the offsets are not in the log.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[RawBatch]: ...

    def __next__(self) -> RawBatch: ...

    def close(self) -> None:
        """Let go of the connection."""


class RangeReader(Protocol):
    """Reads ranges of offsets without joining the group. Any thread.

    Ranges may be read concurrently; each belongs to its caller.
    """

    def read(self, partition: TopicPartition, span: Span) -> Range:
        """The committed records of these offsets, in batches of bounded memory. `span` ends at the stable end at most.

        Nothing is requested from the cluster before the first batch.
        """


def millis_from(instant: datetime) -> int:
    """The first millisecond, since 1970, at or after `instant`: what `offset_at` compares record timestamps with."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))


def begin_at(admin: ClusterAdmin, partition: TopicPartition, ends: LogEnds, begin: str | datetime) -> int:
    """Where a stream that nothing was sealed or committed of starts: "earliest", "latest", or at an instant."""
    match begin:
        case "earliest":
            return ends.low
        case "latest":
            return ends.lso
        case str() as text:
            raise ValueError(f"start {text!r}")
        case instant:
            offset = admin.offset_at(partition, instant)
            return ends.lso if offset is None else offset
