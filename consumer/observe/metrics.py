"""Every metric of the sink, declared once. One `Metrics` per process, no global registry.

Labels are names from the settings, partition numbers, or words of the sets below. Field names come from records and may
be hostile: they are cut, cleaned, and beyond `MOST_FIELDS` of one stream counted together as `other`.
"""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_origin, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumer import __version__
from consumer.domain.batches import TransformedBatch
from consumer.domain.offsets import TopicPartition
from consumer.shape.native import extension

NAMESPACE = "adapty_sink"
MOST_FIELDS = 100
LONGEST_LABEL = 64
OTHER = "other"

STREAM = ("stream",)
TOPIC = ("stream", "topic")
PARTITION = ("stream", "topic", "partition")

ROW_OUTCOMES = ("kept", "filtered", "quarantined", "already_sealed", "tombstone")
SEAL_OUTCOMES = ("sealed", "spilled", "obeyed", "halted")
"""Of a seal: made; made to free disk space; left to another worker's record; stopped for an operator."""
UPLOAD_OUTCOMES = ("written", "already_there", "failed")
COMMIT_OUTCOMES = ("done", "lease_lost", "unknown", "failed")
"""Of a commit: done; the lease was lost; no response (it is read back); refused or unreachable."""

UPLOAD_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SEAL_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)


@dataclass(frozen=True, slots=True)
class Meta:
    """A metric's name, labels and meaning."""

    name: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics, made by `declare`. Any thread may use them."""

    registry: CollectorRegistry
    field_names: FieldNames

    records_read: Annotated[Counter, Meta("records_read_total", PARTITION, "Records read from Kafka.")]
    rows: Annotated[
        Counter,
        Meta("rows_total", (*PARTITION, "outcome"), f"Records by outcome: {', '.join(ROW_OUTCOMES)}."),
    ]
    rows_filtered: Annotated[
        Counter,
        Meta("rows_filtered_total", (*PARTITION, "reason"), "Filtered records by the filter that dropped them."),
    ]
    oddities: Annotated[
        Counter,
        Meta(
            "oddities_total",
            ("stream", "reason"),
            "Values that were written in another form than expected, by reason.",
        ),
    ]
    unknown_fields: Annotated[
        Counter,
        Meta(
            "unknown_fields_total",
            ("stream", "field"),
            f"Records with a field that is not in the schema, by field; after {MOST_FIELDS} names as {OTHER}.",
        ),
    ]
    exact_path_batches: Annotated[
        Counter,
        Meta(
            "exact_path_batches_total",
            ("stream", "reason"),
            "Batches with records that the exact engine handled, by reason.",
        ),
    ]
    read_lag: Annotated[
        Gauge, Meta("read_lag_records", PARTITION, "Offsets between the reading position and the end of the log.")
    ]
    held: Annotated[
        Gauge,
        Meta("held_records", PARTITION, "Offsets between the commit and the end; normal until the day is sealed."),
    ]
    committed_offset: Annotated[Gauge, Meta("committed_offset", PARTITION, "Committed offset: the next to read.")]
    assigned_partitions: Annotated[
        Gauge, Meta("assigned_partitions", TOPIC, "Partitions of the topic assigned to this worker.")
    ]
    rebalances: Annotated[Counter, Meta("rebalances_total", (), "Assignments and revocations of partitions.")]
    last_poll: Annotated[
        Gauge, Meta("last_poll_timestamp_seconds", (), "Unix time at which the Kafka client was last polled.")
    ]
    broker_round_trip: Annotated[
        Gauge, Meta("broker_round_trip_seconds", (), "Recent mean round-trip time to the slowest broker.")
    ]
    fetch_queue_records: Annotated[
        Gauge, Meta("fetch_queue_records", (), "Records that the Kafka client has fetched, but not delivered yet.")
    ]
    fetch_queue_bytes: Annotated[
        Gauge, Meta("fetch_queue_bytes", (), "Bytes that the Kafka client has fetched, but not delivered yet.")
    ]
    broker_reachable: Annotated[
        Gauge, Meta("broker_reachable", (), "1 while the brokers answer requests about the topics, else 0.")
    ]
    store_reachable: Annotated[
        Gauge, Meta("store_reachable", STREAM, "1 while the stream's destination answers reads, else 0.")
    ]
    spool_bytes: Annotated[Gauge, Meta("spool_bytes", (), "Bytes of rows in the spool.")]
    spool_free_bytes: Annotated[Gauge, Meta("spool_free_bytes", (), "Bytes free on the disk of the spool.")]
    spool_limit_bytes: Annotated[
        Gauge, Meta("spool_limit_bytes", (), "The setting spool.max_bytes: above it reading pauses.")
    ]
    spool_floor_bytes: Annotated[
        Gauge, Meta("spool_floor_bytes", (), "The setting spool.min_free_bytes: with less free space reading pauses.")
    ]
    paused: Annotated[
        Gauge, Meta("paused", (*PARTITION, "reason"), "1 while reading the partition is paused, by reason.")
    ]
    seals: Annotated[
        Counter, Meta("seals_total", (*PARTITION, "outcome"), f"Seals by outcome: {', '.join(SEAL_OUTCOMES)}.")
    ]
    seal_duration: Annotated[
        Histogram,
        Meta(
            "seal_duration_seconds", STREAM, "Seconds from the decision of a seal to the commit.", buckets=SEAL_SECONDS
        ),
    ]
    last_sealed_day: Annotated[
        Gauge,
        Meta(
            "last_sealed_day_timestamp_seconds",
            PARTITION,
            "Unix time of the start of the partition's last sealed day.",
        ),
    ]
    last_complete_day: Annotated[
        Gauge,
        Meta(
            "last_complete_day_timestamp_seconds",
            STREAM,
            "Unix time of the start of the stream's last published complete day.",
        ),
    ]
    upload_bytes: Annotated[Counter, Meta("upload_bytes_total", STREAM, "Bytes of objects written to the store.")]
    uploads: Annotated[
        Counter, Meta("uploads_total", ("stream", "outcome"), f"Uploads by outcome: {', '.join(UPLOAD_OUTCOMES)}.")
    ]
    upload_duration: Annotated[
        Histogram, Meta("upload_duration_seconds", STREAM, "Duration of an upload.", buckets=UPLOAD_SECONDS)
    ]
    commits: Annotated[
        Counter, Meta("commits_total", (*PARTITION, "outcome"), f"Commits by outcome: {', '.join(COMMIT_OUTCOMES)}.")
    ]
    retention_headroom: Annotated[
        Gauge, Meta("retention_headroom_seconds", PARTITION, "Seconds until retention reaches the committed offset.")
    ]
    halted: Annotated[
        Gauge, Meta("halted", (*PARTITION, "reason"), "1 while the partition is halted and an operator must decide.")
    ]
    unexpected_errors: Annotated[
        Counter,
        Meta(
            "unexpected_errors_total",
            STREAM,
            "Unexpected errors: each stopped one partition, or the publishing of the stream, for a minute.",
        ),
    ]
    build_info: Annotated[
        Gauge,
        Meta("build_info", ("version", "python", "engine"), "1, with the versions and the row engine as labels."),
    ]

    def count_batch(self, stream: str, judged: TransformedBatch) -> None:
        """Count the outcomes of a transformed batch. Call it once for records that were read for the first time."""
        place = _place(stream, judged.partition)
        counts = judged.counts
        self.records_read.labels(**place).inc(counts.read)
        numbers = (counts.kept, counts.filtered, counts.quarantined, counts.already_sealed, counts.tombstones)
        for outcome, number in zip(ROW_OUTCOMES, numbers, strict=True):
            self.rows.labels(**place, outcome=outcome).inc(number)
        for reason, number in judged.filtered.items():
            self.rows_filtered.labels(**place, reason=reason).inc(number)
        for reason, number in judged.oddities.items():
            self.oddities.labels(stream, reason).inc(number)
        for reason in judged.exact_path:
            self.exact_path_batches.labels(stream, reason).inc()
        for name, number in judged.unknown_fields.items():
            self.unknown_fields.labels(stream, self.field_names.label(stream, name)).inc(number)

    def expect(self, stream: str, partition: TopicPartition) -> None:
        """Show a partition's counters from 0 on: what only appears when it grows cannot be seen growing."""
        place = _place(stream, partition)
        self.records_read.labels(**place)
        for counter, outcomes in (
            (self.rows, ROW_OUTCOMES), (self.seals, SEAL_OUTCOMES), (self.commits, COMMIT_OUTCOMES)
        ):  # fmt: skip
            for outcome in outcomes:
                counter.labels(**place, outcome=outcome)
        for outcome in UPLOAD_OUTCOMES:
            self.uploads.labels(stream, outcome)
        self.upload_bytes.labels(stream)
        self.upload_duration.labels(stream)
        self.seal_duration.labels(stream)
        self.unexpected_errors.labels(stream)

    def mark(self, gauge: Gauge, stream: str, partition: TopicPartition, reason: str | None) -> None:
        """Set `paused` or `halted` of a partition to only this reason; None takes the mark away."""
        place = _place(stream, partition)
        gauge.remove_by_labels(place)
        if reason is not None:
            gauge.labels(**place, reason=reason).set(1)

    def mark_stream(self, stream: str, topic: str, reason: str | None) -> None:
        """`halted` of a stream without a partition on this worker, under an empty partition."""
        place = {"stream": stream, "topic": topic, "partition": ""}
        self.halted.remove_by_labels(place)
        if reason is not None:
            self.halted.labels(**place, reason=reason).set(1)

    def forget(self, stream: str, partition: TopicPartition) -> None:
        """Remove every gauge of a revoked partition: its new owner shows it."""
        for name, (make, meta) in declared().items():
            if make is Gauge and "partition" in meta.labels:
                getattr(self, name).remove_by_labels(_place(stream, partition))


class FieldNames:
    """Names of unknown fields as label values: few, short and printable, whatever producers send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = {}

    def label(self, stream: str, name: str) -> str:
        """The label for this field of this stream."""
        cut = "".join(c if c.isprintable() else "?" for c in name[:LONGEST_LABEL])
        with self._lock:
            seen = self._seen.setdefault(stream, set())
            if cut not in seen and len(seen) >= MOST_FIELDS:
                return OTHER
            seen.add(cut)
            return cut


@cache
def declared() -> dict[str, tuple[type[Counter | Gauge | Histogram], Meta]]:
    """Type and meaning of each metric, by the name of its field."""
    hints = get_type_hints(Metrics, include_extras=True).items()
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in hints if get_origin(hint) is Annotated}


def declare(registry: CollectorRegistry | None = None) -> Metrics:
    """Make every metric in `registry`, or in a new one."""
    home = CollectorRegistry() if registry is None else registry
    made: dict[str, Any] = {}
    for name, (make, meta) in declared().items():
        more: dict[str, Any] = {"buckets": meta.buckets} if meta.buckets else {}
        made[name] = make(meta.name, meta.meaning, meta.labels, namespace=NAMESPACE, registry=home, **more)
    metrics = Metrics(registry=home, field_names=FieldNames(), **made)
    metrics.build_info.labels(__version__, platform.python_version(), extension.find().engine).set(1)
    return metrics


def _place(stream: str, partition: TopicPartition) -> dict[str, str]:
    return {"stream": stream, "topic": partition.topic, "partition": str(partition.partition)}
