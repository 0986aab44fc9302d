"""The only thread that owns the consumer: polls, serves rebalances, moves positions, commits. It never blocks."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from consumer.domain.clock import Clock
from consumer.domain.offsets import TopicPartition
from consumer.source import errors as kafka_errors
from consumer.source.fetch import PartitionFetch
from consumer.source.health import Health
from consumer.source.inbox import Inbox
from consumer.source.member import Member
from consumer.source.partition_queue import MOST_PER_CALL, next_call
from consumer.source.record_columns import Columns, Trouble, runs
from consumer.source.unreadable import UNREADABLE

SLICE_SECONDS = 0.03
"""How long one `consume` call waits: requests to this thread wait no longer than that."""
HURRY_SECONDS = 0.005
"""The same while the worker waits for a commit."""
STALL_SECONDS = 2.0
"""If the inbox is full for this long, fetching is paused. Until then librdkafka's own full queue holds the brokers
back."""
OVERFULL = 2
"""At this multiple of the inbox's limit fetching pauses at once, as the next record may be as large as the last."""
HOLD_SECONDS = 1.0
"""A partition that gave an error is read on after that."""


class Reader:
    """Fills the inbox from `member`'s client."""

    def __init__(self, member: Member, inbox: Inbox, health: Health, clock: Clock) -> None:
        self._member = member
        self._inbox = inbox
        self._health = health
        self._clock = clock
        self._thread = Thread(target=self._run, name="kafka-reader", daemon=True)
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._closing = Event()
        self._full_since: float | None = None
        self._number = MOST_PER_CALL
        self.alive_at = clock.monotonic()

    def ask(self, command: Callable[[], None]) -> None:
        """Have the thread do something between two polls; the first time, the thread begins."""
        self._commands.put(command)
        if self._thread.ident is None and not self._closing.is_set():
            self._thread.start()

    def close(self, seconds: float) -> bool:
        """Leave the group and end the thread. False: it has not ended in time."""
        self._closing.set()
        if self._thread.ident is None:
            self._member.leave()
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            try:
                while not self._closing.is_set():
                    self._turn()
            finally:
                self._member.leave()
        except BaseException as error:  # noqa: BLE001 - raised again by the worker's next poll
            self._inbox.end(error)

    def _turn(self) -> None:
        """What was asked, then where to read, then one poll."""
        messages: list[Message[Any, Any]] = []
        try:
            while not self._commands.empty():
                self._commands.get()()
            if (consumer := self._member.client()) is None:
                self._closing.wait(SLICE_SECONDS)
                return
            self._move_taps(consumer)
            messages = self._receive(consumer)
        except KafkaException as error:
            self._member.distrust()  # what `consume` had taken off its queue may have gone with it
            self._failed("Kafka", kafka_errors.cause(error))
        finally:
            self.alive_at = self._clock.monotonic()
        records = size = 0
        for run in runs(messages):
            if isinstance(run, Trouble):
                self._heed(run)
            else:
                self._deliver(*run)
                records, size = records + len(run[1].offsets), size + run[1].fetched
        if records:
            self._number = next_call(records, size)

    def _move_taps(self, consumer: Consumer) -> None:
        now = self._clock.monotonic()
        stalled = self._inbox.is_full(OVERFULL) or (
            self._full_since is not None and now - self._full_since >= STALL_SECONDS
        )
        for target in self._inbox.targets():
            fetch = self._member.fetches.get(target.lease.partition)
            if fetch is not None and fetch.lease == target.lease:
                fetch.apply(consumer, target, now, stalled=stalled)

    def _receive(self, consumer: Consumer) -> list[Message[Any, Any]]:
        """The next messages; one at a time while the inbox is full, which serves the callbacks all the same."""
        seconds = HURRY_SECONDS if self._member.commits.pending else SLICE_SECONDS
        if not self._inbox.is_full():
            self._full_since = None
            return consumer.consume(self._number, seconds)
        if self._full_since is None:
            self._full_since = self._clock.monotonic()
        self._inbox.wait_for_room(seconds)
        return consumer.consume(1, 0)

    def _deliver(self, partition: TopicPartition, found: Columns) -> None:
        fetch = self._member.fetches.get(partition)
        if fetch is None or not fetch.landed(found.offsets):
            return
        if self._inbox.put_records(fetch.lease, fetch.epoch, found):
            fetch.heard()
        else:
            fetch.fetching = True  # it fetches though it should not, or for an older turn: to be parked or moved

    def _heed(self, trouble: Trouble) -> None:
        """An event in place of a record."""
        fetch = self._member.fetches.get(trouble.partition) if trouble.partition is not None else None
        code = trouble.error.code()
        if code == kafka_errors.END:
            if fetch is None or not fetch.landed([trouble.offset]):
                return
            if self._inbox.put_end(fetch.lease, fetch.epoch, trouble.offset):
                fetch.heard()
        elif code in kafka_errors.LOST_PLACE:
            if fetch is not None:
                self._lose_place(fetch, trouble)
        elif fetch is None:
            self._failed("Kafka", trouble.error)
        else:
            # librdkafka may continue after a record that it could not read: hold, and request that record again.
            if code in UNREADABLE:
                self._inbox.put_unreadable(fetch.lease, fetch.epoch, trouble.error.str())
            else:
                self._failed(str(trouble.partition), trouble.error)
            fetch.hold(self._clock.monotonic(), HOLD_SECONDS)

    def _lose_place(self, fetch: PartitionFetch, trouble: Trouble) -> None:
        """The fetcher stopped. This matters only if it was at the expected position; otherwise it is an old event."""
        expected = {target.lease: target.offset for target in self._inbox.targets()}.get(fetch.lease)
        fetch.dead = True
        if trouble.offset in {expected, -1}:
            self._inbox.put_out_of_range(fetch.lease, fetch.epoch, trouble.error.str())
        fetch.epoch = -1

    def _failed(self, what: str, error: KafkaError) -> None:
        if kafka_errors.is_fatal(error):
            self._member.give_up(error)
        else:
            self._health.failed(what, error)
