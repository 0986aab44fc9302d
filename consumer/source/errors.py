"""Kafka's errors by their meaning here: a lost lease, an unknown outcome, an outage, a mistake in the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto

from confluent_kafka import KafkaError, KafkaException

from consumer.domain.errors import LeaseLostError, SinkError, TransientError, UnknownOutcomeError

LATELY_SECONDS = 60.0
"""How long the last error that a client met explains why there is no answer."""
END = KafkaError._PARTITION_EOF  # noqa: SLF001 - a public constant of librdkafka
"""No error: the reader is at the end of the log."""
LOST_PLACE = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001
)
"""The offset asked for is not in the log."""

_NOT_OURS = frozenset(
    {
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - a public constant of librdkafka
        KafkaError._FATAL,  # noqa: SLF001
    }
)
"""The coordinator refused the commit, or librdkafka did not send it: the member is not who it was."""

_REFUSED = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.INVALID_COMMIT_OFFSET_SIZE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError._NO_OFFSET,  # noqa: SLF001
    }
)
"""Answers that guarantee that nothing was written."""


NO_COORDINATOR = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""The group's coordinator is just being chosen: seen on a cluster without any group yet, or a broker that restarts."""
NOTHING_SAID = "; if they are up, security.protocol or sasl.mechanism in kafka.options may not match theirs"
"""What may be wrong if connections are closed without an error, as brokers do to clients without TLS or SASL."""


class FatalErrorAction(Enum):
    """What to do about a client that librdkafka has given up."""

    RENEW = auto()
    """Make a new client."""
    WAIT = auto()
    """Make a new client, for one session timeout at most: the instance id is held by one who may be dead."""
    LEAVE = auto()
    """End the process: a new client would be refused again, or would fence the one that fenced us."""


_ACTIONS = {
    KafkaError.UNRELEASED_INSTANCE_ID: FatalErrorAction.WAIT,
    KafkaError.FENCED_INSTANCE_ID: FatalErrorAction.LEAVE,
    KafkaError.UNSUPPORTED_VERSION: FatalErrorAction.LEAVE,
    KafkaError.UNSUPPORTED_ASSIGNOR: FatalErrorAction.LEAVE,
    KafkaError._UNSUPPORTED_FEATURE: FatalErrorAction.LEAVE,  # noqa: SLF001
}
_ADVICE = {
    KafkaError.UNRELEASED_INSTANCE_ID: "another live worker uses this kafka.instance_id; give each its own",
    KafkaError.FENCED_INSTANCE_ID: "another worker took over this kafka.instance_id; give each its own",
    KafkaError.UNSUPPORTED_VERSION: 'the brokers do not support "group.protocol" = "consumer"; leave that option out',
    KafkaError.UNSUPPORTED_ASSIGNOR: "the brokers lack the assignor named in group.remote.assignor",
    KafkaError._UNSUPPORTED_FEATURE: 'the brokers do not support "group.protocol" = "consumer"; leave that option out',  # noqa: SLF001
}


def is_fatal(error: KafkaError) -> bool:
    """Whether librdkafka has given up this client permanently."""
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001


def after_fatal(error: KafkaError) -> tuple[FatalErrorAction, str]:
    """What to do after a fatal error, and the text for the operator.

    The error reaches Python as `_FATAL`; the cause is only in its text.
    """
    for code, what in _ACTIONS.items():
        if error.code() == code or KafkaError(code).str() in error.str():
            return what, f"{KafkaError(code).str()}: {_ADVICE[code]}"
    return FatalErrorAction.RENEW, error.str()


def commit_error(error: KafkaError) -> SinkError:
    """What a commit that failed raises. What is not known to be a refusal may have taken effect."""
    text = f"commit: {error.name()}: {error.str()}"
    if error.code() in _NOT_OURS:
        return LeaseLostError(text)
    if error.code() in _REFUSED:
        return TransientError(text)
    return UnknownOutcomeError(text)


def cause(exception: BaseException) -> KafkaError:
    """The Kafka error inside an exception of the client library."""
    if isinstance(exception, KafkaException) and exception.args and isinstance(exception.args[0], KafkaError):
        return exception.args[0]
    return KafkaError(KafkaError._FAIL, f"{type(exception).__name__}: {exception}")  # noqa: SLF001


FOREIGN_MEMBERS = (
    "live members of the group use another assignor than cooperative-sticky: stop them, or name another kafka.group_id"
)


def outage(what: str, error: KafkaError) -> TransientError:
    """An error to wait out, with the way out where one is known."""
    way_out = f": {FOREIGN_MEMBERS}" if error.code() == KafkaError.INCONSISTENT_GROUP_PROTOCOL else ""
    return TransientError(f"{what}: {error.str()} ({error.name()}){way_out}")


class LastError:
    """A client's `error_cb` for librdkafka: remembers the last informative error.

    `cause` adds a reason that the client does not know: why there is no token.
    """

    def __init__(self, cause: Callable[[], str] = str) -> None:
        self._cause = cause
        self._error: KafkaError | None = None
        self._at = 0.0

    def __call__(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._error, self._at = error, time.monotonic()

    def lately(self) -> str:
        """The error behind a semicolon, where there was one of late."""
        if known := self._cause():
            return known
        if self._error is None or time.monotonic() - self._at > LATELY_SECONDS:
            return NOTHING_SAID
        return f"; {self._error.str()}"
