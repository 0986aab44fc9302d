"""The HTTP server over a board: what each page answers, and that nothing a client does harms the others."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from waitress.buffers import TempfileBasedBuffer

from consumer.commands.main import run
from consumer.domain.errors import UsageError
from consumer.domain.offsets import TopicPartition
from consumer.observe import http
from consumer.observe.cached_page import FRESH_SECONDS, Response
from consumer.observe.http import BODY_BYTES, HEADER_BYTES, HttpServer
from consumer.observe.metrics import Metrics, declare
from consumer.observe.site import POLL_LIMIT_SECONDS, Site
from consumer.observe.snapshot import SnapshotHolder
from tests.builders.snapshots import HALT, snapshot

HOST = "127.0.0.1"


@dataclass
class Times:
    """A clock, and the moment of the consumer's last poll, that a test moves."""

    at: float = 1000.0
    polled: float = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at


@dataclass
class Served:
    board: SnapshotHolder
    times: Times
    metrics: Metrics
    port: int

    def ask(self, path: str, accept: str = "*/*", method: str = "GET") -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request(method, path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> tuple[int, Any]:
        answer, body = self.ask(path)
        return answer.status, json.loads(body)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    times, metrics = Times(), declare()
    board = SnapshotHolder(times.at)
    monkeypatch.setattr(http, "SWEEP_SECONDS", 0.0)  # at every turn
    server = HttpServer((HOST, 0), Site(board, metrics.registry, times, lambda: times.polled))
    server.start()
    yield Served(board, times, metrics, server.port)
    server.close()


def test_a_worker_is_alive_while_it_polls_and_turns(served: Served) -> None:
    served.times.at += POLL_LIMIT_SECONDS
    assert served.json("/livez") == (200, {"alive": True, "poll_seconds_ago": 60.0, "loop_seconds_ago": 60.0})


@pytest.mark.parametrize("hangs", ["consumer", "loop"])
def test_a_worker_that_hangs_is_not_alive(served: Served, hangs: str) -> None:
    served.times.at += POLL_LIMIT_SECONDS + 1
    if hangs == "consumer":
        served.board.beat_at = served.times.at
    else:
        served.times.polled = served.times.at
    assert served.json("/livez")[0] == 503


def test_a_starting_worker_is_alive_and_not_ready(served: Served) -> None:
    assert served.json("/livez")[0] == 200
    assert served.json("/readyz") == (503, {"ready": False, "why_not": ["starting"], "halted": []})
    assert served.json("/status") == (200, {"partitions": [], "halted": []})
    assert b"starting" in served.ask("/status", "text/html")[1]


def test_a_halted_stream_is_named_and_does_not_make_the_others_unready(served: Served) -> None:
    served.board.snapshot = snapshot()
    code, said = served.json("/readyz")
    assert code == 200
    assert said == {"ready": True, "why_not": [], "halted": [HALT.to_json()]}


def test_what_is_out_of_reach_makes_it_unready(served: Served) -> None:
    served.board.snapshot = replace(snapshot(), unready=("broker: no answer for 50 s",))
    code, said = served.json("/readyz")
    assert (code, said["why_not"]) == (503, ["broker: no answer for 50 s"])


def test_a_hanging_loop_is_not_ready_whatever_it_said_last(served: Served) -> None:
    served.board.snapshot = snapshot()
    served.times.at += POLL_LIMIT_SECONDS + 1
    assert served.json("/readyz")[0] == 503


def test_metrics_come_in_the_form_that_is_asked_for(served: Served) -> None:
    served.metrics.expect("events", TopicPartition("adapty.events", 0))
    answer, body = served.ask("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert answer.getheader("Content-Type", "").startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(body.decode())}  # type: ignore[no-untyped-call]
    assert {"adapty_sink_commits", "adapty_sink_build_info"} <= names
    answer, body = served.ask("/metrics", "text/plain")
    assert answer.getheader("Content-Type", "").startswith("text/plain; version=0.0.4")
    assert b"adapty_sink_commits_total{" in body


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;version=1.0.0"])
def test_metrics_are_rendered_once_a_second(served: Served, accept: str) -> None:
    served.ask("/metrics", accept)
    served.metrics.expect("events", TopicPartition("adapty.events", 0))
    assert b"adapty.events" not in served.ask("/metrics", accept)[1]
    served.times.at += FRESH_SECONDS
    assert b"adapty.events" in served.ask("/metrics", accept)[1]


def test_a_version_that_clients_make_up_is_no_page_of_its_own(served: Served) -> None:
    for number in range(20):
        served.ask("/metrics", f"application/openmetrics-text;version=1.0.{number}")
        served.metrics.expect("events", TopicPartition("adapty.events", number))
    assert b"adapty.events" not in served.ask("/metrics", "application/openmetrics-text;version=1.0.99")[1]


def test_a_large_page_is_not_copied_to_the_disk_for_slow_readers(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod's /tmp has 64 MiB, and more than that gets it evicted."""
    size, files = 4_000_000, list[BytesIO]()
    monkeypatch.setattr(Site, "metrics", lambda *_: Response(HTTPStatus.OK, "text/plain", b"x" * size))

    def newfile(_: object) -> BytesIO:
        files.append(BytesIO())
        return files[-1]

    monkeypatch.setattr(TempfileBasedBuffer, "newfile", newfile)
    with socket.create_connection((HOST, served.port), timeout=5) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert served.json("/livez")[0] == 200  # the answer to the first one has begun
        said = b"".join(iter(lambda: slow.recv(65_536), b""))
    assert len(said.partition(b"\r\n\r\n")[2]) == size
    assert not files


def test_status_by_what_the_client_takes(served: Served) -> None:
    served.board.snapshot = snapshot()
    answer, body = served.ask("/status", "text/html")
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert answer.getheader("Vary") == "Accept"
    policy = answer.getheader("Content-Security-Policy", "")
    assert re.match(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}';", policy)
    assert body.endswith(b"</html>\n")
    assert served.json("/status")[1] == snapshot().status.to_json()


def test_the_root_leads_to_the_status(served: Served) -> None:
    answer, _ = served.ask("/")
    assert (answer.status, answer.getheader("Location")) == (302, "/status")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/nothing", 404), ("GET", "/livez/", 404), ("POST", "/livez", 501), ("HEAD", "/livez", 200)],
)
def test_other_requests(served: Served, method: str, path: str, code: int) -> None:
    answer, body = served.ask(path, method=method)
    assert answer.status == code
    assert not (method == "HEAD" and body)


def test_a_query_is_no_part_of_the_path(served: Served) -> None:
    assert served.json("/livez?x=1")[0] == 200


def test_one_connection_serves_several_requests(served: Served) -> None:
    connection = HTTPConnection(HOST, served.port, timeout=5)
    for _ in range(3):
        connection.request("GET", "/livez")
        assert connection.getresponse().read().startswith(b"{")
    connection.close()


def test_a_client_that_says_nothing_holds_up_nobody(served: Served) -> None:
    with socket.create_connection((HOST, served.port)) as silent:
        silent.sendall(b"GET /livez HTTP/1.1\r\nHos")
        assert served.json("/livez")[0] == 200


def test_a_client_that_goes_away_harms_nobody(served: Served) -> None:
    for _ in range(5):
        with socket.create_connection((HOST, served.port)) as rude:
            rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert served.json("/livez")[0] == 200


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=abc", "text/plain;version=", ";;,=", "\xff"])
def test_a_form_that_is_none_gets_the_plain_one(served: Served, accept: str) -> None:
    answer, body = served.ask("/metrics", accept)
    assert answer.status == 200
    assert b"adapty_sink_build_info" in body


def test_a_body_is_no_request(served: Served) -> None:
    inner = b"GET /nothing HTTP/1.1\r\n\r\n"
    with socket.create_connection((HOST, served.port), timeout=5) as rude:
        rude.sendall(b"GET /livez HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner))
        said = b"".join(iter(lambda: rude.recv(65_536), b""))
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"X: " + b"x" * HEADER_BYTES, b"431"),
        (b"Content-Length: %d" % (BODY_BYTES + 1), b"413"),
    ],
)
def test_requests_are_bounded(served: Served, head: bytes, status: bytes) -> None:
    with socket.create_connection((HOST, served.port), timeout=5) as rude:
        rude.sendall(b"GET /livez HTTP/1.1\r\n" + head + b"\r\n\r\n")
        assert rude.recv(65_536).split(b" ")[1] == status


def test_strangers_hold_neither_threads_nor_memory_nor_the_door_for_long(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More connections than are let in, each half a request, with a byte now and then."""
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(http, "GLANCE_SECONDS", 0.05)
    before = threading.active_count()
    with ExitStack() as stack:
        rude = [
            stack.enter_context(socket.create_connection((HOST, served.port), timeout=5))
            for _ in range(http.CONNECTIONS + 20)
        ]
        for one in rude:
            one.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        assert threading.active_count() == before
        assert served.json("/livez")[0] == 200, "they are cut off, and the next one is let in"


def test_clients_that_ask_a_lot_and_never_read_hold_no_thread(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many answers as the server would keep for them, and more, before it has a thread wait for room."""
    size = 1_000_000
    monkeypatch.setattr(Site, "metrics", lambda *_: Response(HTTPStatus.OK, "text/plain", bytes(size)))
    asked = 60
    with ExitStack() as stack:
        for _ in range(http.THREADS):
            rude = stack.enter_context(socket.create_connection((HOST, served.port), timeout=5))
            rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" * asked)
        for _ in range(asked):  # their turns come in between
            assert served.json("/livez")[0] == 200


def test_of_requests_sent_at_once_the_first_is_answered(served: Served) -> None:
    with socket.create_connection((HOST, served.port), timeout=5) as rude:
        rude.sendall(b"GET /livez HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n" * 20)
        said = b""
        with suppress(ConnectionResetError):  # what was sent beyond the first is left unread
            said = rude.recv(65_536)
            while more := rude.recv(65_536):
                said += more
    assert said.startswith(b"HTTP/1.1 200")
    assert said.count(b"HTTP/1.1 ") == 1


@dataclass(eq=False)
class Channel:
    """What the server looks at of a connection."""

    total_outbufs_len: int
    request: object = None
    requests: tuple[object, ...] = ()
    last_activity: float = 1e12
    will_close: bool = False


def test_an_answer_that_is_not_taken_whole_after_a_while_is_cut_off() -> None:
    """Who reads a byte now and then is never idle, and would keep the door shut for others."""
    times = Times()
    server = HttpServer((HOST, 0), Site(SnapshotHolder(times.at), declare().registry, times, times.monotonic))
    slow, quick, half = Channel(900_000), Channel(900_000), Channel(0, request=object())
    channels: Any = {1: slow, 2: quick, 3: half}
    server._server.active_channels = channels
    server._server.maintenance(0)
    assert not any(one.will_close for one in (slow, quick, half))
    quick.total_outbufs_len = 0
    server._server.maintenance(int(http.IDLE_SECONDS))
    assert [one.will_close for one in (slow, quick, half)] == [True, False, True]
    channels.clear()
    server.close()


def test_a_taken_address_is_a_mistake_of_the_settings(served: Served) -> None:
    site = Site(served.board, served.metrics.registry, served.times, lambda: 0.0)
    with pytest.raises(UsageError, match=rf"^http\.listen: cannot listen on {HOST}:{served.port} \(.*in use\)"):
        HttpServer((HOST, served.port), site)


def test_run_ends_with_2_where_its_address_is_taken(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "sink.toml"
    settings.write_text(
        f'''kafka.bootstrap_servers = "127.0.0.1:1"
        destination.url = "file://{tmp_path}/out/days"
        spool.directory = "spool"
        http.listen = "{HOST}:{served.port}"
        streams.events.topic = "events"'''
    )
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)  # the logs of later tests stay theirs
    assert run(["--config", str(settings), "run"]) == 2
    assert f"http.listen: cannot listen on {HOST}:{served.port}" in capsys.readouterr().err


def test_it_listens_on_ipv6_where_asked() -> None:
    times = Times()
    try:
        server = HttpServer(("::1", 0), Site(SnapshotHolder(times.at), declare().registry, times, times.monotonic))
    except UsageError:
        assert not socket.has_ipv6 or not _ipv6_loopback()
        return
    server.start()
    connection = HTTPConnection("::1", server.port, timeout=5)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()
    server.close()


def _ipv6_loopback() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


def test_a_server_that_never_began_can_be_closed() -> None:
    times = Times()
    server = HttpServer((HOST, 0), Site(SnapshotHolder(times.at), declare().registry, times, times.monotonic))
    server.close()
    server = HttpServer((HOST, server.port), Site(SnapshotHolder(times.at), declare().registry, times, times.monotonic))
    server.close()
