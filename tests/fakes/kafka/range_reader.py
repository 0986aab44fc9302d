"""Ranges of the cluster in memory: the port `RangeReader`."""

from __future__ import annotations

from typing import Self

from consumer.domain.batches import RawBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import Span, TopicPartition
from tests.fakes.kafka.admin import Hooks, MemoryCluster, NoHooks

BATCH = 500
"""Records of one batch at most."""


class MemoryRangeReader:
    """The port over a `MemoryCluster`. Each batch is one step of its hooks (`read`)."""

    def __init__(self, cluster: MemoryCluster, hooks: Hooks | None = None, *, batch: int = BATCH) -> None:
        self._cluster = cluster
        self._hooks = hooks or NoHooks()
        self._batch = batch

    def read(self, partition: TopicPartition, span: Span) -> MemoryRange:
        """The committed records of these offsets."""
        return MemoryRange(self._cluster, self._hooks, partition, span, self._batch)


class MemoryRange:
    """One range under way."""

    def __init__(self, cluster: MemoryCluster, hooks: Hooks, partition: TopicPartition, span: Span, batch: int) -> None:
        self._cluster = cluster
        self._hooks = hooks
        self._partition = partition
        self._span = span
        self._batch = batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RawBatch:
        if self._span.empty:
            raise StopIteration
        self._hooks.before("read")
        with self._cluster.lock:
            batch = self._read(self._span.start)
        self._hooks.after("read")
        self._span = Span(batch.span.end, self._span.end)
        return batch

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, start: int) -> RawBatch:
        log = self._cluster.existing(self._partition)
        if not log.low <= start <= log.high:
            raise HaltError(HaltReason.RETENTION_HOLE, f"{self._partition}: offset {start} is not in the log any more")
        found, end = log.read(start, self._batch)
        if end == start:
            raise TransientError(f"{self._partition}: no record at or after offset {start} arrived")
        offsets = [record.offset for record in found]
        return RawBatch(
            self._partition,
            Span(start, end),
            offsets,
            [record.timestamp for record in found],
            [record.value for record in found],
            [record.key for record in found],
        ).clip(Span(start, self._span.end))
