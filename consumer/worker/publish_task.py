"""When a stream is published: after its seals and on every assignment, per stream and not per partition."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from consumer.domain.errors import HaltError, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.log import SealLog
from consumer.seal.publisher import Published, Publisher
from consumer.seal.recover import commit_for
from consumer.worker.coroutines import Sleep, Steps, WaitUntil, with_backoff
from consumer.worker.events import DaysPublished, OutageMet, OutageOver, PublishingHalted, UnexpectedErrorMet
from consumer.worker.stream_context import StreamContext

HALT_SECONDS = 60.0
"""What could not be published is tried again this often."""


class PublishTask:
    """One stream's publishing. `request` it; `sealed` is the last day known to be sealed by every partition.

    `busy` says whether a partition of the stream is in the middle of a seal: then publishing waits. If
    `watches_commits`, `committed` says whether the group's offsets are those of the chains' heads. `halted` and
    `unexpected` say what keeps the stream's days from being published; at most one of them is set.
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
        self.unexpected: Exception | None = None

    def request(self) -> None:
        """Publish soon: once no partition of the stream is in the middle of a seal."""
        self._requested = True

    @property
    def idle(self) -> bool:
        """Nothing is requested and nothing is in progress."""
        return not self._requested and not self.running

    def steps(self) -> Steps[None]:
        """Publish whenever asked."""
        while True:
            yield WaitUntil(lambda: self._requested and not self.busy())
            self._requested, self.running = False, True
            try:
                published = yield from with_backoff(self._publish, self._report_outage, self._context.jitter)
            except Exception as error:  # noqa: BLE001 - reported; the partitions and the other streams continue
                self._stopped(error)
                yield Sleep(HALT_SECONDS)
                self._requested = True
            else:
                self.running, self.halted, self.unexpected, self.sealed = False, None, None, published.sealed
                self._context.listener(DaysPublished(self._name, published))

    @property
    def _name(self) -> str:
        return self._context.config.name

    def _stopped(self, error: Exception) -> None:
        # where a chain is the reason its partition halts as well; here it only delays the stream's days
        self.running = False
        if isinstance(error, HaltError):
            self.halted, self.unexpected = error, None
            self._context.listener(PublishingHalted(self._name, error))
        else:
            self.halted, self.unexpected = None, error
            self._context.listener(UnexpectedErrorMet(self._name, f"publishing {self._name}", error))

    def _publish(self) -> Published:
        self._context.ask_safe()
        published = self._publisher.publish(self._all_logs)
        if self.watches_commits:
            self.committed = self._ask_committed()
        return published

    def _ask_committed(self) -> bool:
        chains = {log.partition: log.read() for log in self._all_logs()}
        found = self._context.admin.committed(self._context.config.group, chains)
        return all(chain.empty or found[partition] == commit_for(chain) for partition, chain in chains.items())

    def _all_logs(self) -> list[SealLog]:
        topic = self._context.ask_topic()
        for partition in range(len(self._logs), topic.partitions):
            self._logs.append(self._context.log(TopicPartition(topic.name, partition)))
        return self._logs

    def _report_outage(self, error: TransientError | None) -> None:
        before, self.outage = self.outage, error
        if error is not None:
            self._context.listener(OutageMet(f"publishing {self._name}", error))
        elif before is not None:
            self._context.listener(OutageOver(f"publishing {self._name}"))
