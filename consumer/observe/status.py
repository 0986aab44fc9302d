"""The state of every partition: what `status` prints and `/status` returns. Only data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from consumer.domain.offsets import TopicPartition


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition. None: not known, or there is none.

    `end` is the stable end of the log (LSO), which is what a reader of committed records can reach. `held` is end -
    committed: normal until the day is sealed. `position`, `lag` (end - position) and `open_days` (days with rows that
    no seal took yet) are known only to the worker, and so is `phase`: what it does with the partition, or "halted" or
    "unexpected_error"; elsewhere it is left out. `next_seal` is in the past while a seal is overdue. `retention_hours`
    is the time until retention reaches the committed offset; None if nothing expires by age.
    """

    stream: str
    partition: TopicPartition
    committed: int | None = None
    end: int | None = None
    position: int | None = None
    open_days: tuple[date, ...] | None = None
    last_cutoff: date | None = None
    next_seal: datetime | None = None
    retention_hours: float | None = None
    phase: str | None = None

    @property
    def held(self) -> int | None:
        """Offsets between the commit and the end."""
        return None if self.end is None or self.committed is None else max(0, self.end - self.committed)

    @property
    def lag(self) -> int | None:
        """Offsets between the reading position and the end."""
        return None if self.end is None or self.position is None else max(0, self.end - self.position)

    def to_json(self) -> dict[str, Any]:
        """The entry under `partitions`."""
        return {
            "stream": self.stream,
            "topic": self.partition.topic,
            "partition": self.partition.partition,
            "committed": self.committed,
            "end": self.end,
            "held": self.held,
            "position": self.position,
            "lag": self.lag,
            "open_days": None if self.open_days is None else [day.isoformat() for day in self.open_days],
            "last_cutoff": None if self.last_cutoff is None else self.last_cutoff.isoformat(),
            "next_seal": None if self.next_seal is None else _instant(self.next_seal),
            "retention_hours": None if self.retention_hours is None else round(self.retention_hours, 2),
            **({} if self.phase is None else {"phase": self.phase}),
        }


@dataclass(frozen=True, slots=True)
class Halted:
    """A partition that stopped until an operator decides; None: the whole stream. `message` says how to fix it."""

    stream: str
    partition: TopicPartition | None
    reason: str
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry under `halted`."""
        number = None if self.partition is None else self.partition.partition
        return {"stream": self.stream, "partition": number, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Status:
    """All inspected partitions, and those of them that are halted."""

    partitions: tuple[PartitionStatus, ...] = ()
    halted: tuple[Halted, ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """The document."""
        return {
            "partitions": [partition.to_json() for partition in self.partitions],
            "halted": [halt.to_json() for halt in self.halted],
        }


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
