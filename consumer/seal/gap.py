"""Gaps: an operator's decision to continue without offsets that Kafka deleted before their seal, or cannot deliver.

A gap of deleted offsets starts with the lowest one that is still needed: everything below its end is given up. A gap of
unreadable offsets is anywhere behind that, and costs only its own offsets.
"""

from __future__ import annotations

from datetime import datetime

from consumer.domain.batches import Counts
from consumer.domain.offsets import LogEnds, Span
from consumer.seal.record import Record, RecordKind
from consumer.seal.recover import RecoveryFacts


def lowest_needed(found: RecoveryFacts) -> int | None:
    """The lowest offset still to be read: of a pending seal, else of the next one. None: a new partition."""
    chain = found.chain
    if chain.empty:
        return None if found.commit is None else found.commit.offset
    seal = chain.last_seal
    if seal is not None and not found.finished and chain.head is seal:
        return seal.start
    if seal is not None and not found.finished and chain.head.unfinished == seal.n:
        return chain.head.start  # under a gap a pending seal is read from where the gap says
    return chain.head.resume


def gap_objection(lost: Span, needed: int | None, ends: LogEnds, unreadable: Span | None = None) -> str:
    """Why this gap must not be recorded, with the right numbers; "" if it may.

    `unreadable` are offsets from `lost.start` on that the client cannot read.
    """
    if needed is None:
        return "nothing was sealed or committed: a new partition starts at its stream's `start` and needs no gap"
    if unreadable is not None and lost.start >= max(needed, ends.low):
        if lost != unreadable:
            return f"the offsets that cannot be read are {unreadable.start} to {unreadable.end}"
        return ""
    if needed >= ends.low:
        return f"nothing is lost: offset {needed} is the lowest still needed, and the log starts at {ends.low}"
    if lost != Span(needed, ends.low):
        return f"the lost offsets are {needed} to {ends.low}, not {lost.start} to {lost.end}"
    return ""


def gap_record(found: RecoveryFacts, lost: Span, *, settings: str, now: datetime, writer: str) -> Record:
    """The record of a gap: it moves start and resume behind the gap if they were at it, and closes nothing."""
    chain = found.chain
    head = None if chain.empty else chain.head
    needed = lowest_needed(found)
    assert needed is not None
    resume = needed if head is None else head.resume
    return Record(
        kind=RecordKind.GAP,
        stream=found.stream,
        partition=found.partition,
        topic_id=found.topic_id,
        group=found.group,
        n=len(chain.records),
        previous=None if head is None else head.reach,
        cutoff=None if head is None else head.cutoff,
        caught_up=False if head is None else head.caught_up,
        start=moved(needed, lost),
        through=moved(resume, lost) if head is None else head.through,
        resume=moved(resume, lost) if lost.start > needed else lost.end,
        lso=found.ends.lso,
        high=found.ends.high,
        settings=settings,
        sealed_at=now if head is None else max(now, head.sealed_at),
        writer=writer,
        counts=Counts(),
        lost=lost,
        unfinished=None if found.finished or chain.last_seal is None else chain.last_seal.n,
        previous_sha256="" if head is None else chain.digests[-1],
    )


def moved(offset: int, lost: Span) -> int:
    """Where reading continues that would start at `offset`."""
    return lost.end if offset in lost else offset
