"""Records that the client cannot read: retried for a while, then a halt that names the offsets to give up."""

from __future__ import annotations

from consumer.domain.errors import HaltError, HaltReason
from consumer.worker.coroutines import Steps
from consumer.worker.partition import Partition


def halt_if_unreadable(partition: Partition) -> Steps[None]:
    """Raise HaltError if the partition has tried long enough, and a separate client cannot read the offset either."""
    obstacle = partition.intake.obstacle
    if obstacle is None or not partition.intake.stuck:
        return
    span = yield from partition.ask(lambda: partition.context.admin.unreadable(partition.name, obstacle.offset))
    if span is None:
        partition.intake.obstacle = None
        return
    raise HaltError(
        HaltReason.UNREADABLE_RECORD,
        f"{partition.name}: the Kafka client cannot read offset {span.start} ({obstacle.detail}); offset {span.end} is"
        " the next that it can read. If no client option helps (docs/runbook.md), continue without it: adapty-sink"
        f" accept-gap {partition.name} {span.start} {span.end}",
    )
