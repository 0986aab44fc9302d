"""From settings to the parts that commands use: stores, cluster access, transformers, the worker itself."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from consumer import __version__
from consumer.decode import schema_lookup
from consumer.decode.registry import Registry, SchemaSource
from consumer.decode.schema_lookup import SchemaLookup
from consumer.domain.backoff import Ask
from consumer.domain.batches import RowTransformer
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.offsets import TopicPartition
from consumer.replace.bodies import remove_abandoned
from consumer.replace.services import Services
from consumer.seal.decide import Schedule
from consumer.seal.inspection import Outside
from consumer.seal.log import SealLog, get_rules
from consumer.seal.publisher import Publisher
from consumer.settings.model import DestinationSettings, Settings, StreamSettings
from consumer.shape.bounds import TURN, InHalves
from consumer.shape.transform import make_transformer
from consumer.source.admin import KafkaAdmin
from consumer.source.broker import KafkaBroker
from consumer.source.port import Broker, ClusterAdmin
from consumer.source.range_reader import KafkaRangeReader
from consumer.spool.disk import Disk
from consumer.spool.local import LocalDisk
from consumer.store.compression import remove_leftovers
from consumer.store.conditional_writes.probe import OncePerFolder
from consumer.store.factory import open_store
from consumer.store.port import Store, StreamingStore
from consumer.store.s3_clients import PART, S3Options
from consumer.streams.columns import column_names
from consumer.streams.rules import RowRules
from consumer.worker.backpressure import Limits
from consumer.worker.events import Listener
from consumer.worker.executor import ThreadExecutor
from consumer.worker.loop import Intervals, Worker
from consumer.worker.object_bodies import ObjectBodies
from consumer.worker.publish_task import PublishTask
from consumer.worker.stream_context import StreamConfig, StreamContext

JOB_THREADS = 8


def writer_name() -> str:
    """Who writes records: release and host."""
    return f"adapty-sink/{__version__} {socket.gethostname()}"


def store_of(destination: DestinationSettings) -> StreamingStore:
    """The store of a destination. No request is sent yet."""
    options = S3Options(
        region=destination.region,
        endpoint_url=destination.endpoint_url,
        access_key_id=destination.access_key_id,
        secret_access_key=destination.secret_access_key.get_secret_value(),
        server_side_encryption=destination.server_side_encryption,
        kms_key_id=destination.kms_key_id,
        storage_class=destination.storage_class,
        role_arn=destination.role_arn,
        external_id=destination.external_id,
        ca_bundle=destination.ca_bundle,
        addressing_style=destination.addressing_style,
        checksums=destination.effective_checksums,
        multipart_threshold=destination.multipart_threshold,
        part_size=min(PART, destination.multipart_threshold),
    )
    return open_store(destination.url, options if destination.scheme == "s3" else None)


def schema_source_of(settings: Settings) -> SchemaSource | None:
    """The schema registry, where one is named, to be asked one question after the other."""
    if (found := settings.schema_registry) is None:
        return None
    from consumer.decode.confluent_registry import ConfluentRegistry  # noqa: PLC0415 - its client is slow to load

    return ConfluentRegistry(found.url, found.plain_options())


def registry_of(settings: Settings) -> Registry | None:
    """The schema registry, if one is configured, with requests in the background."""
    source = schema_source_of(settings)
    if source is None or settings.schema_registry is None:
        return None
    threads = ThreadExecutor(schema_lookup.THREADS, lambda: None, "registry")
    grace = settings.schema_registry.grace.total_seconds()
    return SchemaLookup(source, threads.submit, SystemClock(), grace)


def stream_config(settings: Settings, stream: StreamSettings) -> StreamConfig:
    """One stream as the worker runs it."""
    return StreamConfig(
        name=stream.name,
        rules=stream.rules,
        group=settings.kafka.group_id,
        begin=stream.start,
        compression=stream.destination.compression,
        max_ratio=settings.quarantine.max_ratio,
        min_records=settings.quarantine.min_records,
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside of a worker."""

    broker: Broker
    admin: ClusterAdmin
    disk: Disk
    clock: Clock
    stores: Mapping[str, Store]
    registry: Registry | None
    scratch: Path

    def close(self) -> None:
        """Let go of the spool directory. The broker is closed by the worker."""
        if isinstance(self.disk, LocalDisk):
            self.disk.close()


def spool_of(directory: Path) -> LocalDisk:
    """The spool, without what crashed runs left there. Raises UsageError if another worker has it."""
    disk = LocalDisk(directory)
    remove_leftovers(directory)  # the lock is ours: nobody packs there
    remove_abandoned(directory)  # replacements run beside us, each with a lock of its own
    return disk


def ports_of(settings: Settings, *, static: bool) -> Ports:
    """The real ports. Raises UsageError if the spool is in use or an option is unknown."""
    disk = spool_of(settings.spool.directory)
    return Ports(
        broker=KafkaBroker(settings.kafka, static=static),
        admin=KafkaAdmin(settings.kafka),
        disk=disk,
        clock=SystemClock(),
        stores={stream.name: store_of(stream.destination) for stream in settings.streams},
        registry=registry_of(settings),
        scratch=settings.spool.directory,
    )


def transformer_factory(
    registry: Registry | None, keys: Mapping[str, bytes] | None = None
) -> Callable[[RowRules], RowTransformer]:
    """Makes transformers for the worker's loop: they share the registry's cache, and the keys of [privacy.keys]."""

    def make(rules: RowRules) -> RowTransformer:
        return make_transformer(rules, registry, keys=keys, bounds=TURN)

    return make


def patient_transformers(
    registry: Registry | None, keys: Mapping[str, bytes] | None = None
) -> Callable[[RowRules], RowTransformer]:
    """The same for commands, which have nothing else to do: they accept any batch."""
    make = transformer_factory(registry, keys)
    return lambda rules: InHalves(make(rules))


def publisher_of(context: StreamContext) -> Publisher:
    """The publisher of a desk's stream."""
    first = TopicPartition(context.config.rules.topic, 0)
    return Publisher(
        context.store,
        context.config.name,
        columns_of=lambda digest: column_names(context.ask_rules(digest, first)),
        today=lambda: column_names(context.config.rules),
        now=context.clock.now,
    )


def replace_services_of(settings: Settings, stream: StreamSettings, ask: Ask, pool: Executor) -> Services:
    """What replacements of a stream work with. Raises HaltError if the topic is missing."""
    store, admin, clock = store_of(stream.destination), KafkaAdmin(settings.kafka), SystemClock()
    topic = Outside(settings, stream, admin, store, ask, pool).topic()
    folder = settings.spool.directory
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    room = shutil.disk_usage(folder).free - settings.spool.min_free_bytes
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    rules_of = cache(lambda digest: get_rules(store, digest, places[0]))
    return Services(
        stream=stream.name,
        topic=topic.name,
        topic_id=topic.topic_id,
        today=stream.rules,
        compression=stream.destination.compression,
        store=store,
        admin=admin,
        reader=KafkaRangeReader(settings.kafka),
        publisher=Publisher(
            store,
            stream.name,
            columns_of=lambda digest: column_names(rules_of(digest)),
            today=lambda: column_names(stream.rules),
            now=clock.now,
        ),
        make_transformer=patient_transformers(registry_of(settings), settings.privacy.key_bytes()),
        clock=clock,
        writer=writer_name(),
        ask=ask,
        folder=folder,
        most_bytes=max(0, min(settings.spool.max_bytes, room)),
        keys=settings.privacy.key_bytes(),
        logs={place.partition: SealLog(store, place, lambda calls: list(pool.map(ask, calls))) for place in places},
    )


def worker_of(settings: Settings, ports: Ports, listener: Listener, *, through: date | None = None) -> Worker:
    """The worker of these settings over these ports."""
    schedule, prove = Schedule(settings.schedule.seal_at, through), OncePerFolder()
    contexts = {
        stream.name: StreamContext(
            config=stream_config(settings, stream),
            store=ports.stores[stream.name],
            admin=ports.admin,
            broker=ports.broker,
            disk=ports.disk,
            clock=ports.clock,
            schedule=schedule,
            writer=writer_name(),
            make_transformer=transformer_factory(ports.registry, settings.privacy.key_bytes()),
            listener=listener,
            bodies=ObjectBodies(ports.disk, ports.scratch, omit_values=settings.quarantine.value == "omit"),
            prove=prove,
        )
        for stream in settings.streams
    }
    return Worker(
        contexts,
        {name: PublishTask(context, publisher_of(context)) for name, context in contexts.items()},
        broker=ports.broker,
        disk=ports.disk,
        executor=ThreadExecutor(JOB_THREADS, ports.broker.wake),
        clock=ports.clock,
        limits=Limits(settings.spool.max_bytes, settings.spool.min_free_bytes),
        intervals=Intervals(settings.spool.checkpoint_seconds),
    )
