"""Room in the spool: who spills, who lets go of open days, who waits. A pure decision over all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

RELIEF = 0.9
"""Reading goes on below this share of the limit."""
WORTH_A_SPILL = 16
"""A spill takes at least this part (one over it) of what the spool holds; less makes tiny objects and no room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The spool's limits, in bytes."""

    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What the disk says: bytes of rows held, bytes free, and whether an append found no room."""

    used: int
    free: int
    refused: bool


@dataclass(frozen=True, slots=True)
class Tenant:
    """One partition as the pressure sees it.

    `due` and `open` are bytes of rows that a seal would take now and of those it would leave (none while the partition
    is being recovered: nobody may touch its rows then). `closing` says that a
    day is due and not closed. `needed` says that a seal cannot come before more was read (a rebuild, or reading again
    below what the chain reached): holding it would hold everything.
    """

    index: int
    due: int
    open: int
    closing: bool
    sealing: bool
    needed: bool


class Relief(StrEnum):
    """What a partition does about it."""

    READ = "read"
    HOLD = "hold"
    SPILL = "spill"
    DROP = "drop"


def tight(limits: Limits, room: Room, *, held: bool) -> bool:
    """Whether there is too little room; once reading is held it takes some slack to go on."""
    slack = RELIEF if held else 1.0
    floor = limits.min_free_bytes if not held else limits.min_free_bytes / RELIEF
    return room.refused or room.used > limits.max_bytes * slack or room.free < floor


def relieve(limits: Limits, room: Room, tenants: Sequence[Tenant], *, held: bool) -> dict[int, Relief]:
    """What each partition does, by index."""
    if not tight(limits, room, held=held):
        return {tenant.index: Relief.READ for tenant in tenants}
    hard = room.refused or room.free < limits.min_free_bytes
    plan = {tenant.index: Relief.READ if tenant.needed and not hard else Relief.HOLD for tenant in tenants}
    if any(tenant.sealing for tenant in tenants):
        return plan  # room is on its way
    plan.update(_maker(tenants))
    return plan


def _maker(tenants: Sequence[Tenant]) -> dict[int, Relief]:
    """Which one partition makes room, and how."""
    total = sum(tenant.due + tenant.open for tenant in tenants)
    able = [tenant for tenant in tenants if not tenant.needed]
    spiller = max(able, key=lambda tenant: tenant.due, default=None)
    if spiller is not None and spiller.due > 0 and spiller.due * WORTH_A_SPILL >= total:
        return {spiller.index: Relief.SPILL}
    if not any(tenant.closing for tenant in tenants):
        return {}  # nothing is due: reading waits, Kafka holds the rows
    dropper = max(tenants, key=lambda tenant: tenant.open)
    if dropper.open > 0:
        return {dropper.index: Relief.DROP}
    if spiller is not None and spiller.due > 0:
        return {spiller.index: Relief.SPILL}
    return {}
