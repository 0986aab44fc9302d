"""librdkafka's statistics: the few numbers used for metrics and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class SourceStats:
    """One set of statistics. `round_trip_seconds` is the slowest broker's mean over the last interval."""

    brokers_up: int
    round_trip_seconds: float
    queued_records: int
    queued_bytes: int
    rebalances: int
    group_state: str


def read_stats(document: str | bytes) -> SourceStats:
    """Read the JSON that librdkafka hands out every `statistics.interval.ms`."""
    raw: dict[str, Any] = orjson.loads(document)
    brokers = [b for b in raw.get("brokers", {}).values() if b.get("state") == "UP"]
    parts = [p for topic in raw.get("topics", {}).values() for p in topic.get("partitions", {}).values()]
    group = raw.get("cgrp", {})
    return SourceStats(
        brokers_up=len({b.get("nodename") for b in brokers}),
        round_trip_seconds=max((b.get("rtt", {}).get("avg", 0) for b in brokers), default=0) / 1e6,
        # Each partition reports the queue that all of them share.
        queued_records=max((p.get("fetchq_cnt", 0) for p in parts), default=0),
        queued_bytes=max((p.get("fetchq_size", 0) for p in parts), default=0),
        rebalances=group.get("rebalance_cnt", 0),
        group_state=group.get("join_state", ""),
    )
