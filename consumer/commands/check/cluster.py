"""`check`: the brokers, the topics and their retention, permissions, the schema registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from consumer.commands.check.line import Line, failed, ok, warning
from consumer.decode.registry import UNKNOWN, SchemaSource
from consumer.domain.errors import HaltReason, SinkError, TransientError, UsageError
from consumer.settings.model import KafkaSettings, Settings, StreamSettings
from consumer.source.iam_tokens import said
from consumer.source.port import ClusterAdmin, TopicFacts
from consumer.streams.rules import Format

LEAST_RETENTION = timedelta(hours=48)
"""A day is read until 04:00 of the next one; the rest is for an outage and the people who fix it."""
MOST_AHEAD = timedelta(days=1)
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""The id of every topic before Kafka 2.8: 16 bytes of nothing."""
NO_SCHEMA = 2**31 - 1
"""A schema id that no registry has given out: asking for it needs no right on any subject."""
GZIP_RATIO = 1_029
"""How many times larger a gzip batch can be when decompressed."""
MESSAGE_BYTES = 1_048_588
"""The brokers' default maximum size of a batch."""
RETENTION = "set retention.ms to 604800000 (7 days): records must outlast the sealing of their day, and outages"

Rights = Callable[[str], bool]
"""Whether the brokers let us read the topic."""


def option_lines(kafka: KafkaSettings, attempt: Callable[[KafkaSettings], None]) -> Iterator[Line]:
    """The client library takes the options that `run` will use: `attempt` makes a consumer of them."""
    try:
        attempt(kafka)
    except UsageError as error:
        yield failed("kafka", "options", str(error), "correct the options, or leave them out")
        return
    yield ok("kafka", "options", "the client library takes them")


def token_lines(kafka: KafkaSettings, make: Callable[[str], object]) -> Iterator[Line]:
    """With `kafka.auth` a token can be made with the AWS chain. Whether the brokers accept it shows later."""
    if not kafka.auth:
        return
    try:
        make(kafka.region)
    except Exception as error:  # noqa: BLE001 - boto and the signer raise whatever they met
        todo = "give this machine credentials: a role of its pod or instance, a profile, or AWS_ACCESS_KEY_ID"
        yield failed("kafka", "token", f"none for {kafka.auth} by the AWS chain: {said(error)}", todo)
        return
    yield ok("kafka", "token", f"made for {kafka.auth} in {kafka.region}")


def broker_lines(
    settings: Settings, admin: ClusterAdmin, may_join: Callable[[], bool], beside: Callable[[], str] = str
) -> Iterator[Line]:
    """The brokers answer, and admit us to the group. `beside` is the assignor of members that keep us from joining."""
    subject = f"kafka {settings.kafka.bootstrap_servers}"
    todo = "fix kafka.bootstrap_servers or kafka.options (security.protocol, sasl.*), or the network"
    try:
        admin.topic(settings.streams[0].topic)
    except TransientError as error:
        yield failed(subject, "reachable", str(error), todo)
        return
    yield ok(subject, "reachable", "the brokers answer")
    group = settings.kafka.group_id
    try:
        allowed, assignor = may_join(), beside()
    except TransientError as error:
        todo = f"check again in a minute; if it persists, allow Describe and Read on group {group}"
        yield failed(subject, "group", str(error), todo)
        return
    if assignor:
        detail = f"group {group} has live members with the assignor {assignor}: the brokers let no worker join"
        yield failed(subject, "group", detail, "stop them, or name another kafka.group_id")
    elif allowed:
        yield ok(subject, "group", f"group {group} may be joined")
    else:
        yield failed(subject, "group", f"group {group} must not be joined", f"allow Read on group {group}")


def topic_lines(stream: StreamSettings, admin: ClusterAdmin, may_read: Rights) -> Iterator[Line]:
    """One topic: it exists, may be read, and keeps its records long enough."""
    subject = f"topic {stream.topic}"
    try:
        facts = admin.topic(stream.topic)
        allowed = facts is None or may_read(stream.topic)
    except TransientError as error:
        yield failed(subject, "exists", str(error), f"allow Describe and DescribeConfigs on topic {stream.topic}")
        return
    if facts is None:
        todo = f"create it, or fix streams.{stream.name}.topic"
        yield failed(subject, "exists", f"the topic does not exist ({HaltReason.MISSING_TOPIC})", todo)
        return
    yield ok(subject, "exists", f"{facts.partitions} partitions")
    if facts.topic_id == NO_ID:
        yield warning(
            subject,
            "identity",
            "topics have no id on these brokers: a re-created topic is not noticed, and its"
            " records are taken for the old ones",
            "use Kafka 2.8 or later, or never delete a topic that is exported",
        )
    if not allowed:
        yield failed(subject, "readable", "not allowed to read its records", f"allow Read on topic {stream.topic}")
    yield _policy_line(subject, facts)
    yield from _retention_lines(subject, facts)
    yield from _stamp_lines(subject, facts)
    yield from _compression_lines(subject, facts)


def _policy_line(subject: str, facts: TopicFacts) -> Line:
    policy = facts.settings.get("cleanup.policy", "delete")
    if "compact" in policy:
        detail = f"cleanup.policy={policy}: compaction deletes rows before they are sealed"
        return failed(subject, "cleanup.policy", detail, "set cleanup.policy=delete")
    return ok(subject, "cleanup.policy", policy)


def _retention_lines(subject: str, facts: TopicFacts) -> Iterator[Line]:
    millis = int(facts.settings.get("retention.ms", "-1"))
    if millis < 0:
        yield ok(subject, "retention", "records are kept forever")
    else:
        kept = timedelta(milliseconds=millis)
        hours = f"records are kept for {kept / timedelta(hours=1):,.1f} hours"
        if kept < LEAST_RETENTION:
            least = LEAST_RETENTION // timedelta(hours=1)
            yield failed(subject, "retention", f"{hours}, less than the {least} that are needed", RETENTION)
        else:
            yield ok(subject, "retention", hours)
    size = int(facts.settings.get("retention.bytes", "-1"))
    if size >= 0:
        yield warning(
            subject,
            "retention.bytes",
            f"a partition keeps {size:,} bytes at most, however recent they are",
            "make sure that two busy days fit, or set retention.bytes=-1: the hours depend on the traffic",
        )


def _stamp_lines(subject: str, facts: TopicFacts) -> Iterator[Line]:
    """Days are held against the record's timestamp, so that one far ahead lets a row into a day far ahead."""
    if facts.settings.get("message.timestamp.type") == "LogAppendTime":
        return
    text = facts.settings.get("message.timestamp.after.max.ms")
    if text is not None and timedelta(milliseconds=min(int(text), 10**15)) > MOST_AHEAD:
        yield warning(
            subject,
            "message.timestamp.after.max.ms",
            f"it is {text}: a record stamped years ahead goes into a day years ahead",
            "set it to 3600000 (1 hour): the brokers then refuse such records",
        )


def _compression_lines(subject: str, facts: TopicFacts) -> Iterator[Line]:
    """Gzip batches of any size are decompressed by librdkafka; `quarantine.max_record` only applies afterwards."""
    how = facts.settings.get("compression.type")
    if how in {"producer", "gzip"}:
        largest = int(facts.settings.get("max.message.bytes", str(MESSAGE_BYTES)))
        yield warning(
            subject,
            "compression.type",
            f"it is {how}: a gzip batch of {largest:,} bytes, which the topic accepts, may expand to"
            f" {largest * GZIP_RATIO >> 20:,} MiB in the worker's memory",
            "if not all producers are trusted, set compression.type to lz4 or uncompressed, or lower max.message.bytes",
        )


def registry_lines(settings: Settings, registry: SchemaSource | None) -> Iterator[Line]:
    """The schema registry answers, if a stream needs it.

    Only a registry answers that it does not know a schema: a server with an error page for a wrong path, or a proxy
    that answers for it, is an outage.
    """
    needed = [stream.name for stream in settings.streams if stream.rules.format is Format.AVRO_REGISTRY]
    if not needed or registry is None or settings.schema_registry is None:
        return
    subject = f"registry {settings.schema_registry.url}"
    fix = "fix schema_registry.url or its options, or the network"
    try:
        answer = registry.ask(NO_SCHEMA)
    except SinkError as error:
        yield failed(subject, "reachable", str(error), fix)
        return
    if answer != UNKNOWN:
        said = f"what answers is not a schema registry: it does not say that schema {NO_SCHEMA} is unknown"
        yield failed(subject, "reachable", said, fix)
        return
    yield ok(subject, "reachable", f"it answers; needed by {', '.join(needed)}")
