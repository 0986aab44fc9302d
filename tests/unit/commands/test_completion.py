"""`completion`: the scripts complete in real shells, and what they need per TAB is the shell alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from consumer.commands import main
from consumer.commands.command_line import command_line
from consumer.commands.completion import SHELLS, script

LINE = command_line(get_command(main.build_app(main.COMMANDS)))

BASH = """
source "$1"
complete -p adapty-sink > /dev/null || exit 1
COMP_WORDS=("${@:2}")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
compopt() { :; }  # only for the shell's own line editor
_adapty_sink
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = 'source $argv[1]; complete -C "$argv[2..-1]"'


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    for shell in SHELLS:
        (tmp_path / shell).write_text(script(LINE, shell))
    return tmp_path


def bash(scripts: Path, *words: str) -> set[str]:
    shell = shutil.which("bash")
    assert shell is not None, "make itself needs it"
    command = [shell, "--norc", "-c", BASH, "bash", str(scripts / "bash"), "adapty-sink", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=scripts, env={"PATH": ""}
    )  # no process
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_commands_and_the_options_before_them(scripts: Path) -> None:
    assert bash(scripts, "") >= set(main.COMMANDS) | {"--config", "--version", "--help"}
    assert bash(scripts, "acc") == {"accept-gap"}
    assert bash(scripts, "--log-f") == {"--log-format"}


def test_bash_completes_values_and_knows_which_word_is_the_command(scripts: Path) -> None:
    assert bash(scripts, "--log-format", "") == {"auto", "json", "console"}
    assert bash(scripts, "--log-format", "=", "js") == {"json"}
    assert bash(scripts, "--config", "run", "--lo") == {"--log-format", "--log-level"}, "run is a file here"
    assert bash(scripts, "--config", "=", "x", "run", "--o") == {"--once"}
    assert bash(scripts, "--log-level", "debug", "completion", "") == {"--help", *SHELLS}
    assert bash(scripts, "verify", "--from", "") == set(), "a day is nothing to guess"


def test_bash_completes_files_where_a_file_is_wanted(scripts: Path) -> None:
    (scripts / "sink one.toml").touch()
    (scripts / "out").mkdir()
    assert bash(scripts, "--config", "si") == {"sink one.toml"}
    assert bash(scripts, "demo", "--output", "o") == {"out"}


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_bash_completes_every_option_of_every_command(
    name: str, scripts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bash(scripts, name, "--")
    assert main.run([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert found == {word.rstrip(",") for word in told.split() if word.startswith("--") and word in found}
    assert all(f"  {option} " in told for option in found)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(scripts: Path) -> None:
    def fish(line: str) -> set[str]:
        command = ["fish", "--no-config", "-c", FISH, str(scripts / "fish"), line]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=scripts)
        return {shown.split("\t")[0] for shown in done.stdout.splitlines()}

    assert fish("adapty-sink ") == set(main.COMMANDS)
    assert fish("adapty-sink --log-format ") == {"auto", "json", "console"}
    assert fish("adapty-sink run --") == {"--once", "--through", "--help"}
    assert fish("adapty-sink completion ") == set(SHELLS)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script(scripts: Path) -> None:
    code = 'autoload -Uz compinit && compinit -u -D; source "$1"; print $_comps[adapty-sink]; functions _adapty_sink'
    command = ["zsh", "-f", "-c", code, "zsh", str(scripts / "zsh")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("_adapty_sink\n")
    for name in main.COMMANDS:
        assert f"'{name}:" in done.stdout


def test_the_script_is_printed_and_nothing_else_is_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for shell in SHELLS:
        assert main.run(["completion", shell]) == 0
        assert capsys.readouterr() == (script(LINE, shell), "")
    assert main.run(["completion", "csh"]) == 2
    assert list(tmp_path.iterdir()) == []
