"""`status`: the numbers of each partition, and what a worker would halt at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.commands import status as command
from consumer.commands.status import status_of
from consumer.domain.errors import UsageError
from consumer.domain.offsets import Commit, TopicPartition
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.seal.keys import record_key
from consumer.seal.recover import commit_for
from tests.builders.outside import P0, Scene
from tests.builders.outside import scene as make_scene
from tests.builders.sealed import DAY, STREAM, TOPIC, StoppedClock, at, next_day
from tests.fakes.kafka.log import Transaction

P1 = TopicPartition(TOPIC, 1)
WEEK = timedelta(days=7)
FIELDS = [
    *("stream", "topic", "partition", "committed", "end", "held", "position", "lag", "open_days"),
    *("last_cutoff", "next_seal", "retention_hours"),
]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with make_scene(tmp_path, partitions=2, config={"retention.ms": str(WEEK // timedelta(milliseconds=1))}) as made:
        yield made


def look(scene: Scene, now: datetime | None = None) -> Status:
    return status_of(scene.outside, StoppedClock(now or scene.bucket.now))


def test_the_numbers_of_a_sealed_partition_and_of_a_new_one(scene: Scene) -> None:
    stamp = at(DAY, 6)
    scene.fill(20, timestamp=int(stamp.timestamp() * 1000))
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=9, resume=4, waiting=3)
    scene.commit(commit_for(scene.bucket.log().read()))
    found = look(scene)
    sealed, new = found.partitions
    assert found.halted == ()
    assert (sealed.committed, sealed.end, sealed.held) == (4, 20, 16)
    assert (sealed.last_cutoff, sealed.next_seal) == (DAY, at(next_day(DAY)))
    assert sealed.retention_hours == pytest.approx((stamp + WEEK - scene.bucket.now) / timedelta(hours=1), abs=0.02)
    assert new == PartitionStatus(STREAM, P1, None, 0, next_seal=at(DAY))


def test_the_json_has_the_fields_of_the_contract(scene: Scene) -> None:
    scene.fill(5)
    document = look(scene).to_json()
    assert list(document) == ["partitions", "halted"]
    assert [list(entry) for entry in document["partitions"]] == [FIELDS, FIELDS]
    first = document["partitions"][0]
    assert (first["position"], first["lag"], first["open_days"], first["last_cutoff"]) == (None, None, None, None)
    assert first["next_seal"] == "2026-11-21T04:00:00Z"


def test_end_is_the_stable_one(scene: Scene) -> None:
    scene.fill(5)
    scene.cluster.produce(P0, b"{}", transaction=Transaction())
    assert look(scene).partitions[0].end == 5


def test_retention_of_what_is_read_up_to_the_end_is_that_of_a_record_to_come(scene: Scene) -> None:
    scene.fill(5)
    scene.commit(Commit(5))
    assert look(scene).partitions[0].retention_hours == 7 * 24


def test_retention_that_never_ends_is_not_known(tmp_path: Path) -> None:
    with make_scene(tmp_path, config={"retention.ms": "-1"}) as scene:
        scene.fill(5)
        scene.commit(Commit(2))
        assert look(scene).partitions[0].retention_hours is None


def test_what_a_worker_would_halt_at_is_listed_beside_the_numbers(scene: Scene) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    scene.commit(commit_for(scene.bucket.log().read()))
    found = look(scene)
    (halted,) = found.halted
    assert halted.to_json() == {"stream": STREAM, "partition": 0, "reason": "retention_hole"}
    assert "accept-gap t:0 4 9" in halted.message
    assert "seen from outside" in halted.message
    assert found.partitions[0].retention_hours == 0.0
    assert len(found.partitions) == 2


def test_a_damaged_seal_log_halts_its_partition_alone(scene: Scene) -> None:
    scene.fill(5)
    scene.bucket.seal({DAY: [0]}, cutoff=DAY, through=5)
    scene.bucket.overwrite(record_key(P0, 0), b"{}")
    found = look(scene)
    assert [(halted.partition, halted.reason) for halted in found.halted] == [(P0, "chain_damaged")]
    broken, other = found.partitions
    assert (broken.end, broken.last_cutoff, broken.next_seal) == (5, None, None)
    assert other.next_seal is not None


@pytest.mark.parametrize("compacted", [True, False])
def test_a_topic_that_cannot_be_read_halts_the_stream(tmp_path: Path, *, compacted: bool) -> None:
    with make_scene(tmp_path, config={"cleanup.policy": "compact"} if compacted else None) as scene:
        if not compacted:
            scene.cluster.delete_topic(TOPIC)
        found = look(scene)
    reason = "compacted_topic" if compacted else "missing_topic"
    assert found.partitions == ()
    assert [halted.to_json() for halted in found.halted] == [{"stream": STREAM, "partition": None, "reason": reason}]


def test_a_pending_seal_is_no_halt(scene: Scene) -> None:
    scene.fill(8)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4, upload=False)
    found = look(scene)
    assert found.halted == ()
    assert found.partitions[0].last_cutoff == DAY


def test_the_table_says_what_is_overdue_and_halted(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    partition = PartitionStatus(STREAM, P0, 4, 1_000_020, next_seal=at(DAY), last_cutoff=DAY, retention_hours=1234.56)
    found = Status(
        (partition, PartitionStatus(STREAM, P1)), (Halted(STREAM, P0, "why", "way out"), Halted("x", None, "w", "m"))
    )
    command._show(found, now)
    shown = capsys.readouterr().out
    for words in (
        "t:0",
        "1,000,016",
        "2026-11-21 04:00, overdue",
        "1,234.6 h",
        "halted clicks t:0: why: way out",
        "halted x: w: m",
    ):
        assert words in shown
    assert found.to_json()["halted"] == [
        {"stream": STREAM, "partition": 0, "reason": "why"},
        {"stream": "x", "partition": None, "reason": "w"},
    ]


def test_looks_follow_each_other_as_blocks_or_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    found = Status((PartitionStatus(STREAM, P0, 4, 9),))
    command.show_again(found, now, as_json=False)
    assert capsys.readouterr().out.startswith("2026-11-22 12:00:00 UTC\n")
    for _ in range(2):
        command.show_again(found, now, as_json=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert json.loads(first) == {"at": "2026-11-22T12:00:00Z", **found.to_json()}


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "1e9"])
def test_a_pause_that_is_no_number_of_seconds(text: str) -> None:
    with pytest.raises(UsageError, match="--watch"):
        command.pause_of(text)
    assert (command.pause_of(""), command.pause_of("0.5")) == (command.WATCH_SECONDS, 0.5)
