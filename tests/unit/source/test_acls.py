"""Our rights, asked of a client that is made up."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # as in rights.py

from consumer.domain.errors import TransientError
from consumer.settings.model import KafkaSettings
from consumer.source import acls as rights

SETTINGS = KafkaSettings(bootstrap_servers="localhost:9092", group_id="sink")


class MadeUpAdmin:
    """Answers questions about the group from a script: the operations allowed, or an error."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def describe_consumer_groups(self, groups: list[str], **_how: object) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            future.set_exception(KafkaException(KafkaError(answer)))
        else:
            future.set_result(SimpleNamespace(authorized_operations=answer))
        return {groups[0]: future}


def admin_of(monkeypatch: pytest.MonkeyPatch, *answers: object) -> MadeUpAdmin:
    admin = MadeUpAdmin(*answers)
    monkeypatch.setattr(rights, "AdminClient", lambda _config: admin)
    monkeypatch.setattr(rights, "PAUSE_SECONDS", 0.0)
    return admin


@pytest.mark.parametrize(
    "moving",
    [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS],
)
def test_a_coordinator_that_is_just_being_chosen_is_asked_again(monkeypatch: pytest.MonkeyPatch, moving: int) -> None:
    admin = admin_of(monkeypatch, moving, moving, moving, [AclOperation.READ])
    assert rights.may_join_group(SETTINGS)
    assert admin.answers == []


def test_one_that_is_never_found_is_an_outage_and_no_missing_right(monkeypatch: pytest.MonkeyPatch) -> None:
    admin_of(monkeypatch, *[KafkaError.NOT_COORDINATOR] * rights.TRIES)
    with pytest.raises(TransientError, match="NOT_COORDINATOR"):
        rights.may_join_group(SETTINGS)


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        ([AclOperation.READ, AclOperation.DESCRIBE], True),
        ([AclOperation.DESCRIBE], False),
        (None, True),
        (KafkaError.GROUP_ID_NOT_FOUND, True),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, False),
    ],
)
def test_what_an_answer_means(monkeypatch: pytest.MonkeyPatch, answer: object, allowed: bool) -> None:
    admin_of(monkeypatch, answer)
    assert rights.may_join_group(SETTINGS) is allowed
