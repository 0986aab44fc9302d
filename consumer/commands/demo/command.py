"""`demo`: the whole thing in one process, without servers or settings, on three days of generated data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.session import session_of
from consumer.commands.tuning import tune
from consumer.domain.errors import UsageError


def demo(
    context: typer.Context,
    *,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the days; empty or new. Else a temporary one.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Show the whole thing: an embedded broker, generated data of all four streams, a local folder."""
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output: {output} is not an empty folder; name a new one")
    session = session_of(context)
    if session.log_level == "info":
        session.log_level = "warning"  # the summary tells it better; --log-level debug shows the worker's own words
        session.set_up_logs()
    tune()
    # slow to import: --help does without
    from consumer.commands.demo.report import show  # noqa: PLC0415
    from consumer.commands.demo.run import run_demo  # noqa: PLC0415
    from consumer.commands.demo.summary import summary_of  # noqa: PLC0415

    summary = summary_of(run_demo(output))
    if as_json:
        typer.echo(json.dumps(summary.document(), indent=2))
    else:
        show(summary)
    if not summary.sound:
        from consumer.commands.main import ExitCode  # noqa: PLC0415 - it imports this module

        raise typer.Exit(ExitCode.FOUND)
