"""The clients that ask the cluster, made by the library itself, without a broker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from consumer.domain.errors import TransientError, UsageError
from consumer.domain.offsets import TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.admin import KafkaAdmin
from consumer.source.errors import LastError
from consumer.source.question_clients import QuestionClients

SECONDS = 1.5
"""How long one question waits."""
MOST = 30
"""Connections of one client meanwhile: with pauses that double from 0.1 s on there are four."""


@contextmanager
def door() -> Iterator[tuple[int, list[int]]]:
    """A port that closes each connection at once, as a proxy does whose broker is away; and how many there were."""
    count = [0]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                count[0] += 1
                connection.close()

        thread = Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], count
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


QUESTIONS: dict[str, Callable[[KafkaAdmin], object]] = {
    "topic": lambda asked: asked.topic("t"),
    "ends": lambda asked: asked.ends([TopicPartition("t", 0)]),
    "committed": lambda asked: asked.committed("g", [TopicPartition("t", 0)]),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_brokers_that_close_every_connection_are_not_stormed(question: str) -> None:
    with door() as (port, count):
        asked = KafkaAdmin(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), seconds=SECONDS)
        with pytest.raises(TransientError):
            QUESTIONS[question](asked)
        assert 0 < count[0] < MOST


def test_a_client_is_made_once_for_a_group_and_isolation() -> None:
    clients = QuestionClients(KafkaSettings(bootstrap_servers="127.0.0.1:9"), LastError())
    one = clients.bystander("g", "read_committed")
    assert clients.bystander("g", "read_committed") is one
    assert clients.bystander("g", "read_uncommitted") is not one
    assert clients.admin is clients.admin


def test_options_that_the_library_refuses_are_a_mistake_in_the_settings() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9", options={"metadata.recovery.strategy": "never"})
    clients = QuestionClients(settings, LastError())
    with pytest.raises(UsageError, match=r"kafka\.options"):
        clients.bystander("g", "read_committed")
    with pytest.raises(UsageError, match=r"kafka\.options"):
        _ = clients.admin
