"""What every command gets: the global options, and the settings, read when first used."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from consumer.domain.errors import UsageError
from consumer.domain.redaction import hide

if TYPE_CHECKING:
    from consumer.settings.model import Settings

LogFormatName = Literal["auto", "json", "console"]
LogLevelName = Literal["debug", "info", "warning", "error"]


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
        """The settings, whose secrets are masked in all later output.

        Raises UsageError with all mistakes in them, or if no --config was given.
        """
        if self.read is None:
            self._load()
        assert self.read is not None
        return self.read

    def _load(self) -> None:
        # pydantic takes longer to load than --help and completion may take, and they need no settings
        from consumer.settings.load import load_settings  # noqa: PLC0415
        from consumer.settings.masking import secret_values  # noqa: PLC0415

        if self.config is None:
            raise UsageError("no settings file given; run adapty-sink --config sink.toml COMMAND")
        self.read = load_settings(self.config, os.environ)
        hide(secret_values(self.read))


def session_of(context: typer.Context) -> Session:
    """The session of a command's context."""
    found = context.find_object(Session)
    if found is None:
        raise UsageError("a command is run by adapty-sink, not by itself")
    return found
