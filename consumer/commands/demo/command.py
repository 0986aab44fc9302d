"""`demo`: everything in one process, without servers or settings, on three days of generated data."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from consumer.commands.demo.report import show
from consumer.commands.demo.run import run_demo
from consumer.commands.demo.summary import summary_of
from consumer.commands.exit_codes import ExitCode
from consumer.domain.errors import UsageError


def demo(output: Path | None, *, as_json: bool) -> None:
    """Run the demo into `output`, or into a temporary folder, and report it. Raises UsageError."""
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output: {output} is not an empty folder; choose another one")
    summary = summary_of(run_demo(output))
    if as_json:
        typer.echo(json.dumps(summary.document(), indent=2))
    else:
        show(summary)
    if not summary.sound:
        raise typer.Exit(ExitCode.FOUND)
