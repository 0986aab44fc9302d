"""librdkafka's statistics, and what is reported as an outage."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import orjson
import pytest
from confluent_kafka import KafkaError

from consumer.domain.errors import TransientError
from consumer.source.health import REPEAT_SECONDS, Health
from consumer.source.inbox import Inbox
from consumer.source.stats import SourceStats, read_stats


class HandClock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def document(*states: str) -> str:
    brokers = {
        f"b{n}": {"nodename": f"host:{n}", "state": state, "rtt": {"avg": 1500 * (n + 1)}}
        for n, state in enumerate(states)
    }
    parts = {"0": {"fetchq_cnt": 2, "fetchq_size": 300}, "1": {"fetchq_cnt": 2, "fetchq_size": 300}, "-1": {}}
    raw = {
        "brokers": {**brokers, "coordinator": {"nodename": "host:0", "state": states[0], "rtt": {"avg": 10}}},
        "topics": {"topic": {"partitions": parts}},
        "cgrp": {"rebalance_cnt": 4, "join_state": "steady"},
    }
    return orjson.dumps(raw).decode()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def health(inbox: Inbox, clock: HandClock) -> Health:
    return Health(inbox, clock)


def outage(inbox: Inbox) -> str | None:
    try:
        inbox.poll(0)
    except TransientError as error:
        return str(error)
    return None


def test_one_look() -> None:
    assert read_stats(document("UP", "UP", "DOWN")) == SourceStats(
        brokers_up=2, round_trip_seconds=0.003, queued_records=2, queued_bytes=300, rebalances=4, group_state="steady"
    )
    assert read_stats("{}") == SourceStats(0, 0.0, 0, 0, 0, "")


def test_no_broker_at_two_looks_is_an_outage(health: Health, inbox: Inbox) -> None:
    health.on_stats(document("DOWN"))
    assert outage(inbox) is None
    health.on_stats(document("DOWN"))
    assert str(outage(inbox)).startswith("Kafka: no broker is reachable; if they are up, ")
    health.on_stats(document("UP"))
    assert outage(inbox) is None
    assert health.stats is not None
    assert health.stats.brokers_up == 1


def test_the_same_outage_is_told_again_after_a_while(health: Health, inbox: Inbox, clock: HandClock) -> None:
    error = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    health.on_error(error)
    assert str(outage(inbox)).startswith("Kafka: no broker is reachable; if they are up, ")
    clock.seconds += REPEAT_SECONDS - 1
    health.on_error(error)
    assert outage(inbox) is None
    health.on_error(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert outage(inbox) == "Kafka: wrong password (_AUTHENTICATION)"
    clock.seconds += 1
    health.on_error(error)
    assert outage(inbox) == "Kafka: no broker is reachable; last error: wrong password"


def test_one_lost_connection_is_no_outage_but_says_why_none_is_left(health: Health, inbox: Inbox) -> None:
    health.failed("Kafka", KafkaError(KafkaError._TRANSPORT, "host:1 went away"))
    assert outage(inbox) is None
    health.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert outage(inbox) == "Kafka: no broker is reachable; last error: host:1 went away"


def test_the_library_says_a_thing_once_in_a_while(
    health: Health, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="librdkafka"):
        for seconds in (0.0, 1.0, REPEAT_SECONDS - 1.0):
            clock.seconds += seconds
            health.log.log(logging.ERROR, "%s [%s] %s", "FAIL", "client-1", f"refused after {seconds} ms")
        health.log.log(logging.INFO, "%s [%s] %s", "OTHER", "client-1", "refused after 2.0 ms")
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.ERROR, "FAIL [client-1] refused after 0.0 ms"),
        (logging.ERROR, "FAIL [client-1] refused after 9.0 ms"),
        (logging.INFO, "OTHER [client-1] refused after 2.0 ms"),
    ]


def test_an_outage_stands_in_the_log_whether_or_not_the_worker_hears_of_it(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that the client cannot read, while other partitions bring records all the time."""
    with caplog.at_level("WARNING"):
        for _ in range(3):
            health.failed("t-0", KafkaError(KafkaError._BAD_COMPRESSION))
    assert len(caplog.messages) == 1, "once in a while"
    assert "t-0" in caplog.messages[0]
