"""What an assignment finds, and what follows from it: the recovery table as one function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from consumer.domain.errors import Halt, HaltReason
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.record import Record, RecordKind
from consumer.streams.rules import RowRules

NO_RECORD = -1
"""`SpoolReach.builds_on` of a spool that was begun before record 0."""


@dataclass(frozen=True, slots=True)
class SpoolReach:
    """The state of a spool's checkpoint, after its files were found to have the lengths it says."""

    topic_id: str
    settings: str
    chain: str
    builds_on: int
    start: int
    position: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """What an assignment found. `finished` speaks of the chain's last seal; `begin` is where a new stream starts.

    `columns` are those that rows get which are read now: the folder's, then what today's settings add.
    """

    partition: TopicPartition
    stream: str
    group: str
    rules: RowRules
    chain: Chain
    head_rules: RowRules | None
    finished: bool
    commit: Commit | None
    topic_id: str
    ends: LogEnds
    spool: SpoolReach | None
    begin: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """How to continue.

    `pending` is a seal to finish first: from the spool if `spool` is true, otherwise read again from `start`. Without
    one `start` is the first row not yet taken and `position` the NEXT offset to read: beyond `start` only if the spool
    has everything in between. `lossy` allows for rows that a gap took from the pending seal. `commit` is to be
    committed if the group's offset differs (never before a pending seal is finished).
    """

    start: int
    position: int
    spool: bool
    pending: Record | None = None
    lossy: bool = False
    commit: Commit | None = None
    notes: tuple[str, ...] = ()


def commit_for(chain: Chain) -> Commit:
    """The group's offset and metadata once the head is finished."""
    metadata = orjson.dumps({"chain": chain.identity, "seal": chain.head.n}).decode()
    return Commit(chain.head.resume, metadata)


def commit_proves(chain: Chain, commit: Commit | None) -> bool:
    """Whether the commit names this chain and its last seal, or a later record. An offset by itself proves nothing."""
    seal = chain.last_seal
    if seal is None:
        return True
    if commit is None:
        return False
    try:
        said = orjson.loads(commit.metadata)
        return said["chain"] == chain.identity and int(said["seal"]) >= seal.n
    except (ValueError, KeyError, TypeError):
        return False


def recover(found: RecoveryFacts) -> RecoveryPlan | Halt:
    """The recovery table."""
    return _refusal(found) or (_unsealed(found) if found.chain.empty else _sealed(found))


def _refusal(found: RecoveryFacts) -> Halt | None:
    if found.chain.empty:
        return None
    head = found.chain.head
    if head.stream != found.stream:
        return Halt(
            HaltReason.FOREIGN_CHAIN,
            f"the seal log of {found.partition} belongs to stream {head.stream}, not {found.stream}: "
            "give this stream its own destination folder",
        )
    if head.topic_id != found.topic_id:
        return Halt(
            HaltReason.TOPIC_RECREATED,
            f"{found.partition} is not the topic that was sealed (id {found.topic_id}, sealed {head.topic_id}): "
            "its offsets refer to other records. Seal the new topic into a new folder",
        )
    if found.ends.high < head.through:
        return _truncated(found, f"it was sealed through {head.through}")
    return _conflict(found)


def _truncated(found: RecoveryFacts, what: str) -> Halt:
    return Halt(
        HaltReason.LOG_TRUNCATED,
        f"the log of {found.partition} ends at {found.ends.high}, but {what}: new records would reuse offsets. "
        "Seal into a new folder with a new group",
    )


def _conflict(found: RecoveryFacts) -> Halt | None:
    old, new = found.head_rules, found.rules
    if old is None:
        return None
    for name in ("topic", "day_by", "time_field"):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            return Halt(
                HaltReason.SETTINGS_CONFLICT,
                f"{name} of stream {found.stream} was {before} when its chain began and is {now} now: put it back, or "
                "seal into a new folder with a new group",
            )
    return None


def _unsealed(found: RecoveryFacts) -> RecoveryPlan | Halt:
    start = found.begin if found.commit is None else found.commit.offset
    if start > found.ends.high:
        return _truncated(found, f"the group has committed {start}")
    if _spool_fits(found, NO_RECORD, start):
        assert found.spool is not None
        return RecoveryPlan(start, found.spool.position, spool=True, notes=("spool kept",))
    if start < found.ends.low:
        return _hole(found, start)
    commit = Commit(start) if found.commit is None else None
    return RecoveryPlan(start, start, spool=False, commit=commit, notes=("nothing sealed in this folder yet",))


def _sealed(found: RecoveryFacts) -> RecoveryPlan | Halt:
    chain = found.chain
    seal = chain.last_seal
    notes = [f"the chain was written by group {chain.head.group}"] if chain.head.group != found.group else []
    if seal is not None and not found.finished:
        return _pending(found, seal, tuple(notes))
    head, wanted = chain.head, commit_for(chain)
    commit = None if found.commit == wanted else wanted
    if commit is not None:
        notes.append(f"the group's offset is {found.commit.offset if found.commit else 'absent'}, not {wanted.offset}")
    if any(_spool_fits(found, n, head.resume) for n in _bases(found)):
        assert found.spool is not None
        return RecoveryPlan(head.resume, found.spool.position, spool=True, commit=commit, notes=(*notes, "spool kept"))
    if head.resume < found.ends.low:
        return _hole(found, head.resume)
    return RecoveryPlan(head.resume, head.resume, spool=False, commit=commit, notes=tuple(notes))


def _bases(found: RecoveryFacts) -> Iterator[int]:
    """The records that a spool may build on: the head, and what it follows where it only gives up offsets behind it."""
    position = found.spool.position if found.spool else 0
    for record in reversed(found.chain.records):
        yield record.n
        if record.lost is None or record.resume >= record.lost.start or position > record.lost.start:
            return
        if record.n == 0:
            yield NO_RECORD


def _pending(found: RecoveryFacts, seal: Record, notes: tuple[str, ...]) -> RecoveryPlan | Halt:
    gap = found.chain.head if found.chain.head.kind is RecordKind.GAP else None
    if gap is None and seal.settings == found.rules.digest and _spool_fits(found, seal.n - 1, seal.start):
        assert found.spool is not None
        # the spool's files hold whole days by today's rules: they are the seal's rows only where both end at the same
        # offset, and another worker with other settings, or with more of the folder's columns, did not decide it
        if found.spool.position == seal.through and seal.columns in {None, len(found.spool.columns)}:
            return RecoveryPlan(
                seal.start, seal.through, spool=True, pending=seal, notes=(*notes, f"seal {seal.n} pending")
            )
    start = seal.start if gap is None else max(seal.start, gap.start)
    if start < found.ends.low and start < seal.through:
        return _hole(found, start)
    notes = (*notes, f"seal {seal.n} pending, its rows are read again")
    return RecoveryPlan(start, start, spool=False, pending=seal, lossy=gap is not None, notes=notes)


def _spool_fits(found: RecoveryFacts, builds_on: int, start: int) -> bool:
    spool, chain = found.spool, found.chain
    if spool is None:
        return False
    identity = chain.identity if builds_on != NO_RECORD else ""
    return (
        spool.topic_id == found.topic_id
        and spool.settings == found.rules.digest
        and spool.builds_on == builds_on
        and spool.chain == identity
        and spool.start == start
        and max(start, found.ends.low) <= spool.position <= found.ends.high
        and _header_fits(found.columns, spool.columns)
    )


def _header_fits(today: tuple[str, ...], spooled: tuple[str, ...]) -> bool:
    """A folder that got more columns meanwhile makes no spool worthless: a shorter header is one, too."""
    return today[: len(spooled)] == spooled and (bool(spooled) or not today)


def _hole(found: RecoveryFacts, needed: int) -> Halt:
    low = found.ends.low
    return Halt(
        HaltReason.RETENTION_HOLE,
        f"{found.partition}: offsets {needed} to {low} were deleted from Kafka before they were sealed, and the spool "
        f"does not have them. To continue without them: adapty-sink accept-gap {found.partition} {needed} {low}",
    )
