"""Events as metrics and log lines: one event, one handler, one name in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatchmethod
from pathlib import Path

import structlog

from consumer.domain.offsets import TopicPartition
from consumer.observe.metrics import Metrics
from consumer.worker.events import (
    BatchTaken,
    CommitTried,
    DaysPublished,
    ObjectUploaded,
    OutageMet,
    OutageOver,
    PartitionHalted,
    PartitionLeft,
    PartitionRecovered,
    PartitionResumed,
    PublishingHalted,
    ReadingPaused,
    ReadingResumed,
    Rebalanced,
    SealConsidered,
    SealFinished,
    SealObeyed,
    SpoolMeasured,
    UnexpectedErrorMet,
    UploadFailed,
    WorkerEvent,
)

WriteDetails = Callable[[Exception], Path | None]
"""Writes the traceback of an error to a file for the operator; None if that was not possible."""


class TelemetryListener:
    """A `Listener` that counts and logs. `streams` maps a topic to its stream.

    The message of an unexpected error may quote a record, so it goes where `write_details` puts it and not to the log.
    """

    def __init__(
        self, metrics: Metrics, streams: Mapping[str, str], write_details: WriteDetails = lambda _: None
    ) -> None:
        self._metrics = metrics
        self._streams = streams
        self._write_details = write_details
        self._log = structlog.get_logger("worker")
        self._outages: dict[str, str] = {}
        self._details: dict[str, tuple[str, Path | None]] = {}
        self._held = False

    def _stream(self, partition: TopicPartition) -> str:
        return self._streams[partition.topic]

    def _labels(self, partition: TopicPartition) -> tuple[str, str, str]:
        return (self._stream(partition), partition.topic, str(partition.partition))

    @singledispatchmethod
    def __call__(self, event: WorkerEvent) -> None:
        raise TypeError(f"no handler for {event}")

    @__call__.register
    def _(self, event: BatchTaken) -> None:
        batch = event.batch
        self._metrics.count_batch(self._stream(batch.partition), batch)
        if event.already_sealed:
            self._metrics.rows.labels(*self._labels(batch.partition), "already_sealed").inc(event.already_sealed)

    @__call__.register
    def _(self, event: PartitionRecovered) -> None:
        self._log.info("partition_recovered", partition=str(event.partition), notes=list(event.notes))

    @__call__.register
    def _(self, event: SealConsidered) -> None:
        self._log.info("seal_considered", partition=str(event.partition), reason=event.reason)

    @__call__.register
    def _(self, event: SealFinished) -> None:
        record = event.record
        outcome = "sealed" if record.caught_up else "spilled"
        self._metrics.seals.labels(*self._labels(record.partition), outcome).inc()
        self._metrics.seal_duration.labels(record.stream).observe(event.seconds)
        self._log.info(
            "sealed",
            partition=str(record.partition),
            seal=record.n,
            cutoff=str(record.cutoff),
            caught_up=record.caught_up,
            through=record.through,
            resume=record.resume,
            objects=len(record.objects),
            rows=sum(entry.rows for entry in record.objects if not entry.quarantine),
            quarantined=record.counts.quarantined,
            filtered=record.counts.filtered,
            seconds=round(event.seconds, 3),
        )

    @__call__.register
    def _(self, event: SealObeyed) -> None:
        # what this means for the partition is in the line of its recovery, which follows
        self._metrics.seals.labels(*self._labels(event.partition), "obeyed").inc()

    @__call__.register
    def _(self, event: ObjectUploaded) -> None:
        entry, written = event.entry, event.written
        self._metrics.uploads.labels(entry.stream, "written" if written else "already_there").inc()
        if written:
            self._metrics.upload_bytes.labels(entry.stream).inc(event.size)
            self._metrics.upload_duration.labels(entry.stream).observe(event.seconds)
        self._log.debug("object_stands", object=entry.key, rows=entry.rows, bytes=event.size, written=written)

    @__call__.register
    def _(self, event: UploadFailed) -> None:
        self._metrics.uploads.labels(event.entry.stream, "failed").inc()

    @__call__.register
    def _(self, event: CommitTried) -> None:
        self._metrics.commits.labels(*self._labels(event.partition), str(event.outcome)).inc()
        self._log.debug("commit", partition=str(event.partition), offset=event.offset, outcome=str(event.outcome))

    @__call__.register
    def _(self, event: OutageMet) -> None:
        """A line when an outage begins or changes its face, not at every attempt."""
        if self._outages.get(event.where) != str(event.error):
            self._outages[event.where] = str(event.error)
            self._log.warning("outage", where=event.where, error=str(event.error))

    @__call__.register
    def _(self, event: OutageOver) -> None:
        if self._outages.pop(event.where, None) is not None:
            self._log.info("outage_over", where=event.where)

    @__call__.register
    def _(self, event: PartitionHalted) -> None:
        partition, halt = event.partition, event.halt
        self._metrics.mark(self._metrics.halted, self._stream(partition), partition, halt.reason)
        self._metrics.seals.labels(*self._labels(partition), "halted").inc()
        self._log.error("halted", partition=str(partition), reason=str(halt.reason), message=halt.message)

    @__call__.register
    def _(self, event: PartitionResumed) -> None:
        self._metrics.mark(self._metrics.halted, self._stream(event.partition), event.partition, None)
        self._log.info("halt_over", partition=str(event.partition))

    @__call__.register
    def _(self, event: UnexpectedErrorMet) -> None:
        """Counted and logged at every attempt; the details are written once while the error stays the same."""
        self._metrics.unexpected_errors.labels(event.stream).inc()
        kind, seen = type(event.error).__name__, f"{type(event.error).__name__}: {event.error}"
        if self._details.get(event.where, ("", None))[0] != seen:
            self._details[event.where] = (seen, self._write_details(event.error))
        details = self._details[event.where][1]
        self._log.error(
            "unexpected_error", where=event.where, kind=kind, details=None if details is None else str(details)
        )

    @__call__.register
    def _(self, event: PartitionLeft) -> None:
        self._metrics.forget(self._stream(event.partition), event.partition)
        self._outages.pop(str(event.partition), None)
        self._details.pop(str(event.partition), None)
        halted = None if event.reason is None else str(event.reason)
        self._log.info("partition_left", partition=str(event.partition), halted=halted)

    @__call__.register
    def _(self, event: DaysPublished) -> None:
        for plan in event.published.written:
            self._log.info(
                "day_published",
                stream=event.stream,
                day=str(plan.day),
                rows=plan.rows,
                complete=plan.complete,
                why=plan.why,
            )

    @__call__.register
    def _(self, event: PublishingHalted) -> None:
        halt = event.halt
        self._log.error("publishing_halted", stream=event.stream, reason=str(halt.reason), message=halt.message)

    @__call__.register
    def _(self, event: Rebalanced) -> None:
        self._log.info("rebalanced", assigned=dict(event.assigned))

    @__call__.register
    def _(self, event: SpoolMeasured) -> None:
        self._metrics.spool_bytes.set(event.used)
        self._metrics.spool_free_bytes.set(event.free)
        if event.held != self._held:
            self._held = event.held
            name = "reading_held" if event.held else "reading_resumed"
            self._log.warning(name, spool_bytes=event.used, free_bytes=event.free)

    @__call__.register
    def _(self, event: ReadingPaused) -> None:
        self._metrics.mark(self._metrics.paused, self._stream(event.partition), event.partition, event.reason)

    @__call__.register
    def _(self, event: ReadingResumed) -> None:
        self._metrics.mark(self._metrics.paused, self._stream(event.partition), event.partition, None)
