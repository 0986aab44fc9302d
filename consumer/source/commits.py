"""Commits in progress: requested by the worker, sent by the reader's thread, answered in a later `consume`."""

from __future__ import annotations

from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.errors import LeaseLostError, SinkError, UnknownOutcomeError
from consumer.domain.offsets import Commit, Lease, TopicPartition
from consumer.source.errors import cause, commit_error

Answer = Future[None]


class Commits:
    """Sends without waiting, so that polling continues. Used only by the reader's thread."""

    def __init__(self) -> None:
        self._pending: dict[TopicPartition, tuple[Lease, Commit, Answer]] = {}

    @property
    def pending(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._pending)

    def send(self, consumer: Consumer, lease: Lease, commit: Commit, answer: Answer) -> Lease | None:
        """Send one. Returns the lease where the member was refused at once."""
        partition = lease.partition
        place = Place(partition.topic, partition.partition, commit.offset, commit.metadata)
        self._pending[partition] = (lease, commit, answer)
        try:
            consumer.commit(offsets=[place], asynchronous=True)
        except KafkaException as exception:
            return self._settle(partition, commit_error(cause(exception)))
        return None

    def answered(self, error: KafkaError | None, places: list[Place]) -> list[Lease]:
        """Handle an answer. Returns the leases that may have been lost.

        Answers to commits that nobody waits for any more are ignored: they are recognised by offset and metadata.
        """
        refused = []
        for place in places:
            partition = TopicPartition(place.topic, place.partition)
            waiting = self._pending.get(partition)
            if waiting is None or waiting[1] != Commit(place.offset, place.metadata or ""):
                continue
            failure = place.error or error
            if (lease := self._settle(partition, commit_error(failure) if failure else None)) is not None:
                refused.append(lease)
        return refused

    def abandon(self) -> None:
        """The client was closed: what was sent may have arrived."""
        for partition in list(self._pending):
            self._settle(partition, UnknownOutcomeError(f"commit of {partition}: the client was closed"))

    def _settle(self, partition: TopicPartition, failure: SinkError | None) -> Lease | None:
        lease, _commit, answer = self._pending.pop(partition)
        if failure is None:
            answer.set_result(None)
        else:
            answer.set_exception(failure)
        return lease if isinstance(failure, LeaseLostError) else None
