"""Kafka's errors by what they mean."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError
from consumer.source.errors import FatalErrorAction, after_fatal, cause, commit_error, is_fatal, outage


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.REBALANCE_IN_PROGRESS, LeaseLostError),
        (KafkaError.ILLEGAL_GENERATION, LeaseLostError),
        (KafkaError.UNKNOWN_MEMBER_ID, LeaseLostError),
        (KafkaError.STALE_MEMBER_EPOCH, LeaseLostError),
        (KafkaError.FENCED_INSTANCE_ID, LeaseLostError),
        (KafkaError.NOT_COORDINATOR, TransientError),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, TransientError),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, TransientError),
        (KafkaError.REQUEST_TIMED_OUT, UnknownOutcomeError),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, UnknownOutcomeError),
        (KafkaError._TRANSPORT, UnknownOutcomeError),
        (KafkaError._TIMED_OUT, UnknownOutcomeError),
        (KafkaError._WAIT_COORD, UnknownOutcomeError),
        (KafkaError.UNKNOWN, UnknownOutcomeError),
    ],
)
def test_a_failed_commit(code: int, kind: type[Exception]) -> None:
    assert type(commit_error(KafkaError(code))) is kind


def fatal(code: int) -> KafkaError:
    """As it reaches Python: the cause in the text alone."""
    return KafkaError(KafkaError._FATAL, f"Fatal error: {KafkaError(code).str()}: something")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (KafkaError.UNRELEASED_INSTANCE_ID, FatalErrorAction.WAIT),
        (KafkaError.FENCED_INSTANCE_ID, FatalErrorAction.LEAVE),
        (KafkaError.UNSUPPORTED_VERSION, FatalErrorAction.LEAVE),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, FatalErrorAction.RENEW),
        (KafkaError.GROUP_MAX_SIZE_REACHED, FatalErrorAction.RENEW),
    ],
)
def test_what_to_do_about_a_client_that_was_given_up(code: int, what: FatalErrorAction) -> None:
    assert is_fatal(fatal(code))
    assert after_fatal(fatal(code))[0] is what
    assert after_fatal(KafkaError(code))[0] is what


def test_an_ordinary_error_is_not_fatal() -> None:
    assert not is_fatal(KafkaError(KafkaError._TRANSPORT))


def test_the_cause_inside_an_exception() -> None:
    error = KafkaError(KafkaError._STATE)
    assert cause(KafkaException(error)) is error
    assert cause(ValueError("odd")).str() == "ValueError: odd"


def test_an_outage_says_what_and_why() -> None:
    assert str(outage("topic:0", KafkaError(KafkaError._BAD_MSG, "broken"))) == "topic:0: broken (_BAD_MSG)"
