"""`accept-gap`: which offsets may be given up, and the record that says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from consumer.commands import main
from consumer.commands.accept_gap import record_gap
from consumer.domain.errors import HaltError, HaltReason, UsageError
from consumer.domain.offsets import Commit, LogEnds, Span, TopicPartition
from consumer.seal.gap import gap_objection
from consumer.seal.keys import record_key, settings_key
from consumer.seal.log import SealLog
from consumer.seal.record import Record, RecordKind
from consumer.seal.recover import commit_for
from tests.builders.outside import P0, Scene
from tests.builders.outside import scene as make_scene
from tests.builders.sealed import DAY, TOPIC, Bucket, StoppedClock, next_day

SECOND = next_day(DAY)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs stay as they are: what a command line sends them to is gone after its test."""
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with make_scene(tmp_path) as made:
        yield made


def accept(scene: Scene, first: int, end: int, ahead: timedelta = timedelta()) -> Record:
    return record_gap(scene.outside, P0, Span(first, end), StoppedClock(scene.bucket.now + ahead))


def refusal(scene: Scene, first: int, end: int) -> str:
    before = scene.bucket.all_keys()
    with pytest.raises(UsageError) as caught:
        accept(scene, first, end)
    assert scene.bucket.all_keys() == before
    return str(caught.value)


def test_after_a_finished_seal_the_resume_offset_is_the_lowest_needed(scene: Scene) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4, resume=3, waiting=1)
    scene.commit(commit_for(scene.bucket.log().read()))
    before = scene.bucket.head()
    record = accept(scene, 3, 9)
    assert record == scene.bucket.head()
    assert (record.kind, record.lost, record.n, record.unfinished) == (RecordKind.GAP, Span(3, 9), 1, None)
    assert (record.start, record.resume) == (9, 9)
    assert (record.reach, record.caught_up, record.previous) == (before.reach, True, before.reach)
    assert (record.objects, record.counts.read) == ((), 0)
    assert record.sealed_at >= before.sealed_at
    assert scene.bucket.store.head(settings_key(record.settings)) is not None
    (outlook,) = scene.outside.partitions(scene.outside.topic())
    assert outlook.halt is None
    assert refusal(scene, 3, 9).startswith("t:0: nothing is lost: offset 9 is the lowest still needed")
    scene.bucket.publish()
    assert scene.bucket.verify().sound


def test_of_a_pending_seal_the_start_is_the_lowest_needed(scene: Scene) -> None:
    scene.fill(20, low=3)
    scene.bucket.seal({DAY: [0, 1, 5]}, cutoff=DAY, through=8, upload=False)
    assert "the lost offsets are 0 to 3, not 8 to 3" in refusal(scene, 8, 3)
    record = accept(scene, 0, 3)
    assert (record.start, record.resume, record.through, record.unfinished) == (3, 3, 8, 0)
    # the log's start moves on: under the gap the seal is read from there, not from its own start
    scene.cluster.existing(P0).delete_below(5)
    assert (accept(scene, 3, 5).n, scene.bucket.head().unfinished) == (2, 0)
    assert scene.bucket.verify().pending != ()
    assert scene.bucket.verify().sound


def test_without_a_chain_the_commit_is_the_lowest_needed(scene: Scene) -> None:
    scene.fill(20, low=9)
    assert "nothing was sealed or committed" in refusal(scene, 0, 9)
    scene.commit(Commit(4))
    record = accept(scene, 4, 9)
    assert (record.n, record.previous, record.cutoff, record.caught_up) == (0, None, None, False)
    assert (record.start, record.through, record.resume) == (9, 9, 9)
    scene.bucket.seal({DAY: [10]}, cutoff=DAY, through=20)
    scene.bucket.publish()
    report = scene.bucket.verify()
    assert (report.findings, report.pending) == ((), ())


def test_other_numbers_are_refused_with_the_right_ones(scene: Scene) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    for first, end in ((4, 8), (4, 10), (3, 9), (5, 9), (0, 9), (9, 4)):
        assert f"the lost offsets are 4 to 9, not {first} to {end}; nothing was written" in refusal(scene, first, end)


def test_while_nothing_is_lost_a_gap_is_refused(scene: Scene) -> None:
    scene.fill(20, low=4)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    assert "nothing is lost: offset 4 is the lowest still needed, and the log starts at 4" in refusal(scene, 4, 9)


def test_somebody_faster_is_obeyed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    own = SealLog.append

    def late(self: SealLog, record: Record) -> bool:
        monkeypatch.setattr(SealLog, "append", own)
        scene.bucket.gap(Span(4, 9))
        return own(self, record)

    monkeypatch.setattr(SealLog, "append", late)
    with pytest.raises(UsageError, match="another worker or operator decided record 1 of t:0 at this moment"):
        accept(scene, 4, 9)
    assert scene.bucket.head().writer == "test"


def test_a_clock_that_is_ahead_writes_nothing(scene: Scene) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    with pytest.raises(UsageError, match="clock is 61 s ahead"):
        accept(scene, 4, 9, timedelta(seconds=61))
    assert scene.bucket.head().n == 0
    assert accept(scene, 4, 9, timedelta(seconds=60)).n == 1


def _other_topic(scene: Scene) -> None:
    scene.bucket.alter_record(0, topic_id="other")


def _truncated(scene: Scene) -> None:
    scene.cluster.existing(P0).truncate(9)


def _damaged(scene: Scene) -> None:
    scene.bucket.overwrite(record_key(P0, 0), b"{}")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_other_topic, HaltReason.TOPIC_RECREATED),
        (_truncated, HaltReason.LOG_TRUNCATED),
        (_damaged, HaltReason.CHAIN_DAMAGED),
    ],
)
def test_a_partition_that_is_halted_for_another_reason_gets_no_gap(
    scene: Scene, harm: object, reason: HaltReason
) -> None:
    scene.fill(20, low=9)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=12, resume=4, waiting=1)
    assert callable(harm)
    harm(scene)
    with pytest.raises(HaltError) as caught:
        accept(scene, 4, 9)
    assert caught.value.reason is reason


def test_topics_and_partitions_that_are_not_ours(scene: Scene) -> None:
    with pytest.raises(UsageError, match="topic t has the partitions 0 to 0"):
        record_gap(scene.outside, TopicPartition(TOPIC, 1), Span(0, 1), StoppedClock(scene.bucket.now))
    scene.cluster.delete_topic(TOPIC)
    with pytest.raises(HaltError, match="missing_topic"):
        accept(scene, 0, 1)


@pytest.mark.parametrize("text", ["t", "t:", ":0", "t:x", "t:-1", "t:\u00b2"])
def test_a_partition_is_written_with_a_colon(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "sink.toml"
    config.write_text(
        '[kafka]\nbootstrap_servers = "localhost:1"\n[destination]\nurl = "file:///nowhere/out"\n'
        '[spool]\ndirectory = "spool"\n[streams.events]\ntopic = "events"\n'
    )
    assert main.run(["--config", str(config), "accept-gap", text, "0", "1"]) == 2
    assert "write TOPIC:PARTITION" in capsys.readouterr().err
    assert main.run(["--config", str(config), "accept-gap", "other:0", "0", "1"]) == 2
    assert "no stream in the settings reads topic 'other'; they read events" in capsys.readouterr().err


def test_objections_by_number() -> None:
    ends = LogEnds(9, 20, 20)
    assert gap_objection(Span(4, 9), 4, ends) == ""
    assert gap_objection(Span(4, 9), None, ends) != ""
    assert gap_objection(Span(9, 9), 9, ends) != ""


def test_a_bucket_of_its_own_goes_on_after_a_gap(scene: Scene) -> None:
    """The next seal starts where the gap ends, and verification says so."""
    scene.fill(30, low=9)
    bucket: Bucket = scene.bucket
    bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    accept(scene, 4, 9)
    bucket.seal({SECOND: [9, 10]}, cutoff=SECOND, through=30)
    bucket.publish()
    report = bucket.verify()
    assert (report.findings, report.pending) == ((), ())
    assert report.rows == 4
