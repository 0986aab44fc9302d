"""The real Kafka: a member of the consumer group. The worker calls it; a separate thread polls."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from concurrent.futures import Future

from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError
from consumer.domain.offsets import Commit, Lease
from consumer.settings.model import KafkaSettings
from consumer.source.client_config import consumer_config, token_trouble, try_options
from consumer.source.health import Health
from consumer.source.inbox import MEMORY_LIMIT, Inbox
from consumer.source.member import Member
from consumer.source.port import Event
from consumer.source.reader import Reader
from consumer.source.stats import SourceStats

COMMIT_SECONDS = 10.0
"""How long a commit is waited for."""
GLANCE_SECONDS = 0.2
"""How often the program's end is looked for meanwhile."""
CLOSE_SECONDS = 5.0
"""How long leaving the group may take; after that the brokers find out by themselves."""
SESSION_SECONDS = 60.0
"""How long a dead member may hold an instance id: the brokers' default session of 45 s, plus some."""


class KafkaBroker:
    """The port `Broker` over confluent-kafka. Up to `memory` bytes of records wait besides librdkafka's own queue.

    The client is created at once, so that wrong options raise UsageError here; it joins the group with `subscribe`.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        static: bool = True,
        memory: int = MEMORY_LIMIT,
        session_seconds: float = SESSION_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._inbox = Inbox(memory)
        self._health = Health(self._inbox, clock, lambda: token_trouble(settings))
        config = consumer_config(settings, static=static)
        try_options(settings)
        self._member = Member(config, self._inbox, self._health, clock, session_seconds)
        self._reader = Reader(self._member, self._inbox, self._health, clock)
        self._clock = clock
        self._hurried = False  # no Event: a signal handler sets it, in the very thread that looks at it

    def subscribe(self, topics: Sequence[str]) -> None:
        """Join the group for these topics."""
        self._reader.ask(lambda: self._member.join(topics))

    def poll(self, timeout: float, *, records: bool = True) -> list[Event]:
        """Events in order; waits at most `timeout` seconds for the first. Without `records` only the group's.

        Raises TransientError while brokers are unreachable, UsageError when the group refuses this member permanently.
        """
        return self._inbox.poll(timeout, records=records)

    def wake(self) -> None:
        """Make a `poll` under way, or the next one, return at once."""
        self._inbox.wake()

    def hurry(self) -> None:
        """Wait for no answer any more."""
        self._hurried = True

    def start(self, lease: Lease, offset: int) -> None:
        """Deliver this partition from `offset` on."""
        self._inbox.start(lease, offset)

    def pause(self, lease: Lease) -> None:
        """Deliver nothing of this partition until `resume`. What was fetched and not delivered is fetched again."""
        self._inbox.pause(lease)

    def resume(self, lease: Lease) -> None:
        """Resume delivery where it was paused."""
        self._inbox.resume(lease)

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Commit, and wait for the answer while the other thread continues polling.

        Raises LeaseLostError, UnknownOutcomeError, or TransientError (nothing was committed).
        """
        if not self._inbox.is_live(lease):
            raise LeaseLostError(f"{lease.partition} is no longer assigned to this worker")
        answer: Future[None] = Future()
        self._reader.ask(lambda: self._member.send(lease, commit, answer))
        began = self._clock.monotonic()
        while True:
            try:
                return answer.result(GLANCE_SECONDS)
            except concurrent.futures.TimeoutError:
                waited = self._clock.monotonic() - began
                if waited < COMMIT_SECONDS and not self._hurried:
                    continue
            if answer.cancel():
                raise TransientError(f"commit of {lease.partition}: not sent in {waited:.0f} s")
            raise UnknownOutcomeError(f"commit of {lease.partition}: no answer in {waited:.0f} s")

    def rejoin(self) -> None:
        """Force a rebalance: leave the group and join it again."""
        self._reader.ask(self._member.rejoin)

    def alive_at(self) -> float:
        """The monotonic moment of the last poll of the real consumer, for /livez."""
        return self._reader.alive_at

    def stats(self) -> SourceStats | None:
        """Librdkafka's latest statistics, for metrics. Any thread may ask."""
        return self._health.stats

    def close(self) -> None:
        """Leave the group. Never commits."""
        self._reader.close(CLOSE_SECONDS)
