"""What the worker's loop publishes and the HTTP server shows: an immutable snapshot, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from consumer.observe.calendar import DayCell
from consumer.observe.status import PartitionStatus, Status


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream as this worker sees it: its own partitions, and the days of the whole stream.

    `partitions_total` is None until the cluster has answered. `troubles` are outages and halts, for people.
    """

    name: str
    topic: str
    destination: str
    partitions: tuple[PartitionStatus, ...] = ()
    partitions_total: int | None = None
    days: tuple[DayCell, ...] = ()
    last_complete: date | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpoolView:
    """Room on the disk, in bytes."""

    used: int
    limit: int
    free: int
    floor: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The worker at one moment. `unready` has the reasons why it is not ready; empty if it is."""

    at: datetime
    status: Status
    streams: tuple[StreamView, ...]
    spool: SpoolView
    unready: tuple[str, ...] = ()


@dataclass(slots=True)
class SnapshotHolder:
    """Written only by the loop, read by any thread. `beat_at` is the monotonic moment of the loop's last turn."""

    beat_at: float
    snapshot: Snapshot | None = field(default=None)
