"""One stream exported: sealed days from the bucket, open ones from Kafka, each row once, the facts last."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import BinaryIO, TypeVar

import pytest
import zstandard

from consumer.domain.compression import Compression
from consumer.domain.errors import HaltError, TransientError, UsageError
from consumer.domain.offsets import Commit, Span, TopicPartition
from consumer.export.plan import ExportedDay
from consumer.store.port import BytesBody, Match
from consumer.streams.rules import Method, Privacy
from tests.builders.exports import Exporter, Heard, row, send, to_folder
from tests.builders.outside import Scene
from tests.builders.outside import scene as make_scene
from tests.builders.sealed import COLUMNS, DAY, STREAM, TOPIC, next_day
from tests.fakes.store import MemoryStore

T = TypeVar("T")
P1 = TopicPartition(TOPIC, 1)
SECOND, THIRD = next_day(DAY), next_day(DAY, 2)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with make_scene(tmp_path, partitions=2) as made:
        yield made


def sealed(scene: Scene) -> None:
    """Two days sealed in both partitions, the second with late rows of the first."""
    scene.fill(10)
    scene.fill(10, place=P1)
    scene.bucket.seal({DAY: [0, 2]}, cutoff=DAY, through=3)
    scene.bucket.seal({DAY: [5]}, cutoff=DAY, through=6, number=1)
    scene.bucket.publish()
    scene.bucket.seal({DAY: [3], SECOND: [4, 5]}, cutoff=SECOND, through=10)
    scene.bucket.seal({}, cutoff=SECOND, through=10, number=1)
    scene.bucket.publish()


def lines(day: date, *offsets: int) -> str:
    return "".join(f"{offset},{day}\n" for offset in offsets)


HEAD = ",".join(COLUMNS) + "\n"


def test_sealed_days_by_day_partition_and_offset(scene: Scene) -> None:
    sealed(scene)
    export = Exporter(scene)
    ended = export.run(DAY, SECOND)
    text = export.text(ended)
    assert text == HEAD + lines(DAY, 0, 2, 3, 5) + lines(SECOND, 4, 5)
    assert ended.wrote
    assert ended.location == f"memory:///exports/{STREAM}/{DAY}_{SECOND}.csv"
    facts = export.facts(f"{DAY}_{SECOND}.json")
    assert facts == ended.facts
    assert facts == {
        "version": 1,
        "stream": STREAM,
        "from": str(DAY),
        "to": str(SECOND),
        "complete": True,
        "days": [
            {"day": str(DAY), "revision": 2, "rows": 4, "complete": True, "why": [], "source": "bucket"},
            {"day": str(SECOND), "revision": 1, "rows": 2, "complete": True, "why": [], "source": "bucket"},
        ],
        "kafka": {},
        "rows": 6,
        "bytes": len(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "columns": list(COLUMNS),
        "settings": scene.outside.stream.rules.digest,
        "written_at": facts["written_at"],
        "writer": "test",
    }
    assert [day.rows for day in export.heard.days] == [4, 2]


def test_the_same_again_is_nothing_to_do(scene: Scene) -> None:
    sealed(scene)
    export = Exporter(scene)
    export.run(DAY, SECOND)
    before = {facts.key: facts.etag for facts in scene.bucket.store.list("")}
    assert not export.run(DAY, SECOND).wrote
    assert {facts.key: facts.etag for facts in scene.bucket.store.list("")} == before


def test_rows_whose_facts_are_missing_are_written_again(scene: Scene) -> None:
    """So ends an export that was killed between the two."""
    sealed(scene)
    export = Exporter(scene)
    export.run(DAY)
    scene.bucket.remove(f"exports/{STREAM}/{DAY}_{DAY}.json")
    scene.bucket.overwrite(f"exports/{STREAM}/{DAY}_{DAY}.csv", b"something older")
    assert export.run(DAY).wrote
    scene.bucket.remove(f"exports/{STREAM}/{DAY}_{DAY}.csv")
    ended = export.run(DAY)
    assert (ended.wrote, export.text(ended)) == (True, HEAD + lines(DAY, 0, 2, 3, 5))


def test_another_content_under_the_name_needs_force(scene: Scene) -> None:
    sealed(scene)
    export = Exporter(scene)
    export.run(DAY, SECOND)
    scene.bucket.seal({SECOND: [11]}, cutoff=THIRD, through=12)
    scene.bucket.seal({}, cutoff=THIRD, through=12, number=1)
    scene.bucket.publish()
    with pytest.raises(UsageError, match=rf"another export: {SECOND} \(has revision 1, now revision 2\). Use --force"):
        export.run(DAY, SECOND)
    with pytest.raises(UsageError, match="different columns"):
        export.run(DAY, SECOND, columns=("at",))
    with pytest.raises(UsageError, match="different compression"):
        export.run(DAY, SECOND, compression="gzip")
    ended = export.run(DAY, SECOND, force=True)
    assert export.text(ended) == HEAD + lines(DAY, 0, 2, 3, 5) + lines(SECOND, 4, 5, 11)
    assert not export.run(DAY, SECOND).wrote


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_packed_objects_and_packed_files(tmp_path: Path, packing: Compression) -> None:
    with make_scene(tmp_path, partitions=2) as scene:
        scene.bucket.compression = packing
        sealed(scene)
        export = Exporter(scene)
        plain = export.run(DAY)
        assert export.text(plain) == HEAD + lines(DAY, 0, 2, 3, 5)
        ended = export.run(DAY, compression="gzip" if packing == "zstd" else "zstd", force=True)
        data = scene.bucket.read(f"exports/{STREAM}/{ended.location.rpartition('/')[2]}")
        assert (ended.facts["bytes"], ended.facts["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        unpacked = (
            gzip.decompress(data)
            if packing == "zstd"
            else zstandard.ZstdDecompressor().decompressobj().decompress(data)
        )
        assert unpacked.decode() == HEAD + lines(DAY, 0, 2, 3, 5)


def test_columns_are_picked_in_the_order_given(scene: Scene) -> None:
    sealed(scene)
    export = Exporter(scene)
    ended = export.run(SECOND, columns=("at", "id"))
    assert export.text(ended) == f"at,id\n{SECOND},4\n{SECOND},5\n"
    with pytest.raises(UsageError, match="--columns: unknown: nonsense; the stream has id, at"):
        export.run(SECOND, columns=("nonsense",), force=True)
    with pytest.raises(UsageError, match="twice"):
        export.run(SECOND, columns=("id", "id"), force=True)


def test_a_day_that_every_partition_sealed_without_rows_is_empty_and_complete(scene: Scene) -> None:
    sealed(scene)
    before = next_day(DAY, -1)
    export = Exporter(scene)
    ended = export.run(before)
    assert export.text(ended) == HEAD
    assert ended.facts["days"] == [
        {"day": str(before), "revision": 0, "rows": 0, "complete": True, "why": [], "source": "bucket"}
    ]
    assert ended.facts["complete"]


def test_a_day_that_the_chain_cannot_know_is_named(scene: Scene) -> None:
    scene.fill(10, low=4)
    scene.fill(3, place=P1)
    stamp = int(scene.bucket.now.timestamp() * 1000)
    scene.bucket.seal({DAY: [5]}, cutoff=DAY, through=6, start=4, first_timestamp=stamp)
    scene.bucket.seal({}, cutoff=DAY, through=3, number=1)
    scene.bucket.publish()
    before = next_day(DAY, -1)
    export = Exporter(scene)
    ended = export.run(before, DAY)
    assert ended.location.rpartition("/")[2] == f"{before}_{DAY}-incomplete.csv"
    assert [(day["why"], day["source"], day["revision"]) for day in ended.facts["days"]] == [
        (["unknown"], None, None),
        (["started_in_mid_log"], "bucket", 1),
    ]
    with pytest.raises(HaltError, match=r"no day from .* is known"):
        export.run(before)
    assert not any(facts.key.startswith(f"exports/{STREAM}/{before}_{before}") for facts in scene.bucket.store.list(""))


def test_days_are_known_by_their_manifests_where_the_topic_is_gone(scene: Scene) -> None:
    sealed(scene)
    scene.cluster.delete_topic(TOPIC)
    export = Exporter(scene)
    ended = export.run(DAY, THIRD)
    assert [day["source"] for day in ended.facts["days"]] == ["bucket", "bucket", None]
    assert ended.location.rpartition("/")[2].endswith("-incomplete.csv")


# Days that are not sealed


def test_an_open_day_comes_from_kafka_up_to_its_end(scene: Scene) -> None:
    send(scene, {0: (DAY, 0), 1: (DAY, 23.9999), 2: (SECOND, 0), 3: (DAY, 12)})
    send(scene, {0: (DAY, 1), 1: (SECOND, 5)}, P1)
    export = Exporter(scene)
    ended = export.run(DAY, SECOND)
    assert export.text(ended) == HEAD + "".join(
        [row(0, DAY, 0), row(1, DAY, 23.9999), row(3, DAY, 12), row(0, DAY, 1), row(2, SECOND, 0), row(1, SECOND, 5)]
    )
    assert ended.facts["kafka"] == {"0": {"from": 0, "to": 4}, "1": {"from": 0, "to": 2}}
    assert ended.facts["days"][0] == {
        "day": str(DAY),
        "revision": None,
        "rows": 4,
        "complete": False,
        "why": ["not_sealed"],
        "source": "kafka",
    }
    assert ended.location.rpartition("/")[2] == f"{DAY}_{SECOND}-incomplete.csv"
    assert not export.run(DAY, SECOND).wrote
    send(scene, {4: (SECOND, 6)})
    with pytest.raises(UsageError, match=f"{SECOND}.*not sealed: Kafka has moved on"):
        export.run(DAY, SECOND)
    assert export.run(DAY, SECOND, force=True).facts["rows"] == 7


def test_day_borders_at_both_microseconds(scene: Scene) -> None:
    last = 24 - 1e-6 / 3600
    send(scene, {0: (next_day(DAY, -1), last), 1: (DAY, 0), 2: (DAY, last), 3: (SECOND, 0)})
    export = Exporter(scene)
    text = export.text(export.run(DAY))
    assert text == HEAD + row(1, DAY, 0) + row(2, DAY, last)
    assert "23:59:59.999999" in text


def test_what_seals_have_taken_of_an_open_day_comes_from_their_objects(scene: Scene) -> None:
    """One partition has sealed the day, the other has not: no row twice, none missing."""
    send(scene, {n: (DAY, n) for n in range(4)})
    send(scene, {n: (DAY, n) for n in range(3)}, P1)
    scene.bucket.seal({DAY: [0, 1, 2, 3]}, cutoff=DAY, through=4)
    export = Exporter(scene)
    ended = export.run(DAY)
    assert export.text(ended) == HEAD + lines(DAY, 0, 1, 2, 3) + row(0, DAY, 0) + row(1, DAY, 1) + row(2, DAY, 2)
    assert ended.facts["kafka"] == {"1": {"from": 0, "to": 3}}
    assert ended.facts["days"][0]["rows"] == 7


def test_a_spill_and_what_came_after_it(scene: Scene) -> None:
    send(scene, {0: (DAY, 1), 1: (SECOND, 2), 2: (DAY, 3), 3: (DAY, 4)})
    scene.bucket.seal({DAY: [0, 2]}, cutoff=DAY, through=3, resume=1, waiting=1, caught_up=False)
    export = Exporter(scene)
    ended = export.run(DAY, SECOND)
    # offset 3 is late by the chain's cutoff, but no seal has reached it
    assert export.text(ended) == HEAD + lines(DAY, 0, 2) + row(3, DAY, 4) + row(1, SECOND, 2)


def test_rows_of_a_pending_seal_are_read_from_kafka_as_its_settings_say(scene: Scene) -> None:
    send(scene, {0: (DAY, 1), 1: (DAY, 2), 2: (SECOND, 3)})
    send(scene, {0: (DAY, 1)}, P1)
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=3, resume=2, waiting=1, upload=False)
    scene.bucket.seal({DAY: [0]}, cutoff=DAY, through=1, number=1)
    export = Exporter(scene)
    ended = export.run(DAY, SECOND)
    assert export.text(ended) == HEAD + row(0, DAY, 1) + row(1, DAY, 2) + lines(DAY, 0) + row(2, SECOND, 3)
    assert [day["source"] for day in ended.facts["days"]] == ["kafka", "kafka"]


def test_todays_privacy_holds_for_whatever_made_the_rows(scene: Scene) -> None:
    sealed(scene)
    send(scene, {10: (THIRD, 1), 11: (THIRD, 2)})
    scene.bucket.seal({THIRD: [10]}, cutoff=THIRD, through=11, upload=False)  # pending: judged by its own settings
    today = replace(scene.outside.stream.rules, privacy=Privacy({"id": Method.DROP}))
    scene.outside.stream = scene.outside.stream.model_copy(update={"rules": today})
    export = Exporter(scene)
    ended = export.run(SECOND, THIRD)
    assert export.text(ended) == HEAD + "".join(
        [f",{SECOND}\n", f",{SECOND}\n", row(10, THIRD, 1)[2:], row(11, THIRD, 2)[2:]]
    )


def test_late_rows_that_no_seal_took_are_not_in_a_sealed_day(scene: Scene) -> None:
    sealed(scene)
    send(scene, {10: (DAY, 1), 11: (THIRD, 2)})
    export = Exporter(scene)
    ended = export.run(DAY, THIRD)
    assert export.text(ended) == HEAD + lines(DAY, 0, 2, 3, 5) + lines(SECOND, 4, 5) + row(11, THIRD, 2)
    assert ended.facts["complete"] is False


def test_where_reading_begins_without_a_chain(scene: Scene) -> None:
    send(scene, {n: (DAY, n) for n in range(6)})
    scene.commit(Commit(4))
    export = Exporter(scene)
    ended = export.run(DAY)
    assert export.text(ended) == HEAD + row(4, DAY, 4) + row(5, DAY, 5)


def test_days_that_kafka_has_lost_are_named(scene: Scene) -> None:
    send(scene, {n: (DAY, n) for n in range(4)})
    send(scene, {4: (SECOND, 1)})
    scene.bucket.seal({}, cutoff=next_day(DAY, -1), through=1, resume=0, waiting=1)
    scene.bucket.seal({}, cutoff=next_day(DAY, -1), through=0, number=1)
    scene.cluster.existing(TopicPartition(TOPIC, 0)).delete_below(3)
    export = Exporter(scene)
    ended = export.run(DAY, SECOND)
    assert export.text(ended) == HEAD + row(3, DAY, 3) + row(4, SECOND, 1)
    assert [day["why"] for day in ended.facts["days"]] == [["gap", "not_sealed"]] * 2
    scene.cluster.existing(TopicPartition(TOPIC, 0)).delete_below(4)
    ended = export.run(DAY, SECOND, force=True)
    assert [(day["why"], day["source"]) for day in ended.facts["days"]] == [
        (["unknown"], None),
        (["gap", "not_sealed"], "kafka"),
    ]


def test_a_topic_made_anew_halts_an_open_day(scene: Scene) -> None:
    scene.bucket.seal({DAY: [0]}, cutoff=DAY, through=4, topic_id="another")
    scene.fill(4)
    with pytest.raises(HaltError, match="topic_recreated"):
        Exporter(scene).run(DAY)


# Beside others who write


class Replacing(MemoryStore):
    """A bucket whose day is replaced while its objects are read, so many times."""

    times = 0

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        found = super().open(key, version_id=version_id)
        if self.times and key.endswith(".csv"):
            self.times -= 1
            stored = self.get(f"{STREAM}/dt={DAY}/_manifest.json")
            assert stored is not None
            head, _, rest = stored.data.partition(b'"revision": ')
            number, _, tail = rest.partition(b",")
            body = BytesBody(head + b'"revision": ' + str(int(number) + 1).encode() + b"," + tail)
            self.put(stored.facts.key, body, condition=Match(stored.facts.etag))
        return found


@pytest.mark.parametrize("hold", [False, True])
def test_a_day_that_changes_while_it_is_read_is_read_again(tmp_path: Path, hold: bool) -> None:
    with make_scene(tmp_path, partitions=2, store=Replacing) as scene:
        changing_day(scene, hold)


def changing_day(scene: Scene, hold: bool) -> None:
    sealed(scene)
    store = scene.bucket.store
    assert isinstance(store, Replacing)
    store.times = 2
    export = Exporter(scene)
    ended = export.run(DAY, SECOND, hold=hold)
    assert export.text(ended) == HEAD + lines(DAY, 0, 2, 3, 5) + lines(SECOND, 4, 5)
    assert ended.facts["days"][0]["revision"] == 4
    store.times = 100
    rested = []
    export.rest = lambda: rested.append(1)
    with pytest.raises(HaltError, match="changed while it was read, 3 times in a row"):
        export.run(DAY, hold=hold)
    assert len(rested) == 2


def test_a_day_that_is_being_replaced_is_waited_for(scene: Scene) -> None:
    sealed(scene)
    key = f"{STREAM}/dt={DAY}/_manifest.json"
    calm = scene.bucket.read(key)
    scene.bucket.overwrite(key, calm.replace(b'"revision"', b'"replaying": 3,\n  "revision"', 1))
    export = Exporter(scene)
    with pytest.raises(HaltError, match=r"is being replaced \(replacement 3\), 3 times"):
        export.run(DAY)
    export.rest = lambda: scene.bucket.overwrite(key, calm)
    assert export.text(export.run(DAY)) == HEAD + lines(DAY, 0, 2, 3, 5)


def test_an_object_that_is_gone_or_altered_halts(scene: Scene) -> None:
    sealed(scene)
    key = next(facts.key for facts in scene.bucket.store.list(f"{STREAM}/dt={DAY}/") if facts.key.endswith(".csv"))
    good = scene.bucket.read(key)
    scene.bucket.overwrite(key, good.replace(b"0,", b"9,", 1))
    with pytest.raises(HaltError, match="its sha256 differs from the manifest"):
        Exporter(scene).run(DAY)
    scene.bucket.remove(key)
    with pytest.raises(HaltError, match="it is gone"):
        Exporter(scene).run(DAY)
    assert not any(facts.key.startswith("exports/") for facts in scene.bucket.store.list(""))


class BreaksOff(Heard):
    def day_done(self, day: ExportedDay) -> None:
        raise RuntimeError(str(day.day))


def test_an_export_that_breaks_off_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    sealed(scene)
    export = Exporter(scene, BreaksOff(), target=to_folder(tmp_path / "out"))
    with pytest.raises(RuntimeError):
        export.run(DAY, SECOND)
    assert list((tmp_path / "out" / STREAM).iterdir()) == []


def test_a_local_folder(scene: Scene, tmp_path: Path) -> None:
    sealed(scene)
    export = Exporter(scene, target=to_folder(tmp_path / "out"))
    ended = export.run(DAY, SECOND)
    place = tmp_path / "out" / STREAM
    assert ended.location == str(place / f"{DAY}_{SECOND}.csv")
    assert (place / f"{DAY}_{SECOND}.csv").read_text() == HEAD + lines(DAY, 0, 2, 3, 5) + lines(SECOND, 4, 5)
    assert sorted(path.name for path in place.iterdir()) == [f"{DAY}_{SECOND}.csv", f"{DAY}_{SECOND}.json"]
    assert not export.run(DAY, SECOND).wrote
    (place / f"{DAY}_{SECOND}.json").write_text("[]")
    with pytest.raises(UsageError, match="was not written by an export"):
        export.run(DAY, SECOND)


class Flaky(MemoryStore):
    """Fails to open objects, so many times, and breaks off in the middle of the first one that opens."""

    failures = 0

    def open(self, key: str, *, version_id: str = "") -> BinaryIO | None:
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                raise TransientError("down")
            stored = self.get(key)
            return Broken(stored.data[:5]) if stored else None
        return super().open(key, version_id=version_id)


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise TransientError("connection lost")


def until_it_works(call: Callable[[], T]) -> T:
    while True:
        try:
            return call()
        except TransientError:
            pass


def test_an_outage_while_an_object_is_read_is_read_over(tmp_path: Path) -> None:
    with make_scene(tmp_path, partitions=2, store=Flaky) as scene:
        sealed(scene)
        assert isinstance(scene.bucket.store, Flaky)
        scene.bucket.store.failures = 4
        scene.outside.ask = until_it_works
        export = Exporter(scene)
        assert export.text(export.run(DAY)) == HEAD + lines(DAY, 0, 2, 3, 5)
        assert scene.bucket.store.failures == 0


def test_spans_of_what_is_read_follow_the_time_index(scene: Scene) -> None:
    """Records that are too old to hold rows of the days are not read."""
    send(scene, {n: (DAY, n / 10) for n in range(9)})
    send(scene, {9: (next_day(DAY, 3), 1)})
    export = Exporter(scene)
    ended = export.run(next_day(DAY, 3))
    assert ended.facts["kafka"] == {"0": {"from": 9, "to": 10}}
    assert export.heard.surveys[0].kafka[0] == Span(9, 10)
