"""Writes docs/commands.md: every command with its arguments, options and exit codes, from the signatures in main.py."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from consumer.commands import main
from consumer.commands.command_line import Command, Parameter, command_line
from consumer.commands.exit_codes import MEANINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "commands.md"
HEAD = """# Commands

Generated from the code by `make docs`; do not edit. `adapty-sink COMMAND --help` shows the same.

```text
adapty-sink [OPTIONS] COMMAND [ARGUMENTS]
```

Options before the command apply to every command; all commands but `demo` and `completion` need `--config`.
DAY is a UTC day, written like `2026-11-21`, from 2008-07-10 on. Any other form of a date is refused (exit code 2).
"""


def page() -> str:
    """The text of docs/commands.md."""
    first, *others = command_line(get_command(main.build_app(main.COMMANDS)))
    parts = [HEAD, _table(first)]
    parts += [
        f"## `{command.name}`\n\n{_usage(command)}\n\n{_prose(command)}\n\n{_table(command)}" for command in others
    ]
    codes = "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items())
    parts.append(f"## Exit codes\n\n| code | |\n|---|---|\n{codes}\n")
    return "\n".join(parts)


def _usage(command: Command) -> str:
    words = [command.name, *(argument.names[0] for argument in command.arguments), "[OPTIONS]"]
    return f"```text\nadapty-sink {' '.join(words)}\n```"


def _prose(command: Command) -> str:
    return re.sub(r"(?<![`\w])(--[a-z-]+|adapty-sink [^.\n]+|source <[^\n]+)", r"`\1`", command.help)


def _table(command: Command) -> str:
    rows = [f"| {_name(each)} | {_text(each)} |" for each in command.parameters if each.names != ("--help",)]
    return "\n".join(["| option | |" if command.options else "| | |", "|---|---|", *rows, ""]) if rows else ""


def _name(found: Parameter) -> str:
    names = ", ".join(found.names)
    value = f" {found.value}" if found.is_option and found.value is not None else ""
    return f"`{names}{value}`".replace("|", "\\|")


def _text(found: Parameter) -> str:
    default = f" Default: `{found.default}`." if found.is_option and found.default is not None else ""
    return found.help.replace("|", "\\|") + default


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
