"""What a worker would find on assignment, looked at from outside: no group membership, no spool, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from consumer.domain.errors import Halt, HaltError, HaltReason
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.seal.log import SealLog, get_rules
from consumer.seal.objects import ObjectChecker
from consumer.seal.recover import Found, commit_proves, recover
from consumer.settings.model import Settings, StreamSettings
from consumer.source.port import ClusterAdmin, TopicFacts
from consumer.store.port import Store
from consumer.streams.rules import RowRules

_T = TypeVar("_T")


class Ask(Protocol):
    """Calls, and calls again while an outage lasts."""

    def __call__(self, call: Callable[[], _T], /) -> _T:
        """What the call returns."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One partition: what was found, or why nothing could be (`halt`); `found` may come with a halt that follows."""

    partition: TopicPartition
    ends: LogEnds
    commit: Commit | None
    found: Found | None
    halt: HaltError | None


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
        """The topic's facts. Raises HaltError where it is missing or compacted."""
        name = self.stream.topic
        facts = self.ask(lambda: self.admin.topic(name))
        if facts is None:
            raise HaltError(
                HaltReason.MISSING_TOPIC,
                f"topic {name} does not exist: create it, or mend streams.{self.stream.name}.topic",
            )
        policy = facts.settings.get("cleanup.policy", "")
        if "compact" in policy:
            raise HaltError(
                HaltReason.COMPACTED_TOPIC,
                f"topic {name} has cleanup.policy={policy}: compaction deletes rows before they are sealed."
                " Set cleanup.policy=delete",
            )
        return facts

    def partitions(self, facts: TopicFacts, numbers: Iterable[int] | None = None) -> list[Outlook]:
        """The outlook of every partition, or of those named."""
        wanted = range(facts.partitions) if numbers is None else numbers
        places = [TopicPartition(facts.name, number) for number in wanted]
        group = self.settings.kafka.group_id
        commits = self.ask(lambda: self.admin.committed(group, places))  # before the chains, as on assignment
        read = [self._read(place, facts, commits[place]) for place in places]
        ends = self.ask(lambda: self.admin.ends(places))  # after them: a log only grows
        return [
            self._outlook(place, found, ends[place], commits[place]) for place, found in zip(places, read, strict=True)
        ]

    def _read(self, place: TopicPartition, facts: TopicFacts, commit: Commit | None) -> Found | HaltError:
        log = SealLog(self.store, place, fetch=lambda calls: list(self.pool.map(self.ask, calls)))
        try:
            chain = self.ask(log.read)
            seal = chain.last_seal
            finished = commit_proves(chain, commit)
            if not finished and seal is not None:
                lossy = chain.head.n > seal.n
                finished = self.ask(lambda: ObjectChecker(self.store).finished(seal, lossy=lossy))
            head_rules = None if chain.empty else self._rules_of(chain.head.settings, place)
        except HaltError as halt:
            return halt
        return Found(
            partition=place,
            stream=self.stream.name,
            group=self.settings.kafka.group_id,
            rules=self.stream.rules,
            chain=chain,
            head_rules=head_rules,
            finished=finished,
            commit=commit,
            topic_id=facts.topic_id,
            ends=LogEnds(0, 0, 0),
            spool=None,
            begin=0,
        )

    def _rules_of(self, digest: str, place: TopicPartition) -> RowRules:
        if digest not in self._rules:
            self._rules[digest] = self.ask(lambda: get_rules(self.store, digest, place))
        return self._rules[digest]

    def _outlook(self, place: TopicPartition, read: Found | HaltError, ends: LogEnds, commit: Commit | None) -> Outlook:
        if isinstance(read, HaltError):
            return Outlook(place, ends, commit, None, read)
        found = _with_ends(read, ends)
        outcome = recover(found)
        halt = outcome.error if isinstance(outcome, Halt) else None
        return Outlook(place, ends, commit, found, halt)


def _with_ends(found: Found, ends: LogEnds) -> Found:
    """Where a new stream would begin decides no halt: any offset of the log will do."""
    return Found(
        found.partition,
        found.stream,
        found.group,
        found.rules,
        found.chain,
        found.head_rules,
        found.finished,
        found.commit,
        found.topic_id,
        ends,
        None,
        ends.low,
    )
