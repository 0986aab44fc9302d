"""What happens, told to metrics and logs: one fact, one call, one event name."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from consumer.domain.batches import TransformedBatch
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.domain.offsets import TopicPartition
from consumer.observe.metrics import Metrics
from consumer.seal.publisher import Published
from consumer.seal.record import ObjectEntry, Record

COMMIT_OUTCOMES = {"ok": "done", "unknown": "unknown", "refused": "lease_lost", "failed": "failed"}


class TelemetryListener:
    """`Listener` by metrics and logs. `streams` maps a topic to its stream."""

    def __init__(self, metrics: Metrics, streams: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._streams = streams
        self._log = structlog.get_logger("worker")
        self._outages: dict[str, str] = {}
        self._held = False

    def _stream(self, partition: TopicPartition) -> str:
        return self._streams[partition.topic]

    def _place(self, partition: TopicPartition) -> tuple[str, str, str]:
        return (self._stream(partition), partition.topic, str(partition.partition))

    def judged(self, judged: TransformedBatch, already_sealed: int) -> None:
        stream = self._stream(judged.partition)
        self._metrics.count_batch(stream, judged)
        if already_sealed:
            self._metrics.rows.labels(*self._place(judged.partition), "already_sealed").inc(already_sealed)

    def recovered(self, partition: TopicPartition, notes: tuple[str, ...]) -> None:
        self._log.info("partition_recovered", partition=str(partition), notes=list(notes))

    def sealing(self, partition: TopicPartition, reason: str) -> None:
        self._log.info("seal_considered", partition=str(partition), reason=reason)

    def sealed(self, record: Record, seconds: float) -> None:
        place = self._place(record.partition)
        self._metrics.seals.labels(*place, "sealed" if record.caught_up else "spilled").inc()
        self._metrics.seal_duration.labels(record.stream).observe(seconds)
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
            seconds=round(seconds, 3),
        )

    def uploaded(self, entry: ObjectEntry, size: int, *, written: bool, seconds: float) -> None:
        self._metrics.uploads.labels(entry.stream, "written" if written else "already_there").inc()
        if written:
            self._metrics.upload_bytes.labels(entry.stream).inc(size)
            self._metrics.upload_duration.labels(entry.stream).observe(seconds)
        self._log.debug("object_stands", object=entry.key, rows=entry.rows, bytes=size, written=written)

    def upload_failed(self, entry: ObjectEntry) -> None:
        self._metrics.uploads.labels(entry.stream, "failed").inc()

    def committed(self, partition: TopicPartition, offset: int, outcome: str) -> None:
        self._metrics.commits.labels(*self._place(partition), COMMIT_OUTCOMES[outcome]).inc()
        self._log.debug("commit", partition=str(partition), offset=offset, outcome=COMMIT_OUTCOMES[outcome])

    def outage(self, partition: TopicPartition, error: TransientError | None) -> None:
        self._outage(str(partition), error)

    def publish_outage(self, stream: str, error: TransientError | None) -> None:
        self._outage(f"publishing {stream}", error)

    def _outage(self, where: str, error: TransientError | None) -> None:
        """One line when an outage begins or changes its face, one when it ends."""
        if error is None:
            if self._outages.pop(where, None) is not None:
                self._log.info("outage_over", where=where)
        elif self._outages.get(where) != str(error):
            self._outages[where] = str(error)
            self._log.warning("outage", where=where, error=str(error))

    def halted(self, partition: TopicPartition, halt: HaltError | None) -> None:
        stream = self._stream(partition)
        self._metrics.mark(self._metrics.halted, stream, partition, halt.reason if halt else None)
        if halt is None:
            self._log.info("halt_over", partition=str(partition))
            return
        self._metrics.seals.labels(*self._place(partition), "halted").inc()
        self._log.error("halted", partition=str(partition), reason=str(halt.reason), message=halt.message)

    def cleared(self, partition: TopicPartition, reason: HaltReason | None) -> None:
        self._metrics.forget(self._stream(partition), partition)
        self._outages.pop(str(partition), None)
        self._log.info("partition_left", partition=str(partition), halted=str(reason) if reason else None)

    def published(self, stream: str, published: Published) -> None:
        for plan in published.written:
            self._log.info(
                "day_published", stream=stream, day=str(plan.day), rows=plan.rows, complete=plan.complete, why=plan.why
            )

    def delayed(self, stream: str, halt: HaltError) -> None:
        self._log.error("publishing_halted", stream=stream, reason=str(halt.reason), message=halt.message)

    def rebalanced(self, assigned: Mapping[str, int]) -> None:
        self._log.info("rebalanced", assigned=dict(assigned))

    def pressed(self, used: int, free: int, *, held: bool) -> None:
        self._metrics.spool_bytes.set(used)
        self._metrics.spool_free_bytes.set(free)
        if held != self._held:
            self._held = held
            self._log.warning("reading_held" if held else "reading_resumed", spool_bytes=used, free_bytes=free)

    def paused(self, partition: TopicPartition, reason: str | None) -> None:
        self._metrics.mark(self._metrics.paused, self._stream(partition), partition, reason)
