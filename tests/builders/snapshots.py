"""Made-up snapshots of a worker, for the tests of its pages."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from consumer.domain.offsets import TopicPartition
from consumer.observe.calendar import PublishedDay, calendar
from consumer.observe.snapshot import Snapshot, SpoolView, StreamView
from consumer.observe.status import Halted, PartitionStatus, Status

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
YESTERDAY = date(2026, 11, 21)


def published(days: int = 80, until: date = YESTERDAY) -> dict[date, PublishedDay]:
    """Days with revisions, with something missing, with few and many rows."""
    found = {}
    for back in range(days):
        rows = (back * 7919 + 13) % 997 * 10 ** (back % 5)
        revision = 2 if back % 17 == 5 else 1
        found[until - timedelta(days=back)] = PublishedDay(revision, rows, complete=back != 31)
    return found


def partition(stream: str, number: int, **more: object) -> PartitionStatus:
    values: dict[str, object] = {
        "committed": 5_230_011,
        "end": 5_341_207,
        "position": 5_341_200,
        "open_days": (date(2026, 11, 22),),
        "last_cutoff": YESTERDAY,
        "next_seal": datetime(2026, 11, 23, 4, tzinfo=UTC),
        "retention_hours": 162.5,
        "phase": "reading",
    }
    return PartitionStatus(stream, TopicPartition(f"adapty.{stream}", number), **{**values, **more})  # type: ignore[arg-type]


HALT = Halted(
    "ua_events",
    TopicPartition("adapty.ua_events", 1),
    "retention_hole",
    "adapty.ua_events:1: needs offset 812 and the log starts at 900. See accept-gap",
)


def snapshot() -> Snapshot:
    """Four streams: one in order, one catching up, one halted, one new."""
    days = published()
    slow = tuple(
        partition("paywall_views", n, position=4_000_000 + n, open_days=tuple(sorted(days)[-5:])) for n in range(20)
    )
    stopped = (
        partition("ua_events", 0, last_cutoff=date(2026, 11, 18)),
        PartitionStatus("ua_events", TopicPartition("adapty.ua_events", 1)),
    )
    fine = tuple(partition("events", n) for n in range(3))
    new = (partition("clicks<script>", 0, committed=None, last_cutoff=None, retention_hours=None),)
    streams = (
        _stream("events", fine, days),
        _stream("paywall_views", slow, days),
        _stream("ua_events", stopped, published(until=date(2026, 11, 18)), f"halted: {HALT.reason}: {HALT.message}"),
        _stream("clicks<script>", new, {}),
    )
    partitions = tuple(found for stream in streams for found in stream.partitions)
    return Snapshot(NOW, Status(partitions, (HALT,)), streams, SpoolView(3 << 30, 20 << 30, 41 << 30, 2 << 30))


def _stream(
    name: str, partitions: tuple[PartitionStatus, ...], days: dict[date, PublishedDay], *troubles: str
) -> StreamView:
    return StreamView(
        name=name,
        topic=f"adapty.{name}",
        destination="s3://adapty-events/com.sample-app",
        partitions=partitions,
        partitions_total=24,
        days=calendar(days, NOW.date(), halted=bool(troubles)),
        last_complete=max(days, default=None),
        troubles=troubles,
    )
