"""Client settings: those that the seal log relies on, then the sink's own, then the user's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException

from consumer.domain.errors import UsageError
from consumer.settings.kafka import FIXED_OPTIONS
from consumer.settings.model import KafkaSettings
from consumer.source.errors import cause
from consumer.source.iam_tokens import tokens_of

FIXED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
}
"""Never overridden: offsets only move by seals, a lost position is never skipped."""

_ASSIGNOR = "partition.assignment.strategy"

CONSUMER_DEFAULTS: Mapping[str, Any] = {
    "client.id": "adapty-sink",
    # Memory: librdkafka's queue and one fetch in progress stay small compared with the inbox (see inbox.py).
    # It is bounded in messages, too, for librdkafka counts the bytes of values and not those of headers.
    "queued.max.messages.kbytes": 16 * 1024,
    "queued.min.messages": 500,
    "fetch.max.bytes": 8 * 1024 * 1024,
    # A full queue is looked at again soon: with the default of a second it would run dry between two fetches.
    "fetch.queue.backoff.ms": 2,
    # Rows are needed at 04:00, not at once: fewer and larger fetches. An end of partition shows after one such wait.
    "fetch.min.bytes": 64 * 1024,
    "fetch.wait.max.ms": 250,
    "check.crcs": True,
    "topic.metadata.refresh.interval.ms": 60_000,
    # With no broker left librdkafka starts over with its first wait each time: 100 ms are a storm.
    "reconnect.backoff.ms": 1_000,
    "reconnect.backoff.max.ms": 5_000,
    "socket.keepalive.enable": True,
    "log.connection.close": False,
    "statistics.interval.ms": 5_000,
}

_CONSUMER_ONLY = ("auto.", "check.crcs", "enable.auto.", "enable.partition.eof", "fetch.", "group.", "heartbeat.",
                  "isolation.", "max.p", "queued.", "session.", "consume.")  # fmt: skip


def consumer_config(settings: KafkaSettings, *, static: bool = True) -> dict[str, Any]:
    """The configuration of a group member. `static` False omits the instance id (one-shot commands).

    The settings have refused every option that must not be set (`FIXED_OPTIONS`): a bug is caught here.
    """
    options = settings.plain_options()
    modern = speaks_consumer_protocol(options)
    if wrong := sorted(FIXED_OPTIONS.keys() & options.keys()):
        raise UsageError(f"kafka.options: cannot be overridden: {', '.join(wrong)}")
    return {
        **CONSUMER_DEFAULTS,
        **_larger_fetch(options),
        **options,
        **_iam(settings),
        "bootstrap.servers": settings.bootstrap_servers,
        "group.id": settings.group_id,
        **({"group.instance.id": settings.instance_id} if static and settings.instance_id else {}),
        **({} if modern else {_ASSIGNOR: "cooperative-sticky"}),
        **FIXED,
    }


def _larger_fetch(options: Mapping[str, str]) -> dict[str, str]:
    """A fetch size for the user's largest message: librdkafka refuses a smaller one."""
    largest = options.get("message.max.bytes", options.get("max.partition.fetch.bytes", ""))
    if "fetch.max.bytes" in options or not largest.isdigit():
        return {}
    return {"fetch.max.bytes": largest} if int(largest) > CONSUMER_DEFAULTS["fetch.max.bytes"] else {}


def try_options(settings: KafkaSettings) -> None:
    """Make a consumer as `run` does, which joins nothing, and drop it.

    Raises UsageError in the user's terms: librdkafka may name an option that was never written.
    """
    try:
        Consumer({**consumer_config(settings), "logger": logging.getLogger("librdkafka")}).close()
    except KafkaException as error:
        raise UsageError(refused_options(settings, error)) from error


def refused_options(settings: KafkaSettings, error: BaseException) -> str:
    """The error of librdkafka about the options, and which of them the user has set."""
    written = ", ".join(sorted(settings.options)) or "nothing"
    return f"kafka.options: {cause(error).str()} (kafka.options has {written})"


def admin_config(settings: KafkaSettings) -> dict[str, Any]:
    """What a client that asks questions is made from: the address, security and sockets of the options."""
    options = {k: v for k, v in settings.plain_options().items() if not k.startswith(_CONSUMER_ONLY)}
    return {
        "client.id": CONSUMER_DEFAULTS["client.id"],
        "log_level": 0,  # what fails is raised, each time
        # Else a question to the group's coordinator whose broker is away makes librdkafka connect as fast as it can,
        # whatever the backoff: each failure has the question looked at again, and that asks for a connection at once.
        # Not sparse means a connection to each broker, kept, with the backoff between attempts. But when all brokers
        # are down librdkafka begins anew at once, and forgets the backoff: hundreds of attempts a second where
        # connections are accepted and closed, so that `admin.RENEWAL_SECONDS` does it instead.
        "enable.sparse.connections": False,
        "metadata.recovery.strategy": "none",
        **options,
        **_iam(settings),
        "bootstrap.servers": settings.bootstrap_servers,
    }


def _iam(settings: KafkaSettings) -> dict[str, Any]:
    """What `kafka.auth` brings along."""
    if not settings.auth:
        return {}
    tokens = tokens_of(settings.region)
    return {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": tokens}


def token_trouble(settings: KafkaSettings) -> str:
    """Why there is no token, after a semicolon; "" if there is one, or none is needed."""
    return tokens_of(settings.region).trouble if settings.auth else ""


def speaks_consumer_protocol(options: Mapping[str, str]) -> bool:
    """Whether the options choose the newer group protocol (KIP-848)."""
    return options.get("group.protocol", "classic").lower() == "consumer"
