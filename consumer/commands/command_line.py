"""The command line as data, read from the signatures in `main.py`: for completion scripts and docs/commands.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option or an argument. `value` is what the usage calls its value; None for an option that takes none.

    `names` are the option's spellings, or the one word that the usage has for the argument.
    """

    names: tuple[str, ...]
    value: str | None
    choices: tuple[str, ...]
    is_path: bool
    help: str
    default: str | None
    is_option: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or with the name "" the global options."""

    name: str
    help: str
    parameters: tuple[Parameter, ...]

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(found for found in self.parameters if found.is_option)

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        return tuple(found for found in self.parameters if not found.is_option)

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.help.partition("\n")[0]


HELP = Parameter(("--help",), None, (), False, "Show this message and exit.", None, True, False)  # noqa: FBT003 - one constant


def command_line(group: Any) -> tuple[Command, ...]:
    """The global options, then every command in the order of --help. `group` is typer's group of all."""
    return (_command("", group), *(_command(name, found) for name, found in group.commands.items()))


def _command(name: str, found: Any) -> Command:
    hints = get_type_hints(found.callback)
    return Command(name, found.help or "", (*(_parameter(each, hints) for each in found.params), HELP))


def _parameter(found: Any, hints: Mapping[str, Any]) -> Parameter:
    types = (hints[found.name], *get_args(hints[found.name]))  # X, and of X | None both
    choices = next((get_args(each) for each in types if get_origin(each) is Literal), ())
    is_option = found.param_type_name == "option"
    flag = is_option and found.is_flag
    kind = "INTEGER" if int in types else "TEXT"
    return Parameter(
        names=tuple(found.opts) if is_option else (found.metavar or found.name.upper(),),
        value=None if flag else found.metavar or ("|".join(choices) or kind),
        choices=choices,
        is_path=Path in types,
        help=found.help or "",
        default=None if flag or found.default is None else str(found.default),
        is_option=is_option,
        required=found.required,
    )
