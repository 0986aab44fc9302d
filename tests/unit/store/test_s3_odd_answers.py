"""A store that says 200 and little else, or the same page for ever: what each call makes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store.port import Absent, BytesBody, Match
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import MIB, S3Options

ETAG = {"ETag": '"e"'}


@dataclass
class Says:
    """Answers by a function of method and query: status, headers, body."""

    answer: Callable[[str, dict[str, list[str]]], tuple[int, dict[str, str], bytes]]
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Says, S3Store]]:
    """One store for all tests: to make its clients takes a second."""
    said = Says(lambda *_: (200, {}, b""))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said.asked.append(self.command)
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            status, headers, body = said.answer(self.command, query)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815 - the names of the library

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    options = S3Options(
        bucket="b",
        region="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        access_key_id="a",
        secret_access_key="s",  # noqa: S106 - of no store
        addressing_style="path",
        multipart_threshold=6 * MIB,
        part_size=5 * MIB,
    )
    yield said, S3Store(options)
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def says(served: tuple[Says, S3Store], monkeypatch: pytest.MonkeyPatch) -> tuple[Says, S3Store]:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)  # boto's pauses before it repeats a read
    served[0].asked.clear()
    return served


def always(status: int, headers: dict[str, str], body: bytes = b"") -> Callable[..., tuple[int, dict[str, str], bytes]]:
    return lambda *_: (status, headers, body)


NOTHING = always(200, {})
PAGE = always(200, {"Content-Type": "text/html"}, b"<html>log in to the network</html>")


@pytest.mark.parametrize("answer", [NOTHING, PAGE, always(200, {"ETag": ""}, b"{}")], ids=["empty", "html", "no etag"])
def test_a_success_that_says_nothing_is_an_outage(says: tuple[Says, S3Store], answer: Any) -> None:
    said, store = says
    said.answer = answer
    for read in (store.get, store.head):
        with pytest.raises(TransientError, match="has no ETag"):
            read("key")
    for listed in (lambda: list(store.list("")), store.now):
        with pytest.raises(TransientError, match=r"has no IsTruncated|Unable to parse|500"):
            listed()
    for condition in (Absent(), Match('"x"')):
        for size in (10, 2 * MIB):
            with pytest.raises(UnknownOutcomeError, match="may have taken effect"):
                store.put("key", BytesBody(b"x" * size), condition=condition)
    with pytest.raises(TransientError, match=r"UploadId|Unable to parse|500"):
        store.put_in_parts("key", BytesBody(b"x" * 7 * MIB), condition=Absent())


def test_an_object_of_unknown_length_is_not_read(says: tuple[Says, S3Store]) -> None:
    said, store = says
    said.answer = always(200, {**ETAG, "Content-Length": "", "Connection": "close"}, b"x" * 100)
    with pytest.raises(TransientError, match="has no ContentLength"):
        store.get("key")


def test_an_object_that_ends_early_is_an_outage(says: tuple[Says, S3Store]) -> None:
    said, store = says
    said.answer = always(200, {**ETAG, "Content-Length": "100", "Connection": "close"}, b"x" * 50)
    with pytest.raises(TransientError):
        store.get("key")
    opened = store.open("key")
    assert opened is not None
    with opened, pytest.raises(TransientError):
        opened.read()


@pytest.mark.parametrize(
    ("status", "code", "said_of_it"),
    [
        (301, "PermanentRedirect", r"redirected to http://elsewhere: 301 .*Set destination\.endpoint_url"),
        (302, "", r"redirected to http://elsewhere: 302"),
        (307, "TemporaryRedirect", r"redirected to http://elsewhere: 307"),
        (308, "", r"redirected to http://elsewhere: 308"),
        (503, "SlowDown", "SlowDown"),
        (403, "RequestTimeTooSkewed", "Correct this machine's clock"),
        (200, "", "has no ETag"),
        (204, "", "has no ETag"),
        (206, "", "has no ETag"),
        (418, "Teapot", "418"),
    ],
)
def test_other_answers_are_outages_that_say_which(
    says: tuple[Says, S3Store], status: int, code: str, said_of_it: str
) -> None:
    said, store = says
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so</Message></Error>".encode() if code else b""
    said.answer = always(status, {"Location": "http://user:secret@elsewhere/?signature=secret"}, body)
    with pytest.raises(TransientError, match=said_of_it) as error:
        store.put("key", BytesBody(b"x"), condition=Absent())
    assert "secret" not in str(error.value)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        with pytest.raises(TransientError, match=said_of_it):
            list(store.list(""))
    assert len(said.asked) < 12, "boto's own repetitions are few"


def listing(keys: list[str], token: str = "", *, truncated: bool = False) -> tuple[int, dict[str, str], bytes]:
    items = "".join(f"<Contents><Key>{key}</Key><Size>1</Size><ETag>e</ETag></Contents>" for key in keys)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    text = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}{items}"
    return 200, {}, f"<?xml version='1.0'?><ListBucketResult>{text}</ListBucketResult>".encode()


def keys_of(store: S3Store, after: str = "") -> list[str]:
    return [found.key for found in islice(store.list("", after=after), 1000)]


def test_the_same_page_over_and_over_is_noticed(says: tuple[Says, S3Store]) -> None:
    said, store = says
    said.answer = lambda *_: listing(["a", "b"], "again", truncated=True)
    with pytest.raises(HaltError, match="a is listed after b: the store does not list keys in order") as halt:
        keys_of(store)
    assert halt.value.reason is HaltReason.UNSAFE_STORE
    said.answer = lambda *_: listing([], "again", truncated=True)
    with pytest.raises(TransientError, match="the same page over and over"):
        keys_of(store)
    said.answer = lambda *_: listing(["a"], truncated=True)
    with pytest.raises(TransientError, match="has no NextContinuationToken"):
        keys_of(store)


def test_keys_in_another_order_are_not_left_out(says: tuple[Says, S3Store]) -> None:
    said, store = says
    said.answer = lambda *_: listing(["a", "c", "b"])
    with pytest.raises(HaltError, match="b is listed after c"):
        keys_of(store)
    said.answer = lambda *_: listing(["a", "b", "c", "d"])
    assert keys_of(store, after="b") == ["c", "d"], "it may ignore where to begin"


def test_pages_without_keys_are_passed(says: tuple[Says, S3Store]) -> None:
    said, store = says
    pages = {"": listing([], "1", truncated=True), "1": listing(["a"], "2", truncated=True), "2": listing([])}
    said.answer = lambda _, query: pages[query.get("continuation-token", [""])[0]]
    assert keys_of(store) == ["a"]


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Nov 2026 00:00:00 GMT", "Thu, 26 Nov 99999 00:00:00 GMT"])
def test_a_date_that_is_none_is_an_outage(
    says: tuple[Says, S3Store], date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, store = says
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: date)
    said.answer = lambda *_: listing([])
    with pytest.raises(TransientError, match="no usable Date"):
        store.now()
