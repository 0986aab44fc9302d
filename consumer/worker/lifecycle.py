"""The lifecycle of a partition from its assignment on: recover, finish what is pending, read, seal day after day.

The generator ends with the lease. Any error leads back to recovery, which starts from the bucket and Kafka and not from
memory: so there is one way to continue, the same as after a crash. An unexpected error stops only this partition, and
is retried every minute.
"""

from __future__ import annotations

from contextlib import suppress

from consumer.domain.errors import Halt, HaltError, LeaseLostError, TransientError
from consumer.seal.recover import RecoveryPlan
from consumer.spool.files import SpoolDamagedError, SpoolFullError
from consumer.worker.coroutines import Sleep, Steps
from consumer.worker.events import CommitOutcome, CommitTried, PartitionRecovered
from consumer.worker.finishing import finish_pending
from consumer.worker.partition import Partition
from consumer.worker.phase import Activity
from consumer.worker.recovery_input import read_recovery_input, spool_reach
from consumer.worker.sealing import SYNC_PAUSE, LookAgainError, commit, seal_when_due
from consumer.worker.unreadable import halt_if_unreadable

HALT_SECONDS = 60.0
"""Seconds between attempts of a partition that is halted or met an unexpected error."""
LEASE_SECONDS = 1.0
RETRY_SECONDS = 0.5


def run_partition(partition: Partition) -> Steps[None]:
    """Recover and work, again and again, until the lease ends."""
    seconds = 0.0
    while True:
        try:
            yield Sleep(seconds)
            partition.enter(Activity.RECOVERING)
            yield from _work(partition)
            seconds = RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 - reported; the other partitions continue
            seconds = _stopped(partition, error)
        partition.stand_still()


def _stopped(partition: Partition, error: Exception) -> float:
    """Report what stopped it; returns the seconds until the next attempt."""
    listener = partition.context.listener
    match error:
        case HaltError():
            partition.halt(error)
            return HALT_SECONDS
        case LeaseLostError():
            # if the lease is really gone the loop ends this generator meanwhile
            listener(CommitTried(partition.name, -1, CommitOutcome.LEASE_LOST))
            return LEASE_SECONDS
        case LookAgainError():
            listener(PartitionRecovered(partition.name, (str(error),)))
        case SpoolDamagedError():
            listener(PartitionRecovered(partition.name, (f"{error}: set aside, reading from Kafka again",)))
            partition.set_spool_aside()
        case TransientError():
            partition.report_outage(error)
        case _:
            partition.fail(error)
            return HALT_SECONDS
    return RETRY_SECONDS


def _work(partition: Partition) -> Steps[None]:
    # a pending seal comes before anything else: the chain has one head, and what is read next is judged by it. The
    # offset is put right before reading continues, so that whoever owns the partition next starts from there as well
    plan, low = yield from _recover(partition)
    if plan.pending is not None:
        yield from finish_pending(partition, plan, plan.pending)
    else:
        if plan.commit is not None:
            yield from commit(partition, plan.commit)
        _read_on(partition, plan, low)
        partition.enter(Activity.READING)
    partition.request_publishing()
    while not partition.intake.lost:
        yield from halt_if_unreadable(partition)
        yield from seal_when_due(partition)


def _recover(partition: Partition) -> Steps[tuple[RecoveryPlan, int]]:
    """How to continue, and where the log begins."""
    with suppress(SpoolFullError):
        for _ in partition.spool.restore():
            yield Sleep(SYNC_PAUSE)
    found = yield from partition.ask(
        lambda: read_recovery_input(partition.context, partition.name, spool_reach(partition.spool))
    )
    if isinstance(found.outcome, Halt):
        raise found.outcome.error
    partition.chain, partition.topic_id, partition.transformers = (
        found.found.chain,
        found.found.topic_id,
        found.transformers,
    )
    partition.columns = found.columns
    partition.recovery_succeeded()
    partition.context.listener(PartitionRecovered(partition.name, found.outcome.notes))
    return found.outcome, found.found.ends.low


def _read_on(partition: Partition, plan: RecoveryPlan, low: int) -> None:
    # days dropped for want of room are read again from here on: the reason for it may be gone. But not where the spool
    # is the only one to hold what lies below the log's start
    if not plan.spool or (partition.spool.progress.dropped and plan.start >= low):
        partition.spool.begin(partition.basis(plan.start), plan.start)
    partition.intake.drop_above = None
    partition.intake.open(partition.offset_rules(), partition.intake.position)
