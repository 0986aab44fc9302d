"""What the exit code of each ending is: operators and schedulers read it, see docs/commands.md."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. A command that found something to report ends with `typer.Exit(ExitCode.FOUND)`."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    HALTED = 3
    GAVE_UP = 4
    UNEXPECTED = 70
    NO_READER = 141
    """Nobody reads our output any more (`| head`): as if SIGPIPE had ended the process."""
