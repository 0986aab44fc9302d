"""When a stream is published: after its seals and on every assignment, once per stream and not per partition."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from consumer.domain.errors import HaltError, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.log import SealLog
from consumer.seal.publisher import Published, Publisher
from consumer.seal.recover import commit_for
from consumer.worker.coroutines import Sleep, Steps, WaitUntil, with_backoff
from consumer.worker.stream_context import StreamContext

HALT_SECONDS = 60.0


class PublishTask:
    """One stream's publishing. `request` it; `sealed` is the last day that every partition has sealed, as last seen.

    `busy` says whether a partition of the stream is in the middle of a seal: then it waits. `committed` says, where
    `watches_commits`, whether the group's offsets are those of the chains' heads.
    """

    def __init__(self, context: StreamContext, publisher: Publisher) -> None:
        self._context = context
        self.busy: Callable[[], bool] = lambda: False
        self._publisher = publisher
        self._logs: list[SealLog] = []
        self.watches_commits = False
        self.committed = True
        self._requested = False
        self.running = False
        self.sealed: date | None = None
        self.outage: TransientError | None = None
        self.halted: HaltError | None = None

    def request(self) -> None:
        """Publish soon: once no partition of the stream is in the middle of a seal."""
        self._requested = True

    @property
    def idle(self) -> bool:
        """Nothing is asked for and nothing is under way."""
        return not self._requested and not self.running

    def steps(self) -> Steps[None]:
        """Publish whenever asked."""
        while True:
            yield WaitUntil(lambda: self._requested and not self.busy())
            self._requested, self.running = False, True
            try:
                published = yield from with_backoff(self._publish, self._told, self._context.jitter)
            except HaltError as halt:
                # the partition itself halts for the same reason; here it only delays the stream's days
                self.halted = halt
                self._context.listener.delayed(self._context.config.name, halt)
                self.running = False
                yield Sleep(HALT_SECONDS)
                self._requested = True
            else:
                self.running, self.halted, self.sealed = False, None, published.sealed
                self._context.listener.published(self._context.config.name, published)

    def _publish(self) -> Published:
        self._context.ask_safe()
        published = self._publisher.publish(self._all_logs)
        if self.watches_commits:
            self.committed = self._ask_committed()
        return published

    def _ask_committed(self) -> bool:
        chains = {log.partition: log.read() for log in self._all_logs()}
        found = self._context.admin.committed(self._context.config.group, chains)
        return all(chain.empty or found[place] == commit_for(chain) for place, chain in chains.items())

    def _all_logs(self) -> list[SealLog]:
        topic = self._context.ask_topic()
        for partition in range(len(self._logs), topic.partitions):
            self._logs.append(self._context.log(TopicPartition(topic.name, partition)))
        return self._logs

    def _told(self, error: TransientError | None) -> None:
        if error is not None or self.outage is not None:
            self._context.listener.publish_outage(self._context.config.name, error)
        self.outage = error
