"""An export over a bucket and a cluster in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson

from consumer.domain.compression import Compression
from consumer.domain.days import DayRange
from consumer.domain.offsets import TopicPartition
from consumer.export.judges import RuleJudges
from consumer.export.plan import ExportedDay
from consumer.export.stream import ExportResult, Order, StreamExport
from consumer.export.survey import Survey
from consumer.export.targets import BucketTarget, FolderTarget, Target
from consumer.shape.transform import make_transformer
from consumer.store.port import StreamingStore
from consumer.streams.columns import column_names
from tests.builders.outside import P0, Scene
from tests.builders.sealed import STREAM, StoppedClock, at
from tests.fakes.kafka.range_reader import MemoryRangeReader


@dataclass(slots=True)
class Heard:
    """What an export told."""

    surveys: list[Survey] = field(default_factory=list)
    days: list[ExportedDay] = field(default_factory=list)
    size: int = 0

    def planned(self, stream: str, survey: Survey) -> None:
        assert stream == STREAM
        self.surveys.append(survey)

    def advanced(self, rows: float, size: int) -> None:
        self.size += size

    def day_done(self, day: ExportedDay) -> None:
        self.days.append(day)


@dataclass(slots=True)
class Exporter:
    """Exports the stream of a scene. `rest` is called between two tries of a day."""

    scene: Scene
    heard: Heard = field(default_factory=Heard)
    rest: Callable[[], None] = lambda: None
    target: Target | None = None

    def run(
        self,
        first: date,
        last: date | None = None,
        *,
        columns: tuple[str, ...] | None = None,
        compression: Compression = "none",
        force: bool = False,
        hold: bool = False,
    ) -> ExportResult:
        outside = self.scene.outside
        reader = MemoryRangeReader(self.scene.cluster, batch=3)
        job = StreamExport(
            outside=outside,
            rules=outside.stream.rules,
            today=column_names(outside.stream.rules),
            judges=RuleJudges(outside, make_transformer, lambda: reader),
            target=self.target or self.to_bucket(),
            clock=StoppedClock(self.scene.bucket.now),
            writer="test",
            watcher=self.heard,
            rest=self.rest,
        )
        days = tuple(DayRange(first, last or first))
        return job.run(Order(days, columns, compression, force=force, hold=hold))

    def to_bucket(self) -> BucketTarget:
        store: StreamingStore = self.scene.bucket.store  # type: ignore[assignment]  # a store in memory
        return BucketTarget(store, STREAM)

    def text(self, ended: ExportResult) -> str:
        """The rows that an export left in the bucket."""
        return self.scene.bucket.read(f"exports/{STREAM}/{ended.location.rpartition('/')[2]}").decode()

    def facts(self, name: str) -> dict[str, Any]:
        """A sidecar as it stands in the bucket."""
        found: dict[str, Any] = orjson.loads(self.scene.bucket.read(f"exports/{STREAM}/{name}"))
        return found


def to_folder(folder: Path) -> FolderTarget:
    return FolderTarget(folder / STREAM)


def click(number: int, day: date, hours: float = 10) -> bytes:
    """A record of this day."""
    return json.dumps({"id": number, "at": at(day, hours).isoformat()}).encode()


def send(scene: Scene, values: Mapping[int, tuple[date, float]], place: TopicPartition = P0) -> None:
    """Records by number, each of a day at an hour, stamped at that time."""
    for number, (day, hours) in values.items():
        stamp = int((at(day, hours) + timedelta()).timestamp() * 1000)
        assert scene.cluster.produce(place, click(number, day, hours), timestamp=stamp) is not None


def row(number: int, day: date, hours: float = 10) -> str:
    return f"{number},{at(day, hours).isoformat()}\n"
