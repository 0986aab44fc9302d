"""One run of the program as a process: signals, exit codes, and the final message on stderr."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from consumer.commands import crash
from consumer.commands.exit_codes import ExitCode
from consumer.commands.session import Session
from consumer.domain.errors import GaveUpError, HaltError, RefusedError, SinkError, TransientError, UsageError
from consumer.domain.redaction import visible, without_secrets

PROGRAM = "adapty-sink"
DISK_OUTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""A disk that takes no more, that of stdout among them: an outage, and no crash of ours."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived. A command that wants its own ending sets its own handlers."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class SystemFailureError(Exception):
    """Carries an OSError or EOFError past typer, which would end with its own exit code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def open_standard_streams() -> None:
    """Give every standard stream that the caller closed (`2>&-`) a descriptor that goes nowhere.

    Otherwise the next file that is opened gets its number, and what libraries write to stderr lands in the spool.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def exit_code_of(call: Callable[[], None], session: Session) -> int:
    """Do it, and return the exit code of how it ended. Prints why, where that is not 0."""
    try:
        with _signals_raise():
            return _outcome(call, session)
    except Interrupted as stop:
        return stop.exit_code


def _outcome(call: Callable[[], None], session: Session) -> int:
    try:
        call()
        sys.stdout.flush()
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else ExitCode.DONE)
    except SinkError as error:
        return _known(session, error)
    except Exception as error:  # noqa: BLE001 - the last place that can tell the operator
        return _unexpected(session, error.error if isinstance(error, SystemFailureError) else error)
    return ExitCode.DONE


def _known(session: Session, error: SinkError) -> int:
    if isinstance(error, UsageError):
        return _told(session, ExitCode.USAGE, str(error))
    if isinstance(error, RefusedError):
        return _told(session, ExitCode.HALTED, f"refused: {error}")
    if isinstance(error, HaltError):
        return _told(session, ExitCode.HALTED, f"halted, an operator must decide: {error}")
    if isinstance(error, (GaveUpError, TransientError)):
        return _told(session, ExitCode.GAVE_UP, f"gave up: {error}")
    return _unexpected(session, error)


def _unexpected(session: Session, error: Exception) -> int:
    if isinstance(error, BrokenPipeError) and _stdout_is_gone():
        return ExitCode.NO_READER
    if isinstance(error, OSError) and error.errno in DISK_OUTAGES:
        where = f"{error.filename}: " if error.filename else ""
        return _told(session, ExitCode.GAVE_UP, f"gave up: cannot write: {where}{error.strerror}")
    if session.debug:
        return _told(session, ExitCode.UNEXPECTED, f"unexpected error\n{crash.details(error)}")
    path = crash.write_details(error, session)
    where = f"details are in {path}" if path else "the details could not be written"
    line = crash.one_line(error)
    return _told(session, ExitCode.UNEXPECTED, f"unexpected error, {line} ({where}; --debug prints them)")


def _told(session: Session, code: int, message: str) -> int:
    """Print the final message: as a JSON line if the logs are JSON, otherwise as plain text."""
    message = without_secrets(message)
    line = json.dumps({"level": "error", "event": "ended", "exit_code": int(code), "message": message})
    text = line if session.log_format == "json" else f"{PROGRAM}: {visible(message)}"
    with suppress(OSError, ValueError):  # stderr is closed
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the program's last word
    return code


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return ExitCode.NO_READER if _stdout_is_gone() else code
    return code


def _stdout_is_gone() -> bool:
    """Whether our output is no longer read (`| head`). If so, what is left of it is discarded at exit."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the system
        return False
    end = select.poll()
    end.register(number, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in end.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


# -- signals ---------------------------------------------------------------------------------------------------------


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGINT raise Interrupted in the main thread, once: the second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.getsignal(number) for number in SIGNALS]

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


class Stop:
    """Set by SIGTERM or SIGINT: the worker ends by itself, with 0, or `--once` with 143 or 130."""

    def __init__(self, *, once: bool) -> None:
        self.asked = threading.Event()
        self.number = 0
        self.hurry: Callable[[], None] = lambda: None
        """Called at the signal: it cuts a wait short."""
        self._once = once
        self._before = {number: signal.signal(number, self._on) for number in SIGNALS}

    def _on(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self.asked.set()
        self.hurry()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def finish(self) -> None:
        """Raise where the signal decides the exit code."""
        if self.asked.is_set() and self._once:
            raise Interrupted(self.number)
