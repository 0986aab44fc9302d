"""The life of one partition, from its assignment on: recover, finish what is pending, read, and seal day after day.

The generator ends with the lease. An error of any kind leads back to recovery, which starts from what the bucket and
Kafka say and from nothing that was remembered.
"""

from __future__ import annotations

from contextlib import suppress

from consumer.domain.errors import HaltError, LeaseLostError, TransientError
from consumer.seal.recover import Plan, Stop
from consumer.spool.files import SpoolDamagedError, SpoolFullError
from consumer.worker.coroutines import Sleep, Steps
from consumer.worker.finishing import finish_pending
from consumer.worker.partition import Partition
from consumer.worker.phase import Activity
from consumer.worker.recovery_input import read_recovery_input, spool_reach
from consumer.worker.sealing import LookAgainError, commit, seal_when_due

HALT_SECONDS = 60.0
"""A halted partition is looked at again this often."""
LEASE_SECONDS = 1.0
RETRY_SECONDS = 0.5


def run_partition(partition: Partition) -> Steps[None]:
    """Recover and work, again and again, until the lease ends."""
    while True:
        partition.enter(Activity.RECOVERING)
        seconds = yield from _until_stopped(partition)
        partition.stand_still()
        yield Sleep(seconds)


def _until_stopped(partition: Partition) -> Steps[float]:
    """Work until something forbids it; returns the seconds to wait before looking at everything anew."""
    try:
        yield from _work(partition)
    except HaltError as halt:
        partition.halt(halt)
        return HALT_SECONDS
    except LeaseLostError:
        # if the lease is really gone the loop ends this generator meanwhile
        partition.context.listener.committed(partition.name, -1, "refused")
        return LEASE_SECONDS
    except LookAgainError as error:
        partition.context.listener.recovered(partition.name, (str(error),))
    except SpoolDamagedError as error:
        partition.context.listener.recovered(partition.name, (f"{error}: set aside, the log is read again",))
        partition.set_spool_aside()
    except TransientError as error:
        partition.report_outage(error)
    return RETRY_SECONDS


def _work(partition: Partition) -> Steps[None]:
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
        yield from seal_when_due(partition)


def _recover(partition: Partition) -> Steps[tuple[Plan, int]]:
    """How to go on, and where the log begins."""
    with suppress(SpoolFullError):
        partition.spool.restore()
    found = yield from partition.ask(
        lambda: read_recovery_input(partition.context, partition.name, spool_reach(partition.spool))
    )
    if isinstance(found.outcome, Stop):
        raise HaltError(found.outcome.halt, found.outcome.message)
    partition.chain, partition.topic_id, partition.transformers = (
        found.found.chain,
        found.found.topic_id,
        found.transformers,
    )
    partition.columns = found.columns
    partition.recovery_succeeded()
    partition.context.listener.recovered(partition.name, found.outcome.notes)
    return found.outcome, found.found.ends.low


def _read_on(partition: Partition, plan: Plan, low: int) -> None:
    # days dropped for want of room are read again at the start of a new life: the reason for it may be gone. But not
    # where the spool alone still holds what lies below the log's start
    if not plan.spool or (partition.spool.progress.dropped and plan.start >= low):
        partition.spool.begin(partition.basis(plan.start), plan.start)
    partition.intake.drop_above = None
    partition.intake.open(partition.offset_rules(), partition.intake.position)
