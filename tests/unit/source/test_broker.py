"""The real broker without a broker: what it does while no answer comes."""

from __future__ import annotations

import time
from threading import Timer

import pytest

from consumer.domain.errors import LeaseLostError, TransientError
from consumer.domain.offsets import Commit, Lease, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source.broker import COMMIT_SECONDS, KafkaBroker


@pytest.fixture
def nowhere() -> KafkaSettings:
    return KafkaSettings(bootstrap_servers="127.0.0.1:9", group_id="group")


def test_a_commit_is_waited_for_no_longer_once_the_program_ends(
    nowhere: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.source.broker.CLOSE_SECONDS", 0.1)  # the client waits for brokers that are not there
    broker = KafkaBroker(nowhere)
    (lease,) = broker._inbox.assign([TopicPartition("t", 0)])
    broker.subscribe(["t"])
    Timer(0.3, broker.hurry).start()
    began = time.monotonic()
    with pytest.raises(TransientError, match="commit of t:0: no"):
        broker.commit(lease, Commit(5))
    assert time.monotonic() - began < COMMIT_SECONDS / 2
    broker.close()


def test_a_commit_under_a_lease_that_is_gone_is_not_sent(nowhere: KafkaSettings) -> None:
    broker = KafkaBroker(nowhere)
    with pytest.raises(LeaseLostError):
        broker.commit(Lease(TopicPartition("t", 0), 7), Commit(5))
    broker.close()
