"""Inspecting partitions: the order of requests that all commands keep, and what a worker would find on assignment.

Other workers continue during an inspection. The group's offset is read before the chain: one that was committed after
the chain was read would look like one moved by hand. The log's ends are read after the chain: a log only grows, so ends
older than the chain could make a sealed range look truncated. Only `in_order` requests all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from consumer.domain.backoff import Ask, ask_once
from consumer.domain.errors import Halt, HaltError, HaltReason
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.seal.chain import Chain
from consumer.seal.log import SealLog, get_rules
from consumer.seal.objects import ObjectChecker
from consumer.seal.recover import RecoveryFacts, commit_proves, recover
from consumer.settings.model import Settings, StreamSettings
from consumer.source.port import ClusterAdmin, TopicFacts
from consumer.store.port import Store
from consumer.streams.rules import RowRules

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Look(Generic[_T]):
    """One partition: the group's offset, then what was read of its seal log, then the log's ends."""

    commit: Commit | None
    sealed: _T
    ends: LogEnds


def in_order(
    admin: ClusterAdmin,
    group: str,
    partitions: Sequence[TopicPartition],
    read: Callable[[TopicPartition, Commit | None], _T],
    ask: Ask = ask_once,
) -> dict[TopicPartition, Look[_T]]:
    """Commits, then what `read` reads of each chain, then the ends. It waits. Raises what they raise."""
    commits = ask(lambda: admin.committed(group, partitions))
    sealed = {partition: read(partition, commits[partition]) for partition in partitions}
    ends = ask(lambda: admin.ends(partitions))
    return {partition: Look(commits[partition], sealed[partition], ends[partition]) for partition in partitions}


def last_seal_finished(chain: Chain, commit: Commit | None, objects: ObjectChecker, ask: Ask = ask_once) -> bool:
    """Whether all objects of the chain's last seal are in the bucket, known from the commit or by checking each."""
    seal = chain.last_seal
    if seal is None or commit_proves(chain, commit):
        return True
    return ask(lambda: objects.finished(seal, lossy=chain.lossy))


def topic_facts(admin: ClusterAdmin, topic: str, stream: str) -> TopicFacts:
    """The facts of the stream's topic. Raises HaltError if it is missing or compacted."""
    facts = admin.topic(topic)
    if facts is None:
        raise HaltError(
            HaltReason.MISSING_TOPIC, f"topic {topic} does not exist: create it, or fix streams.{stream}.topic"
        )
    policy = facts.settings.get("cleanup.policy", "")
    if "compact" in policy:
        raise HaltError(
            HaltReason.COMPACTED_TOPIC,
            f"topic {topic} has cleanup.policy={policy}: compaction deletes rows before they are sealed."
            " Set cleanup.policy=delete",
        )
    return facts


@dataclass(frozen=True, slots=True)
class Outlook:
    """One partition: what was found, or why nothing could be (`halt`); `found` may come with a halt that follows."""

    partition: TopicPartition
    ends: LogEnds
    commit: Commit | None
    found: RecoveryFacts | None
    halt: HaltError | None


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The state of a partition's seal log. `rules` are those of its head."""

    chain: Chain
    finished: bool
    rules: RowRules | None


@dataclass(slots=True)
class Outside:
    """One stream, seen from outside. Row rules are read once."""

    settings: Settings
    stream: StreamSettings
    admin: ClusterAdmin
    store: Store
    ask: Ask
    pool: Executor
    _rules: dict[str, RowRules] = field(default_factory=dict)

    def topic(self) -> TopicFacts:
        """The topic's facts. Raises HaltError if it is missing or compacted."""
        return self.ask(lambda: topic_facts(self.admin, self.stream.topic, self.stream.name))

    def partitions(self, facts: TopicFacts, numbers: Iterable[int] | None = None) -> list[Outlook]:
        """The outlook of every partition, or of those named."""
        wanted = range(facts.partitions) if numbers is None else numbers
        places = [TopicPartition(facts.name, number) for number in wanted]
        looks = in_order(self.admin, self.settings.kafka.group_id, places, self._read, self.ask)
        return [self._outlook(place, facts, look) for place, look in looks.items()]

    def _read(self, place: TopicPartition, commit: Commit | None) -> _Sealed | HaltError:
        log = SealLog(self.store, place, fetch=lambda calls: list(self.pool.map(self.ask, calls)))
        try:
            chain = self.ask(log.read)
            finished = last_seal_finished(chain, commit, ObjectChecker(self.store), self.ask)
            return _Sealed(chain, finished, None if chain.empty else self._rules_of(chain.head.settings, place))
        except HaltError as halt:
            return halt

    def _rules_of(self, digest: str, place: TopicPartition) -> RowRules:
        if digest not in self._rules:
            self._rules[digest] = self.ask(lambda: get_rules(self.store, digest, place))
        return self._rules[digest]

    def _outlook(self, place: TopicPartition, facts: TopicFacts, look: Look[_Sealed | HaltError]) -> Outlook:
        if isinstance(look.sealed, HaltError):
            return Outlook(place, look.ends, look.commit, None, look.sealed)
        found = RecoveryFacts(
            partition=place,
            stream=self.stream.name,
            group=self.settings.kafka.group_id,
            rules=self.stream.rules,
            chain=look.sealed.chain,
            head_rules=look.sealed.rules,
            finished=look.sealed.finished,
            commit=look.commit,
            topic_id=facts.topic_id,
            ends=look.ends,
            spool=None,
            begin=look.ends.low,  # where a new stream would begin decides no halt: any offset of the log will do
        )
        outcome = recover(found)
        return Outlook(place, look.ends, look.commit, found, outcome.error if isinstance(outcome, Halt) else None)
