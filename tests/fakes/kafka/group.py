"""A consumer group's coordinator in memory: members, cooperative rebalances, commits fenced by membership alone.

Members that live follow a rebalance in the background, as librdkafka does; what they hold moves when they poll: first
the old owner gives it up, then the new one gets it. One that was evicted knows nothing until it polls, still believes
in its leases, and is refused when it commits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consumer.domain.offsets import Commit, TopicPartition


@dataclass(slots=True)
class Membership:
    """One member as the coordinator has it. A static one that closed stays, not `alive`, until it is evicted."""

    topics: frozenset[str]
    instance_id: str | None
    alive: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What a member learns when it polls."""

    gives_up: frozenset[TopicPartition] = frozenset()
    gets: frozenset[TopicPartition] = frozenset()


NO_CHANGE = Change()


class MemoryGroup:
    """One group. `committed` may be changed by hand: expired, rewound, advanced."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._members: dict[str, Membership] = {}
        self._target: dict[TopicPartition, str] = {}
        self._holder: dict[TopicPartition, str] = {}
        self.committed: dict[TopicPartition, Commit] = {}
        self.generation = 0
        self._up_to_date: set[str] = set()
        self._unowned: dict[tuple[str, ...], frozenset[TopicPartition]] = {}

    def _changed(self) -> None:
        """Answers of before are not to be given again."""
        self._up_to_date.clear()
        self._unowned.clear()

    def join(self, member_id: str, topics: Iterable[str], instance_id: str | None = None) -> None:
        """Add a member. A static one takes over what its instance was assigned, without a rebalance."""
        self._changed()
        former = self._of_instance(instance_id) if instance_id else None
        self._members[member_id] = Membership(frozenset(topics), instance_id)
        if former is None:
            self.rebalance()
            return
        del self._members[former]
        self._target = {p: member_id if m == former else m for p, m in self._target.items()}
        self._holder = {p: m for p, m in self._holder.items() if m != former}

    def leave(self, member_id: str) -> None:
        """Remove a member; what it held is free."""
        self._changed()
        if self._members.pop(member_id, None) is not None:
            self._holder = {p: m for p, m in self._holder.items() if m != member_id}
            self.rebalance()

    def stop(self, member_id: str) -> None:
        """A member's client ends. A static one keeps its place."""
        self._changed()
        member = self._members.get(member_id)
        if member is not None and member.instance_id is not None:
            member.alive = False
            self._holder = {p: m for p, m in self._holder.items() if m != member_id}
        else:
            self.leave(member_id)

    def knows(self, member_id: str) -> bool:
        """Whether the member may commit."""
        return member_id in self._members

    def fenced(self, instance_id: str | None) -> bool:
        """Whether an unknown member of this instance was replaced by another one that lives."""
        holder = self._of_instance(instance_id) if instance_id else None
        return holder is not None and self._members[holder].alive

    def members(self) -> tuple[str, ...]:
        """The members' ids, those of closed static ones included."""
        return tuple(sorted(self._members))

    def follow(self, member_id: str) -> Change:
        """The member polls: it gives up what is to move, and gets what nobody holds any more."""
        if member_id in self._up_to_date:
            return NO_CHANGE
        held = {p for p, m in self._holder.items() if m == member_id}
        mine = {p for p, m in self._target.items() if m == member_id}
        gives_up = held - mine
        for partition in gives_up:
            del self._holder[partition]
        gets = {p for p in mine if p not in self._holder}
        self._holder.update(dict.fromkeys(gets, member_id))
        if gives_up:
            self.generation += 1
        if gives_up or gets:
            self._changed()
        else:
            self._up_to_date.add(member_id)
        return Change(frozenset(gives_up), frozenset(gets))

    def notice(self) -> None:
        """Topics changed: members that live notice."""
        self._changed()
        if any(member.alive for member in self._members.values()):
            self.rebalance()

    def rebalance(self) -> None:
        """Share out anew: everyone keeps what it has as far as that is fair."""
        self._changed()
        self.generation += 1
        existing = [
            TopicPartition(topic, n) for topic in sorted(self._partitions) for n in range(self._partitions[topic])
        ]
        topics = {member_id: member.topics for member_id, member in self._members.items()}
        self._target = share_out(sorted(existing), topics, self._target)

    def unowned(self, topics: Iterable[str]) -> set[TopicPartition]:
        """Partitions that nobody is assigned; empty without members and while a rebalance is under way."""
        asked = tuple(topics)
        if asked not in self._unowned:
            self._unowned[asked] = frozenset(self._find_unowned(asked))
        return set(self._unowned[asked])

    def _find_unowned(self, topics: Iterable[str]) -> set[TopicPartition]:
        if not self._members or any(self._holder.get(p, m) != m for p, m in self._target.items()):
            return set()
        wanted = {TopicPartition(topic, n) for topic in topics for n in range(self._partitions.get(topic, 0))}
        return wanted - set(self._target)

    def _of_instance(self, instance_id: str) -> str | None:
        return next((m for m, member in self._members.items() if member.instance_id == instance_id), None)


def share_out(
    partitions: Iterable[TopicPartition], topics: Mapping[str, frozenset[str]], before: Mapping[TopicPartition, str]
) -> dict[TopicPartition, str]:
    """Who gets what: as before where that member is still there, the rest and the excess to who has least.

    The same input gives the same answer. `topics` are the members' subscriptions.
    """
    able = {p: [m for m in sorted(topics) if p.topic in topics[m]] for p in partitions}
    able = {p: members for p, members in able.items() if members}
    result = {p: before[p] for p, members in able.items() if before.get(p) in members}
    load = Counter(result.values())
    for partition, members in able.items():
        if partition not in result:
            result[partition] = min(members, key=lambda m: (load[m], m))
            load[result[partition]] += 1
    while _moved_one(result, able, load):
        pass
    return result


def _moved_one(result: dict[TopicPartition, str], able: Mapping[TopicPartition, list[str]], load: Counter[str]) -> bool:
    """Move one partition from who has too many to who has least; each move makes the shares fairer, so it ends."""
    for partition in sorted(result, reverse=True):
        owner, least = result[partition], min(able[partition], key=lambda m: (load[m], m))
        if load[owner] > load[least] + 1:
            result[partition] = least
            load.subtract({owner: 1, least: -1})
            return True
    return False
