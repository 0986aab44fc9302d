"""The exit codes and their meanings, for operators and schedulers: docs/commands.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. A command that found something to report ends with `typer.Exit(ExitCode.FOUND)`."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    HALTED = 3
    GAVE_UP = 4
    UNEXPECTED = 70
    INTERRUPTED = 130
    NO_READER = 141
    TERMINATED = 143


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done; also `run` stopped by SIGTERM or SIGINT",
    ExitCode.FOUND: "`verify` or `check` found something, or the demo's own check did",
    ExitCode.USAGE: "bad usage or settings",
    ExitCode.HALTED: "halted: an operator must decide, see the message. Takes precedence over 4",
    ExitCode.GAVE_UP: "gave up on an outage, after `schedule.give_up_after`; one-shot commands and `run --once` only",
    ExitCode.UNEXPECTED: "unexpected error: prints one line and where the details are, or with `--debug` the traceback",
    ExitCode.INTERRUPTED: "SIGINT stopped a one-shot command",
    ExitCode.NO_READER: "the output is no longer read (`| head`)",
    ExitCode.TERMINATED: "SIGTERM stopped a one-shot command",
}
"""The meaning of each, for docs/commands.md."""
