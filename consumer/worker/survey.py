"""Looking at the world on assignment: the group's offset first, then the chain, then the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.domain.batches import Judge
from consumer.domain.offsets import Span, TopicPartition
from consumer.seal.recover import Found, Plan, SpoolReach, Stop, commit_proves, recover
from consumer.spool.files import PartitionSpool
from consumer.worker.desk import Desk


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, what follows from it, and the judges for what will be read."""

    found: Found
    outcome: Plan | Stop
    judges: Mapping[str, Judge]


def spool_reach(spool: PartitionSpool) -> SpoolReach | None:
    """What the spool says of itself, if it holds a checkpoint."""
    basis = spool.basis
    if basis is None:
        return None
    return SpoolReach(
        basis.topic_id, basis.settings, basis.chain, basis.builds_on, basis.start, spool.progress.position
    )


def survey(desk: Desk, partition: TopicPartition, spool: SpoolReach | None) -> Survey:
    """Look at Kafka and the bucket. A job: it may wait. Raises TransientError and HaltError."""
    topic = desk.ask_topic()
    desk.ask_safe()
    commit = desk.view.committed(desk.job.group, [partition])[partition]
    chain = desk.log(partition).read()
    seal = chain.last_seal
    finished = commit_proves(chain, commit)
    if not finished and seal is not None:
        finished = desk.standing().finished(seal, lossy=chain.head.n > seal.n)
    # after the chain: another worker may have sealed further in between, and the log only grows
    ends = desk.ask_ends(partition)
    found = Found(
        partition=partition,
        stream=desk.job.name,
        group=desk.job.group,
        rules=desk.job.rules,
        chain=chain,
        head_rules=None if chain.empty else desk.ask_rules(chain.head.settings, partition),
        finished=finished,
        commit=commit,
        topic_id=topic.topic_id,
        ends=ends,
        spool=spool,
        begin=desk.ask_begin(partition, ends),
    )
    outcome = recover(found)
    judges = {} if isinstance(outcome, Stop) else _judges(desk, found, outcome)
    return Survey(found, outcome, judges)


def _judges(desk: Desk, found: Found, plan: Plan) -> dict[str, Judge]:
    """Judges for today's rules and for those of every record that covers what may be read again."""
    first = min([plan.start, *([found.chain.head.resume] if not found.chain.empty else [])])
    covering = [record for _, record in found.chain.segments(Span(first, found.chain.reach.through))]
    digests = {desk.today, *(record.settings for record in covering if record is not None)}
    if plan.pending is not None:
        digests.add(plan.pending.settings)
    return {digest: desk.ask_judge(digest, found.partition) for digest in digests}
