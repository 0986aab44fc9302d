"""Who hears what happens to a partition: metrics and logs in production, a list of facts in the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from consumer.domain.batches import TransformedBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.seal.publisher import Published
from consumer.seal.record import ObjectEntry, Record


class Listener(Protocol):
    """Facts, each told once where it happens. Nothing here may fail or wait."""

    def judged(self, judged: TransformedBatch, already_sealed: int) -> None:
        """A batch became rows."""

    def recovered(self, partition: TopicPartition, notes: tuple[str, ...]) -> None:
        """An assignment was looked at; what was found is worth a line."""

    def sealing(self, partition: TopicPartition, reason: str) -> None:
        """Why a seal was decided, or was not."""

    def sealed(self, record: Record, seconds: float) -> None:
        """A seal was finished: its objects stand and its offset is committed."""

    def uploaded(self, entry: ObjectEntry, size: int, *, written: bool, seconds: float) -> None:
        """An object stands; `written` where this worker wrote it."""

    def upload_failed(self, entry: ObjectEntry) -> None:
        """An object could not be written; it is tried again."""

    def committed(self, partition: TopicPartition, offset: int, outcome: str) -> None:
        """A commit was tried: ok, unknown, refused or failed."""

    def outage(self, partition: TopicPartition, error: TransientError | None) -> None:
        """Something is out of reach; None: no longer."""

    def halted(self, partition: TopicPartition, halt: HaltError | None) -> None:
        """The partition halted; None: it goes on."""

    def cleared(self, partition: TopicPartition, reason: HaltReason | None) -> None:
        """The partition is not ours any more: forget what was shown of it."""

    def published(self, stream: str, published: Published) -> None:
        """A publication ended."""

    def delayed(self, stream: str, halt: HaltError) -> None:
        """The stream's days cannot be published for now."""

    def publish_outage(self, stream: str, error: TransientError | None) -> None:
        """Publishing is held up by an outage; None: no longer."""

    def rebalanced(self, assigned: Mapping[str, int]) -> None:
        """The group moved partitions; so many of each topic are ours now."""

    def pressed(self, used: int, free: int, *, held: bool) -> None:
        """The spool's room was looked at; `held` while reading waits for room."""

    def paused(self, partition: TopicPartition, reason: str | None) -> None:
        """Reading is paused for this reason; None: it is not."""
