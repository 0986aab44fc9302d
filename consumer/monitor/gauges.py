"""Gauges of what is observed rather than reported: lag, held offsets, headroom, disk space, the Kafka client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from consumer.domain.clock import Clock
from consumer.domain.days import midnight
from consumer.monitor.probes import Liveness
from consumer.observe.metrics import Metrics
from consumer.observe.snapshot import Snapshot, StreamView
from consumer.observe.status import PartitionStatus
from consumer.source.stats import SourceStats


@dataclass(slots=True)
class Gauges:
    """Sets the gauges from a snapshot. `stats` and `alive_at` are those of the Kafka client."""

    metrics: Metrics
    clock: Clock
    alive_at: Callable[[], float]
    stats: Callable[[], SourceStats | None]
    _rebalances: int = 0

    def show(self, snapshot: Snapshot, broker: Liveness, stores: Mapping[str, Liveness]) -> None:
        """Set every gauge again."""
        for found in snapshot.status.partitions:
            self._partition(found)
        halts = {halt.stream: halt.reason for halt in snapshot.status.halted if halt.partition is None}
        for stream in snapshot.streams:
            self._stream(stream, stores[stream.name])
            self.metrics.mark_stream(stream.name, stream.topic, halts.get(stream.name))
        self.metrics.broker_reachable.set(not broker.trouble)
        self.metrics.spool_limit_bytes.set(snapshot.spool.limit)
        self.metrics.spool_floor_bytes.set(snapshot.spool.floor)
        idle = timedelta(seconds=self.clock.monotonic() - self.alive_at())
        self.metrics.last_poll.set((snapshot.at - idle).timestamp())
        self._client(self.stats())

    def _partition(self, found: PartitionStatus) -> None:
        self.metrics.expect(found.stream, found.partition)
        place = (found.stream, found.partition.topic, str(found.partition.partition))
        hours, sealed = found.retention_hours, found.last_cutoff
        values = (
            (self.metrics.committed_offset, found.committed),
            (self.metrics.held, found.held),
            (self.metrics.read_lag, found.lag),
            (self.metrics.retention_headroom, None if hours is None else hours * 3600),
            (self.metrics.last_sealed_day, None if sealed is None else midnight(sealed).timestamp()),
        )
        for gauge, value in values:
            if value is None:
                gauge.remove(*place)
            else:
                gauge.labels(*place).set(value)

    def _stream(self, stream: StreamView, store: Liveness) -> None:
        self.metrics.store_reachable.labels(stream.name).set(not store.trouble)
        ours = len(stream.partitions)
        self.metrics.assigned_partitions.labels(stream.name, stream.topic).set(ours)
        if stream.last_complete is not None:
            self.metrics.last_complete_day.labels(stream.name).set(midnight(stream.last_complete).timestamp())

    def _client(self, stats: SourceStats | None) -> None:
        if stats is None:
            return
        self.metrics.broker_round_trip.set(stats.round_trip_seconds)
        self.metrics.fetch_queue_records.set(stats.queued_records)
        self.metrics.fetch_queue_bytes.set(stats.queued_bytes)
        new = stats.rebalances - self._rebalances
        self.metrics.rebalances.inc(new if new >= 0 else stats.rebalances)  # a new client counts from 0
        self._rebalances = stats.rebalances
