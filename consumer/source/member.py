"""The worker's member of the consumer group: its client, assigned partitions, close and replacement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.clock import Clock
from consumer.domain.errors import LeaseLostError, TransientError, UsageError
from consumer.domain.offsets import Commit, Lease, TopicPartition
from consumer.source import errors as kafka_errors
from consumer.source.commits import Answer, Commits
from consumer.source.errors import FatalErrorAction
from consumer.source.fetch import PARKED_AT, PartitionFetch
from consumer.source.health import Health
from consumer.source.inbox import Inbox

RENEW_SECONDS = 2.0
"""Between a client that was given up and the next."""


class Member:
    """Lives on the reader's thread.

    `fetches` are the assigned partitions. `session_seconds`: how long another holder of the instance id may be a dead
    one.
    """

    def __init__(
        self, config: Mapping[str, Any], inbox: Inbox, health: Health, clock: Clock, session_seconds: float
    ) -> None:
        self._config = {
            **config,
            "error_cb": health.on_error,
            "stats_cb": health.on_stats,
            "on_commit": self._on_commit,
            "logger": health.log,
        }
        self._inbox = inbox
        self._health = health
        self._clock = clock
        self._session_seconds = session_seconds
        self._topics: list[str] = []
        self._renew_at = 0.0
        self._refused_since: float | None = None
        self.commits = Commits()
        self.fetches: dict[TopicPartition, PartitionFetch] = {}
        self._consumer: Consumer | None = self._new_client()

    def join(self, topics: Iterable[str]) -> None:
        """Subscribe."""
        self._topics = list(topics)
        if self._consumer is not None:
            self._subscribe(self._consumer)

    def client(self) -> Consumer | None:
        """The client; a new one if the last was given up, None while it is too early for that."""
        if self._consumer is None and self._clock.monotonic() >= self._renew_at:
            self._consumer = self._new_client()
            self._subscribe(self._consumer)
        return self._consumer

    def rejoin(self) -> None:
        """Leave the group and join again. The group forgets a static member then, and assigns everything again."""
        if self._consumer is not None:
            self._consumer.unsubscribe()
            self._subscribe(self._consumer)

    def send(self, lease: Lease, commit: Commit, answer: Answer) -> None:
        """Send a commit, unless its lease is void or nobody waits for it any more."""
        if not answer.set_running_or_notify_cancel():
            return
        if self._consumer is None or not self._inbox.is_live(lease):
            answer.set_exception(LeaseLostError(f"{lease.partition} is no longer assigned to this worker"))
        elif self.commits.send(self._consumer, lease, commit, answer) is not None:
            self._replace(lease)

    def give_up(self, error: KafkaError) -> None:
        """Follow librdkafka, which refuses to continue with this client: all leases are void, another client follows.

        Raises UsageError if another client would fare no better.
        """
        what, text = kafka_errors.after_fatal(error)
        self._drop_all()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        now = self._clock.monotonic()
        self._renew_at = now + RENEW_SECONDS
        if what is FatalErrorAction.WAIT:
            self._refused_since = now if self._refused_since is None else self._refused_since
            if now - self._refused_since >= self._session_seconds:
                raise UsageError(text)
        if what is FatalErrorAction.LEAVE:
            raise UsageError(text)
        self._health.report(TransientError(text))

    def distrust(self) -> None:
        """Move every assigned partition to its position again: a rebalance, for one, pauses and resumes on its own."""
        for fetch in self.fetches.values():
            fetch.epoch = -1

    def leave(self) -> None:
        """Leave the group. Commits nothing."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._drop_all()

    def _new_client(self) -> Consumer:
        try:
            return Consumer(self._config)
        except KafkaException as error:
            raise UsageError(f"kafka.options: {kafka_errors.cause(error).str()}") from error

    def _subscribe(self, consumer: Consumer) -> None:
        consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _drop_all(self) -> None:
        self._inbox.void(list(self.fetches), lost=True)
        self.fetches.clear()
        self.commits.abandon()

    # Callbacks, inside `consume` or `close`: they return at once

    def _on_assign(self, consumer: Consumer, places: list[Place]) -> None:
        self._refused_since = None
        for lease in self._inbox.assign(_partition(p) for p in places):
            self.fetches[lease.partition] = PartitionFetch(lease)
        have = set(map(_partition, consumer.assignment()))
        parked = [Place(p.topic, p.partition, PARKED_AT) for p in places if _partition(p) not in have]
        consumer.incremental_assign(parked)
        if parked:
            consumer.pause(parked)
        self.distrust()

    def _on_revoke(self, consumer: Consumer, places: list[Place]) -> None:
        self._void(consumer, places, lost=False)

    def _on_lost(self, consumer: Consumer, places: list[Place]) -> None:
        self._void(consumer, places, lost=True)

    def _void(self, consumer: Consumer, places: list[Place], *, lost: bool) -> None:
        gone = list(map(_partition, places))
        self._inbox.void(gone, lost=lost)
        for partition in gone:
            self.fetches.pop(partition, None)
        have = set(map(_partition, consumer.assignment()))
        consumer.incremental_unassign([p for p in places if _partition(p) in have])
        self.distrust()

    def _on_commit(self, error: KafkaError | None, places: list[Place]) -> None:
        for lease in self.commits.answered(error, places):
            self._replace(lease)

    def _replace(self, lease: Lease) -> None:
        """The worker drops a lease whose commit was refused: if the partition stays assigned, it needs a new one."""
        if self._inbox.is_live(lease):
            self._inbox.void([lease.partition])
            (new,) = self._inbox.assign([lease.partition])
            self.fetches[lease.partition] = PartitionFetch(new)


def _partition(place: Place) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)
