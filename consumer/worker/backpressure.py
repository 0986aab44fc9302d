"""Disk space of the spool: which partition spills, drops open days, or waits. A pure decision over all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

RELIEF = 0.9
"""Reading continues below this share of the limit."""
WORTH_A_SPILL = 16
"""A spill must take at least this part (one over it) of the spool's bytes; less makes tiny objects and frees little
space."""

MOST_FILES = 10_000
"""Days in a partition's spool before it spills, so that a seal record can list them within its size limit. More than
the days since the first valid one, so that only timestamps far in the future lead here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The spool's limits, in bytes."""

    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The state of the disk: bytes of rows, bytes free, and whether an append found no space."""

    used: int
    free: int
    refused: bool


@dataclass(frozen=True, slots=True)
class PartitionUsage:
    """One partition's use of the disk.

    `due` and `open` are bytes of rows that a seal would take now and of those it would leave (none during recovery: the
    rows must not be touched then). `closing` says that a day is due and not closed. `needed` says that a seal requires
    more reading first (a rebuild, or reading again below the chain's reach): holding it would block everything. `files`
    is the number of its days.
    """

    index: int
    due: int
    open: int
    closing: bool
    sealing: bool
    needed: bool
    files: int = 0

    @property
    def crowded(self) -> bool:
        """Whether to spill because of the number of its days alone."""
        return self.files > MOST_FILES and not self.sealing and not self.needed


class Action(StrEnum):
    """What a partition does about it."""

    READ = "read"
    HOLD = "hold"
    SPILL = "spill"
    DROP = "drop"


def tight(limits: Limits, room: DiskUsage, *, held: bool) -> bool:
    """Whether there is too little room; once reading is held it takes some slack to continue."""
    slack = RELIEF if held else 1.0
    floor = limits.min_free_bytes if not held else limits.min_free_bytes / RELIEF
    return room.refused or room.used > limits.max_bytes * slack or room.free < floor


def reads_on(limits: Limits, room: DiskUsage, files: Iterable[int], *, held: bool) -> bool:
    """Whether every partition just reads: there is room, and none has too many days (`files` are their numbers)."""
    return not tight(limits, room, held=held) and all(number <= MOST_FILES for number in files)


def plan_backpressure(
    limits: Limits, room: DiskUsage, usages: Sequence[PartitionUsage], *, held: bool
) -> dict[int, Action]:
    """What each partition does, by index."""
    if not tight(limits, room, held=held):
        return {usage.index: Action.SPILL if usage.crowded else Action.READ for usage in usages}
    hard = room.refused or room.free < limits.min_free_bytes
    plan = {usage.index: Action.READ if usage.needed and not hard else Action.HOLD for usage in usages}
    if any(usage.sealing for usage in usages):
        return plan  # room is on its way
    plan.update(_maker(usages))
    return plan


def _maker(usages: Sequence[PartitionUsage]) -> dict[int, Action]:
    """Which one partition makes room, and how."""
    total = sum(usage.due + usage.open for usage in usages)
    able = [usage for usage in usages if not usage.needed]
    spiller = max(able, key=lambda usage: usage.due, default=None)
    if spiller is not None and spiller.due > 0 and spiller.due * WORTH_A_SPILL >= total:
        return {spiller.index: Action.SPILL}
    if not any(usage.closing for usage in usages):
        return {}  # nothing is due: reading waits, Kafka holds the rows
    dropper = max(usages, key=lambda usage: usage.open)
    if dropper.open > 0:
        return {dropper.index: Action.DROP}
    if spiller is not None and spiller.due > 0:
        return {spiller.index: Action.SPILL}
    return {}
