"""Logs: one event name per fact, stable keys, UTC times, to stderr; as JSON lines or for a console.

No record's content and no secret reaches a log: keys that could hold one are masked, whoever writes them.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from consumer.domain.redaction import MASK, is_secret_name, visible, without_secrets
from consumer.observe.log_stream import lines_lost

LONGEST_TEXT = 2000
LONGEST_TRACE = 20_000
_PAYLOAD_KEYS = frozenset({"value", "values", "key", "keys", "body", "payload", "record", "records", "row", "cell"})
_HEAD = ("timestamp", "level", "event")
_DEEPEST = 5
_LIBRARIES_FROM = logging.WARNING
"""Below this level libraries log their requests, with credentials and data in them."""


class LogFormat(StrEnum):
    """The format of log lines. `auto`: console format on a terminal, else JSON."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up_logs(form: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send our logs, and what libraries warn of, to `stream` (stderr where None). Called once, at start-up."""
    out = sys.stderr if stream is None else stream
    as_json = form is LogFormat.JSON or (form is LogFormat.AUTO and not out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            masked_event,
            _losses_of(out),
            _json_line if as_json else _console_line(colors=out.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Libraries()], level=max(number, _LIBRARIES_FROM), force=True)
    logging.captureWarnings(capture=True)


def _losses_of(out: TextIO) -> Processor:
    """Says in the next line that does get through how many before it did not."""

    def with_losses(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        lost = lines_lost(out)
        return {**event, "log_lines_lost": lost} if lost else event

    return with_losses


class _Libraries(logging.Handler):
    """Hands what libraries log to our own chain."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            log = structlog.get_logger()
            log.log(record.levelno, "library_message", logger=record.name, message=text, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a handler must not raise into the library
            self.handleError(record)


def masked_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event with its head first, and with nothing in it that could be a record's content or a secret."""
    head = {name: event[name] for name in _HEAD if name in event}
    return head | {name: _clean(name, value) for name, value in event.items() if name not in head}


def _clean(name: str, value: object, depth: int = 0) -> object:
    if is_secret_name(name):
        return MASK
    if value is None or isinstance(value, (bool, int, float)):
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value
    if name.lower() in _PAYLOAD_KEYS or depth > _DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {visible(str(key)): _clean(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(name, item, depth + 1) for item in value]
    return _shown(value, LONGEST_TRACE if name == "exception" else LONGEST_TEXT)


def _shown(value: object, longest: int) -> str:
    """Text, cut, with control characters made visible; of bytes the size, of objects without a text only the type."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if type(value).__str__ is object.__str__:
        return f"<{type(value).__name__}>"
    text = visible(without_secrets(str(value)).encode("utf-8", "replace").decode())
    return text if len(text) <= longest else f"{text[:longest]}..."


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=False)


def _console_line(*, colors: bool) -> Processor:
    # the plain formatter: the others print local variables, and with them records
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, timestamp_key="timestamp"
    )
