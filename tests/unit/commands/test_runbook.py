"""The commands of the runbook that correct stored days, run as one story: they print what the page shows.

`REMAKE_RUNBOOK=1` writes what they print into the page.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from consumer.commands import main, restate
from consumer.commands import replay as replay_command
from consumer.replace.services import Services
from consumer.streams.rules import Method, Privacy, RowRules
from tests.builders.past import Past, day, rules
from tests.builders.rough import RoughStore

PAGE = Path(__file__).resolve().parents[3] / "docs/runbook.md"
BLOCK = re.compile(r"^```\n\$ adapty-sink --config sink\.toml (.*)\n([^`]*)```$", re.MULTILINE)
SECTION = re.compile(r"^### Correcting stored days$.*?(?=^### )", re.MULTILINE | re.DOTALL)
KEY = "6b" * 32


def only_production(*, privacy: bool = False) -> RowRules:
    found = rules(privacy=Privacy({"ip_address": Method.TRUNCATE_IP}) if privacy else Privacy())
    return replace(found, filter=replace(found.filter, environments=("production",)))


STORY = [
    ("replay --from", rules()),
    ("replay --day", only_production()),
    ("replay --undo", only_production()),
    ("erase", only_production()),
    ("rewrite", only_production(privacy=True)),
]
"""How each command of the page begins, in order, and the settings by then."""

SETTINGS = f"""
[kafka]
bootstrap_servers = "localhost:1"
group_id = "g"
[destination]
url = "file:///nowhere"
[spool]
directory = "/var/lib/adapty-sink"
[privacy.keys]
k1 = "{KEY}"
[streams.events]
topic = "adapty.events"
format = "json"
[streams.events.privacy]
columns = {{ ip_address = "truncate_ip" }}
"""


def sealed(folder: Path) -> Past:
    """Four days without paused subscriptions, which a filter dropped; a load test on the third."""
    past = Past(
        RoughStore(),
        folder,
        rules(drop=("subscription_paused",)),
        keys={"k1": bytes.fromhex(KEY)},
        listed=True,
    )
    for number in range(4):
        for index in range(6):
            kind = ("trial_started", "subscription_paused")[index % 2]
            person, ip = f"person-{index}", f"203.0.113.{10 * number + index}"
            past.produce(
                number,
                kind=kind,
                profile_id=person,
                customer_user_id=f"user-{index}",
                environment="Production",
                ip_address=ip,
            )
        for _ in range(5 if number == 2 else 0):
            past.produce(number, profile_id="load-test", environment="LoadTest")
        past.seal(number)
        past.publish()
    past.now = past.now.replace(month=4)
    return past


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    one = sealed(tmp_path)
    (tmp_path / "sink.toml").write_text(SETTINGS)
    (tmp_path / "persons.txt").write_text("person-2\n")

    @contextmanager
    def services_of(*_: object) -> Iterator[Services]:
        yield one.services()

    def agreed(question: str) -> bool:
        typer.echo(f"{question} [y/N]: y")
        return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for module in (replay_command, restate):
        monkeypatch.setattr(module, "services_of", services_of)
        monkeypatch.setattr(module, "confirmed", agreed)
    return one


def test_the_page_shows_what_is_printed(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    before = past.bodies()
    page = PAGE.read_text("utf-8")
    section = SECTION.search(page)
    assert section is not None
    blocks = list(BLOCK.finditer(section[0]))
    assert [words.split()[:2] for words, _ in STORY] == [
        block[1].split()[: len(words.split())] for block, (words, _) in zip(blocks, STORY, strict=True)
    ]
    made = section[0]
    for block, (_, today) in zip(blocks, STORY, strict=True):
        past.today = today
        assert main.run(["--config", "sink.toml", *shlex.split(block[1])]) == 0, capsys.readouterr().err
        told = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
        made = made.replace(block[0], f"```\n$ adapty-sink --config sink.toml {block[1]}\n{told}\n```")
    if os.environ.get("REMAKE_RUNBOOK") == "1":
        PAGE.write_text(page.replace(section[0], made), "utf-8")
    assert made == section[0]
    assert past.bodies() != before
    assert "person-2" not in "".join(past.objects().values())
    assert past.verify().findings == ()
    assert past.now.date() > day(4)
