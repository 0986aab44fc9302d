"""`adapty-sink`: every command with its options. A command's modules are imported when it runs.

So `--help`, `--version` and `completion` load no client of Kafka or S3. `docs/commands.md` is generated from these
signatures. Annotations are not postponed here: typer would evaluate each of them four times.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from consumer import __version__
from consumer.commands.parsing import Group, LoggedCommand, PrintingCommand, set_up_logs
from consumer.commands.process import PROGRAM, Stop, exit_code_of, open_standard_streams
from consumer.commands.schema.names import EngineName, Other
from consumer.commands.session import LogFormatName, LogLevelName, Session, session_of
from consumer.domain.compression import Compression
from consumer.domain.errors import UsageError
from consumer.domain.redaction import hide
from consumer.observe.log_stream import log_stream

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> NoReturn:
    """The console entry point."""
    open_standard_streams()
    # a descriptor of our own: where native code is silenced (decode/stderr.py) no line of ours is lost
    sys.stderr = log_stream(os.dup(2))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], commands: Mapping[str, Callable[..., None]] | None = None) -> int:
    """Run one command line and return its exit code. Prints why, where that is not 0."""
    session = Session()
    app = build_app(COMMANDS if commands is None else commands)
    try:
        return exit_code_of(lambda: app(args=list(arguments), prog_name=PROGRAM, obj=session), session)
    finally:
        hide(())


def build_app(commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback(cls=Group)(_options)
    for name, function in commands.items():
        app.command(name, cls=PrintingCommand if function is _completion else LoggedCommand)(function)
    return app


# -- before the command ----------------------------------------------------------------------------------------------


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).", metavar="FILE")] = None,
    log_format: Annotated[
        LogFormatName, typer.Option(help="Format of log lines; auto: JSON, except on a terminal.")
    ] = "auto",
    log_level: Annotated[LogLevelName, typer.Option(help="Lowest level of log lines.")] = "info",
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an unexpected error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Adapty's event streams from Kafka to daily CSV objects: each row exactly once, each day provably complete."""
    session = session_of(context)
    session.config, session.debug = config, debug
    session.log_format, session.log_level = log_format, log_level


# -- the commands ----------------------------------------------------------------------------------------------------


def _run(
    context: typer.Context,
    *,
    once: Annotated[bool, typer.Option("--once", help="Seal what is due, then exit.")] = False,
    through: Annotated[
        str | None, typer.Option(help="With --once: seal exactly up to this day.", metavar="DAY")
    ] = None,
) -> None:
    """Run the worker: read, spool, and seal the previous day at 04:00 UTC."""
    with Stop(once=once) as stop:  # before all that takes time: a signal in between counts as well
        session = session_of(context)
        settings = session.settings
        from consumer.commands.tuning import tune

        tune()  # before what follows allocates: the collector and the C library are told at once
        from consumer.commands.crash import write_details
        from consumer.commands.run import run_worker

        run_worker(settings, stop, lambda error: write_details(error, session), once=once, through=through)


def _accept_gap(
    context: typer.Context,
    *,
    partition: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION", help="The halted partition.")],
    first: Annotated[int, typer.Argument(metavar="FROM", help="The first lost offset.")],
    end: Annotated[int, typer.Argument(metavar="TO", help="The first offset after the lost ones.")],
    as_json: AsJson = False,
) -> None:
    """Let a halted partition continue without the offsets FROM to TO (TO not included).

    For retention_hole, if no spool has them: rows that a worker's spool still has are given up, too. For
    unreadable_record, if no client option helps; nothing else is given up. The halt's message has the numbers; any
    others are refused. Days that may lack rows are published as incomplete, because of a gap.
    """
    settings = session_of(context).settings
    from consumer.commands.accept_gap import accept_gap

    accept_gap(settings, partition, first, end, as_json=as_json)


def _export(
    context: typer.Context,
    *,
    first: Annotated[str | None, typer.Option("--from", help="First day, UTC.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day; today at the latest.", metavar="DAY")] = None,
    day: Annotated[str | None, typer.Option(help="One day, in place of --from and --to.", metavar="DAY")] = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="STREAM")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="A local folder, or - for stdout (one stream). Otherwise exports/ in the bucket.", metavar="DIR|-"
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, comma-separated, in this order.", metavar="NAMES")
    ] = None,
    compression: Annotated[
        Compression | None,
        typer.Option(help="Compression of the file. Otherwise that of the destination; none for stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another export of the same name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export whole UTC days, 00:00:00 to 23:59:59.999999, as one CSV per stream.

    Sealed days come from the bucket; days that are not sealed yet come from Kafka, up to the end of the log when the
    command started. The name of a file says if a day in it is not complete. Running the same export again does nothing.
    """
    settings = session_of(context).settings
    from consumer.commands.tuning import tune

    tune()  # before what follows takes memory
    from consumer.commands.export.command import ExportOptions, export

    export(settings, ExportOptions(first, last, day, stream or (), output, columns, compression, force, as_json))


def _status(
    context: typer.Context,
    *,
    watch: Annotated[str | None, typer.Option(help="Repeat every 5 seconds, or SECONDS.", metavar="[SECONDS]")] = None,
    wait: Annotated[
        str | None, typer.Option(help="Wait until this day is published, then exit.", metavar="DAY")
    ] = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="STREAM")
    ] = None,
    timeout: Annotated[str, typer.Option(help="With --wait: give up (4) after this time.", metavar="DURATION")] = "2h",
    as_json: AsJson = False,
) -> None:
    """Show each partition's committed offset, held offsets, last day and next seal, and what is halted.

    "held" counts offsets that wait for their day to be sealed, which is normal. "retention" is the time until Kafka may
    delete the first of them. --wait exits with 0 once the day is published for all streams, with 3 if one is halted,
    with 4 at the timeout, or at once if the day itself ends later.
    """
    settings = session_of(context).settings
    from consumer.commands.status import show_status, wait_for_day, watch_status

    if watch is not None and wait is not None:
        raise UsageError("use either --watch or --wait")
    if wait is not None:
        wait_for_day(settings, wait, stream or (), timeout, as_json=as_json)
    elif watch is not None:
        watch_status(settings, watch, stream or (), as_json=as_json)
    else:
        show_status(settings, stream or (), as_json=as_json)


def _schema(
    context: typer.Context,
    *,
    stream: Annotated[
        list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="STREAM")
    ] = None,
    ddl: Annotated[
        EngineName | None, typer.Option(help="Print statements that create the tables.", metavar="ENGINE")
    ] = None,
    diff: Annotated[
        Other | None,
        typer.Option(help="Compare the columns with the newest writer schema, or with the folder's."),
    ] = None,
    load: Annotated[
        str | None, typer.Option(help="Print statements that delete and load this day.", metavar="DAY")
    ] = None,
    engine: Annotated[
        EngineName | None, typer.Option("--for", help="With --load: the engine.", metavar="ENGINE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the columns of each stream: kind, source fields, privacy, and since which day the folder has them.

    ENGINE: duckdb, postgres, clickhouse, spark, databricks, snowflake, redshift, bigquery, athena, trino. --diff exits
    with 1 if something differs. Reads only.
    """
    settings = session_of(context).settings
    from consumer.commands.schema.command import SchemaOptions, schema

    schema(settings, SchemaOptions(stream or (), ddl, diff, load, engine), as_json=as_json)


def _verify(
    context: typer.Context,
    *,
    first: Annotated[str | None, typer.Option("--from", help="First day to read.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day to read.", metavar="DAY")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Compare every row with what Kafka still has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Re-read bucket and seal logs: every object, its digest, header, rows and offsets; every manifest.

    Seal logs are always read in full, objects and manifests only of the given days. Reads only; runs next to workers.
    """
    settings = session_of(context).settings
    from consumer.commands.verify import verify

    verify(settings, first, last, deep=deep, as_json=as_json)


def _replay(
    context: typer.Context,
    *,
    first: Annotated[str | None, typer.Option("--from", help="First day to replay.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day to replay.", metavar="DAY")] = None,
    day: Annotated[
        str | None, typer.Option("--day", help="One day, in place of --from and --to.", metavar="DAY")
    ] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="NAME")] = None,
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this partition; may be repeated.", metavar="NUMBER")
    ] = None,
    undo: Annotated[
        int | None, typer.Option(min=0, help="Restore what replacement N of --stream replaced.", metavar="N")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep_old: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Keep the old bodies; auto: unless the bucket is versioned."),
    ] = "auto",
    skip_gone: Annotated[bool, typer.Option("--skip-gone", help="Skip days of which Kafka has lost records.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild stored days from Kafka with the current settings, and replace their objects in place.

    Prints its plan first and asks; without a terminal it needs --yes. Runs next to workers. After a crash, run the same
    command again to finish what was half done.
    """
    settings = session_of(context).settings
    from consumer.commands.tuning import tune

    tune()
    from consumer.commands.replay import replay, undo_replacement

    names, numbers = stream or [], partition or []
    if undo is not None:
        if numbers or skip_gone or not first is last is day is None:
            raise UsageError("--undo can only be combined with --stream, --dry-run, --yes and --json")
        undo_replacement(settings, undo, streams=names, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    if day is not None and not first is last is None:
        raise UsageError("use either --day, or --from and --to")
    replay(
        settings,
        first if day is None else day,
        last if day is None else day,
        streams=names,
        partitions=numbers,
        keep_old=keep_old,
        skip_gone=skip_gone,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


def _rewrite(
    context: typer.Context,
    *,
    first: Annotated[str, typer.Option("--from", help="First day to rewrite.", metavar="DAY")],
    last: Annotated[str, typer.Option("--to", help="Last day to rewrite.", metavar="DAY")],
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Apply the current privacy rules to stored days, from the bucket alone: Kafka need not have their records.

    A cell that is already hashed stays as it is. Old bodies are not kept: this cannot be undone.
    """
    settings = session_of(context).settings
    from consumer.commands.tuning import tune

    tune()
    from consumer.commands.restate import rewrite

    rewrite(settings, first, last, streams=stream or [], dry_run=dry_run, yes=yes, as_json=as_json)


def _erase(
    context: typer.Context,
    *,
    column: Annotated[str, typer.Option(help="Column that identifies the persons.", metavar="NAME")],
    values: Annotated[Path, typer.Option(help="File with one value per line.", metavar="FILE")],
    first: Annotated[str | None, typer.Option("--from", help="First day. Otherwise all days.", metavar="DAY")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day. Otherwise all days.", metavar="DAY")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.", metavar="NAME")] = None,
    mode: Annotated[
        Literal["cells", "rows"], typer.Option(help="Empty the personal cells of their rows, or remove the rows.")
    ] = "cells",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove persons from stored days. Old bodies are not kept: this cannot be undone.

    Later replays and rewrites of these days apply it again; rows that arrive later are not changed. What else may
    contain these persons is listed at the end, for you to delete.
    """
    settings = session_of(context).settings
    from consumer.commands.tuning import tune

    tune()
    from consumer.commands.restate import erase

    erase(
        settings,
        column,
        values,
        first,
        last,
        streams=stream or [],
        mode=mode,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


def _check(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Check settings, brokers, topics, registry, spool, bucket and seal logs; each line says what to do.

    Leaves some small objects below _checks/ in the bucket. Runs next to workers.
    """
    settings = session_of(context).settings
    from consumer.commands.check.command import check

    check(settings, as_json=as_json)


def _demo(
    context: typer.Context,
    *,
    output: Annotated[
        Path | None, typer.Option(help="Output folder, empty or new. Otherwise a temporary one.", metavar="DIR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run everything in one process: an embedded broker, generated data of all four streams, a local folder."""
    session = session_of(context)
    if session.log_level == "info":
        session.log_level = "warning"  # the summary tells it better; --log-level debug shows the worker's own words
        set_up_logs(session)
    from consumer.commands.tuning import tune

    tune()
    from consumer.commands.demo.command import demo

    demo(output, as_json=as_json)


def _completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a script that completes commands and options in this shell. Changes nothing.

    For example, in ~/.bashrc: source <(adapty-sink completion bash)
    """
    from consumer.commands.command_line import command_line
    from consumer.commands.completion import script

    typer.echo(script(command_line(context.find_root().command), shell), nl=False)


COMMANDS: Mapping[str, Callable[..., None]] = {
    "run": _run,
    "export": _export,
    "accept-gap": _accept_gap,
    "status": _status,
    "schema": _schema,
    "verify": _verify,
    "replay": _replay,
    "rewrite": _rewrite,
    "erase": _erase,
    "check": _check,
    "demo": _demo,
    "completion": _completion,
}
"""Each command, in the order of --help."""
