"""The demo in numbers, read back from its output: seal logs, `_days.json`, quarantine.

Filtered records leave nothing in a folder: their numbers are the worker's metrics.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any

import orjson

from consumer.commands.demo.data import MORNINGS
from consumer.commands.demo.exported import Exported, export_events
from consumer.commands.demo.run import PATIENCE, DemoClock, DemoResult
from consumer.commands.retry import RetryBudget
from consumer.commands.verify import REST_SECONDS, THREADS_LOCAL
from consumer.domain.batches import Counts
from consumer.domain.offsets import TopicPartition
from consumer.observe.metrics import Metrics
from consumer.seal.keys import days_key
from consumer.seal.log import SealLog
from consumer.seal.record import Record
from consumer.settings.model import StreamSettings
from consumer.store.port import Store
from consumer.streams.columns import column_names
from consumer.verify.findings import Report
from consumer.verify.snapshot import Days
from consumer.verify.stream import VerifyContext, VerifyTarget, verify_stream


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream.

    `filtered` and `quarantined` are by reason; `revisions` are those of the published days. `waiting` are the rows,
    including quarantined ones, of a day that is not over: they are in Kafka and in the spool.
    """

    name: str
    format: str
    came_in: int
    late: int
    filtered: Mapping[str, int]
    quarantined: Mapping[str, int]
    in_bucket: int
    waiting: int
    revisions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The demo. `arrived` has the number of records before each morning."""

    folder: str
    arrived: tuple[int, ...]
    streams: tuple[StreamSummary, ...]
    verified: tuple[Report, ...]
    exported: Exported
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether `verify` found nothing."""
        return all(report.sound for report in self.verified)

    def document(self) -> dict[str, Any]:
        """The summary as `--json` prints it."""
        streams = [asdict(stream) for stream in self.streams]
        verified = {"sound": self.sound, "streams": [report.to_json() for report in self.verified]}
        return {**asdict(replace(self, streams=(), verified=())), "streams": streams, "verified": verified}


def summary_of(result: DemoResult) -> Summary:
    """Read the folder and count."""
    streams = result.settings.streams
    first = sum(sent.at < MORNINGS[0] for sent in result.records)
    return Summary(
        folder=str(result.folder),
        arrived=(first, len(result.records) - first),
        streams=tuple(_stream(result, stream) for stream in streams),
        verified=tuple(_verified(result, stream) for stream in streams),
        exported=export_events(result),
        seconds=round(time.monotonic() - result.began, 1),
    )


def _stream(result: DemoResult, stream: StreamSettings) -> StreamSummary:
    seals = list(_seals(result.store, stream.topic))
    counts = sum((record.counts for record in seals), Counts())
    days = _days(result.store, stream.name)
    in_bucket = sum(day["rows"] for day in days)
    quarantined = Counter(line["reason"] for line in _quarantine(result.store, seals))
    return StreamSummary(
        name=stream.name,
        format=str(stream.rules.format),
        came_in=counts.read,
        late=sum(sent.late for sent in result.records if sent.stream == stream.name),
        filtered=_filtered(result.metrics, stream.name),
        quarantined=dict(quarantined),
        in_bucket=in_bucket,
        waiting=counts.kept + counts.quarantined - in_bucket - quarantined.total(),
        revisions={day["day"]: day["revision"] for day in days},
    )


def _verified(result: DemoResult, stream: StreamSettings) -> Report:
    """The result of `verify` for the streams."""
    clock = DemoClock(MORNINGS[-1])
    subject = VerifyTarget(stream.name, stream.topic, column_names(stream.rules), result.store)
    with ThreadPoolExecutor(THREADS_LOCAL) as pool:
        ways = VerifyContext(RetryBudget(PATIENCE, clock).ask, pool, clock, rest=lambda: time.sleep(REST_SECONDS))
        return verify_stream(subject, Days(), ways)


def _seals(store: Store, topic: str) -> Iterator[Record]:
    """The seal records of all partitions of a topic; idle ones have theirs, too."""
    for number in count():
        chain = SealLog(store, TopicPartition(topic, number)).read()
        if chain.empty:
            return
        yield from chain.records


def _days(store: Store, stream: str) -> list[dict[str, Any]]:
    stored = store.get(days_key(stream))
    return orjson.loads(stored.data)["days"] if stored else []


def _quarantine(store: Store, seals: Iterable[Record]) -> Iterator[dict[str, Any]]:
    for entry in (entry for record in seals for entry in record.objects if entry.quarantine):
        stored = store.get(entry.key)
        yield from map(orjson.loads, stored.data.splitlines() if stored else ())


def _filtered(metrics: Metrics, stream: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for metric in metrics.rows_filtered.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels["stream"] == stream:
                found[sample.labels["reason"]] += int(sample.value)
    return dict(sorted(found.items()))
