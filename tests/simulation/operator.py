"""The operator who accepts gaps: at any moment, whatever the workers are doing."""

from __future__ import annotations

from consumer.domain.offsets import Span
from consumer.seal.gap import gap_objection, gap_record, lowest_needed
from consumer.seal.log import SealLog, put_rules
from consumer.worker.recovery_input import read_recovery_input
from tests.simulation.world import World


def accept_gaps(world: World) -> int:
    """Record what the log has lost, as `accept-gap` does; returns the number of gaps."""
    context, accepted = world.operators_context(), 0
    for partition in world.cluster.partitions():
        found = read_recovery_input(context, partition, None).found
        needed = lowest_needed(found)
        if needed is None or gap_objection(Span(needed, max(needed, found.ends.low)), needed, found.ends):
            continue
        lost = Span(needed, found.ends.low)
        put_rules(world.bucket, context.config.rules)
        record = gap_record(found, lost, settings=context.today, now=world.hub.now(), writer="operator")
        accepted += SealLog(world.bucket, partition).append(record)
    return accepted
