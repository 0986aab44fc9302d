"""What every command is given: the options before its name, and the settings, read when first asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from consumer.domain.errors import UsageError

if TYPE_CHECKING:
    from consumer.settings.model import Settings

LogFormatName = Literal["auto", "json", "console"]
LogLevelName = Literal["debug", "info", "warning", "error"]


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived. A command that wants an ending of its own sets its own handlers."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@dataclass(slots=True)
class Session:
    """One call of the program. A command gets it by `session_of(context)`."""

    config: Path | None = None
    debug: bool = False
    log_format: LogFormatName = "auto"
    log_level: LogLevelName = "info"
    read: Settings | None = field(default=None, repr=False)
    """The settings, where some command has asked for them."""

    @property
    def settings(self) -> Settings:
        """The settings. Raises UsageError with every mistake in them, or where no --config was given."""
        if self.read is None:
            self.read = self._load()
        return self.read

    def _load(self) -> Settings:
        # slow to import, and neither --help nor `demo` needs it
        from consumer.settings.load import load_settings  # noqa: PLC0415

        if self.config is None:
            raise UsageError("no settings file given; write adapty-sink --config sink.toml COMMAND")
        return load_settings(self.config, os.environ)

    def set_up_logs(self) -> None:
        """Send logs to stderr as the options say. Done before the command runs."""
        from consumer.observe.logs import LogFormat, LogLevel, set_up_logs  # noqa: PLC0415 - as above

        set_up_logs(LogFormat(self.log_format), LogLevel(self.log_level))


def session_of(context: typer.Context) -> Session:
    """The session of a command's context."""
    found = context.find_object(Session)
    if found is None:
        raise UsageError("a command runs below adapty-sink, not by itself")
    return found
