"""What the brokers permit on topics and the group, found without doing it, and which members are there already."""

from __future__ import annotations

import concurrent.futures
import time
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]  # as in logview.py

from consumer.domain.errors import TransientError
from consumer.settings.model import KafkaSettings
from consumer.source.client_config import admin_config, speaks_consumer_protocol
from consumer.source.errors import NO_COORDINATOR, cause, outage

ANSWER_SECONDS = 5.0
NEEDED = AclOperation.READ
TRIES = 10
PAUSE_SECONDS = 0.5
CONSUMERS = "consumer"
"""Type of a group of consumers, by the classic protocol."""
OURS = "cooperative-sticky"

T = TypeVar("T")


def may_read_topic(settings: KafkaSettings, topic: str) -> bool:
    """Whether records of the topic may be read; true where brokers check no rights. Raises TransientError."""
    admin = AdminClient(admin_config(settings))
    asked = admin.describe_topics(
        TopicCollection([topic]), include_authorized_operations=True, request_timeout=ANSWER_SECONDS
    )
    return _allowed(_answer(f"permissions on topic {topic}", asked[topic]))


def may_join_group(settings: KafkaSettings) -> bool:
    """Whether the group may be joined and committed for; true where it does not exist yet. Raises TransientError."""
    admin, group = AdminClient(admin_config(settings)), settings.group_id
    for _ in range(TRIES):
        asked = admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=ANSWER_SECONDS
        )
        try:
            return _allowed(asked[group].result(ANSWER_SECONDS + 1))
        except KafkaException as error:
            found = cause(error)
        except concurrent.futures.TimeoutError:
            raise TransientError(f"permissions on group {group}: no answer in {ANSWER_SECONDS:.0f} s") from None
        if found.code() not in NO_COORDINATOR:
            break
        time.sleep(PAUSE_SECONDS)
    if found.code() == KafkaError.GROUP_ID_NOT_FOUND:
        return True
    if found.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return False
    raise outage(f"permissions on group {group}", found)


def foreign_assignor(settings: KafkaSettings) -> str:
    """The assignor of live members that keeps this worker from joining; "" if there is none. Raises TransientError.

    Brokers admit a member only if it shares an assignor with all others. With the newer protocol the brokers assign.
    """
    if speaks_consumer_protocol(settings.plain_options()):
        return ""
    admin, group = AdminClient(admin_config(settings)), settings.group_id
    try:
        found = admin.list_groups(group=group, timeout=ANSWER_SECONDS)
    except KafkaException as error:
        raise outage(f"members of group {group}", cause(error)) from error
    assignors = {each.protocol or "" for each in found if each.members and each.protocol_type == CONSUMERS}
    return next((name for name in assignors if name not in {"", OURS}), "")


def _allowed(found: Any) -> bool:
    """Brokers that report no permissions do not check any."""
    return found.authorized_operations is None or NEEDED in found.authorized_operations


def _answer(what: str, asked: Future[T]) -> T:
    try:
        return asked.result(ANSWER_SECONDS + 1)
    except KafkaException as error:
        raise outage(what, cause(error)) from error
    except concurrent.futures.TimeoutError:
        raise TransientError(f"{what}: no answer in {ANSWER_SECONDS:.0f} s") from None
