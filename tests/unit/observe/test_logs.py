"""Log lines: their look, and what may never be in them."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from consumer.domain.batches import RawBatch
from consumer.domain.errors import HaltReason
from consumer.domain.offsets import Span, TopicPartition
from consumer.domain.redaction import MASK
from consumer.observe.log_stream import log_stream
from consumer.observe.logs import LONGEST_TEXT, LogFormat, LogLevel, masked_event, set_up_logs
from tests.builders.nested import nested

SECRET = "hunter2-very-secret"  # noqa: S105 - planted, to be looked for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    set_up_logs(LogFormat.JSON, LogLevel.INFO, stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_time_level_event_and_then_the_facts(out: io.StringIO) -> None:
    structlog.get_logger().info("seal_decided", stream="events", partition=3, rows=5, caught_up=True)
    (line,) = lines(out)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "seal_decided",
        "stream": "events",
        "partition": 3,
        "rows": 5,
        "caught_up": True,
    }


def test_lines_that_were_lost_are_counted_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full under the log for a while."""
    reading, writing = os.pipe()
    stream = log_stream(writing)
    set_up_logs(LogFormat.JSON, LogLevel.INFO, stream)
    log, write = structlog.get_logger(), os.write

    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    log.info("before")
    monkeypatch.setattr("consumer.observe.log_stream.os.write", full)
    for _ in range(3):
        log.info("lost")
    monkeypatch.setattr("consumer.observe.log_stream.os.write", write)
    log.info("after")
    log.info("later")
    os.close(writing)
    with os.fdopen(reading) as said:
        found = [json.loads(line) for line in said]
    assert [(line["event"], line.get("log_lines_lost")) for line in found] == [
        ("before", None),
        ("after", 3),
        ("later", None),
    ]


def test_the_time_is_utc(out: io.StringIO) -> None:
    before = datetime.now(UTC)
    structlog.get_logger().info("tick")
    assert before <= datetime.fromisoformat(lines(out)[0]["timestamp"]) <= datetime.now(UTC)


def test_bound_context_is_in_the_line(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(command="run"):
        structlog.get_logger().bind(stream="events").warning("slow")
    assert {"command": "run", "stream": "events", "level": "warning"}.items() <= lines(out)[0].items()


def test_levels_below_the_chosen_one_are_left_out() -> None:
    stream = io.StringIO()
    set_up_logs(LogFormat.JSON, LogLevel.WARNING, stream)
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize(
    ("form", "stream", "as_json"),
    [
        (LogFormat.AUTO, io.StringIO, True),
        (LogFormat.AUTO, Terminal, False),
        (LogFormat.JSON, Terminal, True),
        (LogFormat.CONSOLE, io.StringIO, False),
    ],
)
def test_auto_is_for_a_console_on_a_terminal_alone(form: LogFormat, stream: type[io.StringIO], as_json: bool) -> None:
    out = stream()
    set_up_logs(form, LogLevel.INFO, out)
    structlog.get_logger().info("seal_decided", stream="events")
    assert out.getvalue().startswith("{") is as_json
    assert "seal_decided" in out.getvalue()
    assert ("\x1b[" in out.getvalue()) is (not as_json and stream is Terminal)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "sasl.password",
        "secret_access_key",
        "bearer_token",
        "basic.auth.user.info",
        "sasl.jaas.config",
        "api_key",
        "value",
        "values",
        "key",
        "body",
        "payload",
        "record",
        "row",
        "Value",
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: v.encode(), lambda v: [v], lambda v: {"deep": [v]}])
def test_keys_that_may_hold_payloads_or_secrets_are_masked(out: io.StringIO, name: str, wrap: Any) -> None:
    structlog.get_logger().info("fact", **{name: wrap(SECRET)}, inner={name: wrap(SECRET)})
    assert SECRET not in out.getvalue()
    assert lines(out)[0][name] == MASK
    assert lines(out)[0]["inner"] == {name: MASK}


def test_counts_are_no_payload(out: io.StringIO) -> None:
    structlog.get_logger().info("judged", records=5, rows=3, key=None)
    assert {"records": 5, "rows": 3, "key": None}.items() <= lines(out)[0].items()


def test_a_number_under_a_secret_name_is_masked_too(out: io.StringIO) -> None:
    structlog.get_logger().info("fact", password=1234)
    assert lines(out)[0]["password"] == MASK


def test_users_in_urls_are_masked_wherever_they_stand(out: io.StringIO) -> None:
    structlog.get_logger().info("asked", url=f"https://me:{SECRET}@host/a", seen=[f"failed at s3://id:{SECRET}@b/x"])
    assert lines(out)[0]["url"] == f"https://{MASK}@host/a"
    assert SECRET not in out.getvalue()


def test_objects_that_hold_records_show_their_type_alone(out: io.StringIO) -> None:
    batch = RawBatch(TopicPartition("t", 0), Span(0, 1), [0], [0], [SECRET.encode()], [None])
    structlog.get_logger().info("read", batch=batch, raw=SECRET.encode(), where=TopicPartition("t", 0))
    (line,) = lines(out)
    assert SECRET not in out.getvalue()
    assert (line["batch"], line["raw"], line["where"]) == ("<RawBatch>", "<19 bytes>", "t:0")


def test_other_values_are_shown_as_text(out: io.StringIO) -> None:
    structlog.get_logger().info(
        "fact",
        day=date(2026, 11, 21),
        reason=HaltReason.RETENTION_HOLE,
        hidden=SecretStr(SECRET),
        nan=float("nan"),
        ratio=0.5,
        big=1 << 80,
        lone="\ud83d",
        long="x" * 10_000,
    )
    (line,) = lines(out)
    assert (line["day"], line["reason"], line["nan"], line["ratio"]) == ("2026-11-21", "retention_hole", "nan", 0.5)
    assert line["big"] == 1 << 80
    assert line["hidden"] == MASK
    assert len(line["long"]) == LONGEST_TEXT + 3
    out.getvalue().encode()


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_strangers_named_does_not_steer_a_terminal(form: LogFormat) -> None:
    out = Terminal()
    set_up_logs(form, LogLevel.INFO, out)
    structlog.get_logger().info("strange", where="\x1b]0;x\x07", what={"\x9b31m": "\u202eabc"})
    shown = out.getvalue()
    assert "x1b]0;x" in shown
    assert not {"\x07", "\x9b", "\u202e"} & set(shown)
    assert "\x1b]0" not in shown


def test_a_traceback_names_the_error_without_local_variables(out: io.StringIO) -> None:
    hidden_local = SECRET
    try:
        raise ValueError(f"https://u:{SECRET}@h is bad")  # noqa: TRY301 - the case itself
    except ValueError:
        structlog.get_logger().exception("failed", size=len(hidden_local))
    (line,) = lines(out)
    assert line["exception"].startswith("Traceback")
    assert "ValueError: https://" in line["exception"]
    assert SECRET not in out.getvalue()


def test_the_console_shows_tracebacks_without_local_variables() -> None:
    out = Terminal()
    set_up_logs(LogFormat.CONSOLE, LogLevel.INFO, out)
    hidden_local = SECRET
    try:
        raise ValueError("bad")  # noqa: TRY301 - the case itself
    except ValueError:
        structlog.get_logger().exception("failed", size=len(hidden_local))
    assert "ValueError: bad" in out.getvalue()
    assert SECRET not in out.getvalue()


def test_libraries_speak_in_our_lines_from_warnings_on(out: io.StringIO) -> None:
    logging.getLogger("botocore.auth").debug("Authorization: %s", SECRET)
    logging.getLogger("botocore.auth").info("hello")
    logging.getLogger("urllib3").warning("retrying %s", "https://a:b@host")
    try:
        raise OSError("gone")  # noqa: TRY301 - the case itself
    except OSError:
        logging.getLogger("lib").exception("failed")
    first, second = lines(out)
    assert (first["event"], first["logger"], first["level"]) == ("library_message", "urllib3", "warning")
    assert first["message"] == f"retrying https://{MASK}@host"
    assert "OSError: gone" in second["exception"]


def test_libraries_stay_quiet_even_at_debug() -> None:
    stream = io.StringIO()
    set_up_logs(LogFormat.JSON, LogLevel.DEBUG, stream)
    logging.getLogger("botocore.auth").debug("Authorization: %s", SECRET)
    structlog.get_logger().debug("ours")
    assert [line["event"] for line in lines(stream)] == ["ours"]


def test_python_warnings_become_lines(out: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert lines(out)[0]["logger"] == "py.warnings"


def test_a_second_set_up_replaces_the_first(out: io.StringIO) -> None:
    second = io.StringIO()
    set_up_logs(LogFormat.JSON, LogLevel.INFO, second)
    structlog.get_logger().info("here")
    logging.getLogger("lib").warning("and here")
    assert out.getvalue() == ""
    assert len(lines(second)) == 2


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
names = st.text(min_size=1).filter(lambda name: name not in {"event", "level", "timestamp"})


@given(st.dictionaries(names, nested(plain)))
@settings(deadline=None)
def test_any_event_becomes_one_line_of_json(facts: dict[str, Any]) -> None:
    event = masked_event(None, "info", {"event": "fact", **facts})
    line = json.dumps(event, ensure_ascii=False, allow_nan=False)
    assert "\n" not in line
    assert set(json.loads(line)) == {"event", *facts}
