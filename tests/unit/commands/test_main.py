"""The command line: options, and the exit code and last words of each ending."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import structlog
import typer

from consumer import __version__
from consumer.commands import crash, main
from consumer.commands.session import session_of
from consumer.domain.errors import (
    BadRecordError,
    GaveUpError,
    HaltError,
    HaltReason,
    SinkError,
    TransientError,
    UnknownOutcomeError,
    UsageError,
)

SECRET = "hunter2-very-secret"  # noqa: S105 - planted, to be looked for
ROOT = Path(__file__).parents[3]
LIGHT = {
    *(
        f"consumer.commands.{name}"
        for name in ("crash", "exit_codes", "main", "parsing", "process", "schema", "schema.names", "session")
    ),
    "consumer.domain.compression",
    "consumer.domain.errors",
    "consumer.domain.redaction",
    "consumer.observe.log_stream",
}
LIGHT_COMPLETION = {"consumer.commands.command_line", "consumer.commands.completion"}
SETTINGS = f"""
[kafka]
bootstrap_servers = "localhost:9092"
options = {{ "sasl.password" = "{SECRET}" }}
[destination]
url = "file:///somewhere/out"
[spool]
directory = "spool"
[streams.events]
topic = "adapty.events"
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Crash files go to the test's own folder; logs are as before afterwards."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sink.toml"
    path.write_text(SETTINGS)
    return path


def raising(error: BaseException) -> dict[str, Callable[..., None]]:
    def work() -> None:
        """Do the work."""
        raise error

    return {"work": work}


def quiet() -> None:
    """Do nothing."""


def test_help_lists_the_commands_and_needs_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"], {"work": quiet}) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: adapty-sink [OPTIONS]")
    for part in ("--config FILE", "--log-format", "--log-level", "--debug", "--version", "work", "Do nothing."):
        assert part in shown


def test_help_of_a_command_needs_no_settings_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: pytest.fail("logs were set up"))
    assert main.run(["work", "--help"], {"work": quiet}) == 0
    assert "Usage: adapty-sink work" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"], {"work": quiet}) == 0
    assert capsys.readouterr().out == f"adapty-sink {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["--nonsense"], ["work", "--nonsense"], ["work", "extra"], ["--log-format", "xml", "work"]],
)
def test_bad_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments, {"work": quiet}) == 2
    shown = capsys.readouterr()
    assert "Usage: adapty-sink" in shown.err + shown.out
    assert "Traceback" not in shown.err


def test_a_command_that_ends_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["work"], {"work": quiet}) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_command_may_choose_its_code(code: int) -> None:
    assert main.run(["work"], raising(typer.Exit(code))) == code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("sink.toml has 1 mistake:\nkafka: x"), 2, "adapty-sink: sink.toml has 1 mistake:\nkafka: x\n"),
        (
            HaltError(HaltReason.RETENTION_HOLE, "rows are gone; accept-gap"),
            3,
            "adapty-sink: halted, an operator must decide: retention_hole: rows are gone; accept-gap\n",
        ),
        (GaveUpError("no broker for 10m"), 4, "adapty-sink: gave up: no broker for 10m\n"),
        (TransientError("no broker"), 4, "adapty-sink: gave up: no broker\n"),
        (UnknownOutcomeError("no answer"), 4, "adapty-sink: gave up: no answer\n"),
    ],
)
def test_our_errors_have_their_codes(
    error: SinkError, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["work"], raising(error)) == code
    assert capsys.readouterr() == ("", words)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such thing"),
        BadRecordError("undecodable"),
        OSError(5, "input/output error"),
        BrokenPipeError(32, "a socket broke"),
        EOFError("end"),
        RecursionError("deep"),
    ],
)
def test_anything_else_is_70_with_one_line_and_a_file(
    error: Exception, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main.run(["work"], raising(error)) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"adapty-sink: unexpected error, {type(error).__name__}: {error} (details are in {tmp_path}")
    (file,) = tmp_path.glob("adapty-sink-crash-*.txt")
    assert str(file) in line
    assert file.stat().st_mode & 0o777 == 0o600
    details = file.read_text()
    assert details.startswith(f"adapty-sink {__version__} ")
    assert f"{type(error).__name__}: {error}" in details
    assert "Traceback" in details


def test_debug_prints_the_traceback_and_writes_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.run(["--debug", "work"], raising(ValueError("no such thing"))) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "ValueError: no such thing" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_long_message_of_many_lines_stays_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["work"], raising(ValueError("a\nb\r\n" + "x" * 10_000)))
    (line,) = capsys.readouterr().err.splitlines()
    assert "a b x" in line
    assert len(line) < 700


def test_details_that_no_folder_takes_cost_no_second_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/nowhere")
    assert main.run(["work"], raising(ValueError("bad"))) == 70
    assert "the details could not be written; --debug prints them" in capsys.readouterr().err


def test_json_logs_have_json_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--log-format", "json", "work"], raising(UsageError("a\nb"))) == 2
    assert json.loads(capsys.readouterr().err) == {
        "level": "error",
        "event": "ended",
        "exit_code": 2,
        "message": "a\nb",
    }


def test_options_reach_the_command(config: Path) -> None:
    seen: list[Any] = []

    def work(context: typer.Context, day: Annotated[str, typer.Option()]) -> None:
        seen.append((session_of(context), day))

    arguments = ["--config", str(config), "--log-level", "debug", "--log-format", "console", "work", "--day", "x"]
    assert main.run(arguments, {"work": work}) == 0
    ((session, day),) = seen
    assert (session.config, session.log_level, session.log_format, day) == (config, "debug", "console", "x")


def reading(error: Exception | None = None) -> dict[str, Callable[..., None]]:
    def work(context: typer.Context) -> None:
        session = session_of(context)
        assert session.settings is session.settings, "read once"
        typer.echo(session.settings.streams[0].topic)
        if error:
            raise error

    return {"work": work}


def test_settings_are_read_from_the_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--config", str(config), "work"], reading()) == 0
    assert capsys.readouterr().out == "adapty.events\n"


def test_no_config_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["work"], reading()) == 2
    assert "adapty-sink --config sink.toml COMMAND" in capsys.readouterr().err


def test_mistakes_in_the_settings_are_2_one_line_each(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(SETTINGS.replace("[spool]", "[spool]\nmax_bytes = 'lots'\ntypo = 1"))
    assert main.run(["--config", str(config), "work"], reading()) == 2
    head, *problems = capsys.readouterr().err.splitlines()
    assert head == f"adapty-sink: {config} has 2 problems:"
    assert [line.partition(":")[0] for line in problems] == ["spool.max_bytes", "spool.typo"]


def test_known_secrets_are_struck_out_of_a_crash(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = ValueError(f"client refused {SECRET} and s3://me:{SECRET}x@bucket")
    assert main.run(["--config", str(config), "work"], reading(error)) == 70
    (file,) = tmp_path.glob("adapty-sink-crash-*.txt")
    assert main.run(["--debug", "--config", str(config), "work"], reading(error)) == 70
    assert SECRET not in capsys.readouterr().err + file.read_text()


def test_the_spool_keeps_the_newest_crash_files(config: Path, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    for number in range(crash.KEPT + 2):
        assert main.run(["--config", str(config), "work"], reading(ValueError(f"number {number}."))) == 70
        for path in (tmp_path / "spool" / "crashes").iterdir():
            if f"number {number}." in path.read_text():
                os.utime(path, (number, number))
    texts = [path.read_text() for path in (tmp_path / "spool" / "crashes").iterdir()]
    assert len(texts) == crash.KEPT
    assert not any("number 0." in text for text in texts)
    assert any(f"number {crash.KEPT + 1}." in text for text in texts)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_after_its_clean_up(number: signal.Signals, code: int) -> None:
    cleaned: list[bool] = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        except Exception:  # noqa: BLE001 - what commands do; a signal must pass through
            pytest.fail("a signal is no error")
        finally:
            cleaned.append(True)

    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    assert main.run(["work"], {"work": work}) == code
    assert cleaned == [True]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_command_may_handle_signals_itself() -> None:
    seen: list[int] = []

    def work() -> None:
        signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
        signal.raise_signal(signal.SIGTERM)

    assert main.run(["work"], {"work": work}) == 0
    assert seen == [signal.SIGTERM]


@contextmanager
def process(body: str, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A real process whose command `work` has this body. It does not outlive its test."""
    code = f"""
import os, signal, sys, time
import typer
from consumer.commands import main
def await_signal():
    while True:
        time.sleep(0.01)  # signal.pause() never ends for a signal that comes just before it
def work(context: typer.Context) -> None:
{textwrap.indent(textwrap.dedent(body), "    ")}
sys.exit(main.run(["work"], {{"work": work}}))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **popen) as running:
        try:
            yield running
        finally:
            running.kill()


def test_sigterm_ends_a_waiting_process_with_143() -> None:
    body = 'print("ready", flush=True)\nawait_signal()'
    with process(body, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.communicate(timeout=20)[1] == b""
    assert running.returncode == 143


def test_a_second_signal_ends_a_clean_up_that_hangs() -> None:
    body = """
    try:
        print("ready", flush=True)
        await_signal()
    finally:
        print("cleaning", flush=True)
        await_signal()
    """
    with process(body, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == b"cleaning\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == -signal.SIGINT


def test_output_that_nobody_reads_is_no_crash() -> None:
    body = """
    while True:
        print("x" * 1000)
    """
    with process(body, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.wait(timeout=20) == 141
        assert running.stderr.read() == b""


def test_an_output_that_takes_no_more_is_an_outage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out.csv")

    assert main.run(["work"], {"work": full}) == 4
    assert capsys.readouterr().err == "adapty-sink: gave up: cannot write: out.csv: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """`run 2> sink.log` on a disk that is full: what is left of the disk's neighbours goes on."""
    body = """
    sys.stderr = main.log_stream(os.dup(2))
    for number in range(10_000):
        print("a line of the log", number, file=sys.stderr)
    sys.stderr.flush()
    print("done")
    """
    with Path("/dev/full").open("wb") as full, process(body, stdout=subprocess.PIPE, stderr=full) as running:
        assert running.communicate(timeout=20)[0] == b"done\n"
    assert running.returncode == 0


def test_streams_that_the_caller_closed_go_nowhere() -> None:
    """Else the first file opened gets the number of stderr, and libraries write their messages into it."""
    body = """
    for number in range(3):
        os.close(number)
    sys.stdin = sys.stdout = sys.stderr = None
    main.open_standard_streams()
    print("lost")
    os._exit(3 if os.open("/dev/null", os.O_RDONLY) < 3 or sys.stdin.read() else 0)
    """
    with process(body, stdout=subprocess.PIPE) as running:
        assert running.communicate(timeout=20)[0] == b""
    assert running.returncode == 0


PRINTING = ("--help", "--version", "", *(f"{name} --help" for name in main.COMMANDS), "completion bash")
LOADED = f"""
import json, os, sys
sys.path.insert(0, {str(ROOT)!r})
from consumer.commands import main
for arguments in {PRINTING!r}:
    if (child := os.fork()) == 0:
        main.run(arguments.split())
        tops = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
        loaded = sorted(name for name in tops if not name.startswith("_"))
        ours = sorted(name for name in sys.modules if name.startswith("consumer.") and name.count(".") > 1)
        print("\\nloaded:" + json.dumps([arguments, loaded, ours]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, arguments
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, tuple[list[str], list[str]]]:
    """The modules after each of these commands: others' and our own.

    One process loads the command line, and a fork of it runs each command: only the first start is dear.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-I", "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    told = [line.removeprefix("loaded:") for line in done.stdout.splitlines() if line.startswith("loaded:")]
    return {arguments: (others, ours) for arguments, others, ours in map(json.loads, told)}


@pytest.mark.parametrize("arguments", PRINTING)
def test_what_only_prints_loads_nothing_heavy(arguments: str, loaded: dict[str, tuple[list[str], list[str]]]) -> None:
    """Every module that is no part of Python, of typer or light by our own doing. Not a time: machines differ."""
    others, ours = loaded[arguments]
    assert others == ["annotated_doc", "consumer", "shellingham", "typer"]
    assert ours in (sorted(LIGHT), sorted(LIGHT | LIGHT_COMPLETION))


def test_the_entry_point_ends_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["adapty-sink", "--version"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0


def test_every_registered_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in main.COMMANDS:
        assert main.run([name, "--help"]) == 0
        assert f"Usage: adapty-sink {name}" in capsys.readouterr().out
