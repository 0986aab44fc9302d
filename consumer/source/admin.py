"""Cluster requests that need no group membership: topics, ends of logs, committed offsets, group members."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from itertools import islice
from struct import unpack_from
from threading import Lock
from typing import TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported there, but not in the way mypy wants it
    AdminClient,
    ConfigResource,
    ResourceType,
)

from consumer.domain.backoff import pauses
from consumer.domain.clock import SystemClock
from consumer.domain.errors import TransientError, UsageError
from consumer.domain.offsets import Commit, LogEnds, Span, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.client_config import consumer_config, token_trouble
from consumer.source.errors import NO_COORDINATOR, LastError, cause
from consumer.source.port import TopicFacts, millis_from
from consumer.source.question_clients import QuestionClients
from consumer.source.unreadable import unreadable_span

ANSWER_SECONDS = 5.0
"""How long one request may take."""
_GRACE_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE, _REPEATS = 0.2, 2.0, 5
"""A cluster without any group yet takes seconds to choose its first coordinator."""
RENEWAL_SECONDS = 60.0
"""Clients that had no answer for that long begin anew, with the addresses of the settings: all brokers that they know
may have been replaced. librdkafka's own way of doing that pauses for nothing (see `client_config.admin_config`)."""
STABLE = "Stable"
"""State of a group whose members all know their assignment."""
_NO_ANSWER = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - public constants
)
_LEADERLESS = frozenset({KafkaError.LEADER_NOT_AVAILABLE, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001 - as above
"""No leader is known of a partition, or of none that was asked about."""
_MOVING = (
    NO_COORDINATOR
    | _LEADERLESS
    | {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    }
)
"""A leader or a coordinator that is about to settle down elsewhere: the client library leaves these to us."""
_COMMITTED, _UNCOMMITTED = "read_committed", "read_uncommitted"

T = TypeVar("T")


class KafkaAdmin:
    """The port `ClusterAdmin` over the admin client. Connects when first asked; any thread may ask."""

    def __init__(self, settings: KafkaSettings, *, seconds: float = ANSWER_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._met = LastError(lambda: token_trouble(settings))
        self._asking = Lock()
        self._renewing = Lock()
        self._clients = QuestionClients(settings, self._met)
        self._retired: QuestionClients | None = None
        self._answered_at = time.monotonic()

    @property
    def _admin(self) -> AdminClient:
        return self._clients.admin

    def topic(self, name: str) -> TopicFacts | None:
        """The topic's facts, or None if it does not exist."""
        return self._ask(lambda: self._topic(name))

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        """Where each partition's log begins and ends now."""
        wanted = list(partitions)
        return self._ask(lambda: self._ends(wanted))

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        """What the group has committed; None if nothing is, or it expired."""
        wanted = list(partitions)
        return self._ask(lambda: self._committed(group, wanted)) if wanted else {}

    def offset_at(self, partition: TopicPartition, instant: datetime) -> int | None:
        """The offset of the first record stamped at or after `instant`; None if there is none."""
        # Uncommitted, so that a record of an open transaction counts: what follows it must not be passed over.
        at = millis_from(instant)
        offset = self._ask(lambda: self._offsets([partition], at, _UNCOMMITTED))[partition]
        return offset if offset >= 0 else None

    def unowned(self, group: str, topics: Sequence[str]) -> set[TopicPartition]:
        """The partitions of these topics that are assigned to no member of a stable group; empty during a rebalance.

        Empty with the newer group protocol, whose brokers assign new partitions themselves.
        """
        return self._ask(lambda: self._unowned(group, list(topics)))

    def unreadable(self, partition: TopicPartition, offset: int) -> Span | None:
        """The offsets from `offset` on that the client cannot read, up to the first that it can; None: it can."""
        high = self.ends([partition])[partition].lso
        try:
            consumer = Consumer({**consumer_config(self._settings, static=False), "log_level": 0})
        except KafkaException as error:
            raise UsageError(f"kafka.options: {cause(error).str()}") from error
        try:
            return unreadable_span(consumer, partition, offset, high, SystemClock())
        finally:
            consumer.close()

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask, again while leaders move. Clients that had no answer for long are replaced before the next question.

        The old ones stay until the next renewal: other threads may still wait for them.
        """
        try:
            answer = _settled(question)
        except TransientError:
            with self._renewing:
                if time.monotonic() - self._answered_at >= RENEWAL_SECONDS:
                    self._answered_at = time.monotonic()
                    self._retired, self._clients = self._clients, QuestionClients(self._settings, self._met)
            raise
        self._answered_at = time.monotonic()
        return answer

    def _topic(self, name: str) -> TopicFacts | None:
        asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=self._seconds)[name]
        try:
            found = self._answer(f"topic {name}", asked)
            settings = self._settings_of(name)
        except _RefusedError as error:
            if error.code == KafkaError.UNKNOWN_TOPIC_OR_PART:  # to the second question, too: it is being deleted
                return None
            raise
        return TopicFacts(name, str(found.topic_id), len(found.partitions), settings)

    def _ends(self, wanted: Sequence[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        low = self._offsets(wanted, OFFSET_BEGINNING, _UNCOMMITTED)
        stable = self._offsets(wanted, OFFSET_END, _COMMITTED)
        high = self._offsets(wanted, OFFSET_END, _UNCOMMITTED)
        # A leader that has just taken over may tell an older end: the end is never below the stable end.
        return {p: LogEnds(low[p], stable[p], max(stable[p], high[p])) for p in wanted}

    def _offsets(self, wanted: Sequence[TopicPartition], at: int, isolation: str) -> dict[TopicPartition, int]:
        """The offset of the first record stamped at or after `at`, in milliseconds; or an end of the log (OFFSET_...).

        The admin client's own call for offsets ends the process now and then (SIGSEGV in rd_kafka_ListOffsets,
        librdkafka 2.16): until it knows the leaders it continues, in the caller's thread, with a request that the
        library's own thread may have answered and freed by then. A consumer's call waits in the caller's thread.
        """
        if not wanted:
            return {}
        bystander = self._clients.bystander(self._settings.group_id, isolation)
        asked = [Place(p.topic, p.partition, at) for p in wanted]
        try:
            answers = bystander.offsets_for_times(asked, timeout=self._seconds)
        except KafkaException as error:
            raise self._no_offset(wanted[0], cause(error), bystander) from error
        finally:
            bystander.poll(0)  # what the client met meanwhile must not pile up
        found: dict[TopicPartition, int] = {}
        for place in answers:
            partition = TopicPartition(place.topic, place.partition)
            if place.error is not None:
                raise self._no_offset(partition, place.error, bystander)
            if place.offset == at and at:  # as it was asked; of 1970 on, offset 0 is an answer like any other
                raise TransientError(f"ends of {partition}: no answer")
            found[partition] = place.offset
        return found

    def _no_offset(self, partition: TopicPartition, error: KafkaError, bystander: Consumer) -> _RefusedError:
        if error.code() in _LEADERLESS:
            with suppress(KafkaException):  # else the client remembers for minutes that there was no leader
                bystander.list_topics(partition.topic, timeout=self._seconds)
        return _RefusedError(f"ends of {partition}", error, self._why(error, bystander))

    def _committed(self, group: str, wanted: Sequence[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        what = f"committed offsets of {group}"
        if not self._asking.acquire(timeout=self._seconds):  # calls of one client are queued
            raise TransientError(f"{what}: no answer in {self._seconds:.0f} s")
        try:
            bystander = self._clients.bystander(group, _UNCOMMITTED)
            answer = bystander.committed(list(map(_place, wanted)), timeout=self._seconds)
        except KafkaException as error:
            raise _RefusedError(what, cause(error)) from error
        finally:
            self._asking.release()
        found: dict[TopicPartition, Commit | None] = dict.fromkeys(wanted)
        for place in answer:
            if place.error is not None:
                raise _RefusedError(f"committed offset of {place.topic}:{place.partition}", place.error)
            if place.offset >= 0:
                found[TopicPartition(place.topic, place.partition)] = Commit(place.offset, place.metadata or "")
        return found

    def _unowned(self, group: str, topics: list[str]) -> set[TopicPartition]:
        members = self._members(group)
        if not members:
            return set()
        described = self._admin.describe_topics(TopicCollection(topics), request_timeout=self._seconds)
        every = {
            TopicPartition(name, part.id)
            for name, answer in described.items()
            for part in self._answer(f"topic {name}", answer).partitions
        }
        return every.difference(*map(assigned, members))

    def _members(self, group: str) -> list[bytes]:
        """The assignments of a stable group's members.

        The admin client's own call for groups ends the process where the coordinator is lost at that moment: an
        assertion in librdkafka 2.16 (confluentinc/librdkafka, issue 4605), met with a broker that is restarted.
        """
        try:
            found = self._admin.list_groups(group=group, timeout=self._seconds)
        except KafkaException as error:
            raise _RefusedError(f"group {group}", cause(error)) from error
        return [bytes(member.assignment or b"") for each in found if each.state == STABLE for member in each.members]

    def _settings_of(self, name: str) -> Mapping[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        asked = self._admin.describe_configs([resource], request_timeout=self._seconds)[resource]
        entries = self._answer(f"settings of topic {name}", asked)
        return {key: entry.value for key, entry in entries.items() if entry.value is not None}

    def _answer(self, what: str, asked: Future[T]) -> T:
        try:
            return asked.result(self._seconds + _GRACE_SECONDS)
        except KafkaException as error:
            raise _RefusedError(what, cause(error), self._why(cause(error), self._admin)) from error
        except concurrent.futures.TimeoutError:
            raise TransientError(f"{what}: no answer in {self._seconds:.0f} s{self._why(None, self._admin)}") from None
        finally:
            self._admin.poll(0)  # what the client met meanwhile must not pile up

    def _why(self, error: KafkaError | None, client: AdminClient | Consumer) -> str:
        """The last error that was met, if an answer says no more than that there was none."""
        client.poll(0)
        return self._met.lately() if error is None or error.code() in _NO_ANSWER else ""


class _RefusedError(TransientError):
    """Kafka's answer was an error."""

    def __init__(self, what: str, error: KafkaError, why: str = "") -> None:
        super().__init__(f"{what}: {error.str()} ({error.name()}){why}")
        self.code = error.code()


def assigned(assignment: bytes) -> set[TopicPartition]:
    """The partitions in a member's assignment, as the classic group protocol writes it."""
    if not assignment:
        return set()
    (topics,), at = unpack_from(">xxi", assignment), 6
    found = set()
    for _ in range(topics):
        (length,) = unpack_from(">h", assignment, at)
        name = assignment[at + 2 : at + 2 + length].decode()
        (count,) = unpack_from(">i", assignment, at + 2 + length)
        at += 6 + length
        found |= {TopicPartition(name, number) for number in unpack_from(f">{count}i", assignment, at)}
        at += 4 * count
    return found


def _settled(ask: Callable[[], T]) -> T:
    """Ask; again, a moment later, while leaders move."""
    for pause in islice(pauses(_FIRST_PAUSE, _LONGEST_PAUSE), _REPEATS):
        try:
            return ask()
        except _RefusedError as error:
            if error.code not in _MOVING:
                raise
        time.sleep(pause)
    return ask()


def _place(partition: TopicPartition) -> Place:
    return Place(partition.topic, partition.partition)
