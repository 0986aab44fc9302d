"""Typer's commands and options for this program: light until a command runs, errors left to `process`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import Any, get_args

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from consumer.commands.process import SystemFailureError
from consumer.commands.session import Session, session_of


class _Option(TyperOption):
    """An option that loads pydantic, with which typer checks values, only for a value that needs a check."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        return value if _needs_no_check(self, value) else super().process_value(ctx, value)


class _Argument(TyperArgument):
    """As `_Option`."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        return value if _needs_no_check(self, value) else super().process_value(ctx, value)


def _needs_no_check(parameter: _Option | _Argument, value: Any) -> bool:
    if value is None:
        return not parameter.required
    annotation = parameter.type_descriptor.annotation
    plain = isinstance(value, str) and (annotation is str or value in get_args(annotation))
    return plain and parameter.callback is None


def _light(parameter: Any) -> Any:
    """The parameter as one of ours: typer creates them itself, and accepts no class for them."""
    parameter.__class__ = _Option if isinstance(parameter, TyperOption) else _Argument
    return parameter


class Group(TyperGroup):
    """The global options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.params = [_light(parameter) for parameter in self.params]

    def get_help_option(self, ctx: Any) -> Any:
        return _light(super().get_help_option(ctx))


class PrintingCommand(TyperCommand):
    """A command that only prints what is known without settings: no logs, nothing heavy."""

    def __init__(self, *names: Any, **options: Any) -> None:
        super().__init__(*names, **options)
        self.params = [_light(parameter) for parameter in self.params]

    def get_help_option(self, ctx: Any) -> Any:
        return _light(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_empty_values(args, _may_be_bare(self.params)))


def _may_be_bare(parameters: Iterable[Any]) -> set[str]:
    """The options whose value is optional: their placeholder is in brackets."""
    return {name for each in parameters if str(each.metavar or "").startswith("[") for name in each.opts}


def _with_empty_values(arguments: Sequence[str], bare: Collection[str]) -> list[str]:
    """The arguments with an empty value after each option without its optional value: typer has no such options."""
    found: list[str] = []
    for word, following in zip_longest(arguments, arguments[1:]):
        found.append(word)
        if word in bare and (following is None or following.startswith("-")):
            found.append("")
    return found


class LoggedCommand(PrintingCommand):
    """A command that does something: logs are set up first, unless only --help is wanted."""

    def invoke(self, ctx: Any) -> Any:
        set_up_logs(session_of(ctx))
        try:
            return super().invoke(ctx)
        except (OSError, EOFError) as error:
            raise SystemFailureError(error) from error


def set_up_logs(session: Session) -> None:
    """Send logs to stderr in the format of the options."""
    from consumer.observe import logs  # noqa: PLC0415 - structlog is more than --help needs

    logs.set_up_logs(logs.LogFormat(session.log_format), logs.LogLevel(session.log_level))
