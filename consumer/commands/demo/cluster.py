"""The demo's Kafka: librdkafka's mock cluster, which lives inside a producer of this process.

The mock cluster does not describe topics, so there is no topic id and there are no topic settings; nor groups, so that
unassigned partitions cannot be found; and it finds no offset by time, which the demo does not need. Ends of logs and
committed offsets are requested as from any cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.commands.demo.data import Sent
from consumer.domain.errors import TransientError, UsageError
from consumer.domain.offsets import Commit, LogEnds, Span, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.admin import KafkaAdmin
from consumer.source.errors import cause, outage
from consumer.source.port import TopicFacts

SECONDS = 10.0
"""Timeout of the mock cluster."""
WAITING = 20_000
"""Records handed to the producer before it is given time to send them."""


class MockCluster:
    """One broker on a free port of the loopback interface, ended by `close`."""

    def __init__(self) -> None:
        self._producer = Producer({"test.mock.num.brokers": 1, "enable.idempotence": True, "log_level": 0})
        self._failed: list[KafkaError] = []

    @property
    def servers(self) -> str:
        """Where clients find it."""
        brokers = self._producer.list_topics(timeout=SECONDS).brokers.values()
        return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def partitions(self, topic: str) -> int:
        """The partitions of a topic; a topic that was not there is made by the question."""
        try:
            return len(self._producer.list_topics(topic, SECONDS).topics[topic].partitions)
        except KafkaException as error:
            raise outage(f"topic {topic}", cause(error)) from error

    def send(self, topic: str, records: Iterable[Sent]) -> None:
        """Put records into a topic, in this order. Raises TransientError if one does not get there."""
        for count, record in enumerate(records, start=1):
            self._producer.produce(
                topic,
                record.value,
                record.key,
                record.partition,
                on_delivery=self._delivered,
                timestamp=int(record.at.timestamp() * 1000),
            )
            if count % WAITING == 0:
                self._producer.flush(SECONDS)
        if self._producer.flush(SECONDS) or self._failed:
            raise TransientError(f"the embedded broker did not accept all records: {self._failed[:1]}")

    def _delivered(self, error: KafkaError | None, _message: Message[bytes, bytes]) -> None:
        if error is not None:
            self._failed.append(error)

    def close(self) -> None:
        """Stop the broker."""
        del self._producer


class MockAdmin:
    """`ClusterAdmin` over what the mock cluster answers (see above)."""

    def __init__(self, cluster: MockCluster, settings: KafkaSettings) -> None:
        self._cluster = cluster
        self._admin = KafkaAdmin(settings)

    def topic(self, name: str) -> TopicFacts | None:
        """Only the number of its partitions."""
        return TopicFacts(name, topic_id="", partitions=self._cluster.partitions(name))

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, LogEnds]:
        return self._admin.ends(partitions)

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Commit | None]:
        return self._admin.committed(group, partitions)

    def offset_at(self, partition: TopicPartition, instant: datetime) -> int | None:
        """Refused."""
        raise UsageError(f"the embedded broker finds no offset by time ({partition}, {instant})")

    def unreadable(self, partition: TopicPartition, offset: int) -> Span | None:
        return self._admin.unreadable(partition, offset)

    def unowned(self, group: str, topics: Sequence[str]) -> set[TopicPartition]:  # noqa: ARG002 - as the port has it
        """Unknown: none."""
        return set()
