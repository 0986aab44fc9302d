"""What strangers named, on an operator's terminal and in an operator's log."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from consumer.commands import output
from consumer.commands.arguments import partition_of
from consumer.commands.output import print_json, print_table, say
from consumer.domain.errors import UsageError
from consumer.domain.redaction import MASK, visible, without_userinfo


def test_control_characters_are_made_visible(capsys: pytest.CaptureFixture[str]) -> None:
    say("MISSING s3://b/\x1b]0;x\x07\x9b31m\u202e\x7f/part.csv\ttab")
    print_table(["key"], [["\x1b[2Jgone"]])
    out = capsys.readouterr().out
    assert r"s3://b/\x1b]0;x\x07\x9b31m\u202e\x7f/part.csv" in out
    assert r"\x1b[2Jgone" in out
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e", "\x7f"}
    assert visible("two\nlines\tand a täb") == "two\nlines\tand a täb"


def test_names_that_are_no_unicode_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A file name may hold any bytes, and reaches us in half characters."""
    name = os.fsdecode(b"a\xff.csv")
    say(name)
    print_table(["key"], [[name]])
    print_json({"key": name, name: [{"what": name}], "number": 1})
    out = capsys.readouterr().out
    out.encode()
    assert out.count(r"a\udcff.csv") == 2
    document = json.loads(out[out.index("{") :])
    assert document == {"key": r"a\udcff.csv", r"a\udcff.csv": [{"what": r"a\udcff.csv"}], "number": 1}


@pytest.mark.parametrize("text", ["t:" + "9" * 5_000, "t:99999999999", "t:\u0663", "t:-1", ":3", "t"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="TOPIC:PARTITION"):
        partition_of(text)


def test_commands_print_through_one_place() -> None:
    """Else a name could reach the terminal as it is. The others print what is ours, or what programs read."""
    commands = Path(output.__file__).parent
    direct = {
        path.relative_to(commands).as_posix() for path in commands.rglob("*.py") if "typer.echo(" in path.read_text()
    }
    assert direct == {"output.py", "main.py", "demo/command.py", "schema/command.py"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:p@ss@host:8081/x", f"http://{MASK}@host:8081/x"),
        ("http://user:p@s/s@host", f"http://{MASK}@host"),
        ("http://a:b@one,http://c:d@e@two", f"http://{MASK}@one,http://{MASK}@two"),
        ("https://host/path", "https://host/path"),
        ("me@example.com", "me@example.com"),
    ],
)
def test_urls_are_masked_to_the_last_at(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown
