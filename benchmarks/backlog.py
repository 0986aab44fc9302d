"""The log that is read: a topic, filled once."""

from __future__ import annotations

from confluent_kafka import Producer
from confluent_kafka.cimpl import KafkaError, Message
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from benchmarks.events import SCHEMA_FILE, WIRE_HEAD, Plan, events
from consumer.streams.rules import Format
from tests.services.kafka import KafkaAddress, unique_topic

ROOM = 1_000_000


def fill(kafka: KafkaAddress, plan: Plan) -> str:
    """A new topic with the plan's events, spread evenly; its name."""
    topic = unique_topic("bench")
    largest = str(max(1_048_588, plan.large_bytes + 65_536))
    # made-up timestamps are days old: retention would take them away at once
    kafka.create_topic(topic, plan.partitions, {"retention.ms": "-1", "max.message.bytes": largest})
    failures: list[KafkaError] = []

    def told(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "message.max.bytes": int(largest),
            "queue.buffering.max.messages": ROOM,
            "on_delivery": told,
        }
    )
    for number, event in enumerate(events(plan)):
        while True:
            try:
                producer.produce(topic, event.value, event.key, number % plan.partitions, timestamp=event.timestamp)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    producer.flush(120)
    if failures:
        raise RuntimeError(f"{len(failures)} records were not taken: {failures[0].str()}")
    return topic


def head_of(form: Format, registry: str) -> bytes:
    """What stands before each value of this format: the id that the registry at this URL gives to the schema."""
    if form is not Format.AVRO_REGISTRY:
        return WIRE_HEAD
    with SchemaRegistryClient({"url": registry}) as client:
        number: int = client.register_schema("bench-value", Schema(SCHEMA_FILE.read_text(), "AVRO"))
    return b"\0" + number.to_bytes(4, "big")
