"""The registry client against a server on loopback: what is kept, what is asked again, what is an outage."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode import registry_http
from consumer.decode.confluent_registry import ConfluentRegistry
from consumer.decode.references import complete
from consumer.decode.registry import INCOMPLETE, TOO_LARGE, UNKNOWN, MemoryRegistry, RegistryAnswer
from consumer.decode.registry_http import MOST_BYTES
from consumer.domain.errors import TransientError
from consumer.domain.offsets import TopicPartition
from consumer.streams.avro_schema import SchemaError, parse
from consumer.streams.avro_types import AvroRecord, Reference
from tests.builders.mutations import FEW, mangled

PLAIN = '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'
MONEY = '{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"unit","type":"shop.Unit"}]}'
UNIT = '{"type":"enum","name":"Unit","namespace":"shop","symbols":["USD","EUR"]}'
ORDER = (
    '{"type":"record","name":"Order","namespace":"shop","fields":'
    '[{"name":"price","type":"shop.Money"},{"name":"tax","type":["null","Money"]},{"name":"unit","type":"Unit"}]}'
)


class Server(ThreadingHTTPServer):
    """Answers by path; every request is noted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.encodings: set[str] = set()
        self.headers: dict[str, str] = {}
        self.delay = self.dribble = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        status, body = self.server.answers.get(path, (404, {"error_code": 40403, "message": "Schema not found"}))
        self.server.encodings.add(self.headers["Accept-Encoding"])
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        time.sleep(self.server.delay)
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):  # who asked may have had enough
            for start in range(0, len(data), 1 if self.server.dribble else max(len(data), 1)):
                time.sleep(self.server.dribble)
                self.wfile.write(data[start:] if not self.server.dribble else data[start : start + 1])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """The most bytes that Python held at a time."""
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True, scope="module")
def _one_context() -> Iterator[None]:
    """Each client makes a TLS context of its own, which reads the machine's authorities. Nobody here speaks TLS."""
    made = ssl.create_default_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lambda *_, **__: made)
        yield


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def registry(server: Server) -> Iterator[ConfluentRegistry]:
    with closing(ConfluentRegistry(server.url, {"max.retries": 0})) as found:
        yield found


def test_a_schema_is_given_as_it_stands(server: Server, registry: ConfluentRegistry) -> None:
    server.answers["/schemas/ids/7"] = (200, {"schema": PLAIN})
    assert registry.ask(7) == RegistryAnswer(PLAIN)
    server.answers["/schemas/ids/7"] = (200, {"schema": UNIT})
    assert registry.ask(7) == RegistryAnswer(UNIT), "nothing is kept here"


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_only_a_registry_says_that_it_knows_no_such_schema(
    server: Server, registry: ConfluentRegistry, code: int
) -> None:
    server.answers["/schemas/ids/8"] = (404, {"error_code": code, "message": "not found"})
    assert registry.ask(8) == UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b"<html>not found</html>",
        {"error_code": 404, "message": "HTTP 404 Not Found"},
        {},
        [],
        b"",
        {"error_code": "40403"},
        {"error_code": [40403]},
        {"error_code": {"code": 40403}},
    ],
)
def test_any_other_404_is_an_outage(server: Server, registry: ConfluentRegistry, body: Any) -> None:
    """An ingress without a backend, or a wrong path in the URL."""
    server.answers["/schemas/ids/8"] = (404, body)
    with pytest.raises(TransientError, match="404"):
        registry.ask(8)


@pytest.mark.parametrize("status", [401, 403, 422, 429, 500, 502, 503])
def test_anything_but_an_answer_is_an_outage(server: Server, registry: ConfluentRegistry, status: int) -> None:
    server.answers["/schemas/ids/9"] = (status, {"error_code": status * 100, "message": "no"})
    with pytest.raises(TransientError, match=str(status)):
        registry.ask(9)
    server.answers["/schemas/ids/9"] = (200, {"schema": PLAIN})
    assert registry.ask(9) == RegistryAnswer(PLAIN)


@pytest.mark.parametrize("body", [b"<html>", b"[]", {"status": "maintenance"}, b""])
def test_an_answer_that_is_none_is_an_outage(server: Server, registry: ConfluentRegistry, body: bytes) -> None:
    server.answers["/schemas/ids/9"] = (200, body)
    with pytest.raises(TransientError):
        registry.ask(9)


@pytest.mark.parametrize("said", ["cGFzc3dvcmQ=", "reader:pass:word", "cmVhZGVyOnBhc3M6d29yZA=="])
def test_credentials_that_come_back_in_an_answer_are_masked(server: Server, said: str) -> None:
    """Some gateways repeat the header that they refuse."""
    server.answers["/schemas/ids/1"] = (401, {"error_code": 401, "message": f"not you: Basic {said} " + "x" * 5_000})
    options = {"max.retries": 0, "basic.auth.user.info": "reader:pass:word"}
    with closing(ConfluentRegistry(server.url, options)) as registry, pytest.raises(TransientError) as caught:
        registry.ask(1)
    assert "not you: Basic" in str(caught.value)
    assert ("reader:pass:word" in said or "cmVh" in said) is (said not in str(caught.value))
    assert "pass:word" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert caught.value.__cause__ is None, "a traceback would tell it all"


def test_references_without_end_end(
    server: Server, registry: ConfluentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.decode.confluent_registry.MOST_REFERENCES", 5)
    for number in range(10):
        more = [{"name": f"N{number}", "subject": f"s{number}", "version": 1}]
        place = "/schemas/ids/1" if number == 0 else f"/subjects/s{number - 1}/versions/1"
        text = f'{{"type":"enum","name":"N{number}","symbols":["a"]}}'
        server.answers[place] = (
            200,
            {"subject": "s", "version": 1, "id": number, "schema": text, "references": more},
        )
    assert registry.ask(1)
    assert len(server.asked) == 6


def test_a_registry_that_is_not_there_is_an_outage(server: Server) -> None:
    url = server.url
    server.server_close()
    with closing(ConfluentRegistry(url, {"max.retries": 0, "timeout": 2})) as registry, pytest.raises(TransientError):
        registry.ask(1)


def test_options_are_those_of_the_client() -> None:
    with pytest.raises(ValueError, match="nope"):
        ConfluentRegistry("http://127.0.0.1:1", {"nope": 1})


def test_references_are_written_into_the_schema(server: Server, registry: ConfluentRegistry) -> None:
    money = {"name": "shop.Money", "subject": "money", "version": 2}
    unit = {"name": "shop.Unit", "subject": "unit", "version": 1}
    server.answers["/schemas/ids/3"] = (200, {"schema": ORDER, "references": [money]})
    server.answers["/subjects/money/versions/2"] = (
        200,
        {"subject": "money", "id": 1, "version": 2, "schema": MONEY, "references": [unit]},
    )
    server.answers["/subjects/unit/versions/1"] = (200, {"subject": "unit", "id": 2, "version": 1, "schema": UNIT})
    text = registry.ask(3).text
    assert text is not None
    found = parse(text)
    assert set(found.names) == {"shop.Order", "shop.Money", "shop.Unit"}
    assert isinstance(found.root.fields[0].type, AvroRecord)


def test_a_reference_that_is_gone_makes_the_schema_unusable_in_the_end(
    server: Server, registry: ConfluentRegistry
) -> None:
    gone = {"name": "shop.Money", "subject": "money", "version": 2}
    server.answers["/schemas/ids/3"] = (200, {"schema": ORDER, "references": [gone]})
    assert registry.ask(3) == INCOMPLETE
    server.answers["/subjects/money/versions/2"] = (404, b"<html>")
    with pytest.raises(TransientError, match="version 2 of money"):
        registry.ask(3)


@pytest.mark.parametrize(
    "body",
    [
        {"schema": 5},
        {"schema": None},
        {"schema": ORDER, "references": 5},
        {"schema": ORDER, "references": [5]},
        {"schema": ORDER, "references": [{"subject": "money"}]},
        {"schema": ORDER, "references": [{"subject": "money", "version": "x"}]},
    ],
)
def test_a_schema_that_is_none_is_unusable_in_the_end(server: Server, registry: ConfluentRegistry, body: Any) -> None:
    server.answers["/schemas/ids/3"] = (200, body)
    assert registry.ask(3) == INCOMPLETE


# Answers without bound


def test_an_answer_that_is_too_long_is_not_taken_whole(server: Server, registry: ConfluentRegistry) -> None:
    server.answers["/schemas/ids/3"] = (200, {"schema": PLAIN + " " * MOST_BYTES})
    assert registry.ask(3) == TOO_LARGE


def test_a_page_is_an_outage_however_long(server: Server, registry: ConfluentRegistry) -> None:
    """Some server answers any path with a page of its own."""
    server.answers["/schemas/ids/3"] = (200, b"<html>" + b" " * MOST_BYTES)
    with pytest.raises(TransientError, match="not JSON"):
        registry.ask(3)


def test_references_that_are_too_long_together_are_too_large(server: Server, registry: ConfluentRegistry) -> None:
    half = {"subject": "s", "version": 1, "id": 1, "schema": " " * (MOST_BYTES // 2)}
    more = [{"name": f"N{number}", "subject": f"s{number}", "version": 1} for number in range(3)]
    server.answers["/schemas/ids/3"] = (200, {"schema": ORDER, "references": more})
    server.answers.update({f"/subjects/s{number}/versions/1": (200, half) for number in range(3)})
    assert registry.ask(3) == TOO_LARGE


GOOD = gzip.compress(json.dumps({"schema": PLAIN}).encode(), mtime=0)


def test_a_packed_answer_is_unpacked_though_none_was_asked_for(server: Server, registry: ConfluentRegistry) -> None:
    server.answers["/schemas/ids/3"] = (200, GOOD)
    server.headers = {"Content-Encoding": "GZIP"}
    assert registry.ask(3) == RegistryAnswer(PLAIN)
    assert server.encodings == {"identity"}


def test_a_packed_answer_is_unpacked_within_the_bound(server: Server, registry: ConfluentRegistry) -> None:
    """A bomb: it is the unpacked bytes that count, and no more of them are made."""
    server.answers["/schemas/ids/3"] = (200, gzip.compress(bytes(64 * MOST_BYTES)))
    server.headers = {"Content-Encoding": "gzip"}
    with traced() as peak:
        assert registry.ask(3) == TOO_LARGE
    assert peak() < 8 * MOST_BYTES


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", b"{}"), ("gzip", GOOD[:-9]), ("gzip", b"\x1f\x8b" + b"\xff" * 20), ("br", GOOD), ("gzip, gzip", GOOD)],
)
def test_an_answer_that_cannot_be_unpacked_is_unusable_in_the_end(
    server: Server, registry: ConfluentRegistry, coding: str, body: bytes
) -> None:
    server.answers["/schemas/ids/3"] = (200, body)
    server.headers = {"Content-Encoding": coding}
    assert registry.ask(3) == INCOMPLETE


@pytest.mark.parametrize(("coding", "body"), [("identity", b"x" * (MOST_BYTES + 1)), ("gzip", b"x"), ("br", GOOD)])
def test_no_error_of_whatever_length_or_packing_speaks_of_a_schema(
    server: Server, registry: ConfluentRegistry, coding: str, body: bytes
) -> None:
    server.headers = {"Content-Encoding": coding}
    for status in (404, 500):
        server.answers["/schemas/ids/4"] = (status, body)
        with pytest.raises(TransientError, match=str(status)):
            registry.ask(4)


def test_a_question_has_an_end(server: Server, registry: ConfluentRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then holds each read of the client, and none for long."""
    monkeypatch.setattr(registry_http, "QUESTION_SECONDS", 0.3)
    server.answers["/schemas/ids/3"] = (200, {"schema": PLAIN})
    server.dribble = 0.05
    with pytest.raises(TransientError, match="time"):
        registry.ask(3)


def test_all_that_a_question_leads_to_has_one_end(
    server: Server, registry: ConfluentRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_http, "QUESTION_SECONDS", 0.3)
    server.delay = 0.1
    for number in range(20):
        more = [{"name": f"N{number}", "subject": f"s{number}", "version": 1}]
        place = "/schemas/ids/1" if number == 0 else f"/subjects/s{number - 1}/versions/1"
        server.answers[place] = (200, {"schema": UNIT, "references": more})
    with pytest.raises(TransientError):
        registry.ask(1)
    assert len(server.asked) < 6


def test_types_are_defined_where_they_are_first_named() -> None:
    text = complete(ORDER, [UNIT, MONEY])
    raw = orjson.loads(text)
    assert raw["fields"][0]["type"]["name"] == "shop.Money"
    assert raw["fields"][0]["type"]["fields"][0]["type"]["name"] == "shop.Unit"
    assert raw["fields"][1]["type"] == ["null", "shop.Money"]
    assert raw["fields"][2]["type"] == "shop.Unit"
    assert parse(text).root.name == "shop.Order"


def test_types_inside_the_types_of_others_are_found() -> None:
    inner = {"type": "array", "items": {"type": "fixed", "name": "Inner", "size": 2}}
    outer = {"type": "record", "name": "o.Outer", "fields": [{"name": "x", "type": inner}]}
    fields = [{"name": "a", "type": "o.Inner"}, {"name": "b", "type": {"type": "map", "values": "o.Outer"}}]
    main = {"type": "record", "name": "m.Main", "fields": fields}
    found = parse(complete(json.dumps(main), [json.dumps(outer)]))
    assert set(found.names) == {"m.Main", "o.Inner", "o.Outer"}


def test_a_type_within_itself_is_named_again() -> None:
    node = '{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}'
    main = '{"type":"record","name":"Main","fields":[{"name":"first","type":"Node"}]}'
    assert set(parse(complete(main, [node])).names) == {"Main", "Node"}


def test_joined_references_are_as_good_as_inline_types() -> None:
    place = {"type": "record", "name": "Place", "namespace": "com.my-shop.geo", "fields": []}
    bare = {"type": "record", "name": "Bare", "fields": []}
    dotted = {"type": "record", "name": ".Dotted", "namespace": "x", "fields": []}
    kinds = ["com.my-shop.geo.Place", ".Bare", "Dotted", "com.my-shop.geo.Place", ".Dotted"]
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
    main = {"type": "record", "name": "Event", "namespace": "com.my-shop.events", "fields": fields}
    text = complete(json.dumps(main), map(json.dumps, (place, bare, dotted)))
    assert set(parse(text).names) == {"com.my-shop.events.Event", "com.my-shop.geo.Place", "Bare", "Dotted"}


def test_a_null_namespace_is_the_one_around() -> None:
    inner = {"type": "enum", "name": "Inner", "namespace": None, "symbols": ["A"]}
    outer = {"type": "record", "name": "o.Outer", "fields": [{"name": "x", "type": inner}]}
    main = {"type": "record", "name": "Main", "fields": [{"name": "a", "type": "o.Inner"}]}
    assert set(parse(complete(json.dumps(main), [json.dumps(outer)])).names) == {"Main", "o.Inner"}


def test_a_type_without_a_namespace_is_told_from_its_namesake() -> None:
    bare = {"type": "enum", "name": "Kind", "symbols": ["A"]}
    spaced = {"type": "enum", "name": "n.Kind", "symbols": ["B"]}
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate([".Kind", "n.Kind", ".Kind"])]
    main = {"type": "record", "name": "n.Main", "fields": fields}
    found = parse(complete(json.dumps(main), map(json.dumps, (bare, spaced))))
    assert found.root.fields[2].type == Reference("Kind")


def test_a_union_of_event_types_by_reference() -> None:
    parts = [{"type": "record", "name": f"n.{name}", "fields": []} for name in ("Started", "Ended")]
    found = parse(complete('["n.Started","n.Ended"]', map(json.dumps, parts)))
    assert found.union is not None
    assert set(found.names) == {"n.Started", "n.Ended"}


def test_text_that_is_no_json_stays_as_it_is() -> None:
    assert complete("message M {}", [UNIT]) == "message M {}"


def test_the_registry_in_memory() -> None:
    registry = MemoryRegistry({1: PLAIN})
    assert registry.schemas(TopicPartition("t", 0), {1: 5, 2: 1}) == {1: PLAIN, 2: None}
    registry.down = True
    with pytest.raises(TransientError):
        registry.ask(1)


ANSWERS = [
    orjson.dumps({"schema": PLAIN, "schemaType": "AVRO", "id": 7, "version": 1, "subject": "s"}),
    orjson.dumps({"schema": ORDER, "references": [{"name": "shop.Money", "subject": "money", "version": 1}]}),
    orjson.dumps({"schema": MONEY, "references": [{"name": "shop.Unit", "subject": "unit", "version": 1}]}),
    orjson.dumps({"error_code": 40403, "message": "Schema not found"}),
]


@given(
    st.lists(st.tuples(st.sampled_from([200, 200, 200, 404, 500]), mangled(ANSWERS)), min_size=1, max_size=3),
    st.data(),
)
@FEW
def test_fuzz_answers(
    server: Server, registry: ConfluentRegistry, said: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Whatever comes, it is an answer or an outage; and an answer is a schema, or is not."""
    paths = ("/schemas/ids/7", "/subjects/money/versions/1", "/subjects/unit/versions/1")
    server.answers = dict(zip(data.draw(st.permutations(paths)), said, strict=False))
    try:
        found = registry.ask(7)
    except TransientError:
        return
    assert found.text is None or len(found.text) <= MOST_BYTES
    if found.text is not None:
        with suppress(SchemaError):
            parse(found.text)


@pytest.mark.parametrize("body", [b"[" * 500_000, b'{"schema":' * 100_000])
def test_an_answer_that_is_nested_without_end_is_an_outage(
    server: Server, registry: ConfluentRegistry, body: bytes
) -> None:
    server.answers["/schemas/ids/9"] = (200, body)
    with pytest.raises(TransientError):
        registry.ask(9)
