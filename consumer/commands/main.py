"""`adapty-sink`: the command line, and the exit code that each ending has (design.md, section 8)."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from consumer import __version__
from consumer.commands import accept_gap as accept_gap_command
from consumer.commands import crash
from consumer.commands import run as run_command
from consumer.commands import status as status_command
from consumer.commands import verify as verify_command
from consumer.commands.check import command as check_command
from consumer.commands.demo import command as demo_command
from consumer.commands.session import Interrupted, LogFormatName, LogLevelName, Session, session_of
from consumer.domain.errors import GaveUpError, HaltError, SinkError, TransientError, UsageError

PROGRAM = "adapty-sink"
COMMANDS: Mapping[str, Callable[..., None]] = {
    "run": run_command.run,
    "accept-gap": accept_gap_command.accept_gap,
    "status": status_command.status,
    "verify": verify_command.verify,
    "check": check_command.check,
    "demo": demo_command.demo,
}
"""Each command's function, from a file of its own, in the order of --help."""


class ExitCode(IntEnum):
    """Exit codes. A command that found something to report ends with `typer.Exit(Ending.FOUND)`."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    HALTED = 3
    GAVE_UP = 4
    UNEXPECTED = 70
    NO_READER = 141


class _SystemTroubleError(Exception):
    """Carries what typer would end with an exit code of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Command(TyperCommand):
    """A command that sets up logs first; --help does without."""

    def invoke(self, ctx: Any) -> Any:
        session_of(ctx).set_up_logs()
        try:
            return super().invoke(ctx)
        except (OSError, EOFError) as error:
            raise _SystemTroubleError(error) from error


def main() -> NoReturn:
    """The console entry point."""
    # a descriptor of our own: where native code is silenced (decode/silence.py) no line of ours is lost
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], commands: Mapping[str, Callable[..., None]] = COMMANDS) -> int:
    """Run one command line and return its exit code. Prints why, where that is not 0."""
    session = Session()
    try:
        with _signals_raise():
            return _outcome(arguments, commands, session)
    except Interrupted as stop:
        return stop.exit_code


def _outcome(arguments: Sequence[str], commands: Mapping[str, Callable[..., None]], session: Session) -> int:
    try:
        build_app(commands)(args=list(arguments), prog_name=PROGRAM, obj=session)
        sys.stdout.flush()
    except SystemExit as ended:
        return _flushed(ended.code if isinstance(ended.code, int) else ExitCode.DONE)
    except SinkError as error:
        return _known(session, error)
    except Exception as error:  # noqa: BLE001 - the last place that can tell the operator
        return _unexpected(session, error.error if isinstance(error, _SystemTroubleError) else error)
    return ExitCode.DONE


def _known(session: Session, error: SinkError) -> int:
    if isinstance(error, UsageError):
        return _told(session, ExitCode.USAGE, str(error))
    if isinstance(error, HaltError):
        return _told(session, ExitCode.HALTED, f"halted, an operator must decide: {error}")
    if isinstance(error, (GaveUpError, TransientError)):
        return _told(session, ExitCode.GAVE_UP, f"gave up: {error}")
    return _unexpected(session, error)


def build_app(commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(_options)
    for name, function in commands.items():
        app.command(name, cls=_Command)(function)
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).", metavar="FILE")] = None,
    log_format: Annotated[
        LogFormatName, typer.Option(help="Look of log lines; auto: JSON but on a terminal.")
    ] = "auto",
    log_level: Annotated[LogLevelName, typer.Option(help="Least level of log lines.")] = "info",
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an unexpected error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Adapty's event streams from Kafka to daily CSV objects: each row exactly once, each day provably complete."""
    session = session_of(context)
    session.config, session.debug = config, debug
    session.log_format, session.log_level = log_format, log_level


def _told(session: Session, code: int, message: str) -> int:
    """Print the last message: as a JSON line where JSON was asked for, else as plain text."""
    line = json.dumps({"level": "error", "event": "ended", "exit_code": int(code), "message": message})
    text = line if session.log_format == "json" else f"{PROGRAM}: {message}"
    with suppress(OSError, ValueError):  # stderr is closed: nobody to tell
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the program's last word
    return code


def _unexpected(session: Session, error: Exception) -> int:
    if isinstance(error, BrokenPipeError) and _stdout_is_gone():
        return ExitCode.NO_READER
    if session.debug:
        return _told(session, ExitCode.UNEXPECTED, f"unexpected error\n{crash.details(error, session)}")
    path = crash.write_details(error, session)
    where = f"details are in {path}" if path else "no folder took the details"
    line = crash.one_line(error, session)
    return _told(session, ExitCode.UNEXPECTED, f"unexpected error, {line} ({where}; --debug prints them)")


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return ExitCode.NO_READER if _stdout_is_gone() else code
    return code


def _stdout_is_gone() -> bool:
    """Whether nobody reads our output any more (`| head`). If so, what is left of it goes nowhere at exit."""
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


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGINT raise Interrupted in the main thread, once: the second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
