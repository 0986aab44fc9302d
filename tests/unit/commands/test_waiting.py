"""`status --wait`: done when published, halted when it cannot be, over when it takes too long, by the test's clock."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from consumer.commands.parsing import _with_empty_values
from consumer.commands.waiting import LOOK_SECONDS, Place, Waiting, worker_halts
from consumer.domain.errors import GaveUpError, HaltError, TransientError
from consumer.domain.offsets import TopicPartition
from tests.builders.outside import Scene
from tests.builders.outside import scene as make_scene
from tests.builders.sealed import DAY, STREAM, TOPIC

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a worker listens on; here it is asked


@dataclass(slots=True)
class Waits:
    """A clock that moves while one sleeps; each sleep may do something."""

    then: list[Callable[[], object]] = field(default_factory=list)
    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 4, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        if self.then:
            self.then.pop(0)()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with make_scene(tmp_path) as made:
        made.fill(10)
        yield made


def publish(scene: Scene) -> None:
    scene.bucket.seal({DAY: [0, 1]}, cutoff=DAY, through=4)
    scene.bucket.publish()


def wait(scene: Scene, clock: Waits, said: dict[Place, str] | None = None, minutes: float = 120) -> dict[str, int]:
    waiting = Waiting(DAY, [scene.outside], lambda: said, clock, clock.sleep)
    return waiting.until_published(timedelta(minutes=minutes))


def test_a_published_day_is_not_waited_for(scene: Scene) -> None:
    publish(scene)
    clock = Waits()
    assert wait(scene, clock) == {STREAM: 1}
    assert clock.slept == []


def test_it_ends_once_the_day_is_published(scene: Scene) -> None:
    clock = Waits([bool, bool, lambda: publish(scene)])
    assert wait(scene, clock) == {STREAM: 1}
    assert clock.slept == [LOOK_SECONDS] * 3


def test_it_gives_up_at_the_timeout(scene: Scene) -> None:
    clock = Waits()
    with pytest.raises(GaveUpError, match=f"{DAY} is not published for {STREAM} after 0:00:12"):
        wait(scene, clock, minutes=0.2)
    assert clock.slept == [5, 5, 2]


@pytest.mark.parametrize(("day", "minutes"), [(date(9999, 12, 31), 1e6), (date(2026, 11, 21), 1199)])
def test_a_day_that_ends_after_the_timeout_is_not_waited_for(scene: Scene, day: date, minutes: float) -> None:
    clock = Waits()
    waiting = Waiting(day, [scene.outside], lambda: None, clock, clock.sleep)
    with pytest.raises(GaveUpError, match=f"{day} ends after the timeout of .*: use a longer --timeout"):
        waiting.until_published(timedelta(minutes=minutes))
    assert clock.slept == []
    scene.bucket.seal({}, cutoff=DAY, through=4, topic_id="another")
    with pytest.raises(HaltError, match="topic_recreated"):
        waiting.until_published(timedelta(minutes=minutes))


def test_a_day_that_ends_before_the_timeout_is_waited_for(scene: Scene) -> None:
    clock = Waits()
    waiting = Waiting(date(2026, 11, 21), [scene.outside], lambda: None, clock, clock.sleep)
    with pytest.raises(GaveUpError, match="2026-11-21 is not published for clicks after 20:00:00"):
        waiting.until_published(timedelta(hours=20))
    assert sum(clock.slept) == 20 * 3600


def test_a_halt_ends_it(scene: Scene) -> None:
    scene.bucket.seal({}, cutoff=DAY, through=4, topic_id="another")
    with pytest.raises(HaltError, match="topic_recreated"):
        wait(scene, Waits())


def test_a_halt_that_comes_while_it_waits_ends_it(scene: Scene) -> None:
    clock = Waits([bool, lambda: scene.cluster.delete_topic(TOPIC)])
    with pytest.raises(HaltError, match="missing_topic"):
        wait(scene, clock)
    assert len(clock.slept) == 2


def test_a_halted_stream_that_has_published_the_day_is_done(scene: Scene) -> None:
    publish(scene)
    scene.cluster.delete_topic(TOPIC)
    assert wait(scene, Waits()) == {STREAM: 1}


def test_what_the_worker_says_of_itself_counts(scene: Scene) -> None:
    with pytest.raises(HaltError, match=r"quarantine_ratio.* clicks 0 is halted"):
        wait(scene, Waits(), {(STREAM, 0): "quarantine_ratio"})
    clock = Waits([lambda: publish(scene)])
    assert wait(scene, clock, {("other", None): "missing_topic"}) == {STREAM: 1}


def test_a_hole_is_no_halt_while_a_worker_works_on(scene: Scene) -> None:
    scene.bucket.seal({}, cutoff=DAY, through=4, resume=1, waiting=1, caught_up=False)
    scene.cluster.existing(TopicPartition(TOPIC, 0)).delete_below(3)
    with pytest.raises(HaltError, match="retention_hole"):
        wait(scene, Waits())
    with pytest.raises(GaveUpError):
        wait(scene, Waits(), {}, minutes=1)
    with pytest.raises(HaltError, match="retention_hole"):
        wait(scene, Waits(), {(STREAM, 0): "retention_hole"})


def test_an_outage_is_waited_out_and_named_in_the_end(scene: Scene) -> None:
    calls = iter(range(100))

    def fails(call: Callable[[], object]) -> object:
        if next(calls) < 50:
            raise TransientError("the store is down")
        return call()

    scene.outside.ask = fails  # type: ignore[assignment]  # the shape of Ask, without its type variable
    with pytest.raises(GaveUpError, match="the store is down"):
        wait(scene, Waits(), minutes=1)
    clock = Waits([lambda: publish(scene)])
    assert wait(scene, clock) == {STREAM: 1}


class Page(BaseHTTPRequestHandler):
    answer = b""

    def do_GET(self) -> None:
        assert (self.path, self.headers["Accept"]) == ("/status", "application/json")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.mark.parametrize(
    ("answer", "halted"),
    [
        ({"partitions": [], "halted": []}, {}),
        (
            {
                "halted": [
                    {"stream": "a", "partition": 3, "reason": "x"},
                    {"stream": "b", "partition": None, "reason": "y"},
                ]
            },
            {("a", 3): "x", ("b", None): "y"},
        ),
        ([], None),
        ({"halted": [{"stream": 1}]}, None),
    ],
)
def test_the_workers_page_is_read(answer: object, halted: object) -> None:
    Page.answer = json.dumps(answer).encode()
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert worker_halts((EVERYWHERE, server.server_port)) == halted
        thread.join()


def test_no_worker_no_halts() -> None:
    assert worker_halts(None) is None
    assert worker_halts((EVERYWHERE, 0)) is None
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        port = server.server_port
    assert worker_halts(("127.0.0.1", port)) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["--watch"], ["--watch", ""]),
        (["--watch", "--json"], ["--watch", "", "--json"]),
        (["--watch", "3", "--json"], ["--watch", "3", "--json"]),
        (["--watch=3"], ["--watch=3"]),
        (["--json"], ["--json"]),
    ],
)
def test_an_option_may_be_bare(written: list[str], meant: list[str]) -> None:
    assert _with_empty_values(written, {"--watch"}) == meant
