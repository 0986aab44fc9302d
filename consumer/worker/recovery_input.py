"""The input of recovery: the group's offset, the chain, its objects, the log's ends, and the spool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from consumer.domain.batches import RowTransformer
from consumer.domain.errors import Halt
from consumer.domain.offsets import Commit, Span, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.folder_columns import folder_columns, merged
from consumer.seal.inspection import in_order, last_seal_finished
from consumer.seal.recover import RecoveryFacts, RecoveryPlan, SpoolReach, recover
from consumer.spool.files import PartitionSpool
from consumer.worker.stream_context import StreamContext


@dataclass(frozen=True, slots=True)
class RecoveryInput:
    """What was found, what follows from it, and the transformers for what will be read. `columns`: of its rows."""

    found: RecoveryFacts
    outcome: RecoveryPlan | Halt
    transformers: Mapping[str, RowTransformer]
    columns: tuple[str, ...]


def spool_reach(spool: PartitionSpool) -> SpoolReach | None:
    """The state of the spool's checkpoint, if it has one."""
    basis = spool.basis
    if basis is None:
        return None
    return SpoolReach(
        basis.topic_id,
        basis.settings,
        basis.chain,
        basis.builds_on,
        basis.start,
        spool.progress.position,
        basis.columns,
    )


def read_recovery_input(context: StreamContext, partition: TopicPartition, spool: SpoolReach | None) -> RecoveryInput:
    """Look at Kafka and the bucket. It may wait: run it on the executor. Raises TransientError and HaltError."""
    topic = context.ask_topic()
    context.ask_safe()
    look = in_order(context.admin, context.config.group, [partition], partial(_sealed, context))[partition]
    chain, finished = look.sealed
    own = context.ask_transformer(context.today, partition).columns
    found = RecoveryFacts(
        partition=partition,
        stream=context.config.name,
        group=context.config.group,
        rules=context.config.rules,
        chain=chain,
        head_rules=None if chain.empty else context.ask_rules(chain.head.settings, partition),
        finished=finished,
        commit=look.commit,
        topic_id=topic.topic_id,
        ends=look.ends,
        spool=spool,
        begin=context.ask_begin(partition, look.ends),
        columns=merged(folder_columns(context.store, context.config.name).names, own),
    )
    outcome = recover(found)
    # rows in the spool have the columns that the folder had when they were read: those stay the first ones of its list
    columns = spool.columns if spool and isinstance(outcome, RecoveryPlan) and outcome.spool else found.columns
    transformers = {} if isinstance(outcome, Halt) else _transformers(context, found, outcome)
    return RecoveryInput(found, outcome, transformers, columns)


def _sealed(context: StreamContext, partition: TopicPartition, commit: Commit | None) -> tuple[Chain, bool]:
    """The chain, and whether its last seal is finished."""
    chain = context.log(partition).read()
    return chain, last_seal_finished(chain, commit, context.object_checker())


def _transformers(context: StreamContext, found: RecoveryFacts, plan: RecoveryPlan) -> dict[str, RowTransformer]:
    """Transformers for today's rules and for those of every record that covers what may be read again."""
    first = min([plan.start, *([found.chain.head.resume] if not found.chain.empty else [])])
    covering = [record for _, record in found.chain.segments(Span(first, found.chain.reach.through))]
    digests = {context.today, *(record.settings for record in covering if record is not None)}
    if plan.pending is not None:
        digests.add(plan.pending.settings)
    return {digest: context.ask_transformer(digest, found.partition) for digest in digests}
