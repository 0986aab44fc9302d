"""`replay`, `rewrite` and `erase` as commands: the plan that is printed, the question, the endings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumer.commands import main, restate
from consumer.commands import replay as replay_command
from consumer.replace.services import Services
from tests.builders.past import Past, rules
from tests.builders.rough import RoughStore

KEY = "11" * 32
DAYS = ("--from", "2026-03-01", "--to", "2026-03-03")


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """Three days of a person p1 and others, behind a settings file."""
    one = Past(RoughStore(), tmp_path, rules(drop=("trial_started",)), keys={"k1": bytes.fromhex(KEY)})
    for number in range(3):
        for kind in ("trial_started", "subscription_paused"):
            one.produce(number, kind=kind, profile_id="p1", customer_user_id="secret-person")
        one.seal(number)
        one.publish()
    one.today = rules()
    (tmp_path / "sink.toml").write_text(f"""
[kafka]
bootstrap_servers = "localhost:1"
group_id = "g"
[destination]
url = "{(tmp_path / "out").as_uri()}"
[spool]
directory = "{tmp_path / "spool"}"
[privacy.keys]
k1 = "{KEY}"
[streams.events]
topic = "adapty.events"
format = "json"
[streams.events.filter]
include_without_profile = true
""")

    @contextmanager
    def services_of(*_: object) -> Iterator[Services]:
        yield one.services()

    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)
    monkeypatch.setattr(replay_command, "services_of", services_of)
    monkeypatch.setattr(restate, "services_of", services_of)
    return one


def run(past: Past, *words: str) -> int:
    return main.run(["--config", str(past.folder / "sink.toml"), *words])


def test_without_a_terminal_nothing_is_asked_and_nothing_done(
    past: Past, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    before = past.bodies()
    assert run(past, "replay", *DAYS) == 2
    assert "--dry-run" in capsys.readouterr().err
    assert past.bodies() == before


def test_a_dry_run_prints_the_plan_and_no_cell(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    before = past.bodies()
    assert run(past, "replay", *DAYS, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "3 objects to write, 0 unchanged" in told
    assert "1 event_type" in told
    assert "secret-person" not in told
    assert past.bodies() == before


def test_a_replay_and_its_undo(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    before = past.bodies()
    assert run(past, "replay", *DAYS, "--yes", "--json") == 0
    document: Any = json.loads(capsys.readouterr().out)["streams"][0]
    assert (document["replacements"], len(document["days"])) == ([0], 3)
    assert document["days"][0]["added"] == {"event_type": 1}
    assert past.bodies() != before
    assert run(past, "replay", "--undo", "0", "--stream", "events", "--yes") == 0
    assert "undo 1 of events restored 3 objects" in capsys.readouterr().out
    assert past.bodies() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay",), "are required"),
        (("replay", "--from", "2026-03-03", "--to", "2026-03-01", "--yes"), "is after --to"),
        (("replay", "--day", "2026-03-01", "--from", "2026-03-01"), "use either --day"),
        (("replay", "--undo", "0", "--yes"), "--stream"),
        (("replay", "--undo", "0", "--day", "2026-03-01"), "--undo can only"),
        (("replay", *DAYS, "--stream", "other", "--yes"), "--stream other"),
        (("erase", "--column", "nothing", "--values", "persons", "--yes"), "no column 'nothing'"),
        (("erase", "--column", "profile_id", "--values", "missing", "--yes"), "cannot be read"),
    ],
)
def test_what_is_asked_for_wrongly(
    past: Past, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(past.folder)
    (past.folder / "persons").write_text("p1\n")
    assert run(past, *words) == 2
    assert said in capsys.readouterr().err


def test_more_values_than_a_record_can_hold_are_refused(
    past: Past, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restate, "MOST_DIGESTS", 5)
    (past.folder / "persons.txt").write_text("a\nb\nc\n")
    assert run(past, "erase", "--column", "profile_id", "--values", str(past.folder / "persons.txt"), "--yes") == 2
    assert "3 values are too many for one run; split the file, at most 2 values each" in capsys.readouterr().err


def test_what_cannot_be_done_ends_with_3(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    past.produce(3, kind="subscription_paused")
    past.seal(3, upload=False)
    assert run(past, "replay", *DAYS, "--yes") == 3
    assert "is pending" in capsys.readouterr().err


def test_a_person_is_erased_and_what_is_left_is_listed(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past, "replay", *DAYS, "--yes") == 0
    (past.folder / "persons.txt").write_text("\ufeffp1\r\n\nnobody\n")  # as a spreadsheet writes it
    capsys.readouterr()
    assert run(past, "erase", "--column", "profile_id", "--values", str(past.folder / "persons.txt"), "--yes") == 0
    told = capsys.readouterr().out
    assert "done: erase 1, 3 objects of 3 days" in told
    assert "old bodies kept by replacements: 3" in told
    assert "_replays/events/00000000/old/events/dt=2026-03-01/" in told
    assert "secret-person" not in told
    assert "p1" not in told.replace("persons", "")
    assert "secret-person" not in "".join(past.objects().values())
    assert past.verify().findings == ()


def test_an_erase_without_days_reaches_those_that_only_a_replay_has_written(
    past: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    past.produce(4, kind="trial_started", profile_id="p1", customer_user_id="secret-person")
    past.today = rules(drop=("trial_started",))
    past.seal(4)
    past.publish()
    past.today = rules()
    assert run(past, "replay", "--day", "2026-03-05", "--yes") == 0
    assert "secret-person" in past.text(next(key for key in past.objects() if "2026-03-05" in key))
    (past.folder / "persons.txt").write_text("p1\n")
    assert run(past, "erase", "--column", "profile_id", "--values", str(past.folder / "persons.txt"), "--yes") == 0
    assert "secret-person" not in "".join(past.objects().values())
    capsys.readouterr()


def test_a_rewrite_without_rules_does_nothing(past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(past, "rewrite", *DAYS, "--yes") == 0
    assert "no privacy rules" in capsys.readouterr().out
