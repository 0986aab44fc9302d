"""The life of one partition, from its assignment on: recover, finish what is pending, read, and seal day after day.

The generator ends with the lease. An error of any kind leads back to recovery, which starts from what the bucket and
Kafka say and from nothing that was remembered.
"""

from __future__ import annotations

from contextlib import suppress

from consumer.domain.errors import HaltError, LeaseLostError, TransientError
from consumer.seal.recover import Plan, Stop
from consumer.spool.files import SpoolDamagedError, SpoolFullError
from consumer.worker.partition import Partition
from consumer.worker.pending import finish_pending
from consumer.worker.sealing import LookAgainError, commit, seal_when_due
from consumer.worker.steps import Pause, Steps
from consumer.worker.survey import spool_reach, survey

HALT_SECONDS = 60.0
"""A halted partition is looked at again this often."""
LEASE_SECONDS = 1.0
RETRY_SECONDS = 0.5


def live(at: Partition) -> Steps[None]:
    """Live until the lease ends."""
    while True:
        seconds = yield from _until_stopped(at)
        at.stand_still()
        yield Pause(seconds)


def _until_stopped(at: Partition) -> Steps[float]:
    """Work until something forbids it; returns the seconds to wait before looking at everything anew."""
    try:
        yield from _work(at)
    except HaltError as halt:
        at.halt(halt)
        return HALT_SECONDS
    except LeaseLostError:
        # if the lease is really gone the loop ends this generator meanwhile
        at.desk.hearing.committed(at.name, -1, "refused")
        return LEASE_SECONDS
    except LookAgainError as error:
        at.desk.hearing.recovered(at.name, (str(error),))
    except SpoolDamagedError as error:
        at.desk.hearing.recovered(at.name, (f"{error}: set aside, the log is read again",))
        at.set_spool_aside()
    except TransientError as error:
        at.told(error)
    return RETRY_SECONDS


def _work(at: Partition) -> Steps[None]:
    plan, low = yield from _recover(at)
    if plan.pending is not None:
        yield from finish_pending(at, plan, plan.pending)
    else:
        if plan.commit is not None:
            yield from commit(at, plan.commit)
        _read_on(at, plan, low)
    at.ready = True
    at.call_publication()
    while not at.intake.lost:
        yield from seal_when_due(at)


def _recover(at: Partition) -> Steps[tuple[Plan, int]]:
    """How to go on, and where the log begins."""
    with suppress(SpoolFullError):
        at.spool.restore()
    found = yield from at.ask(lambda: survey(at.desk, at.name, spool_reach(at.spool)))
    if isinstance(found.outcome, Stop):
        raise HaltError(found.outcome.halt, found.outcome.message)
    at.chain, at.topic_id, at.judges = found.found.chain, found.found.topic_id, found.judges
    if at.may_unhalt():
        at.unhalt()
    at.desk.hearing.recovered(at.name, found.outcome.notes)
    return found.outcome, found.found.ends.low


def _read_on(at: Partition, plan: Plan, low: int) -> None:
    # days dropped for want of room are read again at the start of a new life: the reason for it may be gone. But not
    # where the spool alone still holds what lies below the log's start
    if not plan.spool or (at.spool.progress.dropped and plan.start >= low):
        at.spool.begin(at.basis(plan.start), plan.start)
    at.intake.drop_above = None
    at.intake.open(at.lens(), at.intake.position)
